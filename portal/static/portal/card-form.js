// The card form: Stripe's script shows the fields and takes the card; the page we go back to asks how it stands.
"use strict";
(() => {
  const form = document.getElementById("card-form");
  const problem = document.getElementById("card-problem");
  const stripe = window.Stripe(form.dataset.key);
  const elements = stripe.elements({ clientSecret: form.dataset.secret });
  elements.create("payment").mount("#card-fields");

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    button.disabled = true;
    problem.hidden = true;
    const { error } = await stripe.confirmPayment({ elements, confirmParams: { return_url: form.dataset.return } });
    // Only a refusal comes back here; otherwise the browser is on its way to the return page.
    problem.textContent = error.message;
    problem.hidden = false;
    button.disabled = false;
  });
})();
