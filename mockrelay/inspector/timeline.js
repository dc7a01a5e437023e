// The timeline of a device: its connections, frames up and down, heartbeats, closes and faults, on a canvas.
//
// A stretch in which nothing happens is drawn short and says how long it was, so that a day the clock was advanced by
// does not press all else into a line.
import { batched, button, byId, h, setOptions, visible } from "./dom.js";
import { timeOf } from "./frames.js";

const LANES = [
  ["link", "link"],
  ["up", "↑ in"],
  ["down", "↓ out"],
  ["beat", "♥ beat"],
  ["fault", "⚡ fault"],
];
const LANE = 18;
const AXIS = 16;
const LABELS = 58;
const MAX_MARKS = 5_000;
const GAP_PIXELS = 58;
const ENDS = new Set(["closed", "lost"]);

/** A span of time in words: 340 ms, 2.5 s, 3 min, 1 d. */
export function spanOf(ms) {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${+(ms / 1_000).toFixed(1)} s`;
  if (ms < 3_600_000) return `${+(ms / 60_000).toFixed(1)} min`;
  if (ms < 86_400_000) return `${+(ms / 3_600_000).toFixed(1)} h`;
  return `${+(ms / 86_400_000).toFixed(1)} d`;
}

export class Timeline {
  /** `app`: store, nameOf, deviceName, reveal(record), deviceLabel(device). */
  constructor(app) {
    this.app = app;
    this.device = null; // null: the one heard of last
    this.marks = [];
    this.pixelsPerMs = 0.04;
    this.offset = 0;
    this.follow = true;
    this.selected = null;
    this.picker = h("select", {
      id: "timeline-device",
      "aria-label": "Device",
      on: { change: () => this.choose(this.picker.value || null) },
    });
    this.canvas = h("canvas", { tabIndex: 0, role: "img", id: "timeline-canvas" });
    this.caption = h("span", { class: "facts", id: "timeline-caption" });
    this.toggle = button("▾ Timeline", () => this.#fold(), { class: "fold", "aria-expanded": "true" });
    this.host = byId("timeline");
    this.host.append(
      h(
        "div",
        { class: "line" },
        this.toggle,
        this.picker,
        this.caption,
        h("span", { class: "stretch" }),
        button("−", () => this.zoom(0.5), { "aria-label": "Zoom out", title: "Zoom out" }),
        button("+", () => this.zoom(2), { "aria-label": "Zoom in", title: "Zoom in" }),
        button("⇥", () => this.#toEnd(), { "aria-label": "To the newest", title: "To the newest" }),
      ),
      this.canvas,
    );
    this.drawSoon = batched(() => this.#draw());
    new ResizeObserver(this.drawSoon).observe(this.canvas);
    window.addEventListener("themechange", this.drawSoon);
    this.#listen();
  }

  choose(device) {
    this.device = device;
    this.picker.value = device ?? "";
    this.rebuild();
  }

  get shownDevice() {
    return this.device ?? [...this.app.store.devices.keys()].at(-1) ?? null;
  }

  rebuild() {
    const device = this.shownDevice;
    this.marks = [];
    for (const record of this.app.store) if (record.device === device) this.marks.push({ record, x: 0 });
    this.marks = this.marks.slice(-MAX_MARKS);
    this.drawn = device;
    this.#toEnd();
  }

  take(records) {
    if (this.shownDevice !== this.drawn) this.rebuild();
    else {
      for (const record of records) if (record.device === this.drawn) this.marks.push({ record, x: 0 });
      if (this.marks.length > 1.2 * MAX_MARKS) this.marks = this.marks.slice(-MAX_MARKS);
    }
    this.drawSoon();
  }

  setSelected(record) {
    this.selected = record;
    this.drawSoon();
  }

  zoom(factor) {
    const width = this.canvas.clientWidth;
    const middle = this.offset + width / 2;
    this.pixelsPerMs = Math.max(0.0005, Math.min(this.pixelsPerMs * factor, 2));
    const before = this.end;
    this.#place();
    this.offset = this.follow ? this.offset : (middle * this.end) / Math.max(before, 1) - width / 2;
    this.drawSoon();
  }

  #toEnd() {
    this.follow = true;
    this.drawSoon();
  }

  #fold() {
    const folded = this.host.classList.toggle("folded");
    this.toggle.textContent = folded ? "▸ Timeline" : "▾ Timeline";
    this.toggle.setAttribute("aria-expanded", String(!folded));
  }

  #listen() {
    this.canvas.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        if (event.ctrlKey) this.zoom(event.deltaY < 0 ? 1.25 : 0.8);
        else this.#pan(event.deltaX || event.deltaY);
      },
      { passive: false },
    );
    this.canvas.addEventListener("pointerdown", (event) => {
      const begin = event.clientX;
      let last = begin;
      const move = (moved) => {
        this.#pan(last - moved.clientX);
        last = moved.clientX;
      };
      this.canvas.setPointerCapture(event.pointerId);
      this.canvas.addEventListener("pointermove", move);
      const up = (ended) => {
        this.canvas.removeEventListener("pointermove", move);
        if (Math.abs(ended.clientX - begin) < 4) this.#pick(ended.offsetX, ended.offsetY);
      };
      this.canvas.addEventListener("pointerup", up, { once: true });
    });
    this.canvas.addEventListener("keydown", (event) => {
      const act = {
        ArrowLeft: () => this.#step(-1),
        ArrowRight: () => this.#step(1),
        "+": () => this.zoom(2),
        "-": () => this.zoom(0.5),
        End: () => this.#toEnd(),
        Home: () => this.#pan(-this.offset),
      }[event.key];
      if (act === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      act();
    });
  }

  #pan(pixels) {
    this.follow = false;
    this.offset += pixels;
    this.drawSoon();
  }

  #step(by) {
    const at = this.marks.findIndex((mark) => mark.record === this.selected);
    const next = at < 0 ? this.marks.at(-1) : this.marks[at + by];
    if (next === undefined) return;
    this.follow = false;
    this.offset = next.x - (this.canvas.clientWidth - LABELS) / 2;
    this.app.reveal(next.record);
  }

  #pick(x, y) {
    const lane = LANES[Math.floor(y / LANE)]?.[0];
    const at = x - LABELS + this.offset;
    let best = null;
    for (const mark of this.marks) {
      const distance = Math.abs(mark.x - at) + (laneOf(mark.record) === lane ? 0 : 6);
      if (distance < (best?.distance ?? 14)) best = { mark, distance };
    }
    if (best !== null) this.app.reveal(best.mark.record);
  }

  /** Where each mark stands; a long gap is a break. */
  #place() {
    let x = 10;
    let before = null;
    this.breaks = [];
    for (const mark of this.marks) {
      const gap = before === null ? 0 : Math.max(0, mark.record.t - before);
      const width = gap * this.pixelsPerMs;
      if (width > 3 * GAP_PIXELS) {
        this.breaks.push([x, gap]);
        x += GAP_PIXELS;
      } else x += width;
      mark.x = x;
      before = mark.record.t;
    }
    this.end = x + 16;
  }

  #draw() {
    const devices = [...this.app.store.devices.values()].reverse();
    const options = devices.slice(0, 100).map(({ device, user }) => [device, this.app.deviceLabel(device, user)]);
    setOptions(this.picker, [["", "the device heard of last"], ...options]);
    if (this.device !== null) this.picker.value = this.device;
    if (this.host.classList.contains("folded")) return;
    this.#place();
    const width = this.canvas.clientWidth;
    const height = LANES.length * LANE + AXIS;
    const scale = devicePixelRatio || 1;
    this.canvas.width = Math.round(width * scale);
    this.canvas.height = Math.round(height * scale);
    const room = width - LABELS;
    this.offset = this.follow
      ? Math.max(0, this.end - room)
      : Math.max(0, Math.min(this.offset, this.end - room / 2));
    const pen = this.canvas.getContext("2d");
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(`--${name}`).trim();
    pen.clearRect(0, 0, width, height);
    pen.font = "11px system-ui, sans-serif";
    pen.textBaseline = "middle";
    this.#lanes(pen, colour, width);
    pen.save();
    pen.beginPath();
    pen.rect(LABELS, 0, room, height);
    pen.clip();
    this.#links(pen, colour);
    this.#breaks(pen, colour, height);
    for (const mark of this.marks) this.#mark(pen, colour, mark);
    this.#axis(pen, colour, height);
    pen.restore();
    this.#describe();
  }

  #at(x) {
    return LABELS + x - this.offset;
  }

  #lanes(pen, colour, width) {
    LANES.forEach(([, label], at) => {
      pen.fillStyle = at % 2 === 0 ? colour("stripe") : "transparent";
      pen.fillRect(0, at * LANE, width, LANE);
      pen.fillStyle = colour("muted");
      pen.fillText(label, 6, at * LANE + LANE / 2 + 1);
    });
  }

  /** A bar from the answer 101 to the end; darker from AUTH_SUCCESS on. */
  #links(pen, colour) {
    const open = new Map();
    const bar = (from, to, ready) => {
      pen.fillStyle = ready ? colour("ready") : colour("waiting");
      pen.fillRect(this.#at(from), 5, Math.max(2, to - from), LANE - 9);
    };
    for (const { record, x } of this.marks) {
      const id = record.connection;
      if (record.event === "connected") open.set(id, [x, false]);
      else if (record.type === "AUTH_SUCCESS" && record.direction === "out") {
        if (open.has(id)) bar(open.get(id)[0], x, false);
        open.set(id, [x, true]);
      } else if (ENDS.has(record.event) && open.has(id)) {
        bar(open.get(id)[0], x, open.get(id)[1]);
        open.delete(id);
      }
    }
    for (const [from, ready] of open.values()) bar(from, this.end, ready);
  }

  #breaks(pen, colour, height) {
    for (const [x, gap] of this.breaks) {
      const at = this.#at(x) + GAP_PIXELS / 2;
      pen.strokeStyle = colour("line");
      pen.setLineDash([3, 3]);
      pen.beginPath();
      pen.moveTo(at, 0);
      pen.lineTo(at, height - AXIS);
      pen.stroke();
      pen.setLineDash([]);
      pen.fillStyle = colour("muted");
      pen.textAlign = "center";
      pen.fillText(`+${spanOf(gap)}`, at, height - AXIS / 2);
      pen.textAlign = "left";
    }
  }

  #mark(pen, colour, { record, x }) {
    const at = this.#at(x);
    if (at < LABELS - 10 || at > this.canvas.clientWidth + 10) return;
    const lane = LANES.findIndex(([name]) => name === laneOf(record));
    const y = lane * LANE + LANE / 2;
    const isUp = record.direction === "in";
    if (laneOf(record) === "link") {
      const ends = ENDS.has(record.event);
      pen.fillStyle = record.event === "lost" || record.status >= 400 ? colour("bad") : colour("text");
      pen.font = "bold 12px system-ui, sans-serif";
      pen.textAlign = "center";
      if (ends || record.event === "upgrade") pen.fillText(ends || record.status >= 400 ? "✕" : "●", at, y + 1);
      pen.textAlign = "left";
      pen.font = "11px system-ui, sans-serif";
    } else {
      pen.fillStyle = record.type === "ERROR" ? colour("bad") : colour(isUp ? "in" : "out");
      triangle(pen, at, y, isUp ? -1 : 1, record.heartbeat ? 3 : 4.5);
    }
    if (record.rule !== null) {
      pen.fillStyle = colour("fault");
      pen.textAlign = "center";
      pen.fillText("⚡", at, 4 * LANE + LANE / 2 + 1);
      pen.textAlign = "left";
    }
    if (record === this.selected) {
      pen.strokeStyle = colour("accent");
      pen.lineWidth = 1.5;
      pen.strokeRect(at - 6, y - 7.5, 12, 15);
      pen.lineWidth = 1;
    }
  }

  #axis(pen, colour, height) {
    pen.fillStyle = colour("muted");
    let free = LABELS;
    for (const { record, x } of this.marks) {
      const at = this.#at(x);
      if (at < free || this.breaks.some(([from]) => Math.abs(this.#at(from) + GAP_PIXELS / 2 - at - 30) < 62))
        continue;
      pen.fillText(timeOf(record.t).slice(0, 8), at, height - AXIS / 2);
      free = at + 110;
    }
  }

  #describe() {
    const count = (test) => this.marks.filter(({ record }) => test(record)).length;
    const event = (name) => count((record) => record.event === name);
    const parts = [
      [event("connected"), "connection", "connections"],
      [event("frame_in"), "frame in", "frames in"],
      [event("frame_out"), "out", "out"],
      [count((record) => ENDS.has(record.event)), "end", "ends"],
      [count((record) => record.rule !== null), "fault", "faults"],
    ];
    const told = parts.map(([number, one, many]) => `${number} ${number === 1 ? one : many}`).join(", ");
    const text = this.marks.length === 0 ? "nothing of this device yet" : told;
    if (this.said === text) return;
    this.said = text;
    this.caption.textContent = text;
    const label = this.drawn ? visible(this.app.deviceLabel(this.drawn, null), 100) : "no device";
    this.canvas.setAttribute("aria-label", `Timeline of ${label}: ${text}. Arrow keys step from entry to entry.`);
    this.canvas.dataset.marks = String(this.marks.length);
  }
}

function laneOf(record) {
  if (record.heartbeat) return "beat";
  if (record.event === "frame_in" || record.event === "rest") return "up";
  if (record.event === "frame_out" || record.event === "push") return "down";
  return "link";
}

function triangle(pen, x, y, way, size) {
  pen.beginPath();
  pen.moveTo(x, y + way * size);
  pen.lineTo(x - size, y - way * size);
  pen.lineTo(x + size, y - way * size);
  pen.fill();
}
