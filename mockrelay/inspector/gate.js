// The question for the admin token, before which nothing can be seen.
import { ask, forgetToken, keepToken } from "./api.js";
import { button, byId, h, say } from "./dom.js";

/** Say why a token is asked for, and ask until the relay takes one; then `onOpen`. */
export function showGate(text, onOpen) {
  const field = h("input", { id: "gate-token", type: "password", autocomplete: "off", "aria-label": "Admin token" });
  const error = h("p", { class: "error", role: "alert", id: "gate-text" }, text);
  const open = async () => {
    const token = field.value.trim();
    if (token === "") return field.focus();
    keepToken(token);
    try {
      await ask("GET", "/admin/clock");
    } catch (failure) {
      if (failure.status === 401) {
        forgetToken();
        say(error, "The relay refuses this token.");
        return field.select();
      }
    }
    return onOpen();
  };
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter") void open();
  });
  byId("gate").replaceChildren(
    h(
      "section",
      { role: "dialog", "aria-modal": "true", "aria-labelledby": "gate-title" },
      h("h2", { id: "gate-title" }, "The inspector needs the relay's admin token"),
      error,
      h(
        "p",
        {},
        "mockrelay serve prints a link with it (",
        h("code", {}, "…/#token=…"),
        "); open that, or paste the token here. It stays in this tab.",
      ),
      h("div", { class: "line" }, field, button("Open", open, { id: "gate-open" })),
    ),
  );
  byId("gate").hidden = false;
  byId("top").inert = byId("rooms").inert = true;
  field.focus();
}

export function hideGate() {
  byId("gate").hidden = true;
  byId("top").inert = byId("rooms").inert = false;
}
