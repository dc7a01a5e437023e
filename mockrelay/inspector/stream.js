// The journal as it is written: what there is already, then entry by entry, over losses of the connection.
//
// Numbers have no gap, so a gap in what came tells that something was missed: it is then read from the journal, and
// only what the journal itself has no more is told as gone. A journal that is not the one seen before (the relay was
// started anew) is told too.
import { ask } from "./api.js";

/** So many of the newest entries are read at the start, and after a long absence. */
export const HISTORY = 50_000;
const BEYOND = "99999999999999999";
const SILENCE_MS = 45_000; // the relay says something every 15 s

export class JournalStream {
  /** handlers: entries([raw JSON]), gone(count), anew(), state(name, error). */
  constructor(handlers) {
    this.handlers = handlers;
    this.last = 0; // the number of the newest entry seen
    this.identity = ""; // what that entry said of itself
    this.known = false;
    this.stopped = false;
    this.abort = new AbortController();
    this.wake = () => {};
  }

  start() {
    void this.#run();
  }

  stop() {
    this.stopped = true;
    this.abort.abort();
    this.wake();
  }

  /** Try at once instead of after the wait. */
  retry() {
    this.wake();
  }

  async #run() {
    let failures = 0;
    while (!this.stopped) {
      this.abort = new AbortController();
      try {
        await this.#catchUp();
        failures = 0;
        this.handlers.state("live");
        const gap = await this.#listen();
        if (!gap && !this.stopped) await this.#pause(200);
      } catch (error) {
        if (this.stopped) return;
        if ([401, 403, 421].includes(error.status)) return this.handlers.state("refused", error);
        if (error.status === 404) return this.handlers.state("gone", error);
        failures += 1;
        this.handlers.state("away", error);
        await this.#pause(Math.min(250 * 2 ** Math.min(failures, 5), 5_000));
      } finally {
        this.abort.abort();
      }
    }
    return undefined;
  }

  #pause(ms) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  async #journal(after) {
    const response = await ask("GET", `/admin/journal?after=${after}`, { signal: this.abort.signal });
    return [response, Number(response.headers.get("Journal-Last") ?? 0)];
  }

  async #catchUp() {
    const [, newest] = await this.#journal(BEYOND);
    if (this.known && newest < this.last) this.#anew();
    let after = this.last;
    let isChecked = false;
    if (newest - this.last > HISTORY) {
      after = newest - HISTORY;
      if (this.last > 0) this.handlers.gone(after - this.last);
    } else if (this.last > 0) {
      after = this.last - 1; // that entry once more: is it still the same?
      isChecked = true;
    }
    const [response] = await this.#journal(after);
    const truncated = response.headers.has("Journal-Truncated");
    let first = true;
    for await (const raws of entriesOf(response)) {
      if (first && isChecked) {
        const [n, identity] = idOf(raws[0]);
        if (n === this.last && identity !== this.identity) {
          this.#anew();
          return this.#catchUp();
        }
        if (n === this.last) raws.shift();
      }
      if (first && raws.length > 0) {
        const missing = idOf(raws[0])[0] - this.last - 1;
        if (truncated && missing > 0 && this.known && after <= this.last) this.handlers.gone(missing);
        first = false;
      }
      this.#take(raws);
    }
    // A reset empties the journal, and its numbers go on.
    this.last = Math.max(this.last, newest);
    this.known = true;
    return undefined;
  }

  #anew() {
    this.last = 0;
    this.identity = "";
    this.handlers.anew();
  }

  #take(raws) {
    if (raws.length === 0) return;
    [this.last, this.identity] = idOf(raws.at(-1));
    this.handlers.entries(raws);
  }

  /** Entries as they are written. Resolves to true at a gap, to false where the relay ended the stream. */
  async #listen() {
    const response = await ask("GET", `/admin/events?after=${this.last}`, { signal: this.abort.signal });
    let timer = 0;
    const alive = () => {
      clearTimeout(timer);
      timer = setTimeout(() => this.abort.abort(), SILENCE_MS);
    };
    alive();
    let rest = "";
    try {
      for await (const text of textOf(response)) {
        alive();
        const blocks = (rest + text).split("\n\n");
        rest = blocks.pop();
        const raws = blocks.map(dataOf).filter((raw) => raw !== null);
        const fresh = [];
        for (const raw of raws) {
          const [n] = idOf(raw);
          const due = (fresh.length > 0 ? idOf(fresh.at(-1))[0] : this.last) + 1;
          if (n > due) {
            this.#take(fresh);
            return true;
          }
          if (n === due) fresh.push(raw);
        }
        this.#take(fresh);
      }
    } finally {
      clearTimeout(timer);
    }
    return false;
  }
}

async function* textOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } catch (error) {
    error.status ??= 0;
    throw error;
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** The raw JSON of an event `entry`; null for anything else, `dropped` too: the gap in the numbers tells it. */
function dataOf(block) {
  let kind = "message";
  const data = [];
  for (const line of block.split("\n")) {
    if (line.startsWith("event: ")) kind = line.slice(7);
    else if (line.startsWith("data: ")) data.push(line.slice(6));
  }
  return kind === "entry" ? data.join("\n") : null;
}

/** The listing's entries in pieces: the relay writes one an entry and line, and JSON has no line break in a text. */
async function* entriesOf(response) {
  let rest = "";
  const piece = (parts) => parts.map((part) => part.replace(/^\[/, "")).filter((part) => part !== "");
  for await (const text of textOf(response)) {
    const parts = (rest + text).split(",\n");
    rest = parts.pop();
    const raws = piece(parts);
    if (raws.length > 0) yield raws;
  }
  const raws = piece([rest.replace(/\]$/, "")]);
  if (raws.length > 0) yield raws;
}

/** An entry's number and what tells it from another journal's entry of that number; both stand at its begin. */
function idOf(raw) {
  const found = /^\{"n":(\d+),"t_ms":(\d+),"event":"([a-z_]+)"/.exec(raw);
  return found === null ? [0, ""] : [Number(found[1]), found[0]];
}
