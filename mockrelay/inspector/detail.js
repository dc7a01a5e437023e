// One entry in full: who, when, which rule, and its JSON.
import { button, byId, copy, h, visible } from "./dom.js";
import { timeOf } from "./frames.js";
import { indented, memberOf, shownJson } from "./json.js";

const WAYS = { in: "↑ in, from the app", out: "↓ out, to the app" };

/** The pages of an entry: [name, JSON]. */
function pagesOf(record) {
  const pages = [];
  for (const [name, member] of [
    ["Frame", "frame"],
    ["Text", "text"],
    ["Bytes", "base64"],
    ["Body", "body"],
    ["On the wire", "wire"],
  ]) {
    const found = memberOf(record.raw, member);
    if (found !== null) pages.push([name, found]);
  }
  pages.push(["Whole entry", record.raw]);
  return pages;
}

export class Detail {
  /** `app`: nameOf, only(filter), showDevice(device), closeDetail(). */
  constructor(app) {
    this.app = app;
    this.host = byId("detail");
    this.page = null;
    this.record = null;
    this.facts = null;
  }

  get isOpen() {
    return !this.host.hidden;
  }

  close() {
    this.host.hidden = true;
    this.record = null;
    byId("splitter").hidden = true;
  }

  show(record) {
    if (record === this.record && this.isOpen) return;
    this.record = record;
    const pages = pagesOf(record);
    const page = pages.find(([name]) => name === this.page) ?? pages[0];
    this.host.replaceChildren(this.#head(record), this.#tabs(pages, page), this.#body(page));
    this.host.hidden = false;
    byId("splitter").hidden = false;
  }

  /** Names have come or changed while a frame is shown: say them, and leave the rest as the reader has it. */
  namesChanged() {
    if (this.record !== null) this.facts.textContent = this.#factsOf(this.record);
  }

  #factsOf(record) {
    const facts = [
      WAYS[record.direction],
      record.user === null ? null : this.app.nameOf(record.user),
      record.connection === null ? null : `connection ${record.connection}`,
      record.t === null ? null : `${timeOf(record.t)} (${new Date(record.t).toISOString()})`,
    ].filter((fact) => fact);
    return visible(facts.join(" · "), 400);
  }

  #head(record) {
    const { app } = this;
    const title = record.event === "note" ? "Note" : `#${record.n} ${record.type ?? record.event}`;
    this.facts = h("span", { class: "facts" }, this.#factsOf(record));
    const rule = record.rule;
    return h(
      "header",
      {},
      h("h2", { class: "mono" }, visible(title, 100)),
      this.facts,
      rule === null
        ? null
        : h(
            "span",
            { class: "badge fault" },
            visible(`⚡ ${rule.do} by rule ${rule.id}${rule.comment ? `: ${rule.comment}` : ""}`, 300),
          ),
      h("span", { class: "stretch" }),
      record.connection === null
        ? null
        : button("Only this connection", () => app.only({ connection: String(record.connection) })),
      record.device === null ? null : button("Its timeline", () => app.showDevice(record.device)),
      button("✕", () => app.closeDetail(), { "aria-label": "Close the detail pane (Esc)", title: "Close (Esc)" }),
    );
  }

  #tabs(pages, chosen) {
    const tabs = pages.map(([name, json]) =>
      button(name, () => this.#choose(name), {
        role: "tab",
        "aria-selected": String(name === chosen[0]),
        tabIndex: name === chosen[0] ? 0 : -1,
        data: { size: String(json.length) },
      }),
    );
    const list = h("div", { role: "tablist", "aria-label": "What to see of it", class: "tabs" }, ...tabs);
    arrowKeys(list);
    const copyButton = button("Copy", () => copy(indented(chosen[1]), chosen[0]), {
      id: "copy-json",
      title: "Copy this JSON",
    });
    return h("div", { class: "line" }, list, h("span", { class: "stretch" }), copyButton);
  }

  #choose(name) {
    this.page = name;
    const { record } = this;
    this.record = null;
    this.show(record);
    this.host.querySelector('[role="tab"][aria-selected="true"]').focus();
  }

  #body([name, json]) {
    return h("div", { role: "tabpanel", "aria-label": name, class: "body" }, shownJson(json));
  }
}

/** Left and right move along the tabs of a list, as the ARIA practice has it. */
export function arrowKeys(list) {
  list.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step === undefined) return;
    const tabs = [...list.querySelectorAll('[role="tab"]')];
    const at = tabs.indexOf(document.activeElement);
    if (at < 0) return;
    event.preventDefault();
    const next = tabs[(at + step + tabs.length) % tabs.length];
    next.focus();
    next.click();
  });
}

/** The bar between rows and detail: dragged, or moved with the arrow keys. */
export function splitter() {
  const bar = byId("splitter");
  const detail = byId("detail");
  const center = byId("center");
  const set = (height) => {
    const bounded = Math.max(80, Math.min(height, center.clientHeight - 200));
    detail.style.height = `${bounded}px`;
    bar.setAttribute("aria-valuenow", String(Math.round(bounded)));
  };
  bar.addEventListener("pointerdown", (event) => {
    bar.setPointerCapture(event.pointerId);
    const begin = event.clientY + detail.clientHeight;
    const move = (moved) => set(begin - moved.clientY);
    bar.addEventListener("pointermove", move);
    bar.addEventListener("pointerup", () => bar.removeEventListener("pointermove", move), { once: true });
  });
  bar.addEventListener("keydown", (event) => {
    const step = { ArrowUp: 24, ArrowDown: -24 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    set(detail.clientHeight + step);
  });
}
