// The baseline of benchmarks/relay_throughput.py on Node's `ws`: forwards each text to whom its JSON names.
'use strict';
const { WebSocketServer } = require('ws');

const peers = new Map();
const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: false });
server.on('listening', () => console.log(server.address().port));
server.on('connection', (socket, request) => {
  peers.set(request.url.slice(1), socket);
  socket.on('error', () => {});
  socket.on('message', (data) => {
    const text = data.toString();
    peers.get(JSON.parse(text).payload.to).send(text);
  });
});
