// The same exchange with the npm package ws, for any Node:
//     npm install && node exchange_ws.mjs

import { WebSocket } from "ws";

import { exchange } from "./exchange.mjs";

await exchange(WebSocket);
