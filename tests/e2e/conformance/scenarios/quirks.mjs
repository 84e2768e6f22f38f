// Small requests at which the two differ, each for its entry of QUIRKS.md.
const whole = ["status", "headers", "body"]

export default [
  {
    name: "who and what can work here",
    steps: [
      { send: "GET /config/providers", quirks: { "Q-providers": "body" } },
      { send: "GET /agent", quirks: { "Q-agents": "body" } },
      { send: "GET /command", quirks: { "Q-commands": "body" } },
      { send: "GET /skill", quirks: { "Q-bring-their-own": "body" } },
      { send: "GET /config", quirks: { "Q-config": "body" } },
    ],
  },
  {
    name: "files that are not there, or not here",
    steps: [
      { send: "GET /file/content?path=../../etc/passwd", quirks: { "Q-file-refused": whole } },
      { send: "GET /file?path=README", quirks: { "Q-file-refused": whole } },
      { send: "GET /find?pattern=(", quirks: { "Q-find-text": whole } },
      { send: "GET /find/symbol?query=x", quirks: { "Q-find-symbol": whole } },
      { send: "GET /find/file?query=", quirks: { "Q-find-order": "body" } },
      { edit: "changed.txt", text: "one line\n" },
      { send: "GET /file/status", quirks: { "Q-file-status": "body" } },
      { send: "GET /vcs/diff/raw", quirks: { "Q-vcs-raw": whole } },
    ],
  },
  {
    name: "what a client's mistake is answered with",
    steps: [
      { send: "POST /session", body: {}, as: "s" },
      { send: "POST /tui/execute-command", body: { command: "no such command" }, quirks: { "Q-tui-words": whole } },
      { send: "POST /tui/publish", body: { type: "tui.session.select", properties: { sessionID: "ses_unknown" } }, quirks: { "Q-tui-words": whole } },
      { send: "POST /tui/control/response", body: { a: 1 }, quirks: { "Q-tui-control": "body" } },
      { send: "POST /sync/replay", body: { directory: "{project}", events: [] }, quirks: { "Q-sync-replay": whole } },
      { send: "POST /sync/start", quirks: { "Q-sync-history": whole } },
    ],
  },
  {
    name: "numbers beyond all sums",
    steps: [
      { send: "POST /session", body: {}, as: "s" },
      { send: "POST /session/{s.id}/message", body: { model: "{model}", parts: [{ type: "text", text: "count" }] }, as: "m", only: ["status"] },
      {
        send: "PATCH /session/{s.id}/message/{m.info.id}/part/prt_zzhuge0001",
        body: { id: "prt_zzhuge0001", sessionID: "{s.id}", messageID: "{m.info.id}", type: "step-finish", reason: "stop", cost: 1e15, tokens: { input: 1e15, output: 0, reasoning: 0, cache: { read: 0, write: 0 } } },
        quirks: { "Q-part-limits": whole },
      },
    ],
  },
  {
    name: "a shell command for an agent that nobody has, once it is known which there are",
    agent: "opencode",
    steps: [
      { send: "POST /session", body: {}, as: "s" },
      { send: "POST /session/{s.id}/message", body: { model: "{model}", parts: [{ type: "text", text: "hello" }] }, only: ["status"] },
      { send: "POST /session/{s.id}/shell", body: { agent: "nobody", command: "true" }, quirks: { "Q-shell-agent": whole } },
    ],
  },
  {
    name: "in the second family",
    steps: [
      { send: "POST /api/session", body: { id: "ses_zztrash00000001" }, as: "s" },
      { send: "DELETE /session/ses_zztrash00000001" },
      { send: "POST /api/session", body: { id: "ses_zztrash00000001" }, quirks: { "Q-api-create-again": whole } },
      { send: "GET /api/location?location[directory]=/nowhere/at/all", quirks: { "Q-api-location": whole } },
      { send: "POST /api/session", body: {}, as: "t" },
      { send: "POST /api/session/{t.data.id}/agent", body: { agent: "nobody" }, quirks: { "Q-api-switch": whole } },
    ],
  },
]
