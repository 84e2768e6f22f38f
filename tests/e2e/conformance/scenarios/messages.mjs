// Messages and parts without a turn: what is said and not answered.
const note = (text, rest = {}) => ({ noReply: true, model: "{model}", parts: [{ type: "text", text, ...rest }] })
const say = (text, as) => ({ send: "POST /session/{s.id}/message", body: note(text), as })
const create = { send: "POST /session", body: { title: "messages" }, as: "s" }
const bad = { "Q-id-prefix": ["status", "headers", "body"] }
const json = { "Q-bad-json": ["status", "headers", "body"] }
const at = "/session/{s.id}/message"

export default [
  {
    name: "a message without an answer",
    steps: [
      create,
      say("one", "one"),
      { send: `POST ${at}`, body: { ...note("two"), messageID: "msg_zz_conformance_two" } },
      { send: `POST ${at}`, body: { ...note("three"), system: "be brief", agent: "build" } },
      { send: `POST ${at}`, body: { noReply: true, model: "{model}", parts: [] } },
      { send: `POST ${at}`, body: { ...note("five"), variant: "default" }, quirks: { "Q-variant": "body/info/model/variant" } },
      { send: `POST ${at}`, body: { ...note("six", { id: "prt_zz_conformance_six" }) } },
      { send: `POST ${at}`, body: { ...note("seven", { synthetic: true, metadata: { a: 1 } }) } },
      {
        send: `POST ${at}`, body: { ...note("eight", { ignored: true, time: { start: 5 } }) },
        quirks: { "Q-prompt-time": "body/parts/0/time/end" },
      },
      { send: `POST ${at}`, body: { ...note("nine"), unknown: true } },
      { send: `GET ${at}`, quirks: { "Q-variant": "body/4/info/model/variant", "Q-prompt-time": "body/7/parts/0/time/end" } },
      { send: `GET ${at}/{one.info.id}` },
      { trace: "{s.id}", quirks: { "Q-prompt-time": ["trace/-user text", "trace/+user text ended"] } },
    ],
  },
  {
    name: "a message with a file",
    steps: [
      create,
      {
        send: `POST ${at}`,
        body: { noReply: true, model: "{model}", parts: [{ type: "file", mime: "text/plain", filename: "a.txt", url: "data:text/plain;base64,aGk=" }] },
        quirks: { "Q-file-parts": "body/parts" },
      },
      {
        send: `POST ${at}`,
        body: { noReply: true, model: "{model}", parts: [{ type: "file", mime: "image/png", filename: "a.png", url: "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==" }] },
      },
      {
        send: `POST ${at}`,
        body: { noReply: true, model: "{model}", parts: [{ type: "text", text: "ask @plan" }, { type: "agent", name: "plan", source: { value: "@plan", start: 4, end: 9 } }] },
        quirks: { "Q-file-parts": "body/parts" },
      },
      { send: `GET ${at}`, quirks: { "Q-file-parts": ["body/0/parts", "body/2/parts"] } },
    ],
  },
  {
    name: "messages are read in pages",
    steps: [
      create,
      say("one"), say("two"), say("three"), say("four"), say("five"),
      { send: `GET ${at}?limit=2`, as: "page" },
      { send: `GET ${at}?limit=9` },
      { send: `GET ${at}?limit=5` },
      { send: `GET ${at}?limit=0` },
      { send: `GET ${at}?limit=2&directory={dir}` },
      { send: `GET ${at}?limit=-1` },
      { send: `GET ${at}?limit=abc` },
      { send: `GET ${at}?limit=1.5` },
      { send: `GET ${at}?limit=2&before=abc`, quirks: { "Q-bad-request-named": "body" } },
      { send: `GET ${at}?before=abc`, quirks: { "Q-bad-request-named": "body" } },
    ],
  },
  {
    name: "the next page follows its cursor",
    steps: [
      create,
      say("one"), say("two"), say("three"), say("four"), say("five"),
      { send: `GET ${at}?limit=2`, cursor: "next" },
      { send: `GET ${at}?limit=2&before={next}`, cursor: "next" },
      { send: `GET ${at}?limit=2&before={next}` },
    ],
  },
  {
    name: "a part is changed, added and removed",
    steps: [
      create,
      say("one", "one"),
      {
        send: `PATCH ${at}/{one.info.id}/part/{one.parts.0.id}`,
        body: { id: "{one.parts.0.id}", sessionID: "{s.id}", messageID: "{one.info.id}", type: "text", text: "changed" },
      },
      {
        send: `PATCH ${at}/{one.info.id}/part/prt_zz_added`,
        body: { id: "prt_zz_added", sessionID: "{s.id}", messageID: "{one.info.id}", type: "text", text: "added" },
      },
      { send: `GET ${at}/{one.info.id}` },
      {
        send: `PATCH ${at}/{one.info.id}/part/{one.parts.0.id}`,
        body: { id: "prt_zz_other", sessionID: "{s.id}", messageID: "{one.info.id}", type: "text", text: "x" },
        quirks: { "Q-bad-request-named": "body" },
      },
      {
        send: `PATCH ${at}/{one.info.id}/part/{one.parts.0.id}`,
        body: { id: "{one.parts.0.id}", sessionID: "ses_other", messageID: "{one.info.id}", type: "text", text: "x" },
        quirks: { "Q-bad-request-named": "body" },
      },
      { send: `PATCH ${at}/{one.info.id}/part/{one.parts.0.id}`, body: { type: "what" }, quirks: { "Q-reason": "body/data/message" } },
      { send: `PATCH ${at}/{one.info.id}/part/{one.parts.0.id}`, raw: "{x", quirks: json },
      {
        send: `PATCH ${at}/msg_unknown/part/prt_zz_new`,
        body: { id: "prt_zz_new", sessionID: "{s.id}", messageID: "msg_unknown", type: "text", text: "x" },
        quirks: { "Q-part-unknown-message": ["status", "body"] },
      },
      { send: `PATCH ${at}/bad/part/prt_x`, body: {} },
      { send: `PATCH ${at}/{one.info.id}/part/bad`, body: {} },
      { send: `DELETE ${at}/{one.info.id}/part/prt_zz_added` },
      { send: `DELETE ${at}/{one.info.id}/part/prt_zz_added` },
      { send: `DELETE ${at}/{one.info.id}/part/bad` },
      { send: `GET ${at}` },
      { trace: "{s.id}" },
    ],
  },
  {
    name: "a message is removed",
    steps: [
      create,
      say("one", "one"), say("two", "two"),
      { send: `DELETE ${at}/{one.info.id}` },
      { send: `DELETE ${at}/{one.info.id}` },
      { send: `DELETE ${at}/bad` },
      { send: "DELETE /session/ses_unknown/message/msg_x" },
      { send: `GET ${at}` },
      { send: `GET ${at}/{one.info.id}` },
      { trace: "{s.id}" },
    ],
  },
  {
    name: "a message that is not there",
    steps: [
      create,
      { send: "POST /session", body: { title: "other" }, as: "other" },
      say("one", "one"),
      { send: `GET ${at}/msg_nope` },
      { send: `GET ${at}/bad` },
      { send: "GET /session/{other.id}/message/{one.info.id}" },
      { send: "GET /session/ses_unknown/message/msg_nope", quirks: { "Q-message-session-first": "body" } },
      { send: "GET /session/bad/message/msg_nope", quirks: bad },
      { send: "GET /session/{s.id}/diff?messageID=msg_nope" },
      { send: "GET /session/{s.id}/diff?messageID=bad" },
      { send: "GET /session/{s.id}/diff?messageID={one.info.id}" },
    ],
  },
  {
    name: "a prompt that is wrong is not taken",
    steps: [
      create,
      { send: `POST ${at}`, body: { model: "{model}", parts: [{ type: "text", text: "please @@TEXT" }] } },
      { send: `POST ${at}`, body: {} },
      { send: `POST ${at}` },
      { send: `POST ${at}`, body: { parts: "no" } },
      { send: `POST ${at}`, body: { parts: [{ type: "text" }] } },
      { send: `POST ${at}`, body: { parts: [{ type: "what" }] } },
      { send: `POST ${at}`, body: { ...note("x"), messageID: "bad" } },
      { send: `POST ${at}`, body: { ...note("x"), model: "x" } },
      { send: `POST ${at}`, body: { ...note("x"), noReply: "yes" } },
      { send: `POST ${at}`, body: { ...note("x"), agent: 5 } },
      { send: `POST ${at}`, body: { ...note("x", { id: "bad" }) } },
      { send: `POST ${at}`, raw: "{x", quirks: json },
      { send: `POST ${at}`, raw: "x", headers: { "content-type": "text/plain" }, quirks: { "Q-content-type": ["headers", "body"] } },
      { send: "POST /session/bad/message", body: { parts: [] }, quirks: bad },
      { send: "POST /session/{s.id}/prompt_async", body: {} },
      { send: "POST /session/{s.id}/prompt_async", raw: "{x", quirks: json },
      { send: `POST ${at}`, body: { ...note("x"), agent: "nobody" }, quirks: { "Q-unknown-model": ["status", "body"] } },
      { send: `POST ${at}`, body: { ...note("x"), noReply: false, model: { providerID: "nobody", modelID: "none" } }, quirks: { "Q-unknown-model": ["status", "body"] } },
      { send: `GET ${at}`, quirks: { "Q-unknown-model": "body" } },
    ],
  },
  {
    name: "a message id that was used before",
    steps: [
      create,
      { send: "POST /session", body: { title: "another" }, as: "other" },
      { send: `POST ${at}`, body: { ...note("once"), messageID: "msg_zz_again" }, as: "first" },
      { send: `POST ${at}`, body: { ...note("twice"), messageID: "msg_zz_again" }, quirks: { "Q-message-id-again": ["status", "body"] } },
      {
        send: "POST /session/{other.id}/message", body: { ...note("elsewhere"), messageID: "msg_zz_again" },
        quirks: { "Q-message-id-elsewhere": ["status", "body"] },
      },
      { send: "GET /session/{other.id}/message" },
      { send: `GET ${at}`, quirks: { "Q-message-id-again": "body/0" } },
    ],
  },
]
