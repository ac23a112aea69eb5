// Writes src/operations.ts and src/schema.d.ts from docs/openapi.yaml: `npm run generate`; `--check` says what differs.

import { readFileSync, writeFileSync } from "node:fs";
import { load } from "js-yaml";
import openapiTS, { astToString } from "openapi-typescript";

const source = new URL("../../docs/openapi.yaml", import.meta.url);
const schema = new URL("src/schema.d.ts", import.meta.url);
const operations = new URL("src/operations.ts", import.meta.url);

const types = astToString(await openapiTS(source));
const description = load(readFileSync(source, "utf8"));

/** Where an operation takes whose account it is about: in its query, its body, or not at all. */
function accountOf(operation) {
  if (operation.parameters?.some((parameter) => parameter.in === "query" && parameter.name === "account")) return "query";
  const body = operation.requestBody?.content?.["application/json"]?.schema;
  const named = body?.$ref ? description.components.schemas[body.$ref.split("/").pop()] : body;
  return named?.properties?.account ? "body" : "";
}

const found = Object.entries(description.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => `  ${operation.operationId}: ["${method.toUpperCase()}", "${path}", "${accountOf(operation)}"],`),
);
const about = "/** Every operation's method, path, and where it names the account: written by generate.mjs. */";
const table = `${about}\nexport const OPERATIONS = {\n${found.join("\n")}\n} as const;\n`;

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
