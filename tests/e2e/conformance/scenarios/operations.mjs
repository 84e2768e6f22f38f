// What is done with a session besides prompting it; what the agent says is compared by its shape.
const at = "/session/{s.id}/message"
const note = (text, as) => ({ send: `POST ${at}`, body: { noReply: true, model: "{model}", parts: [{ type: "text", text }] }, as })
const create = (title) => ({ send: "POST /session", body: { title }, as: "s" })
/** A fork's title is counted in the family, and it keeps agent and model. */
const forked = { "Q-fork-content": ["body/agent", "body/model", "body/title"] }
const named = { "Q-bad-request-named": "body" }
const json = { "Q-bad-json": ["status", "headers", "body"] }
const marker = { "Q-revert-marker": ["body/revert/diff", "body/revert/snapshot"] }
const bad = { "Q-id-prefix": ["status", "headers", "body"] }
/** A command has printed something. How often a server tells of it is its own affair. */
const printed = { wait: "message.part.updated", of: "{s.id}", with: "part.state.metadata.output", ignore: ["event"] }

export default [
  {
    name: "a fork, whole and in part",
    steps: [
      create("forked"),
      note("one", "one"), note("two", "two"), note("three", "three"),
      { send: "POST /session/{s.id}/fork", body: {}, as: "fork", quirks: forked },
      { send: "GET /session/{fork.id}/message" },
      { send: "GET /session/{fork.id}", quirks: forked },
      { trace: "{fork.id}" },
      { send: "POST /session/{s.id}/fork", body: { messageID: "{two.info.id}" }, as: "part", quirks: forked },
      { send: "GET /session/{part.id}/message" },
      { send: "POST /session/{s.id}/fork", body: { messageID: "{one.info.id}" }, as: "none", quirks: forked },
      { send: "GET /session/{none.id}/message" },
      { send: "POST /session/{fork.id}/fork", as: "again", quirks: forked },
      { send: "POST /session/{s.id}/fork", body: { messageID: "msg_nope" }, quirks: { "Q-fork-unknown": ["status", "body"] } },
      { send: "POST /session/{s.id}/fork", body: { messageID: "bad" }, quirks: named },
      { send: "POST /session/{s.id}/fork", raw: "{x", quirks: named },
      { send: "POST /session/{s.id}/fork", body: [], quirks: named },
      { send: "POST /session/bad/fork", body: {}, quirks: bad },
    ],
  },
  {
    name: "a revert of messages",
    steps: [
      create("reverted"),
      note("one", "one"), note("two", "two"), note("three", "three"),
      { send: "POST /session/{s.id}/revert", body: { messageID: "{three.info.id}" }, quirks: marker },
      { send: "POST /session/{s.id}/revert", body: { messageID: "{two.info.id}" }, quirks: marker },
      { send: `GET ${at}` },
      { send: "GET /session/{s.id}", quirks: marker },
      { send: "POST /session/{s.id}/fork", body: {}, as: "fork", quirks: forked },
      { send: "GET /session/{fork.id}/message", quirks: { "Q-fork-content": ["body/1", "body/2"] } },
      { send: "POST /session/{s.id}/unrevert" },
      { send: "POST /session/{s.id}/unrevert" },
      { send: "POST /session/{s.id}/revert", body: { messageID: "msg_nope" }, quirks: { "Q-revert-unknown": ["status", "body"] } },
      { send: "POST /session/{s.id}/revert", body: { messageID: "bad" } },
      { send: "POST /session/{s.id}/revert", body: {} },
      { send: "POST /session/{s.id}/revert", raw: "{x", quirks: json },
      { send: "POST /session/bad/revert", body: {}, quirks: bad },
      { send: "POST /session/bad/unrevert", quirks: bad },
      { send: "POST /session/{s.id}/revert", body: { messageID: "{two.info.id}" }, quirks: marker },
      note("instead"),
      { send: `GET ${at}` },
      { send: "GET /session/{s.id}" },
      { trace: "{s.id}" },
    ],
  },
  {
    name: "a shell command",
    steps: [
      create("shell"),
      {
        send: "POST /session/{s.id}/shell", body: { agent: "build", command: "echo out; echo err >&2; exit 3", model: "{model}" },
        quirks: { "Q-shell": "body/parts/0/state/metadata/exit" },
      },
      { trace: "{s.id}", quirks: { "Q-shell": ["trace/+status busy", "trace/-assistant completed", "trace/+assistant completed"] } },
      { send: `GET ${at}`, quirks: { "Q-shell": "body/1/parts/0/state/metadata/exit" } },
      { send: "GET /session/{s.id}" },
      { send: "POST /session/{s.id}/shell", body: { agent: "build" } },
      { send: "POST /session/{s.id}/shell", body: { command: "true" } },
      { send: "POST /session/{s.id}/shell", body: { agent: "build", command: 5 } },
      { send: "POST /session/{s.id}/shell", raw: "{x", quirks: json },
      { send: "POST /session/bad/shell", body: { agent: "build", command: "true" }, quirks: bad },
    ],
  },
  {
    name: "a session at work",
    steps: [
      create("busy"),
      note("one", "one"),
      { send: "POST /session/{s.id}/shell", body: { agent: "build", command: "echo begun; sleep 30", model: "{model}" }, start: "turn" },
      printed,
      { send: "GET /session/status" },
      { send: "POST /session/{s.id}/shell", body: { agent: "build", command: "true" } },
      { send: "POST /session/{s.id}/revert", body: { messageID: "{one.info.id}" } },
      { send: "POST /session/{s.id}/unrevert" },
      { send: `DELETE ${at}/{one.info.id}` },
      { send: "PATCH /session/{s.id}", body: { title: "still busy" } },
      { send: "POST /session/{s.id}/fork", body: {}, quirks: forked },
      { send: "POST /session/{s.id}/summarize", body: { providerID: "{model.providerID}", modelID: "{model.modelID}" }, start: "summary" },
      { send: "POST /session/{s.id}/abort" },
      { finish: "turn", quirks: { "Q-shell": "body/parts/0/state/metadata/exit" } },
      { send: "GET /session/status" },
      { send: "POST /session/{s.id}/abort" },
    ],
  },
  {
    name: "commands",
    steps: [
      create("commands"),
      { send: "POST /session/{s.id}/command", body: { command: "greet", arguments: "you" } },
      { trace: "{s.id}" },
      { send: `GET ${at}` },
      { send: "POST /session/{s.id}/command", body: { command: "no-such-command", arguments: "" }, quirks: { "Q-unknown-command": ["status", "body"] } },
      { send: "POST /session/{s.id}/command", body: { command: "greet" } },
      { send: "POST /session/{s.id}/command", body: { arguments: "" } },
      { send: "POST /session/{s.id}/command", body: { command: "greet", arguments: 5 } },
      { send: "POST /session/{s.id}/command", raw: "{x", quirks: json },
      { send: "POST /session/bad/command", body: { command: "greet", arguments: "" }, quirks: bad },
      { send: "POST /session/{s.id}/init", body: {} },
      { send: "POST /session/bad/init", body: {}, quirks: bad },
    ],
  },
  {
    name: "a summary",
    steps: [
      create("summary"),
      { send: `POST ${at}`, body: { model: "{model}", parts: [{ type: "text", text: "please @@TEXT" }] } },
      { trace: "{s.id}" },
      { send: "POST /session/{s.id}/summarize", body: { providerID: "{model.providerID}", modelID: "{model.modelID}" } },
      { trace: "{s.id}", quirks: { "Q-summary": ["trace/-session.compacted", "trace/+session.compacted"] } },
      { send: `GET ${at}` },
      { send: "POST /session/{s.id}/summarize", body: {} },
      { send: "POST /session/{s.id}/summarize", body: { providerID: "x" } },
      { send: "POST /session/bad/summarize", body: {}, quirks: bad },
    ],
  },
  {
    name: "a prompt while another is at work",
    steps: [
      create("queued"),
      { send: "POST /session/{s.id}/shell", body: { agent: "build", command: "echo begun; sleep 30", model: "{model}" }, start: "first" },
      printed,
      { send: `POST ${at}`, body: { model: "{model}", parts: [{ type: "text", text: "please @@TEXT" }] }, start: "second" },
      { wait: "message.updated", of: "{s.id}", ignore: ["event"] },
      { send: "POST /session/{s.id}/abort" },
      { finish: "first", quirks: { "Q-shell": "body/parts/0/state/metadata/exit" } },
      { finish: "second", quirks: { "Q-prompt-busy": ["status", "body"] } },
    ],
  },
  {
    name: "a session that is deleted at work",
    steps: [
      create("deleted"),
      { send: "POST /session/{s.id}/shell", body: { agent: "build", command: "echo begun; sleep 2", model: "{model}" }, start: "turn" },
      printed,
      { send: "DELETE /session/{s.id}" },
      { send: "GET /session/{s.id}" },
      { send: "GET /session/status", quirks: { "Q-delete-busy": "body" } },
    ],
  },
  {
    name: "a very large message",
    steps: [
      create("large"),
      {
        send: `POST ${at}`, body: { noReply: true, model: "{model}", parts: [{ type: "text", text: "x".repeat(4_200_000) }] }, within: 5_000,
        quirks: { "Q-big-reply": ["status", "headers", "body"] }, sometimes: ["Q-big-reply"],
      },
    ],
  },
  {
    name: "a share where sharing is off",
    steps: [
      create("shared"),
      { send: "POST /session/{s.id}/share", quirks: { "Q-share-disabled": ["status", "body"] } },
      { send: "DELETE /session/{s.id}/share" },
      { send: "POST /session/bad/share", quirks: bad },
      { send: "DELETE /session/bad/share", quirks: bad },
    ],
  },
]
