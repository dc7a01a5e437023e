// alice says hello to bob over a mock relay, with the standard WebSocket that browsers have, and Node since version 22:
//     node exchange.mjs
//     node --experimental-websocket exchange.mjs      (Node 20.10 and later)
// MOCKRELAY names the command, such as "python -m mockrelay"; mockrelay by default.

import { startRelay } from "./relay.mjs";
import { Client } from "./zentalk.mjs";

export async function exchange(WebSocketClass) {
  const relay = await startRelay("--user", "alice", "--user", "bob");
  try {
    const alice = await Client.connect(relay.ws_url, relay.user("alice"), WebSocketClass);
    const bob = await Client.connect(relay.ws_url, relay.user("bob"), WebSocketClass);

    alice.sendText(relay.user("bob").address, "hello bob");
    await alice.next("MESSAGE_ACK");
    console.log("bob got:", Client.textOf(await bob.next("MESSAGE_NEW")));

    const { found } = await relay.verify({ event: "frame_in", type: "MESSAGE_SEND", user: "alice" }, 1);
    console.log("verified:", found, "MESSAGE_SEND by alice");
    alice.close();
    bob.close();
  } finally {
    await relay.stop();
  }
}

if (process.argv[1]?.endsWith("exchange.mjs")) {
  if (!globalThis.WebSocket) {
    console.error("this Node has no WebSocket: run it with --experimental-websocket (20.10 and later), or exchange_ws.mjs");
    process.exit(2);
  }
  await exchange(globalThis.WebSocket);
}
