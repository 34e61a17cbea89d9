// Shows /openapi.json, and sends a request when asked to. No library, no network but this server.
"use strict";

const make = (tag, attributes = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), attributes);
  element.append(...children.filter((child) => child !== null));
  return element;
};

// Text in which `this` is code.
const prose = (tag, className, text) => make(tag, { className },
  ...text.split("`").map((part, index) => (index % 2 ? make("code", { textContent: part }) : part)));

const at = (api, reference) => reference.slice(2).split("/").reduce((node, key) => node[key], api);
const resolved = (api, node) => (node && node.$ref ? at(api, node.$ref) : node);

// The one schema that matters of those that may be there: not null.
const chosen = (api, schema) => {
  schema = resolved(api, schema) ?? {};
  const choice = (schema.oneOf ?? schema.anyOf ?? []).find((one) => one.type !== "null");
  return choice ? { ...chosen(api, choice), description: schema.description ?? resolved(api, choice).description } : schema;
};

// A body or answer as it may look, from its schema.
const example = (api, schema, depth = 0) => {
  schema = chosen(api, schema);
  if (depth > 6) return null;
  if (schema.example !== undefined) return schema.example;
  if (schema.enum) return schema.enum[0];
  if (schema.allOf) return Object.assign({}, ...schema.allOf.map((one) => example(api, one, depth + 1)));
  const type = [schema.type].flat().find((one) => one !== "null");
  if (type === "object") {
    return Object.fromEntries(Object.entries(schema.properties ?? {}).map(([name, inner]) => [name, example(api, inner, depth + 1)]));
  }
  if (type === "array") return [example(api, schema.items, depth + 1)];
  if (type === "integer" || type === "number") return schema.minimum ?? 1;
  if (type === "boolean") return false;
  if (type === "string") return { uuid: "0198c0de-0000-7000-8000-000000000000", "date-time": "2026-01-01T00:00:00Z", email: "ada@example.com" }[schema.format] ?? "text";
  return {};
};

// What may stand there: type, words or bounds, and what it is without.
const kind = (api, schema) => {
  const { type, format, enum: words, minimum, maximum, minLength, maxLength, minItems, maxItems, items, default: usual } = chosen(api, schema);
  const name = [type].flat().filter((one) => one && one !== "null").join(" or ");
  const bounds = (from, to, unit) => (from === undefined && to === undefined ? null : `${from ?? 0} to ${to ?? "any"}${unit}`);
  return [
    words ? words.map((word) => `\`${word}\``).join(" | ") : items ? `${name} of ${kind(api, items)}` : format ?? name,
    bounds(minimum, maximum, ""), bounds(minLength, maxLength, " characters"), bounds(minItems, maxItems, " items"),
    usual === undefined ? null : `usually \`${usual}\``,
  ].filter(Boolean).join(", ");
};

const pretty = (value) => JSON.stringify(value, null, 2);
const json = (content) => Object.values(content ?? {})[0]?.schema;

const parameterTable = (api, operation, inputs) => {
  if (!operation.parameters.length) return null;
  return make("table", {}, ...operation.parameters.map((parameter) => {
    const input = make("input", { placeholder: parameter.in, required: parameter.required ?? false, ariaLabel: parameter.name });
    inputs.push([parameter, input]);
    const name = make("code", { textContent: parameter.name + (parameter.required ? " *" : "") });
    return make("tr", {}, make("td", {}, name), make("td", {}, input),
      make("td", {}, prose("div", "quiet", kind(api, parameter.schema)), prose("div", "", parameter.description ?? "")));
  }));
};

const fieldTable = (api, schema) => {
  const { properties = {}, required = [] } = chosen(api, schema);
  return make("table", {}, ...Object.entries(properties).map(([name, inner]) => make("tr", {},
    make("td", {}, make("code", { textContent: name + (required.includes(name) ? " *" : "") })),
    make("td", {}, prose("div", "quiet", kind(api, inner)), prose("div", "", inner.description ?? chosen(api, inner).description ?? "")))));
};

const answers = (api, operation) => Object.entries(operation.responses).flatMap(([status, response]) => {
  response = resolved(api, response);
  const schema = json(response.content);
  const shown = status.startsWith("2") && schema ? make("pre", { textContent: pretty(example(api, schema)) }) : null;
  return [prose("h3", "", `${status} ${response.description ?? ""}`), shown].filter(Boolean);
});

// Shows the answer as it comes: one that follows a ledger has no end until it is stopped.
const send = async (method, path, inputs, body, output, signal) => {
  let address = path;
  const query = new URLSearchParams();
  const headers = {};
  for (const [parameter, input] of inputs) {
    if (!input.value) continue;
    if (parameter.in === "path") address = address.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
    if (parameter.in === "query") query.set(parameter.name, input.value);
    if (parameter.in === "header") headers[parameter.name] = input.value;
  }
  const token = document.getElementById("token").value;
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body) headers["Content-Type"] = "application/json";
  const answer = await fetch(address + (query.size ? `?${query}` : ""), { method: method.toUpperCase(), headers, body: body?.value, signal });
  const head = `${answer.status}\n${[...answer.headers].map(([name, value]) => `${name}: ${value}`).join("\n")}\n\n`;
  let text = "";
  const decoder = new TextDecoder();
  for (const reader = answer.body.getReader(); ;) {
    const { done, value } = await reader.read();
    if (done) break;
    text += decoder.decode(value, { stream: true });
    output.textContent = head + text;
  }
  let shown = text;
  try { shown = pretty(JSON.parse(text)); } catch { /* shown as it came */ }
  output.textContent = head + shown;
};

const operationView = (api, method, path, operation) => {
  const inputs = [];
  const schema = json(operation.requestBody?.content);
  const body = schema ? make("textarea", { value: pretty(example(api, schema)), spellcheck: false, ariaLabel: "Body" }) : null;
  const output = make("pre", { hidden: true });
  const [button, stop] = [make("button", { textContent: "Send" }), make("button", { textContent: "Stop", hidden: true })];
  button.onclick = async () => {
    if (!inputs.every(([, input]) => input.reportValidity())) return;
    const abort = new AbortController();
    stop.onclick = () => abort.abort();
    output.hidden = stop.hidden = false;
    output.textContent = "…";
    await send(method, path, inputs, body, output, abort.signal).catch((error) => {
      output.textContent = abort.signal.aborted ? `${output.textContent}\n(stopped)` : String(error);
    });
    stop.hidden = true;
  };
  const title = make("summary", {}, make("span", { className: `method ${method}`, textContent: method }), make("code", { textContent: path }), prose("span", "quiet", `  ${operation.summary ?? ""}`));
  return make("details", { className: "route" }, title,
    operation.description ? prose("p", "", operation.description) : null,
    parameterTable(api, operation, inputs), body ? make("h3", { textContent: "Body" }) : null,
    body ? fieldTable(api, schema) : null, body, button, stop, output, ...answers(api, operation));
};

const show = (api) => {
  const byTag = new Map();
  for (const [path, item] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(item)) {
      const tag = operation.tags[0];
      byTag.set(tag, [...(byTag.get(tag) ?? []), operationView(api, method, path, operation)]);
    }
  }
  const sections = api.tags.map(({ name, description }) => make("section", {},
    make("h2", { textContent: name }), prose("p", "quiet", description), ...byTag.get(name) ?? []));
  const none = make("p", { id: "none", className: "quiet", hidden: true, textContent: "No route reads like that." });
  document.getElementById("routes").replaceChildren(prose("p", "", api.info.description), ...sections, none);
};

document.getElementById("find").oninput = ({ target }) => {
  const wanted = target.value.toLowerCase();
  for (const route of document.querySelectorAll(".route")) {
    route.hidden = !route.querySelector("summary").textContent.toLowerCase().includes(wanted);
  }
  for (const section of document.querySelectorAll("section")) {
    section.hidden = !section.querySelector(".route:not([hidden])");
  }
  document.getElementById("none").hidden = !!document.querySelector("section:not([hidden])");
};

fetch("/openapi.json").then((answer) => answer.json()).then(show).catch((error) => {
  document.getElementById("routes").textContent = `/openapi.json could not be shown: ${error}`;
});
