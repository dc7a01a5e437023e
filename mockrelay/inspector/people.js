// The panels of users and of bots.
import { ask, call } from "./api.js";
import { button, copy, h, say, toast, visible } from "./dom.js";

const KINDS = [
  ["echo", "sends every message back"],
  ["reader", "reads what it gets, and says so"],
  ["typist", "types before it answers"],
  ["flaky", "loses its connection now and then"],
];

export class BotPanel {
  constructor(app, host) {
    this.app = app;
    this.user = h("input", {
      id: "bot-user",
      placeholder: "a new user",
      "aria-label": "As the user",
      size: 16,
      autocomplete: "off",
    });
    this.url = h("input", {
      id: "bot-url",
      placeholder: "http://127.0.0.1:9000/hook",
      "aria-label": "URL of the webhook",
      autocomplete: "off",
    });
    this.list = h("ul", { class: "cards", id: "bot-list" });
    this.none = h("p", { class: "empty" }, "No bot is there. An echo bot answers whatever is sent to it.");
    host.append(
      h("label", { class: "field" }, "As ", this.user),
      h(
        "div",
        { class: "line" },
        ...KINDS.map(([kind, hint]) => button(`Start ${kind}`, () => this.#start({ kind }), { title: hint })),
      ),
      h(
        "div",
        { class: "line" },
        button("Start webhook", () => this.#start({ kind: "webhook", url: this.url.value.trim() }), {
          title: "posts each message to a URL and sends back what is returned",
        }),
        this.url,
      ),
      h("h3", {}, "Bots"),
      this.none,
      this.list,
      h("p", { class: "facts" }, "Bots never decrypt."),
    );
  }

  async #start(body) {
    const user = this.user.value.trim();
    try {
      const bot = await call("POST", "/admin/bots", user === "" ? body : { ...body, user });
      toast(`${bot.kind} bot ${bot.user} is there`);
      this.user.value = "";
      this.take(await call("GET", "/admin/bots"));
    } catch (error) {
      toast(error.message, true);
    }
  }

  async #stop(bot) {
    try {
      await ask("DELETE", `/admin/bots/${encodeURIComponent(bot.id)}`);
      this.take(await call("GET", "/admin/bots"));
    } catch (error) {
      toast(error.message, true);
    }
  }

  take(bots) {
    const key = JSON.stringify(bots);
    if (key === this.shown) return;
    this.shown = key;
    this.none.hidden = bots.length > 0;
    const focused = document.activeElement?.closest?.("[data-bot]")?.dataset.bot;
    this.list.replaceChildren(
      ...bots.slice(0, 200).map((bot) =>
        h(
          "li",
          { class: "card", data: { bot: bot.id } },
          h(
            "div",
            { class: "line" },
            h("strong", {}, visible(bot.user, 64)),
            h("span", { class: "badge" }, bot.kind),
            h("span", { class: "facts" }, bot.state),
            h("span", { class: "stretch" }),
            button("Copy address", () => copy(bot.address, "The address"), { class: "small" }),
            button("Stop", () => this.#stop(bot), {
              class: "small",
              "aria-label": visible(`Stop bot ${bot.user}`, 90),
            }),
          ),
          h(
            "div",
            { class: "facts" },
            visible(
              Object.entries(bot.counters)
                .map(([name, count]) => `${name} ${count}`)
                .join(" · "),
              200,
            ),
          ),
        ),
      ),
    );
    if (focused) this.list.querySelector(`[data-bot="${CSS.escape(focused)}"] button`)?.focus();
  }
}

export class UserPanel {
  /** `app`: wsUrl(), only(filter). */
  constructor(app, host) {
    this.app = app;
    this.name = h("input", {
      id: "user-name",
      placeholder: "name",
      "aria-label": "Name of the new user",
      size: 16,
      autocomplete: "off",
    });
    this.list = h("ul", { class: "cards", id: "user-list" });
    this.none = h("p", { class: "empty" }, "Nobody is registered yet. Add somebody to be.");
    this.more = h("p", { class: "facts", hidden: true });
    this.issued = new Map(); // device → its URL
    this.users = [];
    host.append(
      h(
        "div",
        { class: "line" },
        this.name,
        button("Add user", () => this.#add(), { id: "user-add" }),
      ),
      this.none,
      this.list,
      this.more,
    );
    this.name.addEventListener("keydown", (event) => {
      if (event.key === "Enter") void this.#add();
    });
  }

  async #add() {
    const name = this.name.value.trim();
    try {
      const user = await call("POST", "/admin/users", name === "" ? {} : { name });
      toast(`${user.name} is registered`);
      this.name.value = "";
      await this.#reload();
    } catch (error) {
      toast(error.message, true);
    }
  }

  async #reload() {
    const users = await call("GET", "/admin/users");
    this.take(users);
    this.app.onUsers(users);
  }

  async #issue(user, device) {
    try {
      const { token } = await call("POST", `/admin/users/${encodeURIComponent(user.address)}/token`, {
        device_id: device.device_id,
      });
      const query = new URLSearchParams({ token, device_id: device.device_id, protocol_version: "1" });
      this.issued.set(device.device_id, { token, url: `${this.app.wsUrl()}?${query}` });
      this.#render();
    } catch (error) {
      toast(error.message, true);
    }
  }

  async #suspend(user) {
    try {
      await ask("PATCH", `/admin/users/${encodeURIComponent(user.address)}`, {
        body: { suspended: !user.suspended },
      });
      await this.#reload();
    } catch (error) {
      toast(error.message, true);
    }
  }

  take(users) {
    const key = JSON.stringify(users);
    if (key === this.shown) return;
    this.shown = key;
    this.users = users;
    this.#render();
  }

  #render() {
    this.none.hidden = this.users.length > 0;
    this.more.hidden = this.users.length <= 100;
    say(this.more, `${this.users.length - 100} more users are not shown here.`);
    this.list.replaceChildren(...this.users.slice(0, 100).map((user) => this.#card(user)));
  }

  #card(user) {
    return h(
      "li",
      { class: "card", data: { user: user.address } },
      h(
        "div",
        { class: "line" },
        h("strong", {}, visible(user.name ?? "(no name)", 64)),
        user.suspended ? h("span", { class: "badge bad" }, "suspended") : null,
        h("span", { class: "stretch" }),
        button("Frames", () => this.app.only({ user: user.address }), {
          class: "small",
          title: "Show this user's entries alone",
        }),
        button("Copy address", () => copy(user.address, "The address"), { class: "small" }),
        button(user.suspended ? "Lift" : "Suspend", () => this.#suspend(user), {
          class: "small",
          title: "A suspended user is closed with 4003",
        }),
      ),
      h("code", { class: "address" }, user.address),
      ...user.devices.slice(0, 10).map((device) => this.#device(user, device)),
      user.devices.length === 0 ? h("div", { class: "facts" }, "no device") : null,
    );
  }

  #device(user, device) {
    const issued = this.issued.get(device.device_id);
    return h(
      "div",
      { class: "device" },
      h(
        "div",
        { class: "line" },
        h("span", {}, visible(`${device.device_name || device.device_type} ${device.device_id.slice(0, 8)}`, 80)),
        h("span", { class: "stretch" }),
        button(issued ? "New token" : "Show URL", () => this.#issue(user, device), {
          class: "small",
          title: "Issue a connection token and show the WebSocket URL",
        }),
      ),
      issued &&
        h(
          "div",
          { class: "line" },
          h("input", { readonly: true, value: issued.url, class: "mono url", "aria-label": "WebSocket URL" }),
          button("Copy URL", () => copy(issued.url, "The URL"), { class: "small" }),
          button("Copy token", () => copy(issued.token, "The token"), { class: "small" }),
        ),
    );
  }
}
