// Permissions and questions that nobody asked for.
const json = { "Q-bad-json": ["status", "headers", "body"] }

export default [
  {
    name: "a permission that is not there",
    steps: [
      { send: "POST /session", body: { title: "asks" }, as: "s" },
      { send: "GET /permission" },
      { send: "POST /permission/per_nope/reply", body: { reply: "once" } },
      { send: "POST /permission/per_nope/reply", body: { reply: "maybe" } },
      { send: "POST /permission/per_nope/reply", body: {} },
      { send: "POST /permission/per_nope/reply", body: { reply: "once", message: 5 } },
      { send: "POST /permission/per_nope/reply", raw: "{x", quirks: json },
      { send: "POST /permission/bad/reply", body: { reply: "once" } },
      { send: "POST /session/{s.id}/permissions/per_nope", body: { response: "once" } },
      { send: "POST /session/{s.id}/permissions/per_nope", body: { response: "maybe" } },
      { send: "POST /session/{s.id}/permissions/bad", body: { response: "once" } },
      { send: "POST /session/ses_unknown/permissions/per_nope", body: { response: "once" } },
    ],
  },
  {
    name: "a question that is not there",
    steps: [
      { send: "GET /question" },
      { send: "POST /question/que_nope/reply", body: { answers: [["A"]] } },
      { send: "POST /question/que_nope/reply", body: { answers: "A" } },
      { send: "POST /question/que_nope/reply", body: { answers: [["A"], 5] } },
      { send: "POST /question/que_nope/reply", body: {} },
      { send: "POST /question/que_nope/reply", raw: "{x", quirks: json },
      { send: "POST /question/bad/reply", body: { answers: [["A"]] } },
      { send: "POST /question/que_nope/reject" },
      { send: "POST /question/bad/reject" },
    ],
  },
]
