// The page: the token taken, the journal followed, panels kept in step with it.
import { Resource, SPACE, call, forgetToken, hasToken, takeToken } from "./api.js";
import { ClockPanel } from "./clock.js";
import { Connections } from "./connections.js";
import { Detail, arrowKeys, splitter } from "./detail.js";
import { button, byId, debounced, h, say, setOptions, toast, visible } from "./dom.js";
import { FaultPanel } from "./faults.js";
import { Frames, NO_FILTER, toolbar } from "./frames.js";
import { hideGate, showGate } from "./gate.js";
import { listenForKeys, showHelp } from "./keys.js";
import { BotPanel, UserPanel } from "./people.js";
import { RelayPanel, sayStatus, spacePicker } from "./relay.js";
import { MAX_ENTRIES, Store, noteOf, recordOf } from "./store.js";
import { JournalStream } from "./stream.js";
import { Timeline } from "./timeline.js";

const TOOLS = ["Faults", "Clock", "Bots", "Users", "Relay"];
const LOOPBACK = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/;

const store = new Store();
const names = new Map(); // address → name
const devices = new Map(); // device → its name or type
const state = { users: [], connections: [], about: null, detailWanted: true };

const nameOf = (address) =>
  names.get(address) ?? (address.length > 14 ? `${address.slice(0, 8)}…${address.slice(-4)}` : address);

const app = {
  store,
  nameOf,
  deviceName: (device) => `${devices.get(device) ?? "device"} ${device.slice(0, 8)}`,
  deviceLabel: (device, user) => {
    const owner = user ?? store.devices.get(device)?.user;
    return owner ? `${nameOf(owner)} · ${app.deviceName(device)}` : app.deviceName(device);
  },
  wsUrl: () => reachable(state.about?.ws_url ?? ""),
  onSelect: (record) => {
    timeline.setSelected(record);
    if (record === null) detail.close();
    else if (detail.isOpen || state.detailWanted) openDetail(record);
  },
  onOpen: () => {
    if (frames.selected === null) return;
    if (detail.isOpen) byId("detail").querySelector("pre").focus();
    state.detailWanted = true;
    openDetail(frames.selected);
  },
  closeDetail: () => {
    state.detailWanted = false;
    detail.close();
    byId("frames").focus();
  },
  reveal: (record) => {
    state.detailWanted = true;
    if (!frames.reveal(record)) toast("The filter hides this entry in the list; its detail is below.");
  },
  showDevice: (device) => timeline.choose(device),
  onFollow: () => {
    bar.follow.setAttribute("aria-pressed", String(frames.follow));
  },
  onShown: () => showCounts(),
  onUsers: (users) => takeUsers(users),
  onReset: () => {
    store.clear();
    frames.clear();
    timeline.rebuild();
    refreshAll();
  },
  pause: () => {
    frames.setPaused(!frames.paused);
    bar.pause.setAttribute("aria-pressed", String(frames.paused));
    say(bar.pause, frames.paused ? "Go on" : "Pause");
  },
  clear: () => {
    store.clear();
    frames.clear();
    timeline.rebuild();
  },
  only: (filter) => applyFilter({ ...NO_FILTER, ...filter }),
  unfilter: () => applyFilter({ ...NO_FILTER }),
};

/** The relay knows itself by a loopback name; who looks from elsewhere reaches it by the name in the address bar. */
function reachable(url) {
  if (url === "" || LOOPBACK.test(location.hostname)) return url;
  const parts = new URL(url);
  if (LOOPBACK.test(parts.hostname)) parts.hostname = location.hostname;
  return parts.href;
}

function openDetail(record) {
  detail.show(record);
  frames.list.renderSoon();
}

function applyFilter(filter) {
  frames.setFilter(filter);
  bar.direction.value = filter.direction;
  bar.type.value = filter.type;
  bar.search.value = filter.query;
  bar.faults.checked = filter.faults;
  bar.beats.checked = filter.heartbeats;
  offerFilters();
  bar.user.value = filter.user;
  bar.connection.value = filter.connection;
}

function offerFilters() {
  const { user, connection } = frames.filter;
  const users = state.users.slice(0, 300).map((one) => [one.address, nameOf(one.address)]);
  if (user !== "" && !users.some(([address]) => address === user)) users.push([user, nameOf(user)]);
  setOptions(bar.user, [["", "all users"], ...users]);
  const links = state.connections.slice(0, 300).map((row) => [String(row.id), `#${row.id} ${nameOf(row.user)}`]);
  if (connection !== "" && !links.some(([id]) => id === connection)) links.push([connection, `#${connection}`]);
  setOptions(bar.connection, [["", "all links"], ...links]);
  const types = [...store.types.keys()].sort();
  const list = byId("types");
  if (list.childElementCount !== types.length)
    list.replaceChildren(...types.map((value) => h("option", { value: visible(value, 60) })));
}

function showCounts() {
  const shown = frames.length;
  const filtered = shown === store.length || frames.paused ? "" : ` of ${store.length}`;
  const paused = frames.paused ? `, paused: ${frames.pending} more` : "";
  say(byId("foot-entries"), `${shown}${filtered} entries${paused}`);
  say(
    byId("foot-lost"),
    store.evicted > 0
      ? `the page keeps the newest ${MAX_ENTRIES}; ${store.evicted} older ones are in the journal alone`
      : "",
  );
  const isFiltered = Object.entries(NO_FILTER).some(([name, value]) => frames.filter[name] !== value);
  byId("unfilter").hidden = !isFiltered;
  const empty = byId("frames-empty");
  empty.hidden = shown > 0;
  if (!empty.hidden) {
    const text =
      store.length > 0
        ? "Nothing passes this filter."
        : "Nothing has happened yet. Each frame will be here as it passes.";
    say(empty, text);
  }
}

function takeUsers(users) {
  state.users = users;
  names.clear();
  for (const user of users) {
    if (user.name !== null) names.set(user.address, user.name);
    for (const device of user.devices) devices.set(device.device_id, device.device_name || device.device_type);
  }
  panels.Users.take(users);
  panels.Faults.offer(users, state.connections);
  namesChanged();
}

function namesChanged() {
  const key = JSON.stringify([...names]);
  offerFilters();
  if (key === state.namesKey) return;
  state.namesKey = key;
  frames.list.invalidate();
  connections.list.invalidate();
  timeline.drawSoon();
  detail.namesChanged();
}

function takeConnections(rows) {
  state.connections = rows;
  connections.take(rows);
  panels.Faults.offer(state.users, rows);
  offerFilters();
}

/** What an entry of the journal makes worth asking for. */
function refreshFor(records) {
  const wants = new Set();
  for (const { event, rule, summary } of records) {
    if (["connected", "closed", "lost", "rtt", "upgrade"].includes(event)) wants.add("connections");
    if (rule !== null) wants.add("rules");
    if (event === "control") {
      for (const name of ["connections", "rules", "bots", "clock", "stats"]) wants.add(name);
      if (summary.includes("user") || summary.includes("bot") || summary.includes("contact")) wants.add("users");
    }
    if (event === "rest") wants.add("stats");
  }
  if (records.some((record) => record.type === "AUTH_SUCCESS")) wants.add("connections");
  if (records.some((record) => record.user !== null && !names.has(record.user))) wants.add("users");
  for (const name of wants) resources[name].soon();
}

const refreshAll = () => Object.values(resources).forEach((resource) => resource.soon());

// --- parts ---------------------------------------------------------------------------------------

const frames = new Frames(app);
const bar = toolbar(app, frames);
const detail = new Detail(app);
const connections = new Connections(app);
const timeline = new Timeline(app);
splitter();

const hosts = Object.fromEntries(
  TOOLS.map((name) => [
    name,
    h("div", { role: "tabpanel", id: `panel-${name}`, "aria-labelledby": `tab-${name}`, hidden: true }),
  ]),
);
byId("tool-panels").append(...Object.values(hosts));
const panels = {
  Faults: new FaultPanel(app, hosts.Faults),
  Clock: new ClockPanel(hosts.Clock, byId("clock-pill")),
  Bots: new BotPanel(app, hosts.Bots),
  Users: new UserPanel(app, hosts.Users),
  Relay: new RelayPanel(app, hosts.Relay),
};
const tabs = TOOLS.map((name) =>
  button(name, () => showTool(name), { role: "tab", id: `tab-${name}`, "aria-controls": `panel-${name}` }),
);
byId("tool-tabs").append(...tabs);
arrowKeys(byId("tool-tabs"));

function showTool(name) {
  for (const tool of TOOLS) {
    const isShown = tool === name;
    hosts[tool].hidden = !isShown;
    byId(`tab-${tool}`).setAttribute("aria-selected", String(isShown));
    byId(`tab-${tool}`).tabIndex = isShown ? 0 : -1;
  }
}

const resources = {
  connections: new Resource("/admin/connections", 2_000, takeConnections),
  rules: new Resource("/admin/rules", 10_000, (rules) => panels.Faults.take(rules)),
  bots: new Resource("/admin/bots", 10_000, (bots) => panels.Bots.take(bots)),
  users: new Resource("/admin/users", 15_000, takeUsers),
  clock: new Resource("/admin/clock", 10_000, (clock) => panels.Clock.take(clock)),
  stats: new Resource("/admin/stats", 5_000, (stats) => panels.Relay.take(stats)),
  spaces: new Resource("/admin/spaces", 10_000, spacePicker(), { base: "" }),
};

// --- the journal ---------------------------------------------------------------------------------

const note = (text) => {
  const record = noteOf(store.newest, text);
  store.add([record]);
  frames.take([record]);
};

const afterBatch = debounced(() => {
  offerFilters();
}, 300);

const handlers = {
  entries: (raws) => {
    const records = raws.map(recordOf);
    store.add(records);
    frames.take(records);
    timeline.take(records);
    refreshFor(records);
    afterBatch();
  },
  gone: (count) => note(`${count} entries are not here: the journal or this page no longer holds them`),
  anew: () => {
    store.clear();
    frames.clear();
    timeline.rebuild();
    note("Another relay answers now: its journal begins anew");
    refreshAll();
  },
  state: (name, error) => {
    if (name === "live") {
      sayStatus("live", "● live");
      if (state.link === "away") toast("The relay answers again");
      if (state.link !== "live") void begin();
      banner(null);
    } else if (name === "refused") {
      if (error.status === 401) askForToken(REFUSED);
      else banner(error.message);
      sayStatus("refused", "○ refused");
    } else if (name === "gone") {
      banner(`${error.message}.`, SPACE === null ? null : button("To the relay itself", () => location.assign("/")));
      sayStatus("gone", "○ ended");
      Object.values(resources).forEach((resource) => resource.stop());
    } else {
      const why = error.status === 0 ? "" : ` (${visible(error.message, 200)})`;
      banner(
        `The relay does not answer${why}. What is shown is what was; trying again…`,
        button("Now", () => stream.retry()),
      );
      sayStatus("away", "○ away");
    }
    state.link = name;
  },
};

function banner(text, ...more) {
  const host = byId("banner");
  host.hidden = text === null;
  if (text !== null) host.replaceChildren(visible(text, 600), " ", ...more.filter((one) => one !== null));
}

async function begin() {
  refreshAll();
  try {
    state.about = await call("GET", "/admin/inspector");
    say(byId("foot-about"), `${app.wsUrl()} · zentalk-sim ${state.about.version}`);
    connections.showEmpty();
  } catch (error) {
    if (error.status !== 0) toast(error.message, true);
  }
}

let stream = new JournalStream(handlers);

const REFUSED = "The relay refuses this token. It may have been started anew: take the link that it printed last.";

function askForToken(text) {
  stream.stop();
  Object.values(resources).forEach((resource) => resource.stop());
  showGate(text, enter);
}

// --- the token -----------------------------------------------------------------------------------

function enter() {
  hideGate();
  stream.stop();
  stream = new JournalStream(handlers);
  store.clear();
  frames.clear();
  stream.start();
}

window.addEventListener("unauthorized", () => {
  forgetToken();
  if (byId("gate").hidden) {
    sayStatus("refused", "○ refused");
    askForToken(REFUSED);
  }
});
window.addEventListener("hashchange", () => {
  if (takeToken()) enter();
});

// --- keys and the top bar ------------------------------------------------------------------------

const sayTheme = (choice) => say(byId("theme"), { auto: "◐ auto", light: "☀ light", dark: "☾ dark" }[choice]);
const nextTheme = () => sayTheme(window.mockrelayTheme.next());
sayTheme(window.mockrelayTheme.choice);
byId("theme").addEventListener("click", nextTheme);
byId("help-button").addEventListener("click", showHelp);
byId("clock-pill").addEventListener("click", () => showTool("Clock"));

listenForKeys({
  "/": () => bar.search.select(),
  "?": showHelp,
  p: app.pause,
  c: app.clear,
  f: () => frames.setFollow(!frames.follow),
  x: app.unfilter,
  t: nextTheme,
  Escape: () => (detail.isOpen ? app.closeDetail() : byId("frames").focus()),
  ...Object.fromEntries(
    TOOLS.map((name, at) => [
      String(at + 1),
      () => {
        showTool(name);
        byId(`tab-${name}`).focus();
      },
    ]),
  ),
});

showTool("Faults");
showCounts();
document.title = SPACE === null ? "mockrelay inspector" : `${SPACE} · mockrelay inspector`;
if (takeToken() || hasToken()) enter();
else {
  sayStatus("refused", "○ no token");
  askForToken("There is no token in the address of this page.");
}
