// Ready-made fault rules: what most people want to see their app survive.

export const CORRUPTIONS = ["bit_flip", "truncate", "bad_json", "bad_utf8", "wrong_type"];
export const ERRORS = [
  "RATE_LIMITED",
  "SERVICE_UNAVAILABLE",
  "INTERNAL_ERROR",
  "INVALID_MESSAGE",
  "UNAUTHORIZED",
  "FORBIDDEN",
  "RECIPIENT_NOT_FOUND",
  "KEY_MISMATCH",
];
const WAITING = new Set(["RATE_LIMITED", "SERVICE_UNAVAILABLE"]);

const errorOf = (code) => ({ do: "error", error_code: code, ...(WAITING.has(code) ? { retry_after: 5 } : {}) });

/** Each: label, what it does in a sentence, match, action (or one made of a choice), how often it suggests itself. */
export const PRESETS = [
  {
    group: "Frames",
    rules: [
      {
        label: "Drop next ACK",
        hint: "The app's next message is accepted, and its MESSAGE_ACK is lost.",
        match: { event: "frame_out", type: "MESSAGE_ACK" },
        action: { do: "drop" },
        times: 1,
      },
      {
        label: "Drop next message",
        hint: "The next MESSAGE_SEND is lost before the relay sees it.",
        match: { event: "frame_in", type: "MESSAGE_SEND" },
        action: { do: "drop" },
        times: 1,
      },
      {
        label: "Drop every 10th",
        hint: "Each tenth frame to the app is lost.",
        match: { event: "frame_out", every: 10 },
        action: { do: "drop" },
      },
      {
        label: "Delay 2 s",
        hint: "Frames to the app come 2 s late, by the relay's clock.",
        match: { event: "frame_out" },
        action: { do: "delay", ms: 2000 },
      },
      {
        label: "Jitter",
        hint: "Frames to the app come 100 to 900 ms late.",
        match: { event: "frame_out" },
        action: { do: "delay", ms: 100, jitter_ms: 800 },
      },
      {
        label: "Duplicate next message",
        hint: "The next MESSAGE_NEW comes twice.",
        match: { event: "frame_out", type: "MESSAGE_NEW" },
        action: { do: "duplicate" },
        times: 1,
      },
      {
        label: "Reorder next message",
        hint: "The next MESSAGE_NEW comes behind the frame after it.",
        match: { event: "frame_out", type: "MESSAGE_NEW" },
        action: { do: "reorder" },
        times: 1,
      },
      {
        label: "Corrupt next frame",
        hint: "The next frame to the app is spoilt in the way chosen.",
        match: { event: "frame_out" },
        choices: CORRUPTIONS,
        action: (kind) => ({ do: "corrupt", kind }),
        times: 1,
      },
      {
        label: "Error to next message",
        hint: "The next MESSAGE_SEND is answered with this error and not processed.",
        match: { event: "frame_in", type: "MESSAGE_SEND" },
        choices: ERRORS,
        action: errorOf,
        times: 1,
      },
      {
        label: "Lose PINGs",
        hint: "The relay's PINGs do not reach the app, which has to notice by itself.",
        match: { event: "frame_out", type: "PING" },
        action: { do: "drop" },
      },
    ],
  },
  {
    group: "Connection",
    rules: [
      {
        label: "Abort",
        hint: "TCP reset at the app's next frame: it sees 1006.",
        match: { event: "frame_in" },
        action: { do: "abort" },
        times: 1,
      },
      {
        label: "Close",
        hint: "Closed with this code at the app's next frame.",
        match: { event: "frame_in" },
        choices: ["1001", "1008", "1011", "1012", "4001", "4002", "4003"],
        action: (code) => ({ do: "close", code: Number(code) }),
        times: 1,
      },
      {
        label: "Blackhole",
        hint: "Half-open silence from the app's next frame on.",
        match: { event: "frame_in" },
        action: { do: "blackhole" },
        times: 1,
      },
      {
        label: "Throttle 2 KiB/s",
        hint: "From its next frame on a connection carries 2048 bytes a second each way.",
        match: {},
        action: { do: "throttle", bytes_per_s: 2048 },
      },
      {
        label: "Slow close 5 s",
        hint: "The closing handshake takes 5 s longer, whoever begins.",
        match: {},
        action: { do: "slow_close", ms: 5000 },
      },
    ],
  },
  {
    group: "Handshake",
    rules: [
      {
        label: "Refuse upgrades",
        hint: "Every new connection is refused with 503.",
        match: { event: "upgrade" },
        action: { do: "refuse", status: 503 },
      },
      {
        label: "Fail twice, recover",
        hint: "Two upgrades are refused with 503, then all is well.",
        match: { event: "upgrade" },
        action: { do: "refuse", status: 503 },
        times: 2,
      },
      {
        label: "Stall",
        hint: "The next upgrade is never answered.",
        match: { event: "upgrade" },
        action: { do: "stall" },
        times: 1,
      },
      {
        label: "Slow upgrade 4 s",
        hint: "Upgrades are answered 4 s late.",
        match: { event: "upgrade" },
        action: { do: "delay", ms: 4000 },
      },
    ],
  },
  {
    group: "REST",
    rules: [
      {
        label: "500 next call",
        hint: "The next call under /api fails with 500.",
        match: { event: "rest" },
        action: { do: "refuse", status: 500 },
        times: 1,
      },
      {
        label: "Slow calls 3 s",
        hint: "Calls under /api are answered 3 s late.",
        match: { event: "rest" },
        action: { do: "delay", ms: 3000 },
      },
      {
        label: "Stall next call",
        hint: "The next call under /api is never answered.",
        match: { event: "rest" },
        action: { do: "stall" },
        times: 1,
      },
    ],
  },
];

/** The rule that a preset makes for somebody (`{user}`, `{connection}` or nobody in particular), so many times. */
export function ruleOf(preset, { choice, target = {}, times }) {
  const match = { ...preset.match, ...target };
  // No REST call belongs to a connection.
  if (match.event === "rest") delete match.connection;
  const action = typeof preset.action === "function" ? preset.action(choice) : preset.action;
  const often = times === "own" ? preset.times : times === "always" ? undefined : Number(times);
  const comment = choice === undefined ? preset.label : `${preset.label}: ${choice}`;
  return { match, action, ...(often === undefined ? {} : { times: often }), comment };
}
