// The server itself: streams, routes, authentication, what a client reads when it starts.
const unknown = { "Q-unknown-route": ["status", "headers", "body"] }

export default [
  {
    name: "streams have their headers",
    steps: [
      { send: "GET /event" },
      { send: "GET /global/event" },
      { send: "GET /event?directory={dir}" },
      { send: "GET /event?directory=%2Fnowhere" },
      { stream: "GET /event", quirks: { "Q-event-position": "fields" } },
      { stream: "GET /global/event", quirks: { "Q-event-position": "fields" } },
    ],
  },
  {
    name: "a path or method that nobody knows",
    steps: [
      { send: "GET /nothing", quirks: unknown },
      { send: "PUT /session", body: {}, quirks: unknown },
      { send: "GET /session/ses_x/nothing", quirks: unknown },
      { send: "DELETE /config", quirks: unknown },
      { send: "GET /session/", quirks: unknown },
    ],
  },
  {
    name: "who may ask",
    steps: [
      { send: "GET /session", headers: { authorization: "" } },
      { send: "GET /global/health", headers: { authorization: "" } },
      { send: "GET /event", headers: { authorization: "" } },
      { send: "GET /session", headers: { authorization: `Basic ${Buffer.from("opencode:wrong").toString("base64")}` } },
      { send: "GET /session", headers: { authorization: "Basic !!" } },
      { send: "GET /session?limit=0", headers: { authorization: "" } },
    ],
  },
  {
    name: "health and places",
    steps: [
      { send: "GET /global/health" },
      { send: "GET /path" },
      { send: "GET /project/current" },
      { send: "GET /project", quirks: { "Q-projects": "body/1" } },
      { send: "GET /session/status" },
      { send: "GET /vcs" },
    ],
  },
]
