/**
 * Credits in a React app.
 *
 *     <TegoedProvider server="https://credits.example.com" tokenUrl="/api/credits-token" checkoutUrl="/api/credits-checkout">
 *       <CreditsDisplay /> <CreditsWarning /> <PackSelector />
 *     </TegoedProvider>
 *
 * The components are the server's own custom elements (`/embed/v1.js`), loaded when the page is in a browser; on the server they are
 * empty tags, so that nothing differs when React takes over. The hooks say what the elements know.
 */

"use client";

import {
  createContext, createElement, type CSSProperties, type HTMLAttributes, type ReactElement, type ReactNode, useCallback, useContext, useEffect,
  useMemo, useRef, useState,
} from "react";

/** What can be spent now, as the API answers it (`GET /credits/balance`). */
export interface Balance {
  account: string;
  available: number;
  spendable: number;
  blocked: { code: string; until: string | null } | null;
  held: number;
  debt: number;
  low: boolean;
  buckets: { kind: string; remaining: number; expires_at: string | null }[];
  free_today: { limit: number; used: number; remaining: number; resets_at: string } | null;
  next_refill: { amount: number; at: string } | null;
}

/** A purchase that was begun. */
export interface CheckoutStarted {
  item: string;
  id?: string;
  url: string;
}

interface ProviderElement extends HTMLElement {
  balance: Balance | null;
  buy(item: string, interval?: string): Promise<void>;
  refresh(): Promise<void>;
}

interface Shared {
  balance: Balance | null;
  isReady: boolean;
  element: () => ProviderElement | null;
}

const Context = createContext<Shared | null>(null);

export interface TegoedProviderProps {
  /** Where the server is. */
  server: string;
  /** An address of your backend that answers {"token": …} for who is signed in. */
  tokenUrl?: string;
  /** Or a token, that you keep fresh. */
  token?: string;
  /** An address of your backend that is posted {item, interval?, return_url} and answers {"url": …}. Without it, the token needs billing:write. */
  checkoutUrl?: string;
  /** An address of your backend that is posted {page, return_url} and answers {"url": …}: the hosted page where a plan is changed. */
  manageUrl?: string;
  /** Of a Django backend. */
  csrfToken?: string;
  /** en or nl; else that of the page. */
  lang?: string;
  /** CSS variables: --tegoed-accent and others. */
  style?: CSSProperties;
  /** Before the browser goes to pay; answer false to do that yourself. */
  onCheckout?: (started: CheckoutStarted) => boolean | void;
  children?: ReactNode;
}

/** What the components and hooks in it share. */
export function TegoedProvider({ server, tokenUrl, token, checkoutUrl, manageUrl, csrfToken, lang, style, onCheckout, children }: TegoedProviderProps): ReactElement {
  const element = useRef<ProviderElement | null>(null);
  const [balance, setBalance] = useState<Balance | null>(null);
  const [isReady, setReady] = useState(false);
  const asked = useRef(onCheckout);
  asked.current = onCheckout;

  useEffect(() => {
    const provider = element.current;
    const changed = (event: Event) => setBalance((event as CustomEvent<Balance>).detail);
    const begun = (event: Event) => {
      if (asked.current?.((event as CustomEvent<CheckoutStarted>).detail) === false) event.preventDefault();
    };
    provider?.addEventListener("tegoed-balance", changed);
    provider?.addEventListener("tegoed-checkout", begun);
    let isHere = true;
    load(server).then(
      () => {
        if (!isHere) return;
        setReady(true);
        if (provider?.balance) setBalance(provider.balance);
      },
      (error: unknown) => console.error(error),
    );
    return () => {
      isHere = false;
      provider?.removeEventListener("tegoed-balance", changed);
      provider?.removeEventListener("tegoed-checkout", begun);
    };
  }, [server]);

  const shared = useMemo<Shared>(() => ({ balance, isReady, element: () => element.current }), [balance, isReady]);
  const attributes = { ref: element, server, "token-url": tokenUrl, token, "checkout-url": checkoutUrl, "manage-url": manageUrl, "csrf-token": csrfToken, lang, style: { display: "contents", ...style } };
  return createElement(Context.Provider, { value: shared }, createElement("tegoed-provider", attributes, children));
}

/** The balance as it changes: null until it is known. `refresh` asks again at once. */
export function useCredits(): { balance: Balance | null; credits: number | null; isLow: boolean; refresh: () => Promise<void> } {
  const { balance, element } = useShared("useCredits");
  const refresh = useCallback(async () => element()?.refresh?.(), [element]);
  return { balance, credits: balance?.spendable ?? null, isLow: balance?.low ?? false, refresh };
}

/** Begin a purchase: `buy("credits-20")`, `buy("pro", "year")`. The browser goes to pay. */
export function useCheckout(): { buy: (item: string, interval?: "month" | "year") => Promise<void>; isBusy: boolean; error: Error | null } {
  const { element, isReady } = useShared("useCheckout");
  const [isBusy, setBusy] = useState(false);
  const [error, setError] = useState<Error | null>(null);
  const buy = useCallback(
    async (item: string, interval?: "month" | "year") => {
      const provider = element();
      if (!isReady || !provider) return setError(new Error("The elements of the server are not loaded yet."));
      setBusy(true);
      setError(null);
      try {
        await provider.buy(item, interval);
      } catch (caught) {
        setError(caught instanceof Error ? caught : new Error(String(caught)));
      } finally {
        setBusy(false);
      }
    },
    [element, isReady],
  );
  return { buy, isBusy, error };
}

type Attributes = Pick<HTMLAttributes<HTMLElement>, "className" | "style" | "id">;

function part<Props extends object>(tag: string, named: (props: Props) => Record<string, unknown> = () => ({})) {
  function Part({ className, style, id, ...props }: Props & Attributes): ReactElement {
    useShared(tag);
    return createElement(tag, { class: className, style, id, ...named(props as unknown as Props) });
  }
  Part.displayName = tag;
  return Part;
}

/** What can be spent, "3/3 today", and (on hover and focus) what it is made of. */
export const CreditsDisplay = part("tegoed-credits");
/** Nothing, until credits are low or cannot be spent. */
export const CreditsWarning = part("tegoed-warning");
/** Credits to buy once. */
export const PackSelector = part("tegoed-packs");
/** Plans, with a switch between month and year. */
export const PlanSelector = part<{ interval?: "month" | "year" }>("tegoed-plans", ({ interval }) => ({ interval }));
/** Packs and plans over the page; any element with `data-tegoed-open` opens it. */
export const PurchaseDialog = part("tegoed-purchase-dialog");
/** The plan as it runs. */
export const SubscriptionStatus = part("tegoed-subscription");
/** What was paid, with invoices and receipts. */
export const BillingHistory = part("tegoed-history");
/** A button to the hosted page where a plan is changed, by the provider's `manageUrl`. */
export const ManagePlan = part("tegoed-manage");
/** A bar a day. */
export const UsageAnalytics = part<{ days?: number }>("tegoed-usage", ({ days }) => ({ days }));

/** One button that buys one thing. */
export function CheckoutButton({ item, interval, children, ...rest }: { item: string; interval?: "month" | "year"; children: ReactNode } & Attributes): ReactElement {
  const { buy, isBusy, error } = useCheckout();
  return createElement(
    "span",
    {},
    createElement("button", { type: "button", disabled: isBusy, onClick: () => void buy(item, interval), ...rest }, children),
    error && createElement("span", { role: "alert" }, ` ${error.message}`),
  );
}

function useShared(who: string): Shared {
  const shared = useContext(Context);
  if (!shared) throw new Error(`${who} wants a <TegoedProvider> around it.`);
  return shared;
}

const loading = new Map<string, Promise<void>>();

/** The server's elements, once. */
function load(server: string): Promise<void> {
  const address = `${server.replace(/\/$/, "")}/embed/v1.js`;
  let known = loading.get(address);
  if (!known) {
    known = new Promise<void>((resolve, reject) => {
      const script = Object.assign(document.createElement("script"), { type: "module", src: address });
      script.addEventListener("load", () => resolve());
      script.addEventListener("error", () => {
        loading.delete(address);
        reject(new Error(`${address} cannot be loaded: is this page's origin among the server's App addresses?`));
      });
      document.head.append(script);
    });
    loading.set(address, known);
  }
  return known;
}
