// A payment that the bank wants approved: Stripe's script shows the bank's question, and we look how it stands then.
"use strict";
(() => {
  const form = document.getElementById("approve-form");
  const problem = document.getElementById("approve-problem");
  const stripe = window.Stripe(form.dataset.key);

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    button.disabled = true;
    problem.hidden = true;
    const { error } = await stripe.handleNextAction({ clientSecret: form.dataset.secret });
    if (!error) {
      location.assign(form.dataset.return + "?answered=1");
      return;
    }
    problem.textContent = error.message;
    problem.hidden = false;
    button.disabled = false;
  });
})();
