// The fault panel: ready-made rules, any rule as JSON, and those in force.
import { ask, call } from "./api.js";
import { button, h, say, setOptions, toast, visible } from "./dom.js";
import { PRESETS, ruleOf } from "./presets.js";

const EXAMPLE = `{
  "match": {"event": "frame_out", "type": "MESSAGE_ACK", "nth": 3},
  "action": {"do": "drop"},
  "comment": "the third ACK is lost"
}`;

export class FaultPanel {
  /** `app`: nameOf, refresh(name). */
  constructor(app, host) {
    this.app = app;
    this.target = h(
      "select",
      { id: "fault-target", "aria-label": "To whom" },
      h("option", { value: "" }, "everybody"),
    );
    this.times = h(
      "select",
      { id: "fault-times", "aria-label": "How often" },
      ...[
        ["own", "as suggested"],
        ["1", "once"],
        ["3", "3 times"],
        ["always", "always"],
      ].map(([value, label]) => h("option", { value }, label)),
    );
    this.json = h("textarea", {
      id: "rule-json",
      rows: 6,
      spellcheck: "false",
      "aria-label": "A rule, or a list of rules, as JSON",
      value: EXAMPLE,
    });
    this.error = h("p", { class: "error", role: "alert", id: "rule-error", hidden: true });
    this.list = h("ul", { class: "cards", id: "rule-list" });
    this.none = h("p", { class: "empty" }, "No rule is in force: the relay behaves.");
    this.count = h("span", { class: "count", id: "rule-count" }, "0");
    host.append(
      h(
        "div",
        { class: "line" },
        h("label", { class: "field" }, "To ", this.target),
        h("label", { class: "field" }, "Fires ", this.times),
      ),
      ...PRESETS.map((group) => this.#group(group)),
      h(
        "h3",
        {},
        "Rules in force ",
        this.count,
        h("span", { class: "stretch" }),
        button("Remove all", () => this.#clear(), { id: "rules-clear", class: "small" }),
      ),
      this.none,
      this.list,
      h("h3", {}, "Any rule"),
      this.json,
      this.error,
      h(
        "div",
        { class: "line" },
        button("Add rule", () => this.#addText(), { id: "rule-add" }),
        h("span", { class: "facts" }, "first match wins; tried in the order added"),
      ),
    );
    this.json.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) void this.#addText();
    });
    this.take([]);
  }

  #group({ group, rules }) {
    const parts = rules.map((preset) => {
      const choice =
        preset.choices &&
        h(
          "select",
          { "aria-label": `${preset.label}: which` },
          ...preset.choices.map((value) => h("option", { value }, value)),
        );
      const add = button(
        preset.label,
        () => this.#add(ruleOf(preset, { choice: choice?.value, target: this.#target(), times: this.times.value })),
        { title: preset.hint, class: "preset" },
      );
      return choice ? h("span", { class: "joined" }, add, choice) : add;
    });
    return h("fieldset", {}, h("legend", {}, group), ...parts);
  }

  #target() {
    const [kind, value] = this.target.value.split(/:(.*)/s);
    if (kind === "user") return { user: value };
    return kind === "connection" ? { connection: Number(value) } : {};
  }

  /** Whom a fault can be for. */
  offer(users, connections) {
    setOptions(this.target, [
      ["", "everybody"],
      ...users.slice(0, 100).map((user) => [`user:${user.address}`, this.app.nameOf(user.address)]),
      ...connections
        .slice(0, 100)
        .map((row) => [`connection:${row.id}`, `connection ${row.id} (${this.app.nameOf(row.user)})`]),
    ]);
  }

  async #add(body) {
    this.error.hidden = true;
    try {
      const added = await call("POST", "/admin/rules", body);
      const ids = [added].flat().map((rule) => rule.id);
      toast(
        `Added: ${[added]
          .flat()
          .map((rule) => rule.comment ?? rule.id)
          .join(", ")}`,
      );
      await this.reload();
      return ids;
    } catch (error) {
      this.error.hidden = false;
      say(this.error, visible(error.message, 2_000));
      this.error.scrollIntoView({ block: "nearest" });
      return [];
    }
  }

  async #addText() {
    try {
      JSON.parse(this.json.value);
    } catch (error) {
      this.error.hidden = false;
      say(this.error, `This is no JSON: ${visible(error.message, 300)}`);
      return;
    }
    await this.#add(this.json.value); // as it is written, so that the relay sees what it says
  }

  async reload() {
    this.take(await call("GET", "/admin/rules"));
  }

  async #clear() {
    try {
      await ask("DELETE", "/admin/rules");
      await this.reload();
    } catch (error) {
      toast(error.message, true);
    }
  }

  async #remove(id) {
    try {
      await ask("DELETE", `/admin/rules/${encodeURIComponent(id)}`);
      await this.reload();
    } catch (error) {
      toast(error.message, true);
    }
  }

  take(rules) {
    const key = JSON.stringify(rules);
    if (key === this.shown) return;
    this.shown = key;
    say(this.count, String(rules.length));
    this.none.hidden = rules.length > 0;
    const focused = document.activeElement?.closest?.("[data-rule]")?.dataset.rule;
    this.list.replaceChildren(...rules.slice(0, 200).map((rule) => this.#card(rule)));
    if (focused) this.list.querySelector(`[data-rule="${CSS.escape(focused)}"] button`)?.focus();
  }

  #card(rule) {
    const { id, matched, fired, ...said } = rule;
    const bare = (part) =>
      Object.fromEntries(Object.entries(part ?? {}).filter(([, value]) => value !== null && !emptyObject(value)));
    const plain = bare({ ...said, match: bare(said.match), action: bare(said.action) });
    if (plain.match === undefined) plain.match = {};
    const limit = rule.times ?? null;
    const isSpent = limit !== null && fired >= limit;
    return h(
      "li",
      { data: { rule: id }, class: isSpent ? "card spent" : "card" },
      h(
        "div",
        { class: "line" },
        h("strong", {}, visible(rule.comment ?? id, 80)),
        h("span", { class: "stretch" }),
        h(
          "span",
          { class: "facts" },
          `fired ${fired}${limit === null ? "" : ` of ${limit}`}${isSpent ? ", spent" : ""}`,
        ),
        button("Edit", () => this.#edit(plain), {
          class: "small",
          title: "Put it into the field below, to add it changed",
        }),
        button("✕", () => this.#remove(id), {
          title: "Remove",
          class: "small",
          "aria-label": visible(`Remove rule ${rule.comment ?? id}`, 100),
        }),
      ),
      h("code", {}, visible(`${JSON.stringify(plain.match)} → ${JSON.stringify(plain.action)}`, 600)),
    );
  }

  #edit(rule) {
    this.json.value = JSON.stringify(rule, null, 2);
    this.json.focus();
  }
}

const emptyObject = (value) => typeof value === "object" && Object.keys(value).length === 0;
