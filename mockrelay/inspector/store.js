// The entries that the page holds: bounded in number and size, the oldest go first.
//
// An entry is kept as the JSON it came as, with a few fields beside it; a frame is decoded again by whoever shows it.

export const MAX_ENTRIES = 50_000;
const MAX_CHARACTERS = 64 << 20;
const HEARTBEATS = new Set(["PING", "PONG"]);
const SUMMARY_CHARACTERS = 280;

/** What the page knows of an entry without decoding it again. */
export function recordOf(raw) {
  const entry = JSON.parse(raw);
  return {
    n: entry.n,
    t: entry.t_ms,
    event: entry.event,
    direction: entry.direction ?? null,
    connection: entry.connection ?? null,
    user: entry.user ?? null,
    device: entry.device ?? null,
    type: entry.type ?? null,
    rule: entry.rule ?? null,
    status: entry.status ?? null,
    code: entry.close_code ?? null,
    heartbeat: HEARTBEATS.has(entry.type) || entry.event === "rtt",
    raw,
    summary: summaryOf(entry),
  };
}

/** A line that stands for something that is not in the journal: entries lost, another relay. */
export function noteOf(after, text) {
  return {
    n: after + 0.5,
    t: null,
    event: "note",
    direction: null,
    connection: null,
    user: null,
    device: null,
    type: null,
    rule: null,
    status: null,
    code: null,
    heartbeat: false,
    raw: JSON.stringify({ note: text }),
    summary: text,
  };
}

const SHOWN_ELSEWHERE = new Set(["n", "t_ms", "event", "direction", "connection", "user", "device", "type", "rule"]);

function summaryOf(entry) {
  const { event, frame } = entry;
  if (frame !== undefined) return short(JSON.stringify(frame.payload ?? frame));
  if (entry.text !== undefined && event !== "rest") return short(`text ${entry.text}`);
  if (entry.base64 !== undefined && event !== "rest") return short(`bytes ${entry.base64}`);
  if (event === "closed") return short(`${entry.close_code ?? "without a code"} ${entry.reason ?? ""}`);
  if (event === "lost") return short(`1006 ${entry.cause ?? ""}`);
  if (event === "rest") return short(`${entry.method} ${entry.path} → ${entry.status ?? "no answer yet"}`);
  if (event === "upgrade") return short(`→ ${entry.status ?? "no answer yet"}`);
  if (event === "rtt") return `${entry.rtt_ms} ms`;
  if (event === "drop") return short(`${entry.what}: ${entry.cause} × ${entry.count}`);
  const facts = Object.entries(entry).filter(([name]) => !SHOWN_ELSEWHERE.has(name));
  return short(
    facts.map(([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`).join(" "),
  );
}

const short = (text) => (text.length > SUMMARY_CHARACTERS ? `${text.slice(0, SUMMARY_CHARACTERS)}…` : text);

export class Store {
  constructor() {
    this.records = [];
    this.head = 0;
    this.characters = 0;
    this.total = 0; // ever taken
    this.evicted = 0;
    this.types = new Map(); // frame type or event → how many ever
    this.devices = new Map(); // device → { user, device, last: record, count }
  }

  get length() {
    return this.records.length - this.head;
  }

  at(index) {
    return this.records[this.head + index];
  }

  get oldest() {
    return this.at(0)?.n ?? Infinity;
  }

  get newest() {
    return this.records.at(-1)?.n ?? 0;
  }

  add(records) {
    for (const record of records) {
      this.records.push(record);
      this.characters += record.raw.length;
      const name = record.type ?? record.event;
      // A peer may send any type; the list of those to choose from stays short.
      if (this.types.has(name) || this.types.size < 200) this.types.set(name, (this.types.get(name) ?? 0) + 1);
      if (record.device !== null) this.#meet(record);
    }
    this.total += records.length;
    while (this.length > MAX_ENTRIES || (this.characters > MAX_CHARACTERS && this.length > 1)) {
      this.characters -= this.records[this.head].raw.length;
      this.records[this.head] = undefined;
      this.head += 1;
      this.evicted += 1;
    }
    if (this.head > MAX_ENTRIES / 4) {
      this.records.splice(0, this.head);
      this.head = 0;
    }
  }

  #meet(record) {
    const known = this.devices.get(record.device);
    if (known !== undefined) {
      // Moved to the end: the last is the one heard of last.
      this.devices.delete(record.device);
      this.devices.set(record.device, { ...known, user: record.user ?? known.user, count: known.count + 1 });
      return;
    }
    this.devices.set(record.device, { device: record.device, user: record.user, count: 1 });
    if (this.devices.size > 500) this.devices.delete(this.devices.keys().next().value);
  }

  find(n) {
    let low = this.head;
    let high = this.records.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.records[middle].n < n) low = middle + 1;
      else high = middle;
    }
    return this.records[low]?.n === n ? this.records[low] : null;
  }

  clear() {
    this.records = [];
    this.head = 0;
    this.characters = 0;
    this.types.clear();
    this.devices.clear();
  }

  *[Symbol.iterator]() {
    for (let index = this.head; index < this.records.length; index += 1) yield this.records[index];
  }
}

/** Whether a record passes what is asked for. */
export function filterOf(asked, nameOf) {
  const type = asked.type.trim().toLowerCase();
  const query = asked.query;
  // Texts stand in the raw JSON as escaped; whoever looks for a quotation mark means the mark.
  const patterns = [query, JSON.stringify(query).slice(1, -1)].map((text) => new RegExp(escaped(text), "iu"));
  const found = (record) =>
    patterns.some((pattern) => pattern.test(record.raw)) ||
    (record.user !== null && patterns[0].test(nameOf(record.user)));
  return (record) =>
    record.event === "note" ||
    ((asked.direction === "" || record.direction === asked.direction) &&
      (type === "" || (record.type ?? record.event).toLowerCase().includes(type) || record.event.includes(type)) &&
      (asked.user === "" || record.user === asked.user) &&
      (asked.connection === "" || String(record.connection) === asked.connection) &&
      (!asked.faults || record.rule !== null) &&
      (asked.heartbeats || !record.heartbeat) &&
      (query === "" || found(record)));
}

const escaped = (text) => text.replace(/[$()*+.?[\\\]^{|}/]/g, "\\$&");
