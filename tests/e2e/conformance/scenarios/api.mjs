// The second family, `/api`: another view of the same sessions here, a world of its own in OpenCode.
const prompt = (text) => ({ prompt: { text }, id: "msg_zzconformance0001", resume: false })
const admitted = { "Q-api-seq": "body/data/admittedSeq" }

export default [
  {
    name: "a session by /api",
    steps: [
      { send: "POST /api/session", body: {}, as: "s" },
      { send: "GET /api/session/{s.data.id}" },
      { send: "POST /api/session", body: { id: "ses_zzconformance0001" } },
      { send: "POST /api/session", body: { id: "ses_zzconformance0001" } },
      { send: "POST /api/session", body: { id: "bad" } },
      { send: "POST /api/session", body: { location: { directory: "{project}" } } },
      { send: "POST /api/session" },
      { send: "POST /api/session", raw: "{x", quirks: { "Q-bad-json": ["status", "body"] } },
      { send: "GET /api/session/ses_unknown" },
      { send: "GET /api/session/bad" },
      { send: "GET /api/session?limit=1" },
      { send: "GET /api/session?limit=0" },
      { send: "GET /api/session?limit=abc" },
      { send: "GET /api/session?cursor=abc" },
      { send: "GET /api/session?search=no-such-title" },
      { send: "GET /api/session?order=what" },
      { send: "GET /api/session/active" },
      { send: "GET /api/session/{s.data.id}/message" },
      { send: "GET /api/session/{s.data.id}/context" },
      { send: "GET /api/session/{s.data.id}/history" },
      { send: "GET /api/session/ses_unknown/message" },
      { send: "GET /api/session/{s.data.id}/message/msg_unknown" },
      { send: "POST /api/session/{s.data.id}/prompt", body: {} },
      { send: "POST /api/session/{s.data.id}/prompt", body: { prompt: 5 } },
      { send: "POST /api/session/ses_unknown/prompt", body: { prompt: { text: "x" } } },
      { send: "POST /api/session/{s.data.id}/interrupt" },
      { send: "POST /api/session/ses_unknown/interrupt" },
      { send: "POST /api/session/{s.data.id}/wait", quirks: { "Q-api-wait": ["status", "headers", "body"] } },
      { send: "POST /api/session/{s.data.id}/revert/clear" },
      { send: "POST /api/session/{s.data.id}/revert/commit" },
      { send: "POST /api/session/{s.data.id}/revert/stage", body: { messageID: "msg_unknown" } },
      { send: "POST /api/session/{s.data.id}/agent", body: { agent: "build" } },
      { send: "GET /api/session/{s.data.id}/permission" },
      { send: "GET /api/session/{s.data.id}/question" },
    ],
  },
  {
    name: "a prompt by /api",
    steps: [
      { send: "POST /api/session", body: {}, as: "s" },
      { send: "POST /api/session/{s.data.id}/prompt", body: prompt("once"), quirks: admitted },
      { send: "POST /api/session/{s.data.id}/prompt", body: prompt("once"), quirks: admitted },
      { send: "POST /api/session/{s.data.id}/prompt", body: prompt("other") },
    ],
  },
  {
    name: "one session in both families",
    steps: [
      { send: "POST /session", body: { title: "both" }, as: "s" },
      { send: "GET /api/session/{s.id}" },
      {
        send: "POST /session/{s.id}/message",
        body: { noReply: true, model: "{model}", parts: [{ type: "text", text: "seen by both" }] },
      },
      { send: "GET /api/session/{s.id}/message", quirks: { "Q-api-one-world": "body" } },
    ],
  },
  {
    name: "the stream of /api",
    steps: [{ stream: "GET /api/event", quirks: { "Q-api-position": "fields" } }, { send: "GET /api/event" }],
  },
]
