// Compiled, never run: what an app writes is typed by the server's description.
import { InsufficientCredits, Tegoed, verifyWebhook, type WebhookEvent } from "../src/index.js";

const client = new Tegoed({ baseUrl: "https://credits.example.com", key: "tg_test_x", account: "ext:42" });

export async function app(request: Request): Promise<number | string> {
  const balance = await client.balance();
  const spendable: number = balance.spendable;
  const limit: number | undefined = balance.free_today?.limit;
  try {
    const spent = await client.spend({ feature: "message", quantity: 2, metadata: { chat: "1" } });
    const left: number = spent.balance_after;
    // @ts-expect-error a misspelt field does not compile
    await client.spend({ feature: "message", quantitty: 2 });
    return left + spendable + (limit ?? 0);
  } catch (error) {
    if (error instanceof InsufficientCredits) return error.buyUrl;
    throw error;
  }
}

export async function others(): Promise<void> {
  const bought = await client.checkout("credits-20", { quantity: 2 });
  const status: "open" | "processing" | "completed" | "expired" | "failed" | "review" | "settled" = bought.status;
  const made = await client.call("create_account", { body: { external_id: "42", email: "ada@example.com" } });
  const id: string = made.id;
  await client.call("erase_account", { path: { account: id } });
  for await (const row of client.transactions({ type: "spend" })) console.log(row.amount, status);
  const rates = await client.call("get_rate_card");
  const first: string | undefined = rates.data[0]?.code;
  // @ts-expect-error there is no such operation
  await client.call("get_everything");
  console.log(first);
}

export async function hook(request: Request): Promise<void> {
  const event: WebhookEvent = await verifyWebhook(await request.text(), request.headers, "whsec_x");
  if (event.type === "order.paid") console.log(event.data.amount, event.data.order, event.data.external_id);
  if (event.type === "subscription.changed") console.log(event.data.to.plan_name);
}
