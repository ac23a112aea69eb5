import { createElement as h } from "react";
import {
  BillingHistory, CheckoutButton, CreditsDisplay, CreditsWarning, PackSelector, PlanSelector, PurchaseDialog, SubscriptionStatus, TegoedProvider,
  UsageAnalytics, useCredits,
} from "../dist/index.js";

function Told() {
  const { credits, isLow } = useCredits();
  return h("p", { id: "told" }, credits === null ? "not known yet" : `${credits} by the hook${isLow ? ", low" : ""}`);
}

export function App({ server }) {
  return h(TegoedProvider, { server, tokenUrl: "/token", checkoutUrl: "/checkout" },
    h("h1", {}, "An app"), h(Told), h(CreditsDisplay), h(CreditsWarning), h("h2", {}, "Plan"), h(SubscriptionStatus), h("h2", {}, "Packs"), h(PackSelector),
    h("h2", {}, "Plans"), h(PlanSelector, { interval: "year" }), h("h2", {}, "Paid"), h(BillingHistory), h("h2", {}, "Used"), h(UsageAnalytics, { days: 7 }), h(PurchaseDialog),
    h(CheckoutButton, { item: "credits-50" }, "Fifty more"));
}
