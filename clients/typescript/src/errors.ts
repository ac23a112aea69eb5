/** What can go wrong: the same words as the Python client's. */

import type { components } from "./schema.js";

/** A refusal as the server describes it (RFC 9457). */
export type Problem = components["schemas"]["Problem"];
/** Every code that a refusal can have. */
export type Code = Problem["code"];

/** Anything that this client throws. */
export class TegoedError extends Error {
  override name = "TegoedError";
}

/** Nobody answered, or not in JSON. Whether the call was done is unknown: send it again with the same key. */
export class ConnectionFailed extends TegoedError {
  override name = "ConnectionFailed";
  constructor(message: string, readonly idempotencyKey: string | undefined, options?: ErrorOptions) {
    super(message, options);
  }
}

/** The server refused, and says why. */
export class ApiError extends TegoedError {
  override name = "ApiError";
  constructor(readonly status: number, readonly problem: Problem, readonly retryAfterS: number | undefined) {
    super(`${status} ${problem.code}: ${problem.detail}`);
  }
  get code(): Code {
    return this.problem.code;
  }
  get detail(): string {
    return this.problem.detail;
  }
  get requestId(): string {
    return this.problem.request_id;
  }
}

/** 402: too few credits. `buyUrl` is where there are more. */
export class InsufficientCredits extends ApiError {
  override name = "InsufficientCredits";
  get required(): number {
    return this.problem.required ?? 0;
  }
  get available(): number {
    return this.problem.available ?? 0;
  }
  get shortfall(): number {
    return this.problem.shortfall ?? 0;
  }
  get buyUrl(): string {
    return this.problem.buy_url ?? "";
  }
}
/** 402: credits are owed since a payment was taken back. */
export class AccountInDebt extends ApiError {
  override name = "AccountInDebt";
}
/** 429: enough paid credits for today; after `retryAfterS` there is more. */
export class DailyCapReached extends ApiError {
  override name = "DailyCapReached";
}
/** 429: this key or member has spent what it may in a day or month. */
export class SpendingLimitReached extends ApiError {
  override name = "SpendingLimitReached";
}
/** 429: too many requests. */
export class RateLimited extends ApiError {
  override name = "RateLimited";
}
/** 400: the request cannot be taken as it is; `errors` names the fields. */
export class InvalidRequest extends ApiError {
  override name = "InvalidRequest";
  get errors(): NonNullable<Problem["errors"]> {
    return this.problem.errors ?? [];
  }
}
/** 422: this idempotency key belongs to another request. */
export class KeyReused extends ApiError {
  override name = "KeyReused";
}
/** 409, 410: the hold was captured or released before, or has lapsed. */
export class HoldNotOpen extends ApiError {
  override name = "HoldNotOpen";
}
/** 401: the key or token is not valid, or no longer. */
export class Unauthenticated extends ApiError {
  override name = "Unauthenticated";
}
/** 403: the key may not do that. */
export class NotAllowed extends ApiError {
  override name = "NotAllowed";
}
/** 404: it is not there, or not this key's. */
export class NotFound extends ApiError {
  override name = "NotFound";
}
/** 5xx, after all tries. */
export class ServerError extends ApiError {
  override name = "ServerError";
}

type Kind = new (status: number, problem: Problem, retryAfterS: number | undefined) => ApiError;

const BY_CODE: Partial<Record<Code, Kind>> = {
  insufficient_credits: InsufficientCredits,
  account_in_debt: AccountInDebt,
  daily_cap_reached: DailyCapReached,
  spending_limit_reached: SpendingLimitReached,
  rate_limited: RateLimited,
  idempotency_key_reused: KeyReused,
  hold_not_open: HoldNotOpen,
  hold_expired: HoldNotOpen,
};
const BY_STATUS: Record<number, Kind> = { 400: InvalidRequest, 401: Unauthenticated, 403: NotAllowed, 404: NotFound };

/** The error for a problem. */
export function errorOf(status: number, problem: Problem, retryAfterS: number | undefined): ApiError {
  const kind = BY_CODE[problem.code] ?? BY_STATUS[status] ?? (status >= 500 ? ServerError : ApiError);
  return new kind(status, problem, retryAfterS);
}
