// Writes src/operations.ts and src/schema.d.ts from docs/openapi.yaml: `npm run generate`; `--check` says what differs.

import { readFileSync, writeFileSync } from "node:fs";
import openapiTS, { astToString } from "openapi-typescript";

const description = new URL("../../docs/openapi.yaml", import.meta.url);
const schema = new URL("src/schema.d.ts", import.meta.url);
const operations = new URL("src/operations.ts", import.meta.url);

const types = astToString(await openapiTS(description));
// Of each operation: its method and path. (The description has them in this order, one key a line.)
const found = [];
let path = "";
let method = "";
for (const line of readFileSync(description, "utf8").split("\n")) {
  if (/^webhooks:/.test(line)) break;
  if (/^  \/\S+:$/.test(line)) path = line.trim().slice(0, -1);
  if (/^    (get|put|post|patch|delete):$/.test(line)) method = line.trim().slice(0, -1).toUpperCase();
  const named = /^      operationId: (\w+)$/.exec(line);
  if (named) found.push(`  ${named[1]}: ["${method}", "${path}"],`);
}
const table = `/** Every operation's method and path: written by generate.mjs. */\nexport const OPERATIONS = {\n${found.join("\n")}\n} as const;\n`;

if (process.argv.includes("--check")) {
  const stale = [[schema, types], [operations, table]].filter(([file, text]) => readFileSync(file, "utf8") !== text);
  if (stale.length) {
    console.error(`Run npm run generate: ${stale.map(([file]) => file.pathname).join(", ")}`);
    process.exit(1);
  }
} else {
  writeFileSync(schema, types);
  writeFileSync(operations, table);
}
