// The clock panel: what time it is on the relay, and making it another.
import { call } from "./api.js";
import { button, h, say, toast } from "./dom.js";
import { spanOf } from "./timeline.js";

const UNITS = [
  ["1", "ms"],
  ["1000", "s"],
  ["60000", "min"],
  ["3600000", "h"],
  ["86400000", "d"],
];
const STEPS = [
  ["+1 s", 1_000],
  ["+1 min", 60_000],
  ["+1 h", 3_600_000],
  ["+1 day", 86_400_000],
];

const two = (number) => String(number).padStart(2, "0");

/** Date and time in the zone of who looks. */
function momentOf(ms) {
  const at = new Date(ms);
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  return `${day} ${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

export class ClockPanel {
  constructor(host, pill) {
    this.pill = pill;
    this.state = null;
    this.now = h("output", { class: "mono big", id: "clock-now" });
    this.mode = h("span", { class: "facts", id: "clock-mode" });
    this.amount = h("input", {
      type: "number",
      min: 0,
      step: "any",
      value: 5,
      class: "short",
      "aria-label": "Advance by",
      id: "advance-amount",
    });
    this.unit = h(
      "select",
      { "aria-label": "Unit", id: "advance-unit" },
      ...UNITS.map(([value, label]) => h("option", { value }, label)),
    );
    this.unit.value = "60000";
    this.beats = h(
      "select",
      { "aria-label": "Heartbeats in the span" },
      h("option", { value: "skip" }, "skip heartbeats"),
      h("option", { value: "wait" }, "wait for each PONG"),
    );
    this.factor = h("input", {
      type: "number",
      min: 0.001,
      step: "any",
      value: 60,
      class: "short",
      "aria-label": "Factor",
      id: "scale-factor",
    });
    host.append(
      h("p", { class: "line" }, this.now),
      h("p", {}, this.mode),
      h(
        "div",
        { class: "line" },
        button("Freeze", () => this.#move({ action: "freeze" }), { id: "clock-freeze" }),
        button("Resume", () => this.#move({ action: "resume" }), { id: "clock-resume" }),
      ),
      h("h3", {}, "Let time pass"),
      h("div", { class: "line" }, ...STEPS.map(([label, ms]) => button(label, () => this.#advance(ms)))),
      h(
        "div",
        { class: "line" },
        this.amount,
        this.unit,
        button("Advance", () => this.#advance(Number(this.amount.value) * Number(this.unit.value)), {
          id: "advance",
        }),
      ),
      h("div", { class: "line" }, this.beats),
      h(
        "p",
        { class: "facts" },
        "Every timer that falls due runs at its own instant: token warnings and expiries, typing stops, ",
        "delays of rules. The app's own clock does not move.",
      ),
      h("h3", {}, "Pace"),
      h(
        "div",
        { class: "line" },
        this.factor,
        "× real time ",
        button("Set", () => this.#move({ action: "scale", factor: Number(this.factor.value) }), { id: "scale" }),
        button("Real time", () => this.#move({ action: "scale", factor: 1 }), { id: "clock-real" }),
      ),
    );
    setInterval(() => this.#show(), 250);
  }

  take(state) {
    this.state = { ...state, at: performance.now() };
    this.#show();
  }

  #show() {
    if (this.state === null) return;
    const { now_ms: now, mode, scale, at } = this.state;
    const shown = momentOf(now + (performance.now() - at) * scale);
    const word = { frozen: "frozen", scaled: `${scale}×`, real: "real" }[mode] ?? mode;
    say(this.now, shown);
    say(
      this.mode,
      { frozen: "Time stands still.", real: "Time runs at its own pace." }[mode] ??
        `Time runs ${scale} times as fast.`,
    );
    say(this.pill, `${mode === "frozen" ? "❄" : "◷"} ${shown} ${word}`);
    this.pill.dataset.mode = mode;
  }

  #advance(ms) {
    return this.#move(
      { action: "advance", ms: Math.round(ms), heartbeat: this.beats.value },
      `Advanced by ${spanOf(ms)}`,
    );
  }

  async #move(body, said = null) {
    try {
      this.take(await call("POST", "/admin/clock", body));
      if (said !== null) toast(said);
    } catch (error) {
      toast(error.message, true);
    }
  }
}
