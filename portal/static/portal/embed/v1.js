/*
 * Credits in any web page: custom elements, without a build step.
 *
 *   <script type="module" src="https://credits.example.com/embed/v1.js"></script>
 *   <tegoed-provider token-url="/api/credits-token" checkout-url="/api/credits-checkout">
 *     <tegoed-credits></tegoed-credits> <tegoed-warning></tegoed-warning> <tegoed-packs></tegoed-packs>
 *   </tegoed-provider>
 *
 * `token-url` is your backend's: a GET, with the page's cookies, answers {"token": …} for who is signed in (POST /auth/tokens). `checkout-url` is
 * as well: it is posted {"item": …, "interval": "month" | "year" for a plan, "return_url": this page} and answers {"url": …} (POST
 * /billing/checkouts, with return_url as success_url and cancel_url). `csrf-token` is sent along as X-CSRFToken. Without a checkout-url, buying is
 * done with the token, which then needs billing:write. `manage-url` is posted {"page": "billing", "return_url": this page} and answers {"url": …} (POST
 * /customer-sessions): whoever has a plan changes it there, and sees first what that costs. `token` is a token that you keep fresh, instead of token-url.
 * Colours and fonts are CSS variables: --tegoed-accent, --tegoed-on-accent, --tegoed-text, --tegoed-soft, --tegoed-line, --tegoed-ground, --tegoed-radius.
 */

const HOME = new URL(import.meta.url).origin;
const KEPT_MS = 5 * 60_000; // a token whose end is not told

const TEXTS = {
  en: {
    credits: (n) => `${n} ${n === 1 ? "credit" : "credits"}`, today: (left, of) => `${left}/${of} today`, buy: "Buy credits", buyThis: "Buy", choose: "Choose", changeTo: "Change to", manage: "Manage your plan", loading: "Loading…",
    low: (n) => (n ? `Only ${n} ${n === 1 ? "credit" : "credits"} left.` : "You are out of credits."), retry: "Try again", failed: "This cannot be shown right now.", notBought: "The purchase could not be started. Nothing was charged; try again.", close: "Close", onTop: (n) => `${n} on top`,
    blocked: { account_frozen: "Spending is stopped for now.", account_in_debt: "Credits are owed. Buy some to go on.", daily_cap_reached: "Today's limit of paid credits is reached.", insufficient_credits: "You are out of credits." },
    kinds: { free_daily: "Free today", free_monthly: "Free this month", plan: "From your plan", purchased: "Bought", promo: "Bonus", grant: "Given to you" },
    until: (day) => `until ${day}`, once: "", month: "a month", year: "a year", free: "Free", yours: "Your plan", monthly: "Monthly", yearly: "Yearly", interval: "Billed", noPlan: "No plan", renews: (day) => `Renews on ${day}`, ends: (day) => `Ends on ${day}`,
    trial: (day) => `On trial until ${day}`, status: { past_due: "Payment failed", unpaid: "Unpaid", paused: "Paused" }, date: "Date", what: "What", amount: "Amount", state: "Status", invoice: "Invoice", receipt: "Receipt", nothing: "Nothing yet.",
    used: (n, days) => `${n} ${n === 1 ? "credit" : "credits"} in ${days} days`, day: "Day", most: (n) => `at most ${n} a day`, history: "Billing history", usage: "Usage", packs: "Packs", plans: "Plans", days: (n) => `${n} days free`, more: (n) => `${n} more to come`,
  },
  nl: {
    credits: (n) => `${n} ${n === 1 ? "credit" : "credits"}`, today: (left, of) => `${left}/${of} vandaag`, buy: "Credits kopen", buyThis: "Koop", choose: "Kies", changeTo: "Stap over op", manage: "Beheer je abonnement", loading: "Laden…",
    low: (n) => (n ? `Nog maar ${n} ${n === 1 ? "credit" : "credits"}.` : "Je credits zijn op."), retry: "Probeer opnieuw", failed: "Dit kan nu niet worden getoond.", notBought: "Het kopen is niet begonnen. Er is niets betaald; probeer het opnieuw.", close: "Sluiten", onTop: (n) => `${n} erbovenop`,
    blocked: { account_frozen: "Je kunt nu even geen credits gebruiken.", account_in_debt: "Er staan credits open. Koop er om verder te gaan.", daily_cap_reached: "De daglimiet van betaalde credits is bereikt.", insufficient_credits: "Je credits zijn op." },
    kinds: { free_daily: "Gratis vandaag", free_monthly: "Gratis deze maand", plan: "Van je abonnement", purchased: "Gekocht", promo: "Bonus", grant: "Gekregen" },
    until: (day) => `tot ${day}`, once: "", month: "per maand", year: "per jaar", free: "Gratis", yours: "Je abonnement", monthly: "Per maand", yearly: "Per jaar", interval: "Betalen", noPlan: "Geen abonnement", renews: (day) => `Wordt verlengd op ${day}`, ends: (day) => `Loopt tot ${day}`,
    trial: (day) => `Proefperiode tot ${day}`, status: { past_due: "Betaling mislukt", unpaid: "Niet betaald", paused: "Gepauzeerd" }, date: "Datum", what: "Wat", amount: "Bedrag", state: "Status", invoice: "Factuur", receipt: "Bon", nothing: "Nog niets.",
    used: (n, days) => `${n} ${n === 1 ? "credit" : "credits"} in ${days} dagen`, day: "Dag", most: (n) => `hoogstens ${n} per dag`, history: "Betaalgeschiedenis", usage: "Verbruik", packs: "Pakketten", plans: "Abonnementen", days: (n) => `${n} dagen gratis`, more: (n) => `nog ${n}`,
  },
};

const STYLE = new CSSStyleSheet();
STYLE.replaceSync(`
:host { --a: var(--tegoed-accent, #236857); --on: var(--tegoed-on-accent, #fff); --t: var(--tegoed-text, inherit); --s: var(--tegoed-soft, #54645e); --l: var(--tegoed-line, #dbe3df); --g: var(--tegoed-ground, transparent); --r: var(--tegoed-radius, 10px); display: block; color: var(--t); font: inherit; line-height: 1.45; }
:host([hidden]) { display: none; }
:host(tegoed-credits), :host(tegoed-buy), :host(tegoed-manage) { display: inline-block; }
* { box-sizing: border-box; }
h3 { margin: 0; font-size: 1.05em; }
p { margin: .25em 0; }
ul { margin: .5em 0; padding-left: 1.2em; }
.soft { color: var(--s); }
.pill { display: inline-flex; gap: .5em; align-items: baseline; padding: .3em .8em; border: 1px solid var(--l); border-radius: 999px; background: var(--g); font-variant-numeric: tabular-nums; white-space: nowrap; }
summary { cursor: pointer; list-style: none; }
summary::-webkit-details-marker { display: none; }
summary:focus-visible { outline: 3px solid var(--a); outline-offset: 2px; }
details { position: relative; }
.lots { position: absolute; z-index: 10; min-width: max-content; margin: .3em 0; padding: .6em 1em; list-style: none; border: 1px solid var(--l); border-radius: var(--r); color: var(--tegoed-text, #16241f); background: var(--tegoed-dialog, #fff); }
.cards { display: grid; gap: .8em; grid-template-columns: repeat(auto-fit, minmax(min(12em, 100%), 1fr)); }
.card { display: flex; flex-direction: column; gap: .35em; padding: 1em; border: 1px solid var(--l); border-radius: var(--r); background: var(--g); }
.card.mine { border-color: var(--a); }
.card button, .yours { margin-top: auto; }
.yours { min-height: 2.5em; padding: .5em 0; }
.axis { display: flex; justify-content: space-between; gap: 1em; font-size: .85em; border-top: 1px solid var(--l); padding-top: .2em; }
.price { font-size: 1.4em; font-weight: 700; }
button { font: inherit; font-weight: 600; min-height: 2.5em; padding: .4em 1em; border: 1px solid var(--a); border-radius: var(--r); background: var(--a); color: var(--on); cursor: pointer; }
button.plain { background: none; color: inherit; border-color: var(--l); }
button[aria-pressed=true] { border-color: var(--a); box-shadow: inset 0 0 0 1px var(--a); }
button:focus-visible, a:focus-visible { outline: 3px solid var(--a); outline-offset: 2px; }
button:disabled { opacity: .6; cursor: default; }
.warning { display: flex; flex-wrap: wrap; gap: .5em 1em; align-items: center; justify-content: space-between; padding: .7em 1em; border: 1px solid var(--l); border-left: 4px solid var(--a); border-radius: var(--r); }
.switch { display: inline-flex; gap: .4em; margin-bottom: .8em; }
table { width: 100%; border-collapse: collapse; font-size: .95em; }
th, td { padding: .45em .5em; border-bottom: 1px solid var(--l); text-align: left; }
th { font-weight: 600; color: var(--s); }
.number { text-align: right; font-variant-numeric: tabular-nums; }
a { color: inherit; }
svg { display: block; width: 100%; height: 6em; }
rect { fill: var(--a); }
dialog { width: min(46em, calc(100vw - 2em)); max-height: calc(100vh - 4em); overflow: auto; border: 1px solid var(--l); border-radius: var(--r); padding: 1.2em; color: var(--tegoed-text, #16241f); background: var(--tegoed-dialog, #fff); }
dialog::backdrop { background: rgb(0 0 0 / 45%); }
dialog h2 { margin: 0; }
dialog h3 { margin: 1.2em 0 .5em; }
.head { display: flex; justify-content: space-between; align-items: center; gap: 1em; }
.hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
`);

/** Text and elements, never markup: what the server says cannot become a tag. */
function node(tag, attributes = {}, ...children) {
  const svg = ["svg", "rect", "title"].includes(tag);
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

/** Only addresses of the web are followed. */
function safe(url) {
  try {
    return ["https:", "http:"].includes(new URL(url, location.href).protocol) ? url : null;
  } catch {
    return null;
  }
}

/** This page, without the place on it. */
function here() {
  return location.href.split("#")[0];
}

/** What to throw for an answer that is none: with what it says of itself. */
async function refusal(asked, response) {
  return Object.assign(new Error(`${asked}: ${response.status}`), { status: response.status, problem: await response.json().catch(() => ({})) });
}

/** What the elements in it share: a token, the account's state, and one stream of its changes. */
class Provider extends HTMLElement {
  #token = null; // of a promise: elements that start together ask once
  #until = 0;
  #end = null;
  #listeners = new Set();
  balance = null;

  connectedCallback() {
    this.style.display = "contents";
    this.#watch();
  }
  disconnectedCallback() {
    this.#end?.abort();
    this.#end = null;
  }
  get server() {
    return (this.getAttribute("server") ?? HOME).replace(/\/$/, "");
  }
  get language() {
    const wanted = (this.getAttribute("lang") || this.closest("[lang]")?.lang || document.documentElement.lang || "en").slice(0, 2);
    return wanted in TEXTS ? wanted : "en";
  }
  /** Have a function called at once and after each change; answers what ends that. */
  listen(listener) {
    this.#listeners.add(listener);
    if (this.balance) listener(this.balance);
    return () => this.#listeners.delete(listener);
  }
  async token() {
    const given = this.getAttribute("token");
    if (given) return given;
    const address = this.getAttribute("token-url");
    if (!address) return null;
    if (!this.#token || Date.now() > this.#until) {
      this.#until = Date.now() + KEPT_MS;
      const asked = this.#fetchToken(address);
      asked.catch(() => this.#forget(asked));
      this.#token = asked;
    }
    return this.#token;
  }
  async #fetchToken(address) {
    const response = await fetch(address, { credentials: "same-origin", headers: { Accept: "application/json" } });
    if (!response.ok) throw await refusal(address, response);
    const { token, expires_at: expires } = await response.json();
    // Anew half a minute before it is over, or halfway, if it is a short one.
    const left = Date.parse(expires) - Date.now();
    if (left > 0) this.#until = Date.now() + Math.min(KEPT_MS, Math.max(left - 30_000, left / 2));
    return token;
  }
  #forget(token) {
    if (this.#token === token) this.#token = null;
  }
  async ask(path, { method = "GET", body, key, signal, stream = false } = {}) {
    const token = await this.token();
    const used = this.#token;
    const headers = { Accept: stream ? "text/event-stream" : "application/json", "Accept-Language": this.language };
    if (token) headers.Authorization = `Bearer ${token}`;
    if (key) headers["Idempotency-Key"] = key;
    if (body) headers["Content-Type"] = "application/json";
    const response = await fetch(`${this.server}/api/v1${path}`, { method, headers, signal, credentials: "omit", body: body && JSON.stringify(body) });
    if (response.status === 401) this.#forget(used);
    if (!response.ok) throw await refusal(path, response);
    return stream ? response : response.json();
  }
  async refresh() {
    this.balance = await this.ask("/credits/balance");
    for (const listener of this.#listeners) listener(this.balance);
    this.dispatchEvent(new CustomEvent("tegoed-balance", { detail: this.balance, bubbles: true }));
  }
  /** Ask an address of the app's backend, as its own pages do. */
  async #post(address, wanted) {
    const headers = { "Content-Type": "application/json", Accept: "application/json" };
    const csrf = this.getAttribute("csrf-token");
    if (csrf) headers["X-CSRFToken"] = csrf;
    const response = await fetch(address, { method: "POST", credentials: "same-origin", headers, body: JSON.stringify({ ...wanted, return_url: here() }) });
    if (!response.ok) throw await refusal(address, response);
    return response.json();
  }
  /** To the hosted billing page, where a plan is changed and ended. */
  async manage() {
    const url = safe((await this.#post(this.getAttribute("manage-url"), { page: "billing" })).url);
    if (url) location.assign(url);
  }
  /** Go and pay: by the backend's address, else with the token. */
  async buy(item, interval) {
    const wanted = { item, ...(interval && interval !== "once" ? { interval } : {}) };
    const address = this.getAttribute("checkout-url");
    let made;
    if (address) {
      made = await this.#post(address, wanted);
    } else {
      const start = (back) => this.ask("/billing/checkouts", { method: "POST", body: { ...wanted, ...back }, key: crypto.randomUUID() });
      made = await start({ success_url: here(), cancel_url: here() }).catch((error) => {
        if (error.problem?.code !== "foreign_url" && !error.problem?.errors?.some((one) => one.code === "foreign_url")) throw error;
        return start({}); // the server does not send anybody back to this page: its own then
      });
    }
    const url = safe(made.url);
    const goes = this.dispatchEvent(new CustomEvent("tegoed-checkout", { detail: { ...made, item }, bubbles: true, cancelable: true }));
    if (goes && url) location.assign(url);
  }
  async #watch() {
    this.#end = new AbortController();
    const { signal } = this.#end;
    let pause = 1000;
    while (!signal.aborted) {
      try {
        if (!this.balance) await this.refresh();
        pause = 1000;
        const response = await this.ask("/credits/stream", { stream: true, signal });
        const reader = response.body.getReader();
        // Also at its first word: no second one says what changed while it was being connected.
        while (!(await reader.read()).done) await this.refresh();
      } catch (error) {
        if (signal.aborted) return;
        for (const listener of this.#listeners) if (!this.balance) listener(null, error);
        pause = Math.min(pause * 2, 60_000);
      }
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }
}

class Part extends HTMLElement {
  #stop = null;
  #shown = this.attachShadow({ mode: "open" });

  connectedCallback() {
    this.#shown.adoptedStyleSheets = [STYLE];
    this.provider = this.within ?? this.closest("tegoed-provider") ?? document.querySelector("tegoed-provider");
    if (!this.provider) return this.show(node("p", { role: "alert" }, `<${this.localName}> wants a <tegoed-provider> around it.`));
    customElements.upgrade(this.provider);
    this.show(node("p", { class: "soft", role: "status" }, this.text.loading));
    this.start?.();
    if (this.changed) this.#stop = this.provider.listen((balance, error) => (error ? this.fail(() => this.provider.refresh()) : this.changed(balance)));
  }
  disconnectedCallback() {
    this.#stop?.();
  }
  get text() {
    return TEXTS[this.provider?.language ?? "en"];
  }
  get shown() {
    return this.#shown;
  }
  show(...nodes) {
    this.#shown.replaceChildren(...nodes.flat().filter(Boolean));
  }
  async load(path, render) {
    try {
      render(await this.provider.ask(path));
    } catch {
      this.fail(() => this.load(path, render));
    }
  }
  fail(again) {
    this.show(node("p", { role: "alert" }, this.text.failed, " ", node("button", { class: "plain", onclick: again }, this.text.retry)));
  }
  money(minor, currency) {
    const format = new Intl.NumberFormat(this.provider.language, { style: "currency", currency });
    return format.format(minor / 10 ** (format.resolvedOptions().maximumFractionDigits ?? 2));
  }
  date(text) {
    return new Intl.DateTimeFormat(this.provider.language, { dateStyle: "medium" }).format(new Date(text));
  }
  buyButton(label, item, interval) {
    return this.button(label, () => this.provider.buy(item, interval), this.text.notBought);
  }
  /** A button that says beside it what went wrong. */
  button(label, act, failed) {
    const told = node("p", { role: "alert", hidden: true });
    const button = node("button", { onclick: async () => {
      button.disabled = told.hidden = true;
      try {
        await act();
      } catch (error) {
        console.error(error);
        const detail = error.problem?.detail;
        told.textContent = typeof detail === "string" && detail ? detail : failed;
        told.hidden = false;
      } finally {
        button.disabled = false;
      }
    } }, label);
    return [told, button];
  }
}

/** <tegoed-credits>: what can be spent, what is free today, and (opened) what it is made of. */
class Credits extends Part {
  changed(balance) {
    const today = balance.free_today;
    const isOpen = this.shown.querySelector("details")?.open;
    const lots = balance.buckets.map((bucket) => node("li", {}, `${this.text.kinds[bucket.kind] ?? bucket.kind}: ${bucket.remaining}`, bucket.expires_at && ` (${this.text.until(this.date(bucket.expires_at))})`));
    this.show(node("details", { open: isOpen }, node("summary", { class: "pill" }, node("strong", {}, this.text.credits(balance.spendable)),
      today && node("span", { class: "soft" }, this.text.today(today.remaining, today.limit))), node("ul", { class: "lots" }, lots.length ? lots : node("li", {}, this.text.nothing))));
  }
}

/** <tegoed-warning>: nothing, until credits are low or cannot be spent. */
class Warning extends Part {
  changed(balance) {
    const code = balance.blocked?.code;
    const isShown = balance.low || code;
    this.hidden = !isShown;
    const opens = node("button", { onclick: () => openDialog(this.provider) }, this.text.buy);
    this.show(isShown && node("div", { class: "warning", role: "status" }, node("span", {}, (code && this.text.blocked[code]) || this.text.low(balance.spendable)), code === "account_frozen" ? "" : opens));
  }
}

/** <tegoed-packs>: credits to buy once. */
class Packs extends Part {
  start() {
    this.load("/billing/catalogue", ({ packs }) => this.show(packs.length ? node("div", { class: "cards" }, packs.map((pack) => node("section", { class: "card", "aria-label": pack.name },
      node("h3", {}, pack.name), node("span", { class: "price" }, this.money(pack.amount, pack.currency)),
      (pack.bonus || pack.promotion) && node("span", { class: "soft" }, this.text.onTop(pack.bonus + (pack.promotion?.credits ?? 0))),
      this.buyButton(`${this.text.buyThis} ${pack.name}`, pack.code)))) : node("p", { class: "soft" }, this.text.nothing)));
  }
}

/** <tegoed-plans interval="month|year">: plans, with a switch where there are both. */
class Plans extends Part {
  async start() {
    try {
      const [{ plans }, running] = await Promise.all([this.provider.ask("/billing/catalogue"), this.provider.ask("/billing/subscription").catch(() => ({ plan: null }))]);
      this.render(plans, running, this.getAttribute("interval") ?? "month");
    } catch {
      this.fail(() => this.start());
    }
  }
  render(plans, running, interval) {
    const intervals = [...new Set(plans.flatMap((plan) => plan.prices.map((price) => price.interval)))].filter((one) => one !== "once");
    const pick = (one) => node("button", { class: "plain", "aria-pressed": String(one === interval), onclick: () => this.render(plans, running, one) }, one === "year" ? this.text.yearly : this.text.monthly);
    this.show(intervals.length > 1 && node("div", { class: "switch", role: "group", "aria-label": this.text.interval }, intervals.map(pick)),
      node("div", { class: "cards" }, plans.map((plan) => {
        const price = plan.prices.find((one) => one.interval === interval) ?? plan.prices[0];
        const isMine = plan.code === running.plan && (!running.interval || !price || price.interval === running.interval);
        return node("section", { class: `card${isMine ? " mine" : ""}`, "aria-label": plan.name }, node("h3", {}, plan.name),
          price && [node("span", { class: "price" }, this.money(price.amount, price.currency)), node("span", { class: "soft" }, this.text[price.interval])],
          plan.trial_days ? node("span", { class: "soft" }, this.text.days(plan.trial_days)) : "", node("ul", {}, plan.features.map((line) => node("li", {}, line))),
          isMine ? node("strong", { class: "yours" }, this.text.yours) : price && this.chooseButton(plan, price, running));
      })));
  }
  /** Who has a paid plan does not buy a second one: it is changed where its price and its next invoice are shown. */
  chooseButton(plan, price, running) {
    if (!running.interval) return this.buyButton(`${this.text.choose} ${plan.name}`, plan.code, price.interval);
    if (!this.provider.hasAttribute("manage-url")) return null;
    return this.button(`${this.text.changeTo} ${plan.name}`, () => this.provider.manage(), this.text.failed);
  }
}

/** <tegoed-manage>Manage your plan</tegoed-manage>: to the hosted billing page, by the provider's manage-url. */
class Manage extends Part {
  start() {
    this.show(this.button(this.textContent.trim() || this.text.manage, () => this.provider.manage(), this.text.failed));
  }
}

/** <tegoed-buy item="credits-20">Buy 20 credits</tegoed-buy>: one button. */
class Buy extends Part {
  start() {
    this.show(this.buyButton(this.textContent.trim() || this.text.buy, this.getAttribute("item"), this.getAttribute("interval")));
  }
}

/** <tegoed-purchase-dialog>: packs and plans over the page; `open()`, or any element with data-tegoed-open. */
class PurchaseDialog extends Part {
  start() {
    this.dialog = node("dialog", { "aria-label": this.text.buy }, node("div", { class: "head" }, node("h2", {}, this.text.buy), node("button", { class: "plain", onclick: () => this.dialog.close() }, this.text.close)));
    this.show(this.dialog);
  }
  open() {
    if (!this.dialog.querySelector("tegoed-packs")) {
      for (const [title, tag] of [[this.text.packs, "tegoed-packs"], [this.text.plans, "tegoed-plans"]]) {
        const part = document.createElement(tag);
        part.within = this.provider;
        this.dialog.append(node("h3", {}, title), part);
      }
    }
    this.dialog.showModal();
  }
}

function openDialog(provider) {
  let dialog = provider.querySelector("tegoed-purchase-dialog") ?? document.querySelector("tegoed-purchase-dialog");
  if (!dialog) provider.append((dialog = document.createElement("tegoed-purchase-dialog")));
  dialog.open();
}

document.addEventListener("click", (event) => {
  const opener = event.target instanceof Element && event.target.closest("[data-tegoed-open]");
  const provider = opener && (opener.closest("tegoed-provider") ?? document.querySelector("tegoed-provider"));
  if (provider) openDialog(provider);
});

/** <tegoed-subscription>: the plan as it runs. */
class SubscriptionStatus extends Part {
  changed() {
    this.load("/billing/subscription", (running) => {
      const when = running.current_period_end && this.date(running.current_period_end);
      const state = this.text.status[running.status] ?? (running.is_paused ? this.text.status.paused : running.trial_ends_at ? this.text.trial(this.date(running.trial_ends_at)) : running.ends_then ? this.text.ends(when) : when ? this.text.renews(when) : "");
      const price = running.amount !== null && running.currency ? `${this.money(running.amount, running.currency)} ${this.text[running.interval] ?? ""}` : "";
      this.show(node("p", {}, node("strong", {}, running.name ?? this.text.noPlan), price && ` ${price}`), state && node("p", { class: "soft" }, state));
    });
  }
}

/** <tegoed-history>: what was paid, with invoices and receipts. */
class History extends Part {
  async changed() {
    try {
      const [invoices, orders] = await Promise.all([this.provider.ask("/billing/invoices"), this.provider.ask("/billing/orders?limit=50")]);
      const link = (url, label) => (safe(url) ? node("a", { href: url, rel: "noopener" }, label) : "");
      const rows = [
        ...invoices.data.map((row) => [row.created, row.number ?? this.text.invoice, row.total, row.currency, link(row.url, this.text.invoice)]),
        ...orders.data.filter((row) => row.paid !== null && row.paid > 0 && row.receipt_url).map((row) => [row.created, row.description, row.paid, row.currency, link(row.receipt_url, this.text.receipt)]),
      ].sort((one, other) => (one[0] < other[0] ? 1 : -1));
      const head = [this.text.date, this.text.what, this.text.amount, this.text.receipt];
      this.show(rows.length ? node("table", {}, node("caption", { class: "hidden" }, this.text.history), node("thead", {}, node("tr", {}, head.map((name, place) => node("th", { scope: "col", class: place === 2 ? "number" : false }, name)))),
        node("tbody", {}, rows.map(([at, what, amount, currency, paper]) => node("tr", {}, node("td", {}, this.date(at)), node("td", {}, what), node("td", { class: "number" }, this.money(amount, currency)), node("td", {}, paper))))) : node("p", { class: "soft" }, this.text.nothing));
    } catch {
      this.fail(() => this.changed());
    }
  }
}

/** <tegoed-usage days="30">: a bar a day. */
class Usage extends Part {
  changed() {
    const days = Math.min(Math.max(Number(this.getAttribute("days")) || 30, 1), 366);
    const first = new Date(Date.now() - (days - 1) * 86_400_000).toISOString().slice(0, 10);
    this.load(`/usage/summary?group_by=day&from=${first}`, ({ data, total }) => {
      const most = Math.max(...data.map((row) => row.credits), 1);
      const place = new Map(data.map((row) => [row.day, row.credits]));
      const bars = Array.from({ length: days }, (_, number) => new Date(Date.parse(first) + number * 86_400_000).toISOString().slice(0, 10)).map((day, number) => {
        const height = ((place.get(day) ?? 0) / most) * 100;
        return node("rect", { x: number * 10 + 1, y: 100 - height, width: 8, height }, node("title", {}, `${this.date(day)}: ${place.get(day) ?? 0}`));
      });
      const told = this.text.used(total.credits - total.returned, days);
      if (!data.length) return this.show(node("p", {}, told));
      const axis = node("div", { class: "axis soft", "aria-hidden": "true" }, node("span", {}, this.date(first)), node("span", {}, this.text.most(most)), node("span", {}, this.date(new Date().toISOString())));
      this.show(node("p", {}, told), node("svg", { viewBox: `0 0 ${days * 10} 100`, preserveAspectRatio: "none", role: "img", "aria-label": told }, bars), axis,
        node("table", { class: "hidden" }, node("caption", {}, this.text.usage), node("tbody", {}, data.map((row) => node("tr", {}, node("th", { scope: "row" }, row.day), node("td", {}, String(row.credits)))))));
    });
  }
}

for (const [name, kind] of Object.entries({
  provider: Provider, credits: Credits, warning: Warning, packs: Packs, plans: Plans, buy: Buy, manage: Manage, "purchase-dialog": PurchaseDialog,
  subscription: SubscriptionStatus, history: History, usage: Usage,
})) {
  if (!customElements.get(`tegoed-${name}`)) customElements.define(`tegoed-${name}`, kind);
}
