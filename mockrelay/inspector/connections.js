// Who is connected: state, quality of the round trip, what waits for it; and what can be done to it.
import { ask } from "./api.js";
import { button, byId, h, say, toast, visible } from "./dom.js";
import { VirtualList } from "./list.js";

const ROW_HEIGHT = 42;

/** The specification's words for a round-trip time. */
export function qualityOf(rttMs) {
  if (rttMs === null) return ["none", "no RTT yet", 0];
  if (rttMs < 100) return ["excellent", "excellent", 4];
  if (rttMs < 300) return ["good", "good", 3];
  if (rttMs <= 1000) return ["fair", "fair", 2];
  return ["poor", "poor", 1];
}

const bars = (count) => "▂▄▆█".slice(0, count).padEnd(4, "·");

export class Connections {
  /** `app`: nameOf, only(filter), showDevice, onConnections(list), wsUrl. */
  constructor(app) {
    this.app = app;
    this.rows = [];
    this.chosen = null; // a connection's id
    this.host = byId("connection-list");
    this.list = new VirtualList({
      scroller: this.host,
      rowHeight: ROW_HEIGHT,
      id: "connection",
      role: "option",
      columns: ["name", "state", "device", "quality", "queue"],
      fill: (row, item) => this.#fill(row, item),
      at: (index) => this.rows[index],
    });
    this.host.addEventListener("click", (event) => this.choose(this.rows[this.list.indexOf(event)] ?? null));
    this.host.addEventListener("keydown", (event) => this.#key(event));
    this.#actions();
  }

  take(rows) {
    this.rows = rows;
    say(byId("connection-count"), String(rows.length));
    this.list.selected = rows.find((row) => row.id === this.chosen) ?? null;
    this.list.setCount(rows.length);
    this.list.version += 1;
    this.list.render();
    this.#showActions();
    this.showEmpty();
  }

  showEmpty() {
    const empty = byId("connection-empty");
    empty.hidden = this.rows.length > 0;
    this.host.hidden = !empty.hidden;
    const url = this.app.wsUrl();
    if (!empty.hidden && empty.dataset.url !== url) {
      empty.dataset.url = url;
      empty.replaceChildren(
        h("p", {}, "No app is connected yet."),
        h("p", {}, "Point it at ", h("code", {}, url || "…"), "."),
        h("p", {}, "The Users panel has ready-made URLs with a token; the Bots panel has somebody to talk to."),
      );
    }
  }

  choose(row) {
    this.chosen = row?.id ?? null;
    this.list.selected = row;
    this.list.render();
    const id = row === null ? null : this.list.idOf(row);
    if (id === null) this.host.removeAttribute("aria-activedescendant");
    else this.host.setAttribute("aria-activedescendant", id);
    this.#showActions();
    if (row !== null) this.app.showDevice(row.device);
  }

  #key(event) {
    const at = this.rows.findIndex((row) => row.id === this.chosen);
    const to = {
      ArrowDown: at + 1,
      ArrowUp: at < 0 ? this.rows.length - 1 : at - 1,
      Home: 0,
      End: this.rows.length - 1,
    }[event.key];
    if (to !== undefined && this.rows.length > 0) {
      event.preventDefault();
      const bounded = Math.max(0, Math.min(to, this.rows.length - 1));
      this.list.show(bounded);
      this.list.render();
      this.choose(this.rows[bounded]);
    } else if (event.key === "Enter" && this.chosen !== null) {
      event.preventDefault();
      this.app.only({ connection: String(this.chosen) });
    } else if (event.key === "Escape" && this.chosen !== null) {
      event.stopPropagation();
      this.choose(null);
    }
  }

  #fill(row, item) {
    const [name, state, device, quality, queue] = row.cells;
    const [kind, word, count] = qualityOf(item.rtt_ms);
    say(name, `${visible(this.app.nameOf(item.user), 64)} #${item.id}`);
    say(state, item.state);
    say(device, visible(this.app.deviceName(item.device), 40));
    say(
      quality,
      item.rtt_ms === null
        ? "RTT –"
        : `${bars(count)} ${item.rtt_ms < 10 ? item.rtt_ms.toFixed(1) : Math.round(item.rtt_ms)} ms`,
    );
    quality.title = `round-trip time: ${word}`;
    say(queue, item.queued > 0 ? `${item.queued} queued` : "");
    queue.title = item.queued > 0 ? `${item.queued} frames, ${item.queued_bytes} bytes wait for the app to read` : "";
    row.element.dataset.state = item.state;
    row.element.dataset.quality = kind;
    row.element.setAttribute(
      "aria-label",
      visible(
        [
          this.app.nameOf(item.user),
          `connection ${item.id}`,
          item.state,
          `round trip ${word}`,
          `${item.queued} frames queued`,
        ].join(", "),
        200,
      ),
    );
  }

  #actions() {
    this.code = h("input", {
      type: "number",
      min: 1000,
      max: 4999,
      value: 1001,
      "aria-label": "Close code",
      class: "short",
    });
    const end = (body, done) => async () => {
      try {
        await ask("DELETE", `/admin/connections/${this.chosen}`, { body: body() });
        toast(`Connection ${this.chosen}: ${done}`);
      } catch (error) {
        toast(error.message, true);
      }
    };
    byId("connection-actions").append(
      h("span", { id: "connection-chosen", class: "mono" }),
      button("Only its frames", () => this.app.only({ connection: String(this.chosen) })),
      h(
        "span",
        { class: "joined" },
        button(
          "Close",
          end(() => ({ how: "close", code: Number(this.code.value) }), "closed"),
        ),
        this.code,
      ),
      button(
        "Abort",
        end(() => ({ how: "abort" }), "aborted"),
        { title: "TCP reset: the app sees 1006" },
      ),
      button(
        "Blackhole",
        end(() => ({ how: "blackhole" }), "silent from now on"),
        { title: "Half-open silence: nothing is read or written any more" },
      ),
    );
  }

  #showActions() {
    byId("connection-actions").hidden = this.list.selected === null;
    if (this.list.selected !== null) say(byId("connection-chosen"), `#${this.chosen}`);
  }
}
