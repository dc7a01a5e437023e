// Keys that hold everywhere, and the sheet that tells them.
import { button, byId, h } from "./dom.js";

const SHEET = [
  ["/", "search in frames"],
  ["↑ ↓ Page Home End", "move in the list; End also follows"],
  ["Enter", "open the entry's detail; again to go to its JSON"],
  ["Esc", "close the detail; leave a field"],
  ["p", "pause or go on"],
  ["f", "follow the newest"],
  ["c", "empty the list (not the journal)"],
  ["x", "take all filters away"],
  ["1 – 5", "faults, clock, bots, users, relay"],
  ["← →", "in the timeline: from entry to entry; + − zoom"],
  ["t", "light, dark, as the system"],
  ["?", "this sheet"],
];

/** `actions`: key → what it does. */
export function listenForKeys(actions) {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (document.querySelector("dialog[open]")) return;
    const typing = event.target.closest?.("input:not([type=checkbox]), textarea, select");
    if (event.key === "Escape") {
      if (typing) byId("frames").focus();
      else actions.Escape();
      return;
    }
    const action = typing ? undefined : actions[event.key];
    if (action === undefined) return;
    event.preventDefault();
    action();
  });
}

export function showHelp() {
  const dialog = byId("help");
  dialog.replaceChildren(
    h("h2", { id: "help-title" }, "Keys"),
    h(
      "table",
      {},
      ...SHEET.map(([key, what]) => h("tr", {}, h("th", { scope: "row" }, h("kbd", {}, key)), h("td", {}, what))),
    ),
    h(
      "p",
      { class: "facts" },
      "↑ in: from the app to the relay. ↓ out: from the relay to the app. ⚡: a fault rule fired.",
    ),
    button("Close", () => dialog.close()),
  );
  dialog.showModal();
}
