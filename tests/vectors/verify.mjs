// Checks every vector beside this file with nothing but Node's own crypto: node tests/vectors/verify.mjs
import { createHash, createHmac, createPrivateKey, createPublicKey, hkdfSync, sign } from "node:crypto";
import { readFileSync } from "node:fs";
import assert from "node:assert/strict";

const here = new URL(".", import.meta.url);
const hex = (text) => Buffer.from(text, "hex");
const u64 = (n) => { const b = Buffer.alloc(8); b.writeBigUInt64BE(BigInt(n)); return b; };
const uuid = (text) => hex(text.replaceAll("-", ""));
const sha256 = (data) => createHash("sha256").update(data).digest();
// RFC 8410: a PKCS #8 Ed25519 key is this prefix and the 32-byte seed.
const privateKey = (seed) => createPrivateKey({
  key: Buffer.concat([hex("302e020100300506032b657004220420"), seed]), format: "der", type: "pkcs8",
});
const publicKey = (seed) =>
  Buffer.from(createPublicKey(privateKey(seed)).export({ format: "jwk" }).x, "base64url");

const checks = {
  keys({ secret }) {
    const key = publicKey(hex(secret));
    const digest = createHash("sha512").update(key).digest();
    const groups = [0, 5, 10, 15, 20, 25].map((i) => String(digest.readUIntBE(i, 5) % 100000).padStart(5, "0"));
    return {
      identity_key: key.toString("hex"),
      address: "0x" + sha256(key).toString("hex").slice(0, 40),
      fingerprint: groups.join(" "),
    };
  },
  auth({ secret, challenge, server_time, device_id, client_time }) {
    const data = Buffer.concat([hex(challenge), u64(server_time), uuid(device_id), u64(client_time)]);
    assert.equal(data.length, 64);
    return { signed_data: data.toString("hex"), signature: sign(null, data, privateKey(hex(secret))).toString("hex") };
  },
  token_request({ secret, device_id, timestamp }) {
    const data = Buffer.concat([Buffer.from("zentalk.v1 token"), uuid(device_id), u64(timestamp)]);
    return { signed_data: data.toString("hex"), signature: sign(null, data, privateKey(hex(secret))).toString("hex") };
  },
  mac({ session_token, challenge, type, id, timestamp, payload }) {
    const key = Buffer.from(hkdfSync("sha256", session_token, hex(challenge), "zentalk.v1 message_mac", 32));
    const input = Buffer.concat([Buffer.from(`${type}${id}${timestamp}`), hex(payload)]);
    return {
      session_key: key.toString("hex"),
      mac_input: input.toString("hex"),
      message_mac: createHmac("sha256", key).update(input).digest("hex"),
    };
  },
  conversations({ one, other }) {
    const both = [one.toLowerCase(), other.toLowerCase()].sort().join("");
    return { conversation_id: "conv_" + sha256(both).toString("hex").slice(0, 16) };
  },
  binary_frames({ type, id, timestamp, payload }) {
    const body = Buffer.from(payload);
    const length = Buffer.alloc(4);
    length.writeUInt32BE(body.length);
    const code = Buffer.from([{ MESSAGE_SEND: 0x02, MESSAGE_NEW: 0x84 }[type]]);
    return { frame: Buffer.concat([code, uuid(id), u64(timestamp), length, body]).toString("hex") };
  },
  backoff({ k }) {
    const delay = Math.min(30000, 1000 * 2 ** k);
    return { least_ms: delay, greatest_ms: Math.round(delay * 1.1) };
  },
};

let passed = 0;
for (const [name, check] of Object.entries(checks)) {
  const { cases } = JSON.parse(readFileSync(new URL(`${name}.json`, here), "utf8"));
  assert.ok(cases.length > 0, `${name}: no cases`);
  cases.forEach((vector, index) => {
    assert.deepEqual(check(vector.in), vector.out, `${name}.json, case ${index}`);
    passed += 1;
  });
}
console.log(`${passed} vectors hold`);
