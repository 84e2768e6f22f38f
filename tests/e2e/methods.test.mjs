// Every method of the real SDK, both generations, found by reflection: it is called here and answers what OpenCode's
// document has for it, or it is one of what sessiond has not, and the answer says so. A new SDK with a new method fails.
import assert from "node:assert/strict"
import { after, before, describe, it } from "node:test"
import { createOpencodeClient as v1Client } from "@opencode-ai/sdk"
import { createOpencodeClient as v2Client } from "@opencode-ai/sdk/v2"
import { EXTRA_KEYS } from "./conformance/rules.mjs"
import { Document } from "./conformance/schema.mjs"
import { methodsOf, methodAt } from "./lib/methods.mjs"
import { until } from "./lib/process.mjs"
import { openapiOfOpencode } from "./lib/real.mjs"
import { Sessiond, sandbox } from "./lib/sessiond.mjs"

let server
let doc
before(async () => {
  const dir = sandbox("methods")
  doc = new Document(await openapiOfOpencode(dir))
  server = await Sessiond.start({ name: "methods", dir, settings: "[commands.greet]\ntemplate = \"please $1\"" })
})
after(() => server?.stop())

/** What a method did: the requests that it sent and what they were answered. */
const wire = []
/** The reply; a stream is let go once its head has come, as what follows is for other suites. */
async function recorded(request) {
  const path = new URL(request.url).pathname.replace("/opencode", "")
  const reply = await fetch(request)
  const isStream = (reply.headers.get("content-type") ?? "").startsWith("text/event-stream")
  const text = isStream ? "" : await reply.clone().text()
  let body = text
  try {
    body = JSON.parse(text)
  } catch {
    // No JSON: what it is says its type.
  }
  wire.push({ method: request.method, path, isStream, status: reply.status, headers: Object.fromEntries(reply.headers), body })
  return reply
}
const options = () => ({ baseUrl: server.base, headers: server.headers(), directory: server.project, fetch: recorded })
const say = (text) => [{ type: "text", text }]

/** Things to do something with, made without the SDK. */
const session = (body = {}) => server.oc("POST", "/session", body)
const answered = async (text = "hello") => {
  const s = await session()
  const reply = await server.oc("POST", `/session/${s.id}/message`, { parts: say(text) })
  const [asked] = await server.oc("GET", `/session/${s.id}/message`)
  return { s, reply, asked }
}
/** A session that waits for a permission. */
async function asking() {
  const s = await session()
  await server.oc("POST", `/session/${s.id}/prompt_async`, { parts: say("/ask run echo yes") })
  return { s, asked: await server.permission(s.id) }
}
/** A session at work. */
async function busy() {
  const s = await session()
  await server.oc("POST", `/session/${s.id}/prompt_async`, { parts: say("/hang") })
  await until("it hangs", async () => (await server.oc("GET", `/session/${s.id}/message`)).some((m) => m.info.role === "assistant"))
  return s
}
const ALLOW = [{ permission: "*", pattern: "*", action: "allow" }]
const model = { providerID: "demo", modelID: "default" }

/** Reads one event of a stream and leaves it. */
async function firstOf({ stream }) {
  for await (const event of stream) return event
}

const V1 = {
  "global.event": async (call) => firstOf(await call()),
  "project.list": (call) => call(),
  "project.current": (call) => call(),
  "config.get": (call) => call(),
  "config.update": (call) => call({ body: { username: "ann" } }),
  "config.providers": (call) => call(),
  "instance.dispose": (call) => call(),
  "path.get": (call) => call(),
  "vcs.get": (call) => call(),
  "session.list": (call) => call(),
  "session.create": (call) => call({ body: {} }),
  "session.status": (call) => call(),
  "session.delete": async (call) => call({ path: { id: (await session()).id } }),
  "session.get": async (call) => call({ path: { id: (await session()).id } }),
  "session.update": async (call) => call({ path: { id: (await session()).id }, body: { title: "new" } }),
  "session.children": async (call) => call({ path: { id: (await session()).id } }),
  "session.todo": async (call) => call({ path: { id: (await answered("/plan")).s.id } }),
  "session.init": async (call) => call({ path: { id: (await session({ permission: ALLOW })).id }, body: { ...model, messageID: "msg_0123456789abInitInitInit" } }),
  "session.fork": async (call) => call({ path: { id: (await answered()).s.id }, body: {} }),
  "session.abort": async (call) => call({ path: { id: (await busy()).id } }),
  "session.share": async (call) => call({ path: { id: (await session()).id } }),
  "session.unshare": async (call) => call({ path: { id: (await session()).id } }),
  "session.diff": async (call) => call({ path: { id: (await answered()).s.id } }),
  "session.summarize": async (call) => call({ path: { id: (await answered()).s.id }, body: model }),
  "session.messages": async (call) => call({ path: { id: (await answered()).s.id } }),
  "session.prompt": async (call) => call({ path: { id: (await session()).id }, body: { parts: say("hi") } }),
  "session.message": async (call) => {
    const { s, reply } = await answered()
    return call({ path: { id: s.id, messageID: reply.info.id } })
  },
  "session.promptAsync": async (call) => call({ path: { id: (await session()).id }, body: { parts: say("hi") } }),
  "session.command": async (call) => call({ path: { id: (await session()).id }, body: { command: "greet", arguments: "me" } }),
  "session.shell": async (call) => call({ path: { id: (await session()).id }, body: { agent: "build", command: "echo hi" } }),
  "session.revert": async (call) => {
    const { s, asked } = await answered()
    return call({ path: { id: s.id }, body: { messageID: asked.info.id } })
  },
  "session.unrevert": async (call) => call({ path: { id: (await answered()).s.id } }),
  "command.list": (call) => call(),
  "provider.list": (call) => call(),
  "provider.auth": (call) => call(),
  "find.text": (call) => call({ query: { pattern: "project" } }),
  "find.files": (call) => call({ query: { query: "README" } }),
  "file.list": (call) => call({ query: { path: "" } }),
  "file.read": (call) => call({ query: { path: "README" } }),
  "file.status": (call) => call(),
  "app.log": (call) => call({ body: { service: "test", level: "info", message: "m" } }),
  "app.agents": (call) => call(),
  "mcp.status": (call) => call(),
  "lsp.status": (call) => call(),
  "formatter.status": (call) => call(),
  "tui.control.next": (call) => waiting(call),
  "tui.control.response": (call) => call({ body: {} }),
  "tui.appendPrompt": (call) => call({ body: { text: "t" } }),
  "tui.openHelp": (call) => call(),
  "tui.openSessions": (call) => call(),
  "tui.openThemes": (call) => call(),
  "tui.openModels": (call) => call(),
  "tui.submitPrompt": (call) => call(),
  "tui.clearPrompt": (call) => call(),
  "tui.executeCommand": (call) => call({ body: { command: "session_new" } }),
  "tui.showToast": (call) => call({ body: { message: "m", variant: "info" } }),
  "tui.publish": (call) => call({ body: { type: "tui.prompt.append", properties: { text: "x" } } }),
  "event.subscribe": async (call) => firstOf(await call()),
  postSessionIdPermissionsPermissionId: async (call) => {
    const { s, asked } = await asking()
    return call({ path: { id: s.id, permissionID: asked.id }, body: { response: "once" } })
  },
}

/** Here the real server itself does not keep to its document, as the conformance suite shows: an unknown one is `null`. */
const UNLIKE_THE_DOCUMENT = ["v2.integration.get"]

/** A wait at the control queue of a user interface: nothing comes, and it ends. */
async function waiting(call) {
  const reply = await call()
  assert.equal(reply.response.status, 204)
}

/** What sessiond has not: terminals, logins, a model's own tools, tool servers, language servers. */
const NOT_OFFERED_V1 = {
  "pty.list": {}, "pty.create": { body: {} },
  ...Object.fromEntries(["pty.remove", "pty.get", "pty.update", "pty.connect"].map((m) => [m, { path: { id: "x" } }])),
  "tool.ids": {}, "tool.list": { query: { provider: "demo", model: "default" } },
  "provider.oauth.authorize": { path: { id: "demo" } }, "provider.oauth.callback": { path: { id: "demo" } },
  "find.symbols": { query: { query: "x" } },
  "mcp.add": { body: { name: "x", config: { type: "local", command: ["x"] } } },
  ...Object.fromEntries(["mcp.auth.remove", "mcp.auth.start", "mcp.auth.callback", "mcp.auth.authenticate", "mcp.connect", "mcp.disconnect"].map((m) => [m, { path: { name: "x" } }])),
  ...Object.fromEntries(["remove", "start", "callback", "authenticate"].map((m) => [`auth.${m}`, { path: { name: "x" } }])),
  ...Object.fromEntries(["auth.set", "mcp.auth.set"].map((m) => [m, { path: { id: "demo" }, body: { type: "api", key: "k" } }])),
}

const api = async (body = {}) => (await server.oc("POST", "/api/session", body)).data
const on = (make) => async (call) => call({ sessionID: (await make()).id })
const plain = (call) => call()
const inAnswered = (args) => async (call) => {
  const made = await answered()
  return call({ sessionID: made.s.id, ...args(made) })
}

const V2 = {
  "app.log": (call) => call({ service: "test", level: "info", message: "m" }),
  "app.agents": plain,
  "app.skills": plain,
  "experimental.capabilities.get": plain,
  "experimental.console.get": plain,
  "experimental.console.listOrgs": plain,
  "experimental.session.list": plain,
  "experimental.session.background": on(session),
  "experimental.resource.list": plain,
  "experimental.workspace.list": plain,
  "experimental.workspace.status": plain,
  "experimental.workspace.adapter.list": plain,
  "global.health": plain,
  "global.event": async (call) => firstOf(await call()),
  "global.dispose": plain,
  "global.config.get": plain,
  "global.config.update": (call) => call({ config: { username: "ann" } }),
  "event.subscribe": async (call) => firstOf(await call()),
  "config.get": plain,
  "config.update": (call) => call({ config: { username: "ann" } }),
  "config.providers": plain,
  "worktree.list": plain,
  "find.text": (call) => call({ pattern: "project" }),
  "find.files": (call) => call({ query: "README" }),
  "file.list": (call) => call({ path: "" }),
  "file.read": (call) => call({ path: "README" }),
  "file.status": plain,
  "instance.dispose": plain,
  "path.get": plain,
  "vcs.get": plain,
  "vcs.status": plain,
  "vcs.diff": (call) => call({ mode: "git" }),
  "vcs.diff2.raw": plain,
  "vcs.apply": async (call) => {
    const patch = "diff --git a/new.txt b/new.txt\nnew file mode 100644\n--- /dev/null\n+++ b/new.txt\n@@ -0,0 +1 @@\n+words\n"
    return call({ patch })
  },
  "command.list": plain,
  "lsp.status": plain,
  "formatter.status": plain,
  "mcp.status": plain,
  "project.list": plain,
  "project.current": plain,
  "project.initGit": plain,
  "project.update": async (call) => {
    await session()
    return call({ projectID: (await server.oc("GET", "/project/current")).id, name: "named" })
  },
  "project.directories": async (call) => call({ projectID: (await server.oc("GET", "/project/current")).id }),
  "permission.list": plain,
  "permission.reply": async (call) => call({ requestID: (await asking()).asked.id, reply: "once" }),
  "permission.respond": async (call) => {
    const { s, asked } = await asking()
    return call({ sessionID: s.id, permissionID: asked.id, response: "once" })
  },
  "question.list": plain,
  "provider.list": plain,
  "provider.auth": plain,
  "session.list": plain,
  "session.create": (call) => call({}),
  "session.status": plain,
  "session.delete": on(session),
  "session.get": on(session),
  "session.update": async (call) => call({ sessionID: (await session()).id, title: "new" }),
  "session.children": on(session),
  "session.todo": on(async () => (await answered("/plan")).s),
  "session.diff": inAnswered(() => ({})),
  "session.messages": inAnswered(() => ({ limit: 5 })),
  "session.prompt": async (call) => call({ sessionID: (await session()).id, parts: say("hi") }),
  "session.deleteMessage": inAnswered(({ reply }) => ({ messageID: reply.info.id })),
  "session.message": inAnswered(({ reply }) => ({ messageID: reply.info.id })),
  "session.fork": inAnswered(() => ({})),
  "session.abort": on(busy),
  "session.init": async (call) => call({ sessionID: (await session({ permission: ALLOW })).id, ...model, messageID: "msg_0123456789abInitInitIni2" }),
  "session.share": on(session),
  "session.unshare": on(session),
  "session.summarize": inAnswered(() => model),
  "session.promptAsync": async (call) => call({ sessionID: (await session()).id, parts: say("hi") }),
  "session.command": async (call) => call({ sessionID: (await session()).id, command: "greet", arguments: "me" }),
  "session.shell": async (call) => call({ sessionID: (await session()).id, agent: "build", command: "echo hi" }),
  "session.revert": inAnswered(({ asked }) => ({ messageID: asked.info.id })),
  "session.unrevert": inAnswered(() => ({})),
  "part.delete": inAnswered(({ reply }) => ({ messageID: reply.info.id, partID: reply.parts.at(-1).id })),
  "part.update": inAnswered(({ reply }) => {
    const part = reply.parts.find((p) => p.type === "text")
    return { messageID: part.messageID, partID: part.id, part: { ...part, text: "by hand" } }
  }),
  "sync.replay": async (call) => {
    const s = await session({ title: "to be told again" })
    const events = await server.oc("POST", "/sync/history", {})
    const of = events.filter((e) => e.aggregate_id === s.id).map(({ aggregate_id, ...e }) => ({ ...e, aggregateID: aggregate_id }))
    return call({ directory: server.project, body_directory: server.project, events: of })
  },
  "sync.history.list": (call) => call({ body: { ses_unknown: 0 } }),
  "tui.appendPrompt": (call) => call({ text: "t" }),
  "tui.openHelp": plain,
  "tui.openSessions": plain,
  "tui.openThemes": plain,
  "tui.openModels": plain,
  "tui.submitPrompt": plain,
  "tui.clearPrompt": plain,
  "tui.executeCommand": (call) => call({ command: "session_new" }),
  "tui.showToast": (call) => call({ message: "m", variant: "info" }),
  "tui.publish": (call) => call({ body: { type: "tui.prompt.append", properties: { text: "x" } } }),
  "tui.selectSession": on(session),
  "tui.control.next": waiting,
  "tui.control.response": (call) => call({ body: {} }),
  "v2.health.get": plain,
  "v2.location.get": plain,
  "v2.agent.list": plain,
  "v2.session.list": plain,
  "v2.session.create": (call) => call({ location: { directory: server.project } }),
  "v2.session.active": plain,
  "v2.session.get": on(api),
  "v2.session.switchAgent": async (call) => call({ sessionID: (await api()).id, agent: "build" }),
  "v2.session.switchModel": async (call) => call({ sessionID: (await api()).id, model: { providerID: "demo", id: "default" } }),
  "v2.session.prompt": async (call) => call({ sessionID: (await api()).id, prompt: { text: "hi" } }),
  "v2.session.compact": inAnswered(() => ({})),
  "v2.session.wait": on(api),
  "v2.session.context": inAnswered(() => ({})),
  "v2.session.history": inAnswered(() => ({})),
  "v2.session.events": async (call) => firstOf(await call({ sessionID: (await answered()).s.id, after: "0" })),
  "v2.session.interrupt": on(busy),
  "v2.session.message": inAnswered(({ reply }) => ({ messageID: reply.info.id })),
  "v2.session.messages": inAnswered(() => ({})),
  "v2.session.revert.stage": inAnswered(({ asked }) => ({ messageID: asked.info.id })),
  "v2.session.revert.clear": inAnswered(() => ({})),
  "v2.session.revert.commit": inAnswered(() => ({})),
  "v2.session.permission.list": on(api),
  "v2.session.permission.get": async (call) => {
    const { s, asked } = await asking()
    return call({ sessionID: s.id, requestID: asked.id })
  },
  "v2.session.permission.reply": async (call) => {
    const { s, asked } = await asking()
    return call({ sessionID: s.id, requestID: asked.id, reply: "once" })
  },
  "v2.session.question.list": on(api),
  "v2.model.list": plain,
  "v2.provider.list": plain,
  "v2.provider.get": (call) => call({ providerID: "demo" }),
  "v2.integration.list": plain,
  "v2.integration.get": (call) => call({ integrationID: "x" }),
  "v2.permission.request.list": plain,
  "v2.permission.saved.list": plain,
  "v2.fs.list": plain,
  "v2.fs.find": (call) => call({ query: "README" }),
  "v2.command.list": plain,
  "v2.skill.list": plain,
  "v2.event.subscribe": async (call) => firstOf(await call()),
  "v2.question.request.list": plain,
  "v2.reference.list": plain,
}

/**
 * Methods that are refused here for what they were asked, each with the status: what they do can't be had by a call
 * alone. The suites named next to them have the rest.
 */
const REFUSED_V2 = {
  // Questions: asked by an agent; the suites of the dialogs answer one.
  "question.reply": [{ requestID: "que_unknown", answers: [["x"]] }, 404],
  "question.reject": [{ requestID: "que_unknown" }, 404],
  "v2.session.question.reply": [async () => ({ sessionID: (await api()).id, requestID: "que_unknown", questionV2Reply: { answers: [["x"]] } }), 404],
  "v2.session.question.reject": [async () => ({ sessionID: (await api()).id, requestID: "que_unknown" }), 404],
  // There are no workspaces to take a session over into.
  "sync.steal": [async () => ({ sessionID: (await session()).id }), 400],
  // The SDK sends its literal `*`, which is no file.
  "v2.fs.read": [{}, 400],
}

const NOT_OFFERED_V2 = {
  "auth.remove": { providerID: "demo" }, "auth.set": { providerID: "demo", auth: { type: "api", key: "k" } },
  "experimental.controlPlane.moveSession": { sessionID: "ses_x" },
  "experimental.console.switchOrg": {}, "experimental.projectCopy.generateName": { projectID: "x" },
  "experimental.workspace.create": {}, "experimental.workspace.syncList": {}, "experimental.workspace.remove": { id: "x" },
  "experimental.workspace.warp": {}, "global.upgrade": {}, "tool.list": { provider: "demo", model: "default" }, "tool.ids": {},
  "worktree.remove": {}, "worktree.create": {}, "worktree.reset": {}, "find.symbols": { query: "x" },
  "mcp.add": { name: "x" },
  ...Object.fromEntries(["mcp.connect", "mcp.disconnect", "mcp.auth.remove", "mcp.auth.start", "mcp.auth.callback", "mcp.auth.authenticate"].map((m) => [m, { name: "x" }])),
  "pty.shells": {}, "pty.list": {}, "pty.create": {},
  ...Object.fromEntries(["remove", "get", "update", "connectToken", "connect"].flatMap((m) => [[`pty.${m}`, { ptyID: "x" }], [`v2.pty.${m}`, { ptyID: "x" }]])),
  "provider.oauth.authorize": { providerID: "demo" }, "provider.oauth.callback": { providerID: "demo" },
  "sync.start": {}, "v2.session.permission.create": { sessionID: "ses_x", action: "edit", resources: [] },
  "v2.integration.connect.key": { integrationID: "x", key: "k" }, "v2.integration.connect.oauth": { integrationID: "x" },
  ...Object.fromEntries(["cancel", "status", "complete"].map((m) => [`v2.integration.attempt.${m}`, { attemptID: "x" }])),
  "v2.credential.remove": { credentialID: "x" }, "v2.credential.update": { credentialID: "x" },
  "v2.permission.saved.remove": { id: "x" }, "v2.pty.list": {}, "v2.pty.create": {},
  ...Object.fromEntries(["remove", "create", "refresh"].map((m) => [`v2.projectCopy.${m}`, { projectID: "x" }])),
}

for (const { name, create, called, refused, absent } of [
  { name: "v1", create: v1Client, called: V1, refused: {}, absent: NOT_OFFERED_V1 },
  { name: "v2", create: v2Client, called: V2, refused: REFUSED_V2, absent: NOT_OFFERED_V2 },
]) {
  const client = () => create(options())
  const bound = (path) => {
    const method = methodAt(client(), path)
    const signal = AbortSignal.timeout(60_000)
    // The last argument of both generations takes what concerns the request; of v1 it is the only one.
    return (args = {}) => (name === "v1" ? method({ ...args, signal }) : method(args, { signal }))
  }
  describe(`SDK ${name}: every method`, () => {
    it("is in exactly one of the lists", () => {
      const methods = methodsOf(create({ baseUrl: "http://127.0.0.1:9" }))
      const listed = [called, refused, absent].flatMap(Object.keys)
      assert.deepEqual(listed.filter((m, i) => listed.indexOf(m) !== i), [], "in two lists")
      assert.deepEqual([...listed].sort(), [...methods].sort())
    })

    for (const [path, use] of Object.entries(called)) {
      it(`${path} works`, async () => {
        wire.length = 0
        const result = await use(bound(path))
        assert.ok(wire.length >= 1 || result?.type || result?.payload, "it sent a request, or gave an event")
        for (const w of wire) {
          assert.ok(w.status >= 200 && w.status < 300, `${w.method} ${w.path}: ${w.status} ${JSON.stringify(w.body)?.slice(0, 500)}`)
          if (w.isStream || w.status === 204) continue
          const faults = doc.reply({ method: w.method, path: w.path }, w).filter((f) => !EXTRA_KEYS.some(({ key }) => f.includes(`"additionalProperty":"${key}"`)))
          if (!UNLIKE_THE_DOCUMENT.includes(path)) assert.deepEqual(faults, [], JSON.stringify(w.body)?.slice(0, 1500))
        }
      })
    }

    for (const [path, [args, status]] of Object.entries(refused)) {
      it(`${path} is refused with ${status}`, async () => {
        wire.length = 0
        await bound(path)(typeof args === "function" ? await args() : args)
        assert.deepEqual(wire.map((w) => w.status), [status], JSON.stringify(wire))
        assert.deepEqual(doc.reply(wire[0], wire[0]), [])
      })
    }

    for (const [path, args] of Object.entries(absent)) {
      it(`${path} says that it is not offered`, async () => {
        wire.length = 0
        const { error } = await bound(path)(args)
        assert.deepEqual(wire.map((w) => w.status), [501], JSON.stringify(wire))
        assert.match(wire[0].headers["content-type"], /^application\/json/)
        assert.equal(error.name, "NotImplementedError")
        assert.ok(error.data.message.includes(wire[0].path.split("/")[1]), error.data.message)
      })
    }
  })
}
