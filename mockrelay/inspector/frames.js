// The journal's entries as rows: filtered, searched, followed, chosen by mouse or keyboard.
import { batched, byId, debounced, h, say, visible } from "./dom.js";
import { VirtualList } from "./list.js";
import { filterOf } from "./store.js";

const ROW_HEIGHT = 22;
const COLUMNS = [
  ["number", "#"],
  ["time", "Time"],
  ["way", "Way"],
  ["who", "User"],
  ["link", "Conn"],
  ["kind", "Type"],
  ["fault", "Fault"],
  ["what", "What"],
];
const WAYS = { in: "↑ in", out: "↓ out" };
export const NO_FILTER = {
  direction: "",
  type: "",
  user: "",
  connection: "",
  faults: false,
  heartbeats: true,
  query: "",
};

const two = (number) => String(number).padStart(2, "0");

/** Time of day with milliseconds, in the zone of who looks. */
export function timeOf(ms) {
  const at = new Date(ms);
  const millis = String(at.getMilliseconds()).padStart(3, "0");
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}.${millis}`;
}

export class Frames {
  /** `app`: store, nameOf(address); onSelect(record or null). */
  constructor(app) {
    this.app = app;
    this.grid = byId("frames");
    this.view = [];
    this.head = 0;
    this.filter = { ...NO_FILTER };
    this.passes = filterOf(this.filter, app.nameOf);
    this.follow = true;
    this.paused = false;
    this.pending = 0;
    this.list = new VirtualList({
      scroller: byId("frames-scroller"),
      rowHeight: ROW_HEIGHT,
      id: "frame",
      role: "row",
      columns: COLUMNS.map(([name]) => name),
      fill: (row, record) => this.#fill(row, record),
      at: (index) => this.view[this.head + index],
    });
    const heads = COLUMNS.map(([name, label]) => h("div", { class: `cell ${name}`, role: "columnheader" }, label));
    byId("frames-head").append(h("div", { class: "row", role: "row", "aria-rowindex": "1" }, ...heads));
    this.grid.setAttribute("aria-colcount", String(COLUMNS.length));
    this.show = batched(() => this.#show());
    this.rebuildSoon = debounced(() => this.rebuild(), 120);
    this.grid.addEventListener("keydown", (event) => this.#key(event));
    const scroller = byId("frames-scroller");
    scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    scroller.addEventListener("click", (event) => {
      const index = this.list.indexOf(event);
      if (index >= 0) this.selectAt(index);
      this.grid.focus();
    });
  }

  get length() {
    return this.view.length - this.head;
  }

  get selected() {
    return this.list.selected;
  }

  /** New records, and whatever has left the store meanwhile. */
  take(records) {
    const passing = records.filter(this.passes);
    if (this.paused) this.pending += passing.length;
    else for (const record of passing) this.view.push(record);
    this.show();
  }

  setFilter(changes) {
    Object.assign(this.filter, changes);
    this.passes = filterOf(this.filter, this.app.nameOf);
    this.rebuildSoon();
  }

  setPaused(paused) {
    this.paused = paused;
    if (!paused) this.rebuild();
    else this.show();
  }

  setFollow(follow) {
    this.follow = follow;
    if (follow) this.list.toEnd();
    this.show();
    this.app.onFollow();
  }

  rebuild() {
    const keep = this.list.selected;
    const until = this.paused ? this.pausedAt : Infinity;
    this.view = [];
    this.head = 0;
    for (const record of this.app.store) if (record.n <= until && this.passes(record)) this.view.push(record);
    if (!this.paused) this.pending = 0;
    this.list.version += 1;
    this.#show();
    const at = keep === null ? -1 : this.view.indexOf(keep);
    if (at >= 0 && !this.follow) this.list.show(at - this.head);
    this.list.render();
  }

  clear() {
    this.select(null);
    this.setFollow(true);
    this.rebuild();
  }

  get pausedAt() {
    return this.paused ? (this.#pausedAt ??= this.app.store.newest) : ((this.#pausedAt = null), Infinity);
  }

  #pausedAt = null;

  #show() {
    void this.pausedAt;
    const oldest = this.app.store.oldest;
    const before = this.head;
    while (this.head < this.view.length && this.view[this.head].n < oldest) this.view[this.head++] = undefined;
    const gone = this.head - before;
    if (this.head > 20_000) {
      this.view.splice(0, this.head);
      this.head = 0;
    }
    this.list.setCount(this.length);
    if (this.follow) this.list.toEnd();
    else if (gone > 0) byId("frames-scroller").scrollTop -= gone * ROW_HEIGHT;
    this.list.render();
    this.grid.setAttribute("aria-rowcount", String(this.length + 1));
    this.#point();
    this.app.onShown();
  }

  #scrolled() {
    const atEnd = this.list.atEnd;
    if (atEnd !== this.follow) {
      this.follow = atEnd;
      this.app.onFollow();
    }
  }

  #point() {
    const id = this.selected === null ? null : this.list.idOf(this.selected);
    if (id === null) this.grid.removeAttribute("aria-activedescendant");
    else this.grid.setAttribute("aria-activedescendant", id);
  }

  #fill(row, record) {
    const { nameOf } = this.app;
    const [number, time, way, who, link, kind, fault, what] = row.cells;
    const isNote = record.event === "note";
    say(number, isNote ? "" : String(record.n));
    say(time, record.t === null ? "" : timeOf(record.t));
    say(way, WAYS[record.direction] ?? "·");
    say(who, record.user === null ? "" : visible(nameOf(record.user), 64));
    say(link, record.connection === null ? "" : String(record.connection));
    say(kind, isNote ? "note" : visible(record.type ?? record.event, 60));
    say(fault, record.rule === null ? "" : `⚡ ${visible(record.rule.do, 20)}`);
    say(what, visible(record.summary));
    const data = row.element.dataset;
    data.event = record.event;
    data.way = record.direction ?? "none";
    data.n = String(record.n);
    data.bad = String(
      record.type === "ERROR" || record.event === "lost" || record.status >= 400 || record.type === "AUTH_FAILED",
    );
    data.fault = record.rule === null ? "" : record.rule.do;
    data.quiet = String(record.heartbeat);
  }

  #index() {
    return this.selected === null ? -1 : this.view.indexOf(this.selected, this.head) - this.head;
  }

  selectAt(index) {
    if (this.length === 0) return;
    const at = Math.max(0, Math.min(index, this.length - 1));
    if (at < this.length - 1 && this.follow) this.setFollow(false);
    this.list.show(at);
    this.select(this.view[this.head + at]);
  }

  select(record) {
    this.list.selected = record;
    this.list.render();
    this.#point();
    this.app.onSelect(record);
  }

  /** Choose an entry wherever it is; false where the filter hides it. */
  reveal(record) {
    const at = this.view.indexOf(record, this.head);
    if (at < 0) {
      this.select(record);
      return false;
    }
    this.selectAt(at - this.head);
    return true;
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const at = this.#index();
    const start = at < 0 ? this.length : at;
    const moves = {
      ArrowUp: () => this.selectAt(start - 1),
      ArrowDown: () => this.selectAt(at < 0 ? this.length - 1 : at + 1),
      PageUp: () => this.selectAt(start - this.list.pageRows),
      PageDown: () => this.selectAt(start + this.list.pageRows),
      Home: () => this.selectAt(0),
      End: () => {
        this.selectAt(this.length - 1);
        this.setFollow(true);
      },
      Enter: () => this.app.onOpen(),
    };
    const move = moves[event.key];
    if (move === undefined) return;
    event.preventDefault();
    move();
  }
}

/** The bar above the rows. */
export function toolbar(app, frames) {
  const set = (name, read = (element) => element.value) => ({
    input: (event) => frames.setFilter({ [name]: read(event.target) }),
  });
  const checked = (element) => element.checked;
  const direction = h(
    "select",
    { id: "filter-direction", "aria-label": "Direction", on: set("direction") },
    h("option", { value: "" }, "↑↓ both"),
    h("option", { value: "in" }, "↑ in (from the app)"),
    h("option", { value: "out" }, "↓ out (to the app)"),
  );
  const type = h("input", {
    id: "filter-type",
    placeholder: "type or event",
    "aria-label": "Type or event",
    list: "types",
    size: 14,
    autocomplete: "off",
    spellcheck: "false",
    on: set("type"),
  });
  const user = h(
    "select",
    { id: "filter-user", "aria-label": "User", on: set("user") },
    h("option", { value: "" }, "all users"),
  );
  const connection = h(
    "select",
    { id: "filter-connection", "aria-label": "Connection", on: set("connection") },
    h("option", { value: "" }, "all links"),
  );
  const faults = h("input", { type: "checkbox", id: "filter-faults", on: set("faults", checked) });
  const beats = h("input", {
    type: "checkbox",
    id: "filter-heartbeats",
    checked: true,
    on: set("heartbeats", checked),
  });
  const search = h("input", {
    id: "search",
    type: "search",
    placeholder: "search in frames  /",
    "aria-label": "Search in frames",
    autocomplete: "off",
    spellcheck: "false",
    on: set("query"),
  });
  const pause = h(
    "button",
    { id: "pause", "aria-pressed": "false", title: "Pause the list (p)", on: { click: () => app.pause() } },
    "Pause",
  );
  const clear = h(
    "button",
    { id: "clear", title: "Empty the list, not the journal (c)", on: { click: () => app.clear() } },
    "Clear",
  );
  const follow = h(
    "button",
    {
      id: "follow",
      "aria-pressed": "true",
      title: "Stay at the newest (f)",
      on: { click: () => frames.setFollow(!frames.follow) },
    },
    "Follow",
  );
  byId("toolbar").append(
    search,
    direction,
    type,
    h("datalist", { id: "types" }),
    user,
    connection,
    h("label", { class: "check" }, faults, " faults only"),
    h("label", { class: "check" }, beats, " heartbeats"),
    h(
      "span",
      { class: "group" },
      h(
        "button",
        { id: "unfilter", hidden: true, title: "Show everything again", on: { click: () => app.unfilter() } },
        "No filter",
      ),
      pause,
      clear,
      follow,
    ),
  );
  return { direction, type, user, connection, faults, beats, search, pause, follow };
}
