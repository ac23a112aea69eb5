/** Webhooks by the Standard Webhooks specification, with Web Crypto: Node, browsers' workers, edge runtimes. */

import { TegoedError } from "./errors.js";
import type { webhooks } from "./schema.js";

/** What a webhook holds: `event.type` tells which. */
export type WebhookEvent = {
  [Event in keyof webhooks]: webhooks[Event]["post"]["requestBody"]["content"]["application/json"];
}[keyof webhooks];

/** Not signed as it should be, or not about now: do not act on it. */
export class ForgedWebhook extends TegoedError {
  override name = "ForgedWebhook";
}

/** Headers as frameworks have them: a Headers object, or an object of lower-case names. */
export type HeadersLike = { get(name: string): string | null } | Record<string, string | string[] | undefined>;

const TOLERANCE_S = 300;

/**
 * The event in a webhook, once it is certain who sent it.
 *
 * @param body the body as it came, not parsed and written anew
 * @param secrets of the endpoint: `whsec_…`; two while it is being rotated
 * @throws ForgedWebhook
 */
export async function verifyWebhook(
  body: string | Uint8Array,
  headers: HeadersLike,
  secrets: string | readonly string[],
  options: { toleranceS?: number; now?: number } = {},
): Promise<WebhookEvent> {
  const [id, timestamp, signatures] = ["id", "timestamp", "signature"].map((name) => header(headers, `webhook-${name}`));
  const now = options.now ?? Date.now() / 1000;
  if (!id || !timestamp || !/^[0-9]{1,11}$/.test(timestamp)) throw new ForgedWebhook("no id, or no time");
  if (Math.abs(now - Number(timestamp)) > (options.toleranceS ?? TOLERANCE_S)) {
    throw new ForgedWebhook("signed long ago, or in the future");
  }
  const text = typeof body === "string" ? body : new TextDecoder().decode(body);
  const signed = new TextEncoder().encode(`${id}.${timestamp}.${text}`);
  const sent = (signatures ?? "").split(" ").filter((part) => part.startsWith("v1,"));
  for (const secret of typeof secrets === "string" ? [secrets] : secrets) {
    const key = await crypto.subtle.importKey("raw", bytesOf(secret), { name: "HMAC", hash: "SHA-256" }, false, ["verify"]);
    for (const signature of sent) {
      const given = decoded(signature.slice("v1,".length));
      if (given && (await crypto.subtle.verify("HMAC", key, given, signed))) return JSON.parse(text) as WebhookEvent;
    }
  }
  throw new ForgedWebhook("no valid signature");
}

function header(headers: HeadersLike, name: string): string | undefined {
  if (typeof (headers as Headers).get === "function") return (headers as Headers).get(name) ?? undefined;
  const found = (headers as Record<string, string | string[] | undefined>)[name];
  return Array.isArray(found) ? found[0] : found;
}

function bytesOf(secret: string): Uint8Array<ArrayBuffer> {
  const bytes = decoded(secret.replace(/^whsec_/, ""));
  if (!bytes?.length) throw new TypeError("A webhook secret is whsec_ and base64.");
  return bytes;
}

function decoded(text: string): Uint8Array<ArrayBuffer> | undefined {
  try {
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  } catch {
    return undefined;
  }
}
