/**
 * A client of a Tegoed server.
 *
 * Every operation of the API is there by its name (`client.call("spend_credits", …)`), typed by the server's own
 * description; what apps do every day has a method.
 */

import { ApiError, ConnectionFailed, errorOf, type Problem, TegoedError } from "./errors.js";
import { OPERATIONS } from "./operations.js";
import type { components, operations } from "./schema.js";

export * from "./errors.js";
export { ForgedWebhook, type HeadersLike, verifyWebhook, type WebhookEvent } from "./webhooks.js";
export type { components, operations } from "./schema.js";

/** The version of this package. */
export const VERSION = "0.2.0";

type Operation = keyof typeof OPERATIONS & keyof operations;
type Part<T, Name extends string> = T extends { [name in Name]?: infer Value } ? Value : never;
type Json<T> = T extends { content: { "application/json": infer Body } } ? Body : never;
type Parameters_<Name extends Operation> = Part<operations[Name], "parameters">;
type Query<Name extends Operation> = Partial<NonNullable<Part<Parameters_<Name>, "query">>>;
type Path<Name extends Operation> = NonNullable<Part<Parameters_<Name>, "path">>;
type Body<Name extends Operation> = Json<NonNullable<Part<operations[Name], "requestBody">>>;
type Responses<Name extends Operation> = Part<operations[Name], "responses">;

/** What an operation answers; nothing for one that only does. */
export type Answer<Name extends Operation> =
  Responses<Name> extends { 200: infer Ok } ? Json<Ok> : Responses<Name> extends { 201: infer Made } ? Json<Made> : undefined;

/** What a call is given: the path's parts, the query, the body, and a key that makes sending it again safe. */
export interface CallOptions<Name extends Operation> {
  path?: Path<Name>;
  query?: Query<Name>;
  body?: Body<Name>;
  idempotencyKey?: string;
  signal?: AbortSignal;
}

/** An answer with what its headers say. */
export interface Answered<T> {
  data: T;
  status: number;
  requestId: string;
  /** Whether it was given before, to the same key. */
  isReplayed: boolean;
  /** Credits available after it, where the answer says so. */
  available: number | undefined;
}

export interface TegoedOptions {
  /** Where the server is, such as https://credits.example.com. */
  baseUrl: string;
  /** A key (`tg_…`) for servers; or a token for browsers, or what fetches one when it is needed. */
  key: string | (() => string | Promise<string>);
  /** Whose credits a service key spends, in every call that names no other: `acc_…`, or `ext:` and your own user id. */
  account?: string;
  /** Milliseconds for one try. 10,000 by default. */
  timeoutMs?: number;
  /** Tries after the first. 2 by default. */
  retries?: number;
  fetch?: typeof fetch;
}

type Schemas = components["schemas"];
export type Balance = Answer<"get_balance">;
export type Transaction = Answer<"get_transaction">;
export type Checkout = Answer<"get_checkout">;
export type Catalogue = Answer<"get_catalogue">;
export type Subscription = Answer<"get_subscription">;
export type HoldState = Answer<"get_hold">;

/** What a stream of an account says: `GET /credits/stream`. */
export interface AccountEvent {
  account: string;
  available: number;
  held: number;
  debt: number;
  low: boolean;
  frozen: boolean;
  changed: string | null;
  orders: { id: string; status: string }[];
}

type Work = { amount?: number; feature?: string; quantity?: number; account?: string };
type SpendOptions = Work & {
  description?: string;
  metadata?: Record<string, unknown>;
  usage?: Schemas["Usage"];
  idempotencyKey?: string;
  signal?: AbortSignal;
};

const RETRIED = new Set([502, 503, 504]);
const LONGEST_PAUSE_S = 60;

export class Tegoed {
  readonly #options: TegoedOptions;

  constructor(options: TegoedOptions) {
    if (!options.baseUrl) throw new TypeError("baseUrl is missing: where the server is, such as https://credits.example.com");
    if (/\/api(\/v1)?\/?$/.test(options.baseUrl)) throw new TypeError("baseUrl is the server's own address, without /api/v1");
    this.#options = options;
  }

  /** The same client for another account: `client.for("ext:42").balance()`. */
  for(account: string): Tegoed {
    return new Tegoed({ ...this.#options, account });
  }

  /** Any operation, by its name in the API's description. */
  async call<Name extends Operation>(name: Name, options: CallOptions<Name> = {}): Promise<Answer<Name>> {
    return (await this.ask(name, options)).data;
  }

  /** Like `call`, with what the answer's headers say. */
  async ask<Name extends Operation>(name: Name, options: CallOptions<Name> = {}): Promise<Answered<Answer<Name>>> {
    const response = await this.#send(name, options, "application/json");
    const isEmpty = response.status === 204;
    const text = isEmpty ? "" : await response.text();
    return {
      data: (isEmpty ? undefined : parsed(text, options.idempotencyKey)) as Answer<Name>,
      status: response.status,
      requestId: response.headers.get("Request-Id") ?? "",
      isReplayed: response.headers.get("Idempotent-Replayed") === "true",
      available: numberOf(response.headers.get("Credits-Available")),
    };
  }

  /** How much can be spent now, of what, and when there is more. */
  balance(options: { account?: string } = {}): Promise<Balance> {
    return this.call("get_balance", { query: this.#whose(options) });
  }

  /** Whether that could be spent right now. Advice only: `hold` sets credits aside. */
  check(work: Work): Promise<Answer<"check_credits">> {
    return this.call("check_credits", { body: { ...work, ...this.#whose(work) } });
  }

  /** Spend credits: `amount`, or a `feature` of the rate card. Without a key, one is made for the tries of this call. */
  spend({ idempotencyKey, signal, ...spend }: SpendOptions): Promise<Answer<"spend_credits">> {
    const body = { ...spend, ...this.#whose(spend) };
    return this.call("spend_credits", { body, idempotencyKey: idempotencyKey ?? newKey(), ...(signal && { signal }) });
  }

  /** Set credits aside for work whose cost is known only afterwards. Give it back with `release`. */
  async hold({ idempotencyKey, signal, ...hold }: SpendOptions & { expires_in?: number }): Promise<Hold> {
    const whose = this.#whose(hold);
    const body = { ...hold, ...whose };
    const state = await this.call("hold_credits", { body, idempotencyKey: idempotencyKey ?? newKey(), ...(signal && { signal }) });
    return new Hold(this, state, whose.account);
  }

  /**
   * Work under a hold: what it returns is charged by `capture`, and when it throws the credits go back.
   *
   *     const text = await client.withHold({ amount: 5, account }, async (hold) => {
   *       const answer = await ai(prompt);
   *       await hold.capture({ amount: answer.cost });
   *       return answer.text;
   *     });
   */
  async withHold<T>(options: SpendOptions & { expires_in?: number }, work: (hold: Hold) => Promise<T>): Promise<T> {
    const hold = await this.hold(options);
    try {
      return await work(hold);
    } catch (error) {
      // The first error counts, whatever becomes of giving back; a hold that nobody settles lapses by itself.
      await hold.release().catch(() => undefined);
      throw error;
    } finally {
      if (hold.isOpen) await hold.release().catch(() => undefined);
    }
  }

  /** Give a spend back, or a part of it (service keys). */
  reverse(transaction: string, options: { reason: string; amount?: number; account?: string; idempotencyKey?: string }) {
    const { idempotencyKey, ...body } = options;
    return this.call("reverse_transaction", {
      path: { transaction_id: transaction },
      body: { ...body, ...this.#whose(body) },
      idempotencyKey: idempotencyKey ?? newKey(),
    });
  }

  /** Give credits to an account (service keys). */
  grant(options: { amount: number; reason: string; kind?: "free" | "bonus" | "adjustment"; expires_at?: string; account?: string; idempotencyKey?: string }) {
    const { idempotencyKey, ...body } = options;
    const account = this.#whose(body).account;
    if (!account) throw new TypeError("account is missing: acc_… or ext:<your user id>");
    return this.call("grant_credits", { body: { ...body, account }, idempotencyKey: idempotencyKey ?? newKey() });
  }

  /** The ledger, latest first, page after page. */
  async *transactions(query: NonNullable<Query<"list_transactions">> = {}): AsyncGenerator<Transaction> {
    let cursor: string | undefined;
    do {
      const page = await this.call("list_transactions", { query: { ...query, ...this.#whose(query), ...(cursor && { cursor }) } });
      yield* page.data as Transaction[];
      cursor = page.next ?? undefined;
    } while (cursor);
  }

  /** What is for sale, with the promotions that the account gets. */
  catalogue(options: { account?: string } = {}): Promise<Catalogue> {
    return this.call("get_catalogue", { query: this.#whose(options) });
  }

  /** Start a purchase: send the customer to `url`. */
  checkout(item: string, options: Omit<Body<"create_checkout">, "item"> & { idempotencyKey?: string } = {}): Promise<Answer<"create_checkout">> {
    const { idempotencyKey, ...body } = options;
    return this.call("create_checkout", { body: { ...body, item, ...this.#whose(body) }, idempotencyKey: idempotencyKey ?? newKey() });
  }

  /** How a purchase stands. */
  getCheckout(id: string): Promise<Checkout> {
    return this.call("get_checkout", { path: { checkout_id: id } });
  }

  /** A purchase's end: completed, failed, expired. Asks every second, for at most `timeoutMs` (two minutes). */
  async waitForCheckout(id: string, options: { timeoutMs?: number; signal?: AbortSignal } = {}): Promise<Checkout> {
    const until = Date.now() + (options.timeoutMs ?? 120_000);
    for (;;) {
      const checkout = await this.getCheckout(id);
      if ((checkout.status !== "open" && checkout.status !== "processing") || Date.now() >= until) return checkout;
      await pause(1, options.signal);
    }
  }

  /** The plan as it runs. */
  subscription(options: { account?: string } = {}): Promise<Subscription> {
    return this.call("get_subscription", { query: this.#whose(options) });
  }

  /** A link, opened once, that lets a user of your app into the hosted pages (service keys). */
  customerSession(options: Omit<Body<"create_customer_session">, "account"> & { account?: string } = {}) {
    const account = this.#whose(options).account;
    if (!account) throw new TypeError("account is missing: acc_… or ext:<your user id>");
    return this.call("create_customer_session", { body: { ...options, account } });
  }

  /** A token for the browser of one customer: read-only, unless more `scopes` are asked for by name. */
  token(options: Body<"create_token"> = {}): Promise<Answer<"create_token">> {
    return this.call("create_token", { body: { ...options, ...this.#whose(options) } });
  }

  /** The account's balance and payments as they change; goes on until `signal` ends it. */
  async *stream(options: { account?: string; signal?: AbortSignal } = {}): AsyncGenerator<AccountEvent> {
    while (!options.signal?.aborted) {
      const query = this.#whose(options) as Query<"stream_account">;
      const response = await this.#send("stream_account", { query, ...(options.signal && { signal: options.signal }) }, "text/event-stream");
      let buffer = "";
      const decoder = new TextDecoder();
      const reader = response.body!.getReader();
      try {
        for (;;) {
          const { done, value } = await reader.read();
          if (done) break;
          buffer += decoder.decode(value, { stream: true }).replaceAll("\r\n", "\n");
          const blocks = buffer.split("\n\n");
          buffer = blocks.pop() ?? "";
          for (const block of blocks) {
            const data = block.split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trim()).join("\n");
            if (data) yield JSON.parse(data) as AccountEvent;
          }
        }
      } catch (error) {
        if (options.signal?.aborted) return;
        if (error instanceof TegoedError) throw error;
      } finally {
        reader.cancel().catch(() => undefined);
      }
      await pause(1, options.signal).catch(() => undefined);
    }
  }

  #whose(options: { account?: string | undefined }): { account?: string } {
    const account = options.account ?? this.#options.account;
    return account ? { account } : {};
  }

  /** The call with this client's account, where it takes one and names none. */
  #named<Name extends Operation>(name: Name, options: CallOptions<Name>): CallOptions<Name> {
    const place = OPERATIONS[name][2];
    const account = this.#options.account;
    const said = [options.query, options.body].some((part) => part && typeof part === "object" && "account" in part);
    if (!account || !place || said) return options;
    const part = place === "query" ? options.query : options.body;
    return { ...options, [place]: { ...(part as object | undefined), account } };
  }

  async #send<Name extends Operation>(name: Name, options: CallOptions<Name>, accept: string): Promise<Response> {
    const [method, template] = OPERATIONS[name];
    options = this.#named(name, options);
    const parts = (options.path ?? {}) as Record<string, string>;
    const path = template.replace(/\{(\w+)\}/g, (_whole, part: string) => {
      if (parts[part] === undefined) throw new TypeError(`${name} wants path.${part}`);
      return encodeURIComponent(parts[part]);
    });
    const url = new URL(this.#options.baseUrl.replace(/\/$/, "") + path);
    for (const [key, value] of Object.entries(options.query ?? {})) {
      if (value !== undefined && value !== null) url.searchParams.set(key, String(value));
    }
    const tries = 1 + (this.#options.retries ?? 2);
    for (let attempt = 1; ; attempt++) {
      const isLast = attempt >= tries;
      let response: Response;
      try {
        response = await this.#try(method, url, options, accept);
      } catch (error) {
        if (options.signal?.aborted || error instanceof TypeError === false && !isTimeout(error)) throw error;
        if (isLast) throw new ConnectionFailed(`${method} ${url.pathname}: nobody answered`, options.idempotencyKey, { cause: error });
        await pause(backoff(attempt), options.signal);
        continue;
      }
      if (response.ok) return response;
      const error = await refusalOf(response, options.idempotencyKey);
      const isPassing = RETRIED.has(response.status) || (response.status === 429 && error instanceof ApiError && error.code === "rate_limited");
      const wait = error instanceof ApiError ? error.retryAfterS : undefined;
      if (!isPassing || isLast || (wait ?? 0) > LONGEST_PAUSE_S) throw error;
      await pause(wait ?? backoff(attempt), options.signal);
    }
  }

  async #try(method: string, url: URL, options: CallOptions<Operation>, accept: string): Promise<Response> {
    const key = this.#options.key;
    const headers: Record<string, string> = { Authorization: `Bearer ${typeof key === "string" ? key : await key()}`, Accept: accept };
    if (options.idempotencyKey) headers["Idempotency-Key"] = options.idempotencyKey;
    if (options.body !== undefined) headers["Content-Type"] = "application/json";
    // A stream goes on; what is asked for ends.
    const timeout = accept === "application/json" ? AbortSignal.timeout(this.#options.timeoutMs ?? 10_000) : undefined;
    const signals = [timeout, options.signal].filter((signal) => signal !== undefined);
    return (this.#options.fetch ?? fetch)(url, {
      method,
      headers,
      ...(options.body !== undefined && { body: JSON.stringify(options.body) }),
      ...(signals.length && { signal: AbortSignal.any(signals) }),
      redirect: "error",
      credentials: "omit",
    });
  }
}

/** Credits that are set aside: capture what the work cost, or release them. */
export class Hold {
  readonly #client: Tegoed;
  readonly #account: string | undefined;
  state: HoldState;

  constructor(client: Tegoed, state: HoldState, account: string | undefined) {
    this.#client = client;
    this.state = state;
    this.#account = account;
  }

  get id(): string {
    return this.state.id;
  }

  get isOpen(): boolean {
    return this.state.status === "open";
  }

  /** Charge what the work cost: an amount, units, or by its usage; all that is held, if nothing is said. */
  async capture(cost: Omit<NonNullable<Body<"capture_hold">>, "account"> = {}): Promise<Answer<"capture_hold">> {
    const said = Object.keys(cost).length ? cost : { amount: this.state.amount };
    const charged = await this.#client.call("capture_hold", { path: { hold_id: this.id }, body: { ...said, ...this.#whose() } });
    this.state = { ...this.state, status: "captured" };
    return charged;
  }

  /** Give all of it back. */
  async release(): Promise<HoldState> {
    if (!this.isOpen) return this.state;
    this.state = await this.#client.call("release_hold", { path: { hold_id: this.id }, body: this.#whose() });
    return this.state;
  }

  /** Keep it open for longer: so many seconds from now. */
  async extend(expiresIn: number): Promise<HoldState> {
    this.state = await this.#client.call("extend_hold", { path: { hold_id: this.id }, body: { expires_in: expiresIn, ...this.#whose() } });
    return this.state;
  }

  #whose(): { account?: string } {
    return this.#account ? { account: this.#account } : {};
  }
}

async function refusalOf(response: Response, key: string | undefined): Promise<TegoedError> {
  const after = numberOf(response.headers.get("Retry-After"));
  const text = await response.text().catch(() => "");
  try {
    const problem = JSON.parse(text) as Problem;
    if (typeof problem?.code === "string") return errorOf(response.status, problem, after);
  } catch {
    // A proxy's page, or nothing.
  }
  return new ConnectionFailed(`${response.status} from something that is not the server: ${text.slice(0, 80)}`, key);
}

function parsed(text: string, key: string | undefined): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new ConnectionFailed(`not JSON: ${text.slice(0, 80)}`, key, { cause: error });
  }
}

function isTimeout(error: unknown): boolean {
  return error instanceof DOMException && error.name === "TimeoutError";
}

function numberOf(text: string | null): number | undefined {
  return text !== null && /^[0-9]+$/.test(text) ? Number(text) : undefined;
}

function newKey(): string {
  return crypto.randomUUID();
}

function backoff(attempt: number): number {
  return 0.25 * 2 ** (attempt - 1) * (0.5 + Math.random());
}

function pause(seconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const timer = setTimeout(resolve, seconds * 1000);
    signal?.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason)), { once: true });
  });
}
