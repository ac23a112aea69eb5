// A stand-in for the script that Stripe serves: as much of Elements as a payment page uses, without a card in sight.
"use strict";
(() => {
  const base = new URL(document.currentScript.src).origin;
  const outcomes = [
    ["success", "Card 4242 4242 4242 4242: the payment succeeds"],
    ["declined", "Card 4000 0000 0000 0002: the bank declines it"],
    ["delayed_success", "Bank transfer: arrives some seconds later"],
    ["delayed_failure", "Bank transfer without funds: fails some seconds later"],
  ];

  const field = (form, name, value) => {
    const input = document.createElement("input");
    Object.assign(input, { type: "hidden", name, value });
    form.append(input);
  };

  class PaymentElement {
    mount(target) {
      this.place = typeof target === "string" ? document.querySelector(target) : target;
      this.place.replaceChildren(
        ...outcomes.map(([outcome, text], number) => {
          const label = document.createElement("label");
          const radio = document.createElement("input");
          Object.assign(radio, { type: "radio", name: "stand-in-outcome", value: outcome, checked: number === 0 });
          label.append(radio, " ", text);
          return label;
        }),
      );
    }
    outcome() {
      return this.place.querySelector("input:checked").value;
    }
  }

  class Elements {
    constructor(clientSecret) {
      this.clientSecret = clientSecret;
    }
    create() {
      this.element = new PaymentElement();
      return this.element;
    }
  }

  window.Stripe = () => ({
    elements: ({ clientSecret }) => new Elements(clientSecret),
    // The bank wants to hear from the card's owner: its page, and back here.
    handleNextAction: ({ clientSecret }) => {
      const back = encodeURIComponent(location.href.split("?")[0] + "?answered=1");
      location.assign(`${base}/bank/${clientSecret.split("_secret_")[0]}?back=${back}`);
      return new Promise(() => {});
    },
    confirmPayment: ({ elements, confirmParams }) => {
      const form = document.createElement("form");
      form.method = "post";
      form.action = `${base}/v3/confirm/${elements.clientSecret.split("_secret_")[0]}`;
      field(form, "client_secret", elements.clientSecret);
      field(form, "outcome", elements.element.outcome());
      field(form, "return_url", confirmParams.return_url);
      document.body.append(form);
      form.submit();
      return new Promise(() => {});
    },
  });
})();
