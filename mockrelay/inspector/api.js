// The control API of the relay, or of the space whose page this is, and the token that opens it.

const KEY = "mockrelay.token";

/** What stands before every path: "" or "/spaces/{id}". */
export const BASE = location.pathname.replace(/\/+$/, "");
export const SPACE = BASE.startsWith("/spaces/") ? BASE.slice("/spaces/".length) : null;

let token = null;

/** Take a token out of the fragment, so that neither history nor a shared screen keeps it; false if there is none. */
export function takeToken() {
  const found = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!found) return false;
  history.replaceState(null, "", location.pathname + location.search);
  keepToken(found);
  return true;
}

/** Whether this tab has a token from before. */
export function hasToken() {
  token ??= stored();
  return token !== null;
}

function stored() {
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    return null; // storage is switched off: the token lives as long as the page
  }
}

export function keepToken(text) {
  token = text;
  try {
    sessionStorage.setItem(KEY, text);
  } catch {
    // See above.
  }
}

export function forgetToken() {
  token = null;
  try {
    sessionStorage.removeItem(KEY);
  } catch {
    // See above.
  }
}

/** What the relay refused; `status` 0 where it did not answer. */
export class ApiError extends Error {
  constructor(status, message, details = {}) {
    super(message);
    this.status = status;
    this.details = details;
  }
}

/** The answer to a request as it comes. Throws ApiError for what is not a success. */
export async function ask(method, path, { body, signal, base = BASE } = {}) {
  const headers = { Authorization: `Bearer ${encodeToken(token ?? "")}` };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(base + path, {
      method,
      headers,
      body: body === undefined ? undefined : typeof body === "string" ? body : JSON.stringify(body),
      signal,
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
    });
  } catch (error) {
    throw new ApiError(0, `the relay does not answer (${error.message})`);
  }
  if (response.ok) return response;
  let said = {};
  try {
    said = await response.json();
  } catch {
    // No JSON: something else than the relay answers here.
  }
  if (response.status === 401) window.dispatchEvent(new Event("unauthorized"));
  throw new ApiError(response.status, said.message ?? `HTTP ${response.status}`, said.details ?? {});
}

// A header holds Latin-1 alone; a token beyond it can only be wrong.
const encodeToken = (text) => text.replace(/[^\x21-\x7e]/g, "?");

/** The decoded answer of a request. */
export async function call(method, path, body, options = {}) {
  const response = await ask(method, path, { ...options, body });
  try {
    return await response.json();
  } catch (error) {
    throw new ApiError(0, `the relay's answer broke off (${error.message})`);
  }
}

/** Something of the relay that is asked for again and again, at an interval, and soon after `soon()`. */
export class Resource {
  constructor(path, intervalMs, onData, options = {}) {
    this.path = path;
    this.intervalMs = intervalMs;
    this.onData = onData;
    this.options = options;
    this.timer = 0;
    this.dueAt = Infinity;
    this.busy = false;
    this.tookMs = 0;
  }

  /** Ask within a moment; a slow answer (10 000 connections) is asked for less often. */
  soon() {
    this.#at(performance.now() + Math.max(120, 5 * this.tookMs));
  }

  stop() {
    clearTimeout(this.timer);
    this.dueAt = Infinity;
  }

  #at(due) {
    if (due >= this.dueAt) return;
    this.dueAt = due;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#ask(), due - performance.now());
  }

  async #ask() {
    this.dueAt = Infinity;
    if (this.busy) return this.soon();
    this.busy = true;
    const begin = performance.now();
    try {
      this.onData(await call("GET", this.path, undefined, this.options));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.status !== 0 && error.status < 500) this.failed = error; // the stream's banner tells of the rest
    } finally {
      this.busy = false;
      this.tookMs = performance.now() - begin;
      const pace = document.hidden ? 10 : 1;
      this.#at(performance.now() + Math.max(pace * this.intervalMs, 20 * this.tookMs));
    }
    return undefined;
  }
}
