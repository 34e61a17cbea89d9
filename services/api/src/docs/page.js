// Shows /openapi.json, and sends a request when asked to. No library, no network but this server.
"use strict";

const make = (tag, attributes = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), attributes);
  element.append(...children.filter((child) => child !== null));
  return element;
};

const at = (api, reference) => reference.slice(2).split("/").reduce((node, key) => node[key], api);
const resolved = (api, node) => (node && node.$ref ? at(api, node.$ref) : node);

// A body or answer as it may look, from its schema.
const example = (api, schema, depth = 0) => {
  schema = resolved(api, schema) ?? {};
  if (depth > 6) return null;
  if (schema.example !== undefined) return schema.example;
  if (schema.enum) return schema.enum[0];
  const choice = (schema.oneOf ?? schema.anyOf ?? []).find((one) => one.type !== "null");
  if (choice) return example(api, choice, depth + 1);
  if (schema.allOf) return Object.assign({}, ...schema.allOf.map((one) => example(api, one, depth + 1)));
  const type = [schema.type].flat().find((one) => one !== "null");
  if (type === "object") {
    return Object.fromEntries(Object.entries(schema.properties ?? {}).map(([name, inner]) => [name, example(api, inner, depth + 1)]));
  }
  if (type === "array") return [example(api, schema.items, depth + 1)];
  if (type === "integer" || type === "number") return schema.minimum ?? 1;
  if (type === "boolean") return false;
  if (type === "string") return { uuid: "0198c0de-0000-7000-8000-000000000000", "date-time": "2026-01-01T00:00:00Z" }[schema.format] ?? "text";
  return {};
};

const pretty = (value) => JSON.stringify(value, null, 2);
const json = (content) => Object.values(content ?? {})[0]?.schema;

const parameterTable = (operation, inputs) => {
  if (!operation.parameters.length) return null;
  return make("table", {}, ...operation.parameters.map((parameter) => {
    const input = make("input", { placeholder: parameter.in });
    inputs.push([parameter, input]);
    const name = make("code", { textContent: parameter.name + (parameter.required ? " *" : "") });
    return make("tr", {}, make("td", {}, name), make("td", {}, input), make("td", { className: "quiet", textContent: parameter.description ?? "" }));
  }));
};

const answers = (api, operation) => Object.entries(operation.responses).flatMap(([status, response]) => {
  response = resolved(api, response);
  const schema = json(response.content);
  const shown = status.startsWith("2") && schema ? make("pre", { textContent: pretty(example(api, schema)) }) : null;
  return [make("h3", { textContent: `${status} ${response.description ?? ""}` }), shown].filter(Boolean);
});

const send = async (method, path, inputs, body, output) => {
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
  const answer = await fetch(address + (query.size ? `?${query}` : ""), { method: method.toUpperCase(), headers, body: body?.value });
  const text = await answer.text();
  let shown = text;
  try { shown = pretty(JSON.parse(text)); } catch { /* shown as it came */ }
  output.textContent = `${answer.status}\n${[...answer.headers].map(([name, value]) => `${name}: ${value}`).join("\n")}\n\n${shown}`;
};

const operationView = (api, method, path, operation) => {
  const inputs = [];
  const schema = json(operation.requestBody?.content);
  const body = schema ? make("textarea", { value: pretty(example(api, schema)), spellcheck: false }) : null;
  const output = make("pre", { hidden: true });
  const button = make("button", { textContent: "Send" });
  button.onclick = async () => {
    output.hidden = false;
    output.textContent = "…";
    await send(method, path, inputs, body, output).catch((error) => { output.textContent = String(error); });
  };
  const title = make("summary", {}, make("span", { className: `method ${method}`, textContent: method }), make("code", { textContent: path }), make("span", { className: "quiet", textContent: `  ${operation.summary ?? ""}` }));
  return make("details", { className: "route" }, title,
    operation.description ? make("p", { textContent: operation.description }) : null,
    parameterTable(operation, inputs), body ? make("h3", { textContent: "Body" }) : null, body, button, output, ...answers(api, operation));
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
    make("h2", { textContent: name }), make("p", { className: "quiet", textContent: description }), ...byTag.get(name) ?? []));
  document.getElementById("routes").replaceChildren(make("p", { textContent: api.info.description }), ...sections);
};

document.getElementById("find").oninput = ({ target }) => {
  for (const route of document.querySelectorAll(".route")) {
    route.hidden = !route.querySelector("summary").textContent.toLowerCase().includes(target.value.toLowerCase());
  }
};

fetch("/openapi.json").then((answer) => answer.json()).then(show);
