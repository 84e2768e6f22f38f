// Turns of the same agent on the same model: OpenCode itself, and OpenCode driven over ACP.
const at = "/session/{s.id}/message"
const say = (text) => ({ model: "{model}", parts: [{ type: "text", text }] })
const ask = (text, rest = {}) => [{ send: `POST ${at}`, body: say(text), ...rest }, { trace: "{s.id}", ...rest.traced }]
const create = (title) => ({ send: "POST /session", body: { title }, as: "s" })

/** The steps of a turn, which are messages in OpenCode. */
const steps = { "Q-one-message": ["trace/-assistant", "trace/-assistant step-*", "trace/-assistant tool-calls completed"] }
/** A text ends when something else begins, not with its step. */
const ends = { "Q-text-ends": ["trace/-assistant text ended", "trace/+assistant text ended"] }
const finishes = [
  "trace/-assistant step-finish tool-calls", "trace/-assistant tool-calls completed",
  "trace/+assistant step-finish stop", "trace/+assistant stop completed",
]
/** The message is complete before its error is told, and says that its step is over. */
const failed = (error) => [
  `trace/-error ${error}`, `trace/+error ${error}`, "trace/+assistant step-start", "trace/+assistant step-finish unknown",
]
const patch = "body/0/patch"

export default [
  {
    name: "text, thoughts and a plan",
    agent: "opencode",
    steps: [
      create("text"),
      ...ask("please @@TEXT"),
      ...ask("please @@THINK"),
      { send: `GET ${at}` },
      ...ask("please @@PLAN", {
        quirks: { "Q-one-message": "body/parts" },
        traced: { quirks: { ...steps, "Q-todo-after-tool": ["trace/-todo.updated", "trace/+todo.updated"] } },
      }),
      { send: "GET /session/{s.id}/todo" },
      { send: `GET ${at}`, as: "all", merged: true },
      { send: `GET ${at}/{all.1.info.id}` },
      { send: "GET /session/{s.id}", quirks: { "Q-usage": "body/tokens" } },
      { send: "POST /session/{s.id}/prompt_async", body: say("please @@TEXT") },
      { wait: "session.idle", of: "{s.id}" },
      { send: "GET /session/status" },
    ],
  },
  {
    name: "tools with and without permission",
    agent: "opencode",
    steps: [
      create("tools"),
      { send: `POST ${at}`, body: say("please @@WRITE:{project}/written.txt"), start: "turn" },
      { wait: "permission.asked", of: "{s.id}", as: "asked", quirks: { "Q-permission": "event/properties" } },
      { send: "GET /permission", quirks: { "Q-permission": ["body/0/always", "body/0/metadata", "body/0/patterns"] } },
      { send: "GET /session/status" },
      { send: "POST /permission/{asked.id}/reply", body: { reply: "once" } },
      { finish: "turn", as: "written", quirks: { "Q-one-message": "body/parts" } },
      { trace: "{s.id}", quirks: { ...steps, ...ends, "Q-patch-last": ["trace/-assistant patch", "trace/+assistant patch"] } },
      { send: "POST /permission/{asked.id}/reply", body: { reply: "once" } },
      {
        wait: "message.updated", of: "{s.id}", with: "info.summary.diffs.0",
        quirks: { "Q-patch-form": "event/properties/info/summary/diffs/0/patch" },
      },
      {
        send: `GET ${at}`, merged: true,
        quirks: { "Q-patch-form": "body/0/info/summary/diffs/0/patch", "Q-tool-metadata": "body/1/parts/1/state/metadata/diff" },
      },
      { send: "GET /session/{s.id}/diff", quirks: { "Q-session-diff": "body" } },
      { send: "GET /session/{s.id}/diff?messageID={written.info.parentID}", quirks: { "Q-patch-form": patch } },
      {
        send: "POST /session/{s.id}/revert", body: { messageID: "{written.info.parentID}" },
        quirks: { "Q-patch-form": "body/revert/diff", "Q-revert-marker": "body/summary", "Q-usage": "body/tokens" },
      },
      { send: "GET /session/{s.id}/diff?messageID={written.info.parentID}", quirks: { "Q-patch-form": patch } },
      { send: "POST /session/{s.id}/unrevert", quirks: { "Q-usage": "body/tokens" }, ignore: ["body/summary"] },
      { look: "written.txt" },
      { trace: "{s.id}" },
      { edit: "written.txt", text: "line one\nline two\nmine\n" },
      { send: "POST /session/{s.id}/revert", body: { messageID: "{written.info.parentID}" }, quirks: { "Q-revert-safe": "body" } },
      { look: "written.txt", quirks: { "Q-revert-safe": "file" } },
      { send: "POST /session/{s.id}/unrevert", quirks: { "Q-usage": "body/tokens" }, ignore: ["body/summary"] },
      { look: "written.txt" },
      { send: `POST ${at}`, body: say("please @@BASH:{project}/never.txt"), start: "turn" },
      { wait: "permission.asked", of: "{s.id}", as: "asked", quirks: { "Q-permission": "event/properties" } },
      { send: "POST /session/{s.id}/permissions/{asked.id}", body: { response: "reject" } },
      {
        finish: "turn",
        quirks: { "Q-finish": ["body/info/finish", "body/parts/3/reason"], "Q-tool-metadata": "body/parts/2/state/input/cwd" },
      },
      { trace: "{s.id}", quirks: { ...ends, "Q-finish": finishes } },
      {
        send: `GET ${at}`, merged: true,
        quirks: {
          "Q-patch-form": "body/0/info/summary/diffs/0/patch", "Q-finish": "body/3/info/finish",
          "Q-tool-metadata": ["body/1/parts/1/state/metadata/diff", "body/3/parts/1/state/input/cwd"],
        },
      },
    ],
  },
  {
    name: "an error of the model",
    agent: "opencode",
    steps: [
      create("errors"),
      ...ask("please @@ERR400", {
        quirks: { "Q-agent-error": "body/info/error/data", "Q-turn-failed": "body/parts" },
        traced: { quirks: { "Q-turn-failed": failed("APIError"), "Q-idle-once": ["trace/-status idle", "trace/-session.idle"] } },
      }),
      ...ask("please @@TEXT"),
      { send: `GET ${at}`, merged: true, quirks: { "Q-agent-error": "body/1/info/error/data" } },
    ],
  },
  {
    name: "an abort",
    agent: "opencode",
    steps: [
      create("aborted"),
      { send: `POST ${at}`, body: say("please @@SLOW"), start: "turn" },
      { wait: "message.part.delta", of: "{s.id}" },
      { send: "GET /session/status" },
      { send: `GET ${at}`, quirks: { "Q-text-so-far": "body/1/parts/1/text" } },
      { send: "POST /session/{s.id}/abort" },
      { finish: "turn", quirks: { "Q-turn-failed": ["body/parts/2", "body/info/tokens/total"] }, ignore: ["body/parts/1/text"] },
      {
        trace: "{s.id}",
        quirks: { "Q-turn-failed": failed("MessageAbortedError"), "Q-idle-once": ["trace/-status idle", "trace/-session.idle"] },
      },
      { send: "GET /session/status" },
      { send: `POST ${at}`, body: say("please @@BASH:{project}/never.txt"), start: "turn" },
      { wait: "permission.asked", of: "{s.id}", as: "asked", quirks: { "Q-permission": "event/properties" } },
      { send: "POST /session/{s.id}/abort" },
      { finish: "turn", quirks: { "Q-turn-failed": ["body/parts/3", "body/info/tokens/total"], "Q-tool-metadata": "body/parts/2/state/input/cwd" } },
      { send: "GET /permission", quirks: { "Q-abort-asked": "body" } },
      { send: "POST /permission/{asked.id}/reply", body: { reply: "once" }, quirks: { "Q-abort-asked": ["status", "body"] } },
    ],
  },
]
