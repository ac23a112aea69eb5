// Run by tests/test_typescript.py against a running server: SERVER, KEY (a service key), WEBHOOK_SECRET and others.

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { createServer } from "node:http";
import { test } from "node:test";

import {
  ApiError, ConnectionFailed, ForgedWebhook, HoldNotOpen, InsufficientCredits, InvalidRequest, NotFound, ServerError,
  Tegoed, Unauthenticated, verifyWebhook,
} from "../dist/index.js";

const { SERVER, KEY } = process.env;
const whose = () => `ext:${crypto.randomUUID()}`;
const client = (account = whose(), more = {}) => new Tegoed({ baseUrl: SERVER, key: KEY, account, ...more });

async function rich(credits = 20) {
  const account = client();
  await account.grant({ amount: credits, reason: "test", kind: "bonus" });
  return account;
}

test("a spend is charged once for one key", async () => {
  const account = await rich();
  const before = (await account.balance()).available;
  const first = await account.ask("spend_credits", { body: { amount: 2, account: (await account.balance()).account }, idempotencyKey: "k" });
  const again = await account.ask("spend_credits", { body: { amount: 2, account: (await account.balance()).account }, idempotencyKey: "k" });
  assert.equal(again.data.id, first.data.id);
  assert.deepEqual([first.isReplayed, again.isReplayed], [false, true]);
  assert.equal(first.available, before - 2);
  assert.ok(first.requestId);
  assert.equal((await account.balance()).available, before - 2);
});

test("too few credits say where there are more", async () => {
  const account = client();
  const error = await account.spend({ amount: 10_000 }).catch((caught) => caught);
  assert.ok(error instanceof InsufficientCredits);
  assert.ok(error.shortfall > 0 && error.required === 10_000);
  assert.match(error.buyUrl, /\/enter\//);
});

test("a misspelt field, a wrong key, and what is not there", async () => {
  const account = client();
  const field = await account.call("spend_credits", { body: { amuont: 1 }, idempotencyKey: "x" }).catch((caught) => caught);
  assert.ok(field instanceof InvalidRequest);
  assert.match(field.errors[0].detail, /amount/);
  await assert.rejects(client(undefined, { key: "tg_test_nobody" }).balance(), Unauthenticated);
  await assert.rejects(account.getCheckout(`co_${"0".repeat(26)}`), NotFound);
});

test("every call is for the client's account", async () => {
  const account = await rich();
  const { account: id } = await account.balance();
  assert.deepEqual((await account.call("list_invoices")).data, []);
  assert.equal((await account.call("spend_credits", { body: { amount: 1 }, idempotencyKey: "own" })).amount, -1);
  const other = await rich();
  const theirs = (await other.balance()).available;
  await account.call("spend_credits", { body: { amount: 1, account: (await other.balance()).account }, idempotencyKey: "theirs" });
  assert.equal((await other.balance()).available, theirs - 1);
  const key = await account.call("create_api_key", { body: { name: "From a backend", scopes: ["credits:read"] } });
  assert.equal((await new Tegoed({ baseUrl: SERVER, key: key.secret }).balance()).account, id);
  await assert.rejects(account.call("cancel_plan"), ApiError); // there is none: the account is known
  assert.throws(() => new Tegoed({ baseUrl: `${SERVER}/api/v1`, key: KEY }), /without \/api\/v1/);
});

test("work under a hold is charged by what it cost", async () => {
  const account = await rich();
  const before = (await account.balance()).available;
  const text = await account.withHold({ amount: 5 }, async (hold) => {
    await hold.extend(600);
    await hold.capture({ amount: 3 });
    return "done";
  });
  assert.equal(text, "done");
  assert.equal((await account.balance()).available, before - 3);
});

test("work that fails gives its hold back, and its own error counts", async () => {
  const account = await rich();
  const before = (await account.balance()).available;
  await assert.rejects(account.withHold({ amount: 5 }, () => Promise.reject(new RangeError("the AI failed"))), RangeError);
  assert.equal((await account.balance()).available, before);
  await account.withHold({ amount: 5 }, async () => "forgot to capture");
  assert.equal((await account.balance()).available, before);
});

test("a hold is settled once", async () => {
  const account = await rich();
  const hold = await account.hold({ amount: 5 });
  const charged = await hold.capture();
  assert.equal(charged.amount, -5);
  assert.equal((await hold.capture()).id, charged.id); // a lost answer is asked for again
  assert.equal((await hold.release()).status, "captured");
  const whose = (await account.balance()).account;
  await assert.rejects(account.call("release_hold", { path: { hold_id: hold.id }, body: { account: whose } }), HoldNotOpen);
});

test("the ledger is read page after page", async () => {
  const account = await rich(60);
  for (let number = 0; number < 30; number++) await account.spend({ amount: 1, idempotencyKey: `s${number}` });
  const rows = [];
  for await (const row of account.transactions({ type: "spend", limit: 7 })) rows.push(row.id);
  assert.equal(new Set(rows).size, 30);
});

test("a stream says the balance at once and after a change", async () => {
  const account = await rich();
  const end = new AbortController();
  const seen = [];
  const timer = setTimeout(() => end.abort(), 20_000);
  for await (const event of account.stream({ signal: end.signal })) {
    seen.push(event.available);
    if (seen.length === 1) await account.spend({ amount: 4 });
    else break;
  }
  clearTimeout(timer);
  end.abort();
  assert.equal(seen[0] - seen[1], 4);
});

test("a token reads and does not spend", async () => {
  const account = await rich();
  const { token } = await account.token();
  const browser = new Tegoed({ baseUrl: SERVER, key: async () => token });
  assert.equal((await browser.balance()).available, (await account.balance()).available);
  const error = await browser.spend({ amount: 1 }).catch((caught) => caught);
  assert.equal(error.code, "insufficient_scope");
});

async function serving(answers, work) {
  const asked = [];
  const server = createServer((request, response) => {
    asked.push(request.headers["idempotency-key"]);
    const [status, headers, body] = answers[Math.min(asked.length, answers.length) - 1];
    if (status === 0) return request.socket.destroy();
    response.writeHead(status, headers).end(body);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    return await work(`http://127.0.0.1:${server.address().port}`, asked);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

const json = { "Content-Type": "application/json" };
const problem = (code, status, more = {}) => JSON.stringify({ type: "", title: "", status, detail: "", code, request_id: "r", ...more });

test("a lost answer is asked for again with the same key", async () => {
  await serving([[0], [503, { ...json, "Retry-After": "0" }, problem("busy", 503)], [201, json, '{"balance_after": 7}']], async (url, asked) => {
    const spent = await new Tegoed({ baseUrl: url, key: "k" }).spend({ amount: 1 });
    assert.equal(spent.balance_after, 7);
    assert.equal(asked.length, 3);
    assert.equal(new Set(asked).size, 1);
    assert.ok(asked[0]);
  });
});

test("a page of a proxy, and silence, are errors of this client", async () => {
  for (const answer of [[200, {}, "<html>captive</html>"], [502, {}, "<html>bad gateway</html>"], [0]]) {
    await serving([answer], async (url) => {
      const error = await new Tegoed({ baseUrl: url, key: "k", retries: 0 }).spend({ amount: 1, idempotencyKey: "mine" }).catch((caught) => caught);
      assert.ok(error instanceof ConnectionFailed, String(error));
      assert.equal(error.idempotencyKey, "mine");
    });
  }
  await serving([[500, json, problem("internal_error", 500)]], async (url) => {
    await assert.rejects(new Tegoed({ baseUrl: url, key: "k" }).balance(), ServerError);
  });
});

test("a daily cap is not waited out", async () => {
  await serving([[429, { ...json, "Retry-After": "40000" }, problem("daily_cap_reached", 429)]], async (url, asked) => {
    const error = await new Tegoed({ baseUrl: url, key: "k" }).spend({ amount: 1 }).catch((caught) => caught);
    assert.ok(error instanceof ApiError);
    assert.deepEqual([error.code, error.retryAfterS, asked.length], ["daily_cap_reached", 40_000, 1]);
  });
});

test("a caller that gives up stops the tries", async () => {
  await serving([[503, { ...json, "Retry-After": "30" }, problem("busy", 503)]], async (url) => {
    const signal = AbortSignal.timeout(200);
    await assert.rejects(new Tegoed({ baseUrl: url, key: "k" }).spend({ amount: 1, signal }), { name: "TimeoutError" });
  });
});

test("webhooks are taken when their signature is right, and now", async () => {
  const secret = `whsec_${Buffer.from("a secret of 24 bytes....").toString("base64")}`;
  const body = JSON.stringify({ type: "credits.low", timestamp: "2026-11-28T09:00:00Z", data: { left: 2, account: "acc_1", external_id: "ü" } });
  const timestamp = String(Math.floor(Date.now() / 1000));
  const sign = (key, text = body, at = timestamp) =>
    `v1,${createHmac("sha256", Buffer.from(key.slice(6), "base64")).update(`evt_1.${at}.${text}`).digest("base64")}`;
  const headers = (signature, at = timestamp) => ({ "webhook-id": "evt_1", "webhook-timestamp": at, "webhook-signature": signature });

  assert.equal((await verifyWebhook(body, headers(sign(secret)), secret)).data.left, 2);
  assert.ok(await verifyWebhook(Buffer.from(body), new Headers(headers(`v1,AAAA ${sign(secret)}`)), ["whsec_AAAA", secret]));
  const old = String(Number(timestamp) - 1000);
  for (const [text, sent] of [
    [body.replace("2", "9"), headers(sign(secret))],
    [body, headers(sign("whsec_AAAAAAAA"))],
    [body, headers(sign(secret, body, old), old)],
    [body, headers("")],
    [body, {}],
    [body, headers("v1,not base64!")],
  ]) await assert.rejects(verifyWebhook(text, sent, secret), ForgedWebhook);
});
