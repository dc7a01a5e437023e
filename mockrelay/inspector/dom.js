// Elements and text. The law of this file: what came over a wire becomes a text node and nothing else.

// Characters that hide or turn the text around them: controls, bidirectional marks and overrides, tags.
// Zero-width joiners stay, since emoji are made with them.
const CONTROLS = "\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f\\u00ad\\u2028\\u2029";
const TURNING = "\\u061c\\u200e\\u200f\\u202a-\\u202e\\u2066-\\u206f";
const UNSEEN = "\\u180e\\u200b\\u2060-\\u2065\\ufeff\\ufff9-\\ufffb\\u{e0000}-\\u{e007f}";
const HIDDEN = new RegExp(`[${CONTROLS}${TURNING}${UNSEEN}]`, "gu");

/** The text with hidden characters written as \uXXXX, and cut at `limit` characters. */
export function visible(text, limit = Infinity) {
  const cut = text.length > limit ? `${text.slice(0, limit)}…` : text;
  return cut.replace(HIDDEN, (found) =>
    [...Array(found.length).keys()].map((at) => `\\u${found.charCodeAt(at).toString(16).padStart(4, "0")}`).join(""),
  );
}

export const byId = (id) => document.getElementById(id);

const PROPERTIES = new Set([
  "value",
  "checked",
  "disabled",
  "hidden",
  "textContent",
  "htmlFor",
  "className",
  "tabIndex",
]);

/** An element; `on` holds listeners; children are elements or text. */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "on") for (const [kind, listener] of Object.entries(value)) element.addEventListener(kind, listener);
    else if (name === "class") element.className = value;
    else if (name === "data") Object.assign(element.dataset, value);
    else if (PROPERTIES.has(name)) element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat()) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return element;
}

/** Write a text where it is another than the one written last. */
export function say(element, text) {
  if (element.saidText !== text) {
    element.saidText = text;
    element.textContent = text;
  }
}

/** Give a <select> these [value, label] options and keep what is chosen where it is still there. */
export function setOptions(select, options) {
  const key = JSON.stringify(options);
  if (select.optionsKey === key) return;
  select.optionsKey = key;
  const chosen = select.value;
  select.replaceChildren(...options.map(([value, label]) => h("option", { value }, visible(label, 80))));
  if (options.some(([value]) => value === chosen)) select.value = chosen;
}

/** A button. */
export function button(label, onClick, props = {}) {
  return h("button", { type: "button", ...props, on: { click: onClick } }, label);
}

let toasts = 0;

/** A short notice that goes by itself; an error stays longer. */
export function toast(text, isError = false) {
  const host = byId("toasts");
  while (host.childElementCount >= 4) host.firstElementChild.remove();
  const shown = h(
    "div",
    { class: isError ? "toast error" : "toast", id: `toast-${(toasts += 1)}` },
    visible(text, 600),
  );
  shown.addEventListener("click", () => shown.remove());
  host.append(shown);
  setTimeout(() => shown.remove(), isError ? 10_000 : 3_500);
}

/** Ask before something that cannot be undone; resolves to whether it was wanted. */
export function confirmed(question, label) {
  const dialog = byId("ask");
  return new Promise((resolve) => {
    const finish = (answer) => {
      dialog.removeEventListener("close", refuse);
      dialog.close();
      resolve(answer);
    };
    const refuse = () => finish(false);
    dialog.replaceChildren(
      h("h2", { id: "ask-title" }, question),
      h(
        "div",
        { class: "line" },
        button("Cancel", refuse),
        button(label, () => finish(true), { class: "danger" }),
      ),
    );
    dialog.addEventListener("close", refuse);
    dialog.showModal();
    dialog.querySelector(".danger").focus();
  });
}

/** Put a text on the clipboard; pages that are not served securely have but the old way. */
export async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = h("textarea", { value: text, class: "off-screen", "aria-hidden": "true" });
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    if (!done) {
      toast(`${what} could not be copied: the browser refuses`, true);
      return;
    }
  }
  toast(`${what} copied`);
}

/** The next animation frame calls `work`, once however often it is asked for. */
export function batched(work) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      work();
    });
  };
}

/** `work` once the calls have stopped for `ms`. */
export function debounced(work, ms) {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(work, ms);
  };
}
