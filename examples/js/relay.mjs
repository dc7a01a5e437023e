// Start a mock relay from a test in Node, and ask its journal.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

export async function startRelay(...options) {
  const [command, ...words] = (process.env.MOCKRELAY ?? "mockrelay").split(" ");
  const serve = [...words, "serve", "--port", "0", "--http-port", "0", "--json", ...options];
  const child = spawn(command, serve, { stdio: ["ignore", "pipe", "ignore"] });
  const failed = once(child, "error").then(([error]) => Promise.reject(error));
  const exited = once(child, "exit").then(([code]) => Promise.reject(new Error(`mockrelay ended with ${code}`)));
  exited.catch(() => {});
  failed.catch(() => {});
  const line = once(createInterface({ input: child.stdout }), "line");
  const start = JSON.parse((await Promise.race([line, failed, exited]))[0]);
  return {
    ...start,
    user: (name) => start.users.find((user) => user.name === name),

    /** Any path of the control API; rejects with the relay's own words where it refuses. */
    async control(method, path, body) {
      const headers = { Authorization: `Bearer ${start.admin_token}`, "Content-Type": "application/json" };
      const answer = await fetch(start.http_url + path, { method, headers, body: body && JSON.stringify(body) });
      const found = await answer.json();
      if (!answer.ok) throw new Error(`${answer.status}: ${JSON.stringify(found, null, 2)}`);
      return found;
    },

    /** At least `count` entries, now or within `timeout_ms`. */
    waitFor(match, count = 1, timeout_ms = 5000) {
      return this.control("POST", "/admin/journal/wait", { match, count, timeout_ms });
    },

    /** Exactly `count` entries; the rejection names the nearest misses. */
    verify(match, count = 1) {
      return this.control("POST", "/admin/journal/verify", { match, count });
    },

    async stop() {
      child.kill();
      await exited.catch(() => {});
    },
  };
}
