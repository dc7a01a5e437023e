// A bare Zentalk client on the standard WebSocket and Web Crypto interfaces: the same file runs in browsers and in Node.

const base64 = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes)));
const bytesOf = (text) => Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
const uuidBytes = (uuid) => Uint8Array.from(uuid.replaceAll("-", "").match(/../g), (pair) => parseInt(pair, 16));

function uint64(number) {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(number));
  return bytes;
}

function concat(...parts) {
  const whole = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

// Web Crypto takes an Ed25519 seed in its PKCS #8 wrapping alone (RFC 8410).
const PKCS8 = Uint8Array.of(0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20);

async function sign(seed, data) {
  const key = await crypto.subtle.importKey("pkcs8", concat(PKCS8, seed), { name: "Ed25519" }, false, ["sign"]);
  return base64(await crypto.subtle.sign("Ed25519", key, data));
}

export class Client {
  /**
   * Connect and authenticate.
   * @param {string} wsUrl ends in /ws/v1
   * @param user an entry of `users` in the start line: address, identity_key, identity_secret, device_id, token
   * @param WebSocketClass the browser's WebSocket, or that of the npm package ws
   */
  static async connect(wsUrl, user, WebSocketClass = globalThis.WebSocket) {
    const query = new URLSearchParams({ token: user.token, device_id: user.device_id, protocol_version: "1" });
    const client = new Client(new WebSocketClass(`${wsUrl}?${query}`, "zentalk.v1"), user);
    const { challenge, server_time } = await client.next("AUTH_CHALLENGE");
    const client_time = Date.now();
    const signed = concat(bytesOf(challenge), uint64(server_time), uuidBytes(user.device_id), uint64(client_time));
    client.send("AUTH_RESPONSE", {
      identity_key: user.identity_key,
      device_id: user.device_id,
      signature: await sign(bytesOf(user.identity_secret), signed),
      client_time,
    });
    await client.next("AUTH_SUCCESS");
    return client;
  }

  constructor(socket, user) {
    this.socket = socket;
    this.user = user;
    this.onframe = () => {};
    this.frames = [];
    this.waiting = [];
    this.closed = null;
    socket.addEventListener("message", (event) => this.#take(JSON.parse(event.data)));
    socket.addEventListener("close", (event) => this.#end(new Error(`closed with ${event.code} ${event.reason}`)));
    socket.addEventListener("error", () => this.#end(new Error(`no connection to ${socket.url.split("?")[0]}`)));
  }

  send(type, payload) {
    const id = crypto.randomUUID();
    this.socket.send(JSON.stringify({ type, id, timestamp: Date.now(), payload }));
    return id;
  }

  // A real app encrypts first; the relay never looks inside.
  sendText(to, text) {
    const ciphertext = base64(new TextEncoder().encode(text));
    const nonce = base64(crypto.getRandomValues(new Uint8Array(12)));
    return this.send("MESSAGE_SEND", { to, ciphertext, nonce, message_type: "text" });
  }

  static textOf(payload) {
    return new TextDecoder().decode(bytesOf(payload.ciphertext));
  }

  /** The payload of the next frame of this type; rejects when the connection ends first. */
  next(type) {
    const at = this.frames.findIndex((frame) => frame.type === type);
    if (at >= 0) return Promise.resolve(this.frames.splice(at, 1)[0].payload);
    if (this.closed) return Promise.reject(this.closed);
    return new Promise((resolve, reject) => this.waiting.push({ type, resolve, reject }));
  }

  close() {
    this.socket.close(1000);
  }

  #take(frame) {
    this.onframe(frame);
    if (frame.type === "PING") {
      this.send("PONG", { timestamp: frame.payload.timestamp, client_time: Date.now() });
      return;
    }
    const at = this.waiting.findIndex((waiter) => waiter.type === frame.type);
    if (at >= 0) this.waiting.splice(at, 1)[0].resolve(frame.payload);
    else this.frames.push(frame);
  }

  #end(error) {
    this.closed ??= error;
    for (const { reject } of this.waiting.splice(0)) reject(this.closed);
  }
}
