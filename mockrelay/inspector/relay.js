// The relay as a whole: counters, restart, reset; and its spaces.
import { BASE, SPACE, ask, call } from "./api.js";
import { button, byId, confirmed, h, say, setOptions, toast } from "./dom.js";

const COUNTS = [
  ["connections", "connections"],
  ["users", "users"],
  ["messages", "messages kept"],
  ["copies_pending", "copies pending"],
  ["journal_entries", "journal entries"],
  ["journal_dropped", "journal entries gone"],
  ["media", "media"],
  ["crashes", "crashes"],
  ["boot", "boot"],
];

export class RelayPanel {
  /** `app`: onReset(). */
  constructor(app, host) {
    this.app = app;
    this.table = h("table", { class: "counts", "aria-label": "Counts" });
    this.counters = h("table", { class: "counts", "aria-label": "Counters" });
    host.append(
      h(
        "div",
        { class: "line" },
        button("Restart", () => this.#restart(), { id: "restart" }),
        button("Reset", () => this.#reset(), { id: "reset", class: "danger" }),
      ),
      h(
        "p",
        { class: "facts" },
        "Restart closes all with 1001 and begins again with what the store holds. ",
        "Reset begins as at the start, with an empty journal.",
      ),
      h("h3", {}, "Spaces"),
      h(
        "div",
        { class: "line" },
        button("New space", () => this.#newSpace(), { id: "space-new", title: "An isolated relay in this process" }),
        SPACE === null
          ? null
          : button("End this space", () => this.#endSpace(), { class: "danger", id: "space-end" }),
      ),
      h("h3", {}, "Counts"),
      this.table,
      this.counters,
    );
  }

  take(stats) {
    fill(
      this.table,
      COUNTS.map(([name, label]) => [label, stats[name]]),
    );
    fill(this.counters, Object.entries(stats.counters).slice(0, 200));
  }

  async #restart() {
    try {
      const { boot } = await call("POST", "/admin/restart");
      toast(`Restarted: boot ${boot}`);
    } catch (error) {
      toast(error.message, true);
    }
  }

  async #reset() {
    if (!(await confirmed("Reset: users, messages, rules and the journal go. Go on?", "Reset"))) return;
    try {
      await ask("POST", "/admin/reset");
      toast("All is as at the start");
      this.app.onReset();
    } catch (error) {
      toast(error.message, true);
    }
  }

  async #newSpace() {
    try {
      const space = await call("POST", "/admin/spaces", {}, { base: "" });
      location.assign(`/spaces/${encodeURIComponent(space.id)}/`);
    } catch (error) {
      toast(error.message, true);
    }
  }

  async #endSpace() {
    if (!(await confirmed("End this space: its users, messages and journal go. Go on?", "End it"))) return;
    try {
      await ask("DELETE", `/admin/spaces/${encodeURIComponent(SPACE)}`, { base: "" });
      location.assign("/");
    } catch (error) {
      toast(error.message, true);
    }
  }
}

function fill(table, rows) {
  const key = JSON.stringify(rows);
  if (table.shown === key) return;
  table.shown = key;
  table.replaceChildren(
    ...rows.map(([label, value]) => h("tr", {}, h("th", { scope: "row" }, label), h("td", {}, value ?? "–"))),
  );
}

/** The picker of spaces in the top bar. */
export function spacePicker() {
  const picker = byId("space-picker");
  picker.addEventListener("change", () => {
    if (picker.value !== BASE) location.assign(`${picker.value}/`);
  });
  return (spaces) => {
    const options = spaces.map((space) => {
      const names = space.users
        .map((user) => user.name)
        .slice(0, 3)
        .join(", ");
      return [`/spaces/${space.id}`, names === "" ? space.id : `${space.id} (${names})`];
    });
    const known = options.some(([value]) => value === BASE);
    setOptions(picker, [
      ["", "the relay itself"],
      ...options,
      ...(BASE === "" || known ? [] : [[BASE, `${SPACE} (ended)`]]),
    ]);
    picker.value = BASE;
  };
}

/** How the page says that it is in touch with the relay. */
export function sayStatus(state, text) {
  const pill = byId("status");
  pill.dataset.state = state;
  say(pill, text);
}
