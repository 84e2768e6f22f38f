// The real @opencode-ai/sdk, both generations, against the demo agent.
import assert from "node:assert/strict"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { after, before, describe, it } from "node:test"
import { createOpencodeClient as v1Client } from "@opencode-ai/sdk"
import { createOpencodeClient as v2Client } from "@opencode-ai/sdk/v2"
import { until } from "./lib/process.mjs"
import { Sessiond, text } from "./lib/sessiond.mjs"

let server
const over = new AbortController()
before(async () => {
  server = await Sessiond.start({ name: "sdk" })
})
after(async () => {
  over.abort()
  await server?.stop()
})

/** Collects a stream of the SDK. */
function collect(stream) {
  const all = []
  const done = (async () => {
    for await (const event of stream) all.push(event)
  })().catch(() => {})
  return { all, done, find: (what, fits) => until(`event: ${what}`, () => all.find(fits)) }
}

const options = () => ({ baseUrl: server.base, headers: server.headers(), directory: server.project })
const say = (words) => [{ type: "text", text: words }]

describe("SDK v1", () => {
  const client = () => v1Client({ ...options(), throwOnError: true })

  it("creates, reads, renames, lists and deletes sessions", async () => {
    const c = client()
    const { data: session } = await c.session.create({ body: { title: "first" } })
    assert.match(session.id, /^ses_/)
    assert.equal(session.title, "first")
    assert.equal(session.directory, server.project)
    assert.ok(session.projectID && session.version && session.slug)
    assert.ok(session.time.created <= session.time.updated)
    const { data: child } = await c.session.create({ body: { parentID: session.id } })
    assert.equal(child.parentID, session.id)
    assert.match(child.title, /^Child session - /)
    const { data: children } = await c.session.children({ path: { id: session.id } })
    assert.deepEqual(children.map((s) => s.id), [child.id])
    const { data: renamed } = await c.session.update({ path: { id: session.id }, body: { title: "second" } })
    assert.equal(renamed.title, "second")
    const { data: read } = await c.session.get({ path: { id: session.id } })
    assert.deepEqual(read, renamed)
    const { data: list } = await c.session.list()
    assert.ok(list.some((s) => s.id === session.id))
    const { data: gone } = await c.session.delete({ path: { id: session.id } })
    assert.equal(gone, true)
    const after = await v1Client(options()).session.get({ path: { id: session.id } })
    assert.equal(after.response.status, 404)
    assert.deepEqual(after.error, { name: "NotFoundError", data: { message: `Session not found: ${session.id}` } })
    assert.ok(!(await c.session.list()).data.some((s) => s.id === session.id))
  })

  it("prompts and gets the reply to its own prompt", async () => {
    const c = client()
    const { data: session } = await c.session.create({ body: {} })
    const { data: reply } = await c.session.prompt({ path: { id: session.id }, body: { parts: say("good morning") } })
    assert.equal(reply.info.role, "assistant")
    assert.equal(reply.info.sessionID, session.id)
    assert.match(text(reply), /You said: good morning/)
    assert.ok(reply.info.time.completed >= reply.info.time.created)
    assert.deepEqual(reply.parts.map((p) => p.type).filter((t) => t.startsWith("step")), ["step-start", "step-finish"])
    const { data: messages } = await c.session.messages({ path: { id: session.id } })
    assert.deepEqual(messages.map((m) => m.info.role), ["user", "assistant"])
    assert.equal(messages[1].info.parentID, messages[0].info.id)
    assert.deepEqual(messages[1], reply)
    const { data: one } = await c.session.message({ path: { id: session.id, messageID: reply.info.id } })
    assert.deepEqual(one, reply)
    const { data: titled } = await c.session.get({ path: { id: session.id } })
    assert.doesNotMatch(titled.title, /^New session - /)
  })

  it("answers ten prompts at once, each with its own reply", async () => {
    const c = client()
    const { data: session } = await c.session.create({ body: {} })
    const words = Array.from({ length: 10 }, (_, i) => `number-${i}-`)
    const replies = await Promise.all(words.map((w) =>
      c.session.prompt({ path: { id: session.id }, body: { parts: say(w) } })))
    replies.forEach(({ data }, i) => assert.match(text(data), new RegExp(`You said: ${words[i]}`)))
    assert.equal((await c.session.messages({ path: { id: session.id } })).data.length, 20)
  })

  it("streams the events of a turn in OpenCode's order", async () => {
    const c = client()
    const { stream } = await c.event.subscribe({ signal: over.signal })
    const events = collect(stream)
    await events.find("server.connected", (e) => e.type === "server.connected")
    const { data: session } = await c.session.create({ body: {} })
    const sent = await c.session.promptAsync({ path: { id: session.id }, body: { parts: say("tell me") } })
    assert.equal(sent.response.status, 204)
    await events.find("session.idle", (e) => e.type === "session.idle" && e.properties.sessionID === session.id)
    const mine = events.all.filter((e) => JSON.stringify(e.properties).includes(session.id))
    const first = (what, fits) => {
      const at = mine.findIndex(fits)
      assert.ok(at >= 0, `${what} is there`)
      return at
    }
    const order = [
      first("created", (e) => e.type === "session.created"),
      first("user message", (e) => e.type === "message.updated" && e.properties.info.role === "user"),
      first("user part", (e) => e.type === "message.part.updated" && e.properties.part.text === "tell me"),
      first("busy", (e) => e.type === "session.status" && e.properties.status.type === "busy"),
      first("assistant", (e) => e.type === "message.updated" && e.properties.info.role === "assistant"),
      first("step-start", (e) => e.type === "message.part.updated" && e.properties.part.type === "step-start"),
      first("delta", (e) => e.type === "message.part.delta"),
      first("whole text", (e) => e.type === "message.part.updated" && e.properties.part.type === "text" && e.properties.part.time?.end),
      first("step-finish", (e) => e.type === "message.part.updated" && e.properties.part.type === "step-finish"),
      first("completed", (e) => e.type === "message.updated" && e.properties.info.time.completed && e.properties.info.role === "assistant"),
      first("idle", (e) => e.type === "session.status" && e.properties.status.type === "idle"),
      first("session.idle", (e) => e.type === "session.idle"),
    ]
    assert.deepEqual(order, [...order].sort((a, b) => a - b))
    const deltas = mine.filter((e) => e.type === "message.part.delta").map((e) => e.properties)
    const whole = mine.filter((e) => e.type === "message.part.updated" && e.properties.part.id === deltas[0].partID).at(-1)
    assert.ok(whole.properties.part.text.endsWith(deltas.map((d) => d.delta).join("").slice(-20)))
  })

  it("asks for permission and does as it is told", async () => {
    const c = client()
    for (const [response, done] of [["once", true], ["reject", false]]) {
      const { data: session } = await c.session.create({ body: {} })
      const file = `asked-${response}.txt`
      const answer = c.session.prompt({ path: { id: session.id }, body: { parts: say(`/ask write ${file} hello`) } })
      const asked = await server.permission(session.id)
      const { data: said } = await c.postSessionIdPermissionsPermissionId({
        path: { id: session.id, permissionID: asked.id }, body: { response },
      })
      assert.equal(said, true)
      const { data: reply } = await answer
      const tool = reply.parts.find((p) => p.type === "tool")
      assert.equal(tool.state.status, done ? "completed" : "error")
      const written = () => readFileSync(join(server.project, file), "utf8")
      if (done) assert.match(written(), /^hello\n?$/)
      else assert.throws(written, /ENOENT/)
      const again = await v1Client(options()).postSessionIdPermissionsPermissionId({
        path: { id: session.id, permissionID: asked.id }, body: { response: "once" },
      })
      assert.ok([404, 409].includes(again.response.status), "a second answer is refused")
    }
  })

  it("keeps the plan as todos", async () => {
    const c = client()
    const { data: session } = await c.session.create({ body: {} })
    await c.session.prompt({ path: { id: session.id }, body: { parts: say("/plan") } })
    const { data: todos } = await c.session.todo({ path: { id: session.id } })
    assert.deepEqual(todos.map((t) => [t.content, t.status]),
      [["Read the code", "completed"], ["Write the fix", "completed"], ["Run the tests", "completed"]])
  })

  it("aborts a running turn and is idle then", async () => {
    const c = client()
    const { data: session } = await c.session.create({ body: {} })
    const answer = c.session.prompt({ path: { id: session.id }, body: { parts: say("/slow 600 100") } })
    await until("a first word", async () =>
      (await c.session.messages({ path: { id: session.id } })).data.some((m) => /tick-1 /.test(text(m))))
    assert.equal((await c.session.status()).data[session.id].type, "busy")
    assert.equal((await c.session.abort({ path: { id: session.id } })).data, true)
    const { data: reply } = await answer
    assert.equal(reply.info.error.name, "MessageAbortedError")
    assert.match(text(reply), /tick-1 /)
    await until("idle", async () => !(await c.session.status()).data[session.id])
    const next = await c.session.prompt({ path: { id: session.id }, body: { parts: say("still there?") } })
    assert.match(text(next.data), /still there\?/)
  })
})

describe("SDK v2", () => {
  const client = () => v2Client({ ...options(), throwOnError: true })

  it("walks through a session's life", async () => {
    const c = client()
    const { data: session } = await c.session.create({ title: "two", metadata: { ticket: 42 } })
    assert.deepEqual(session.metadata, { ticket: 42 })
    const { data: updated } = await c.session.update({ sessionID: session.id, title: "three", time: { archived: 1_700_000_000_000 } })
    assert.equal(updated.title, "three")
    assert.equal(updated.time.archived, 1_700_000_000_000)
    const { data: reply } = await c.session.prompt({ sessionID: session.id, parts: say("hello") })
    assert.match(text(reply), /You said: hello/)
    for (const key of ["id", "sessionID", "role", "time", "parentID", "modelID", "providerID", "mode", "agent", "path", "cost", "tokens"]) {
      assert.ok(reply.info[key] !== undefined, `assistant.${key}`)
    }
    assert.ok(reply.info.cost > 0 && reply.info.tokens.output > 0)
    const { data: all } = await c.session.messages({ sessionID: session.id })
    assert.equal((await c.session.deleteMessage({ sessionID: session.id, messageID: all[0].info.id })).data, true)
    assert.equal((await c.session.messages({ sessionID: session.id })).data.length, 1)
    const part = reply.parts.find((p) => p.type === "text")
    const { data: patched } = await c.part.update({
      sessionID: session.id, messageID: reply.info.id, partID: part.id, part: { ...part, text: "changed by hand" },
    })
    assert.equal(patched.text, "changed by hand")
    assert.equal((await c.part.delete({ sessionID: session.id, messageID: reply.info.id, partID: part.id })).data, true)
    const { data: left } = await c.session.message({ sessionID: session.id, messageID: reply.info.id })
    assert.ok(!left.parts.some((p) => p.id === part.id))
  })

  it("pages backwards through the messages", async () => {
    const c = client()
    const { data: session } = await c.session.create({})
    const ids = []
    for (let i = 0; i < 7; i += 1) {
      const { data } = await c.session.prompt({ sessionID: session.id, noReply: true, parts: say(`note ${i}`) })
      ids.push(data.info.id)
    }
    const seen = []
    let before
    do {
      const { data, response } = await c.session.messages({ sessionID: session.id, limit: 3, before })
      seen.unshift(...data.map((m) => m.info.id))
      before = response.headers.get("x-next-cursor") ?? undefined
      if (before) assert.match(response.headers.get("link") ?? "", /rel="next"/)
    } while (before)
    assert.deepEqual(seen, ids)
    assert.deepEqual([...ids].sort(), ids, "ids ascend")
  })

  it("keeps a client's message id and does not run a prompt twice", async () => {
    const c = client()
    const { data: session } = await c.session.create({})
    const { data: other } = await c.session.create({})
    const messageID = `msg_${Date.now().toString(16).padStart(12, "0")}abcdefghijklmn`
    const prompt = { messageID, parts: say("only once") }
    const [first, second] = await Promise.all([
      c.session.prompt({ sessionID: session.id, ...prompt }),
      c.session.prompt({ sessionID: session.id, ...prompt }),
    ])
    assert.equal(first.data.info.parentID, messageID)
    assert.equal(second.data.info.id, first.data.info.id)
    assert.equal((await c.session.messages({ sessionID: session.id })).data.length, 2)
    const stolen = await v2Client(options()).session.prompt({ sessionID: other.id, ...prompt })
    assert.equal(stolen.response.status, 409)
  })

  it("replies to permissions by their own route and lists them", async () => {
    const c = client()
    const { data: session } = await c.session.create({})
    const { stream } = await c.global.event({ signal: over.signal })
    const events = collect(stream)
    await events.find("server.connected", (e) => e.payload.type === "server.connected")
    const answer = c.session.prompt({ sessionID: session.id, parts: say("/ask run echo from-the-shell") })
    const asked = (await events.find("permission.asked", (e) =>
      e.payload.type === "permission.asked" && e.payload.properties.sessionID === session.id)).payload.properties
    assert.ok((await c.permission.list()).data.some((p) => p.id === asked.id))
    assert.equal((await c.permission.reply({ requestID: asked.id, reply: "once" })).data, true)
    const tool = (await answer).data.parts.find((p) => p.type === "tool")
    assert.match(tool.state.output, /from-the-shell/)
    assert.deepEqual(asked.tool, { messageID: tool.messageID, callID: tool.callID })
    assert.ok(!(await c.permission.list()).data.some((p) => p.id === asked.id))
    await events.find("permission.replied", (e) =>
      e.payload.type === "permission.replied" && e.payload.properties.requestID === asked.id && e.payload.properties.reply === "once")
  })

  it("shows a failed turn as the error of its message", async () => {
    const c = client()
    const { data: session } = await c.session.create({})
    const { data: reply } = await c.session.prompt({ sessionID: session.id, parts: say("/fail the cable is out") })
    assert.match(JSON.stringify(reply.info.error), /the cable is out/)
    assert.ok(reply.info.time.completed)
    const { data: next } = await c.session.prompt({ sessionID: session.id, parts: say("and now?") })
    assert.equal(next.info.error, undefined)
  })

  it("survives an agent that crashes in mid-turn", async () => {
    const c = client()
    const { data: session } = await c.session.create({})
    const { data: reply } = await c.session.prompt({ sessionID: session.id, parts: say("/crash") })
    assert.ok(reply.info.error)
    assert.match(text(reply), /I crash/)
    const { data: next } = await c.session.prompt({ sessionID: session.id, parts: say("/history") })
    assert.match(text(next), /crash/)
  })

  it("tells what is wrong with a request", async () => {
    const quiet = v2Client(options())
    const status = async (call) => (await call).response.status
    assert.equal(await status(quiet.session.get({ sessionID: "ses_nope" })), 404)
    assert.ok([400, 404].includes(await status(quiet.session.get({ sessionID: "nope" }))))
    const { data: session } = await quiet.session.create({})
    assert.equal(await status(quiet.session.message({ sessionID: session.id, messageID: "msg_nope" })), 404)
    assert.equal(await status(quiet.session.update({ sessionID: session.id, title: 5 })), 400)
    assert.equal(await status(quiet.permission.reply({ requestID: "per_nope", reply: "once" })), 404)
    const broken = await fetch(`${server.base}/session/${session.id}/message`, {
      method: "POST", headers: server.headers({ "content-type": "application/json" }), body: '{"parts": [',
    })
    assert.equal(broken.status, 400)
    const unknown = await server.call("GET", "/opencode/no/such/route")
    assert.equal(unknown.status, 404)
    assert.match(unknown.headers.get("content-type"), /^application\/json/)
  })

  it("starts a client: every request of a start-up is answered with its shape", async () => {
    const c = client()
    assert.equal((await c.global.health()).data.healthy, true)
    assert.equal((await (await fetch(`${server.url}/global/health`, { headers: server.headers() })).json()).healthy, true)
    assert.equal((await c.path.get()).data.directory, server.project)
    assert.ok((await c.project.current()).data.id)
    assert.ok(Array.isArray((await c.project.list()).data))
    assert.equal(typeof (await c.config.get()).data, "object")
    const { data: providers } = await c.config.providers()
    const demo = providers.providers.find((p) => p.id === "demo")
    assert.ok(Object.keys(demo.models).length > 0)
    assert.ok(providers.default.demo in demo.models)
    assert.ok((await c.provider.list()).data.connected.includes("demo"))
    assert.ok((await c.app.agents()).data.length > 0)
    assert.ok(Array.isArray((await c.command.list()).data))
  })
})
