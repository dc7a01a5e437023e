// JSON as it was written, indented and coloured: numbers keep their digits, since nothing is decoded.
import { h, visible } from "./dom.js";

const TOKEN = /"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*|true|false|null|[{}[\],:]/gsy;
const MAX_COLOURED = 4_000; // tokens; what follows is one plain text
const MAX_STRING = 2_000;
const MAX_SHOWN = 400_000;

function* tokensOf(text, from = 0) {
  TOKEN.lastIndex = from;
  for (;;) {
    const begin = TOKEN.lastIndex;
    const found = TOKEN.exec(text);
    if (found === null) {
      // White space, which the relay does not write, or the end.
      if (begin >= text.length) return;
      TOKEN.lastIndex = begin + 1;
      continue;
    }
    const end = TOKEN.lastIndex;
    yield [found[0], begin, end];
    TOKEN.lastIndex = end;
  }
}

/** The text of one member of a JSON object; null where it has none of that name. */
export function memberOf(text, name) {
  let depth = 0;
  let key = null;
  let begin = -1;
  for (const [token, start, end] of tokensOf(text)) {
    const isClosing = token === "}" || token === "]";
    if (isClosing) depth -= 1;
    if (begin >= 0 && ((depth === 1 && token === ",") || (depth === 0 && isClosing))) return text.slice(begin, start);
    if (token === "{" || token === "[") depth += 1;
    else if (depth === 1 && token === ":") {
      if (JSON.parse(key) === name) begin = end;
    } else if (depth === 1 && token === ",") key = null;
    else if (depth === 1 && key === null) key = token;
  }
  return null;
}

/** The JSON indented by two, in pieces of [kind, text]. */
export function piecesOf(text) {
  const pieces = [];
  const tokens = [...tokensOf(text)].map(([token]) => token);
  let indent = 0;
  const line = () => pieces.push(["space", `\n${"  ".repeat(indent)}`]);
  tokens.forEach((token, at) => {
    const next = tokens[at + 1];
    if (token === "{" || token === "[") {
      pieces.push(["mark", token]);
      indent += 1;
      if (next !== "}" && next !== "]") line();
    } else if (token === "}" || token === "]") {
      indent -= 1;
      if (!"{[".includes(tokens[at - 1])) line();
      pieces.push(["mark", token]);
    } else if (token === ",") {
      pieces.push(["mark", ","]);
      line();
    } else if (token === ":") pieces.push(["mark", ": "]);
    else if (token.startsWith('"')) pieces.push([next === ":" ? "key" : "text", token]);
    else pieces.push([/^[-\d]/.test(token) ? "number" : "word", token]);
  });
  return pieces;
}

export const indented = (text) =>
  piecesOf(text)
    .map(([, part]) => part)
    .join("");

/** A <pre> of the JSON. Long texts are cut to be looked at; the copy button has all of them. */
export function shownJson(text) {
  const host = h("pre", { class: "json", tabIndex: 0 });
  let shown = 0;
  let rest = "";
  piecesOf(text).forEach(([kind, part], at) => {
    const more = part.length - MAX_STRING;
    const cut = more > 0 ? `${part.slice(0, MAX_STRING)}… (${more} more characters)"` : part;
    shown += cut.length;
    if (shown > MAX_SHOWN) return;
    if (at >= MAX_COLOURED) rest += visible(cut);
    else if (kind === "mark") host.append(cut);
    else if (kind === "space") host.append(cut);
    else host.append(h("span", { class: kind }, visible(cut)));
  });
  host.append(rest);
  if (shown > MAX_SHOWN) host.append(`\n… too long to be shown; “Copy” copies all of it.`);
  return host;
}
