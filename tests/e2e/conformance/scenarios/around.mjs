// What is around sessions: lists over all projects, what user interfaces are told, what is not offered.
const notOffered = { "Q-not-offered": ["status", "headers", "body"] }
const json = { "Q-bad-json": ["status", "headers", "body"] }

export default [
  {
    name: "sessions of all projects",
    steps: [
      { send: "POST /session", body: { title: "global one" } },
      { send: "POST /session", body: { title: "global two" } },
      { send: "GET /experimental/session?search=global" },
      { send: "GET /experimental/session?search=global&limit=1" },
      { send: "GET /experimental/session?search=global&limit=0" },
      { send: "GET /experimental/session?search=global&roots=true" },
      { send: "GET /experimental/session?search=global&cursor=1" },
      { send: "GET /experimental/session?search=global&cursor=abc", quirks: { "Q-bad-number": ["status", "body"] } },
      { send: "GET /experimental/session?search=global&limit=abc", quirks: { "Q-bad-number": ["status", "body"] } },
      { send: "GET /experimental/session?search=global&archived=true" },
    ],
  },
  {
    name: "what a user interface is told to do",
    steps: [
      { send: "POST /tui/append-prompt", body: { text: "hello" } },
      { send: "POST /tui/submit-prompt" },
      { send: "POST /tui/clear-prompt" },
      { send: "POST /tui/open-help" },
      { send: "POST /tui/open-sessions" },
      { send: "POST /tui/open-models" },
      { send: "POST /tui/execute-command", body: { command: "session_new" } },
      { send: "POST /tui/show-toast", body: { message: "hi", variant: "info" } },
      { send: "POST /tui/show-toast", body: { message: "hi", variant: "what" } },
      { send: "POST /tui/show-toast", body: {} },
      { send: "POST /tui/append-prompt", body: { text: 5 } },
      { send: "POST /tui/append-prompt", raw: "{x", quirks: json },
      { send: "POST /tui/select-session", body: { sessionID: "ses_unknown" } },
      { send: "POST /log", body: { service: "test", level: "info", message: "hello" } },
      { send: "POST /log", body: { service: "test", level: "loud", message: "hello" } },
      { send: "POST /log", body: {} },
    ],
  },
  {
    name: "settings that are wrong are not taken",
    steps: [
      { send: "PATCH /config", body: { model: 5 } },
      { send: "PATCH /config", body: { share: "perhaps" } },
      { send: "PATCH /config", raw: "{x", quirks: json },
      { send: "PATCH /project/nope", body: { name: "x" } },
      { send: "GET /project/nope/directories" },
    ],
  },
  {
    name: "what is not offered says so",
    steps: [
      { send: "GET /pty", quirks: notOffered },
      { send: "POST /pty", body: {}, quirks: notOffered },
      { send: "POST /mcp", body: { name: "x", config: { type: "remote", url: "http://127.0.0.1:9" } }, quirks: notOffered },
      { send: "GET /experimental/tool/ids", quirks: notOffered },
      { send: "POST /experimental/session/ses_unknown/background", quirks: notOffered },
    ],
  },
]
