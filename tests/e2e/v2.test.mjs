// client.v2 of the real SDK (`/api/*`): every method that means something here, held against the
// OpenAPI document of the real OpenCode; the fold of a session's events; and a kill -9 in mid-turn.
import assert from "node:assert/strict"
import { existsSync } from "node:fs"
import { join } from "node:path"
import Ajv from "ajv/dist/2020.js"
import addFormats from "ajv-formats"
import { after, before, describe, it } from "node:test"
import { createOpencodeClient } from "@opencode-ai/sdk/v2"
import { openapiOfOpencode, operation } from "./lib/real.mjs"
import { until } from "./lib/process.mjs"
import { Sessiond, sandbox } from "./lib/sessiond.mjs"

let server
let doc
let ajv
let client
before(async () => {
  const dir = sandbox("v2")
  doc = await openapiOfOpencode(dir)
  ajv = new Ajv.default({ strict: false, allErrors: false, validateFormats: false })
  addFormats.default(ajv)
  ajv.addSchema(doc, "doc")
  server = await Sessiond.start({ name: "v2", dir })
  client = newClient()
})
after(() => server?.stop())

const escape = (pointer) => pointer.replace(/~/g, "~0").replace(/\//g, "~1")

function faults(pointer, value) {
  const validate = ajv.getSchema(`doc#${pointer}`) ?? ajv.compile({ $ref: `doc#${pointer}` })
  return validate(value) ? [] : validate.errors.map((e) => `${e.instancePath || "/"} ${e.message} ${JSON.stringify(e.params)}`)
}

/** Null cursors are what the real server sends, though its document has none. */
function withoutNulls(json) {
  if (!json?.cursor) return json
  return { ...json, cursor: Object.fromEntries(Object.entries(json.cursor).filter(([, v]) => v !== null)) }
}

/** A client whose replies are all held against the document. */
function newClient() {
  const c = createOpencodeClient({ baseUrl: server.base, headers: server.headers(), throwOnError: true })
  c.client.interceptors.response.use(async (response, request) => {
    const path = new URL(request.url).pathname.replace("/opencode", "")
    const op = operation(doc, request.method, path)
    assert.ok(op, `${request.method} ${path} is in the document`)
    const type = response.headers.get("content-type") ?? ""
    if (!type.startsWith("application/json")) return response
    const json = await response.clone().json()
    assert.ok(op.responses[response.status], `${request.method} ${path}: ${response.status} ${JSON.stringify(json)}`)
    const pointer = `/paths/${escape(op.template)}/${request.method.toLowerCase()}/responses/${response.status}/content/${escape("application/json")}/schema`
    assert.deepEqual(faults(pointer, withoutNulls(json)), [], `${request.method} ${path} -> ${JSON.stringify(json).slice(0, 1500)}`)
    return response
  })
  return c
}

const valid = (event, schema = "V2Event") => {
  assert.deepEqual(faults(`/components/schemas/${schema}`, event), [], JSON.stringify(event).slice(0, 1500))
  return event
}

const api = (path) => `/opencode/api${path}`
const create = async (input = {}) => (await client.v2.session.create({ location: { directory: server.project }, ...input })).data.data
const prompt = async (id, text, more = {}) => (await client.v2.session.prompt({ sessionID: id, prompt: { text }, ...more })).data.data
const wait = (id) => client.v2.session.wait({ sessionID: id })
const messages = async (id) => (await client.v2.session.messages({ sessionID: id, order: "asc", limit: 200 })).data.data
const stream = (path) => server.events(api(path))

/** A session whose agent asks nobody. */
async function unattended() {
  const session = await create()
  await client.v2.session.switchAgent({ sessionID: session.id, agent: "auto" })
  return session
}

/** What a client makes of the events of a session. */
function fold(events) {
  const all = []
  const answer = (d) => all.find((m) => m.id === d.assistantMessageID)
  const piece = (d, id, like) => {
    const { content } = answer(d)
    if (!content.some((p) => p.id === id)) content.push({ id, ...like })
    return content.find((p) => p.id === id)
  }
  const on = {
    prompted: (d) => all.push({ id: d.messageID, type: "user", ...d.prompt }),
    "step.started": (d) => all.push({ id: d.assistantMessageID, type: "assistant", agent: d.agent, content: [] }),
    "step.ended": (d) => Object.assign(answer(d), { finish: d.finish, tokens: d.tokens, cost: d.cost }),
    "step.failed": (d) => Object.assign(answer(d), { finish: "error", error: d.error }),
    "text.ended": (d) => Object.assign(piece(d, d.textID, { type: "text" }), { text: d.text }),
    "reasoning.ended": (d) => Object.assign(piece(d, d.reasoningID, { type: "reasoning" }), { text: d.text }),
    "tool.input.started": (d) => piece(d, d.callID, { type: "tool", name: d.name }),
    "tool.called": (d) => Object.assign(piece(d, d.callID), { state: { status: "running", input: d.input, structured: {}, content: [] } }),
    "tool.progress": (d) => Object.assign(piece(d, d.callID).state, { structured: d.structured, content: d.content }),
    "tool.success": (d) => Object.assign(piece(d, d.callID).state, { status: "completed", structured: d.structured, content: d.content, outputPaths: d.outputPaths }),
    "tool.failed": (d) => Object.assign(piece(d, d.callID).state, { status: "error", error: d.error }),
    "shell.started": (d) => all.push({ id: d.messageID, type: "shell", callID: d.callID, command: d.command }),
    "shell.ended": (d) => Object.assign(all.find((m) => m.callID === d.callID), { output: d.output }),
    "compaction.ended": (d) => all.push({ id: d.messageID, type: "compaction", reason: d.reason, summary: d.text, recent: d.recent }),
  }
  for (const event of events) on[event.type.replace("session.next.", "")]?.(event.data)
  return all
}

/** A message without what a fold does not have. */
function bare({ time, model, snapshot, ...message }) {
  const { content } = message
  if (content) message.content = content.map(({ time, provider, ...piece }) => piece)
  if (message.type === "assistant" && message.finish === "error") {
    delete message.cost
    delete message.tokens
  }
  return message
}

async function history(id, limit) {
  const all = []
  for (let after, more = true; more; after = all.at(-1)?.durable.seq) {
    const { data } = await client.v2.session.history({ sessionID: id, ...(limit && { limit: String(limit) }), ...(after && { after: String(after) }) })
    all.push(...data.data)
    more = data.hasMore
  }
  return all.map((e) => valid(e, "SessionDurableEvent"))
}

describe("client.v2", () => {
  it("creates, reads and lists sessions", async () => {
    const session = await create({ id: "ses_v2mine" })
    assert.equal(session.id, "ses_v2mine")
    assert.equal(session.location.directory, server.project)
    assert.deepEqual(await create({ id: "ses_v2mine" }), session)
    assert.deepEqual((await client.v2.session.get({ sessionID: session.id })).data.data, session)
    const old = await server.oc("GET", `/session/${session.id}`)
    assert.equal(old.title, session.title)
    await create()
    await create()
    const seen = []
    for (let cursor, page; (page = (await client.v2.session.list({ limit: 2, ...(cursor && { cursor }) })).data).data.length; cursor = page.cursor.next) {
      seen.push(...page.data.map((s) => s.id))
    }
    const everything = await server.oc("GET", "/session?limit=1000")
    assert.deepEqual([...seen].sort(), everything.map((s) => s.id).sort())
    const { data: named } = await client.v2.session.list({ search: session.title, order: "asc", directory: server.project })
    assert.ok(named.data.some((s) => s.id === session.id))
  })

  it("refuses in the words of the document", async () => {
    const refused = async (call, status, tag) => {
      const error = await call.then(() => assert.fail("it was taken"), (e) => e)
      assert.equal(error._tag ?? error.cause?.body?._tag ?? error.body?._tag, tag, JSON.stringify(error))
    }
    const c = client.v2.session
    await refused(c.get({ sessionID: "ses_none" }), 404, "SessionNotFoundError")
    await refused(c.message({ sessionID: "ses_v2mine", messageID: "msg_none" }), 404, "MessageNotFoundError")
    await refused(c.list({ cursor: "zz" }), 400, "InvalidCursorError")
    await refused(c.list({ limit: 0 }), 400, "InvalidRequestError")
    await refused(c.create({ id: "zzz" }), 400, "InvalidRequestError")
    await refused(client.v2.provider.get({ providerID: "none" }), 404, "ProviderNotFoundError")
    await prompt("ses_v2mine", "hello", { id: "msg_v2once" })
    await refused(prompt("ses_v2mine", "other", { id: "msg_v2once" }), 409, "ConflictError")
    await wait("ses_v2mine")
  })

  it("prompts, and what it says is seen by the other family", async () => {
    const session = await create()
    const admitted = await prompt(session.id, "from here", { delivery: "queue" })
    assert.equal(admitted.sessionID, session.id)
    assert.deepEqual(admitted.prompt, { text: "from here" })
    await wait(session.id)
    const again = await prompt(session.id, "from here", { id: admitted.id, delivery: "queue" })
    const { promotedSeq, ...same } = again
    assert.deepEqual(same, admitted)
    assert.ok(promotedSeq > admitted.admittedSeq)
    await server.oc("POST", `/session/${session.id}/message`, { parts: [{ type: "text", text: "from there" }] })
    const ours = await messages(session.id)
    const theirs = await server.oc("GET", `/session/${session.id}/message`)
    assert.deepEqual(ours.map((m) => m.id), theirs.map((m) => m.info.id))
    assert.deepEqual(ours.map((m) => m.type), ["user", "assistant", "user", "assistant"])
    assert.equal(ours[2].text, "from there")
    const { data: one } = await client.v2.session.message({ sessionID: session.id, messageID: ours[1].id })
    assert.deepEqual(one.data, ours[1])
    assert.deepEqual((await client.v2.session.context({ sessionID: session.id })).data.data, ours)
    const { data: newest } = await client.v2.session.messages({ sessionID: session.id, limit: 3 })
    assert.deepEqual(newest.data, ours.slice(1).reverse())
    const { data: rest } = await client.v2.session.messages({ sessionID: session.id, cursor: newest.cursor.next })
    assert.deepEqual(rest.data, [ours[0]])
  })

  // Q-api-shell
  it("folds a session's events to its messages, live and again", async () => {
    const session = await unattended()
    const live = stream(`/session/${session.id}/event`)
    for (const words of ["/think hard\nhello", "/write v2.txt words\n/run cat v2.txt", "/run exit 3", "/fail on purpose"]) {
      await prompt(session.id, words)
      await wait(session.id)
    }
    await server.oc("POST", `/session/${session.id}/shell`, { agent: "auto", command: "echo out" })
    await client.v2.session.compact({ sessionID: session.id })
    const want = (await messages(session.id)).map(bare)
    assert.deepEqual(want.slice(-2).map((m) => m.type), ["shell", "compaction"])
    await live.find("the summary", (e) => e.type === "session.next.compaction.ended")
    const told = live.all.map((e) => e.json).filter((e) => e.durable)
    assert.deepEqual(fold(told.map((e) => valid(e, "SessionDurableEvent"))).map(bare), want)
    assert.ok(live.all.every((e) => e.json.durable === undefined || Number(e.id) === e.json.durable.seq))
    await live.close()
    assert.deepEqual(fold(await history(session.id, 5)).map(bare), want)
    const replayed = stream(`/session/${session.id}/event?after=0`)
    await replayed.find("the summary", (e) => e.type === "session.next.compaction.ended")
    assert.deepEqual(fold(replayed.all.map((e) => e.json)).map(bare), want)
    await replayed.close()
    const { data: context } = await client.v2.session.context({ sessionID: session.id })
    assert.deepEqual(context.data.map((m) => m.type), ["compaction"])
    // And by the SDK's own reader.
    const over = new AbortController()
    const { stream: events } = await client.v2.session.events({ sessionID: session.id, after: "0" }, { signal: over.signal })
    for await (const event of events) {
      if ((event.data?.type ?? event.type) === "session.next.compaction.ended") break
    }
    over.abort()
  })

  it("hears of everything on one stream that stays open", async () => {
    const all = stream("/event")
    await all.connected()
    const session = await unattended()
    await prompt(session.id, "/think hard\n/write heard.txt words")
    await wait(session.id)
    const idle = await all.find("idle", (e) => e.type === "session.idle" && e.data.sessionID === session.id)
    valid(idle)
    await server.oc("POST", `/session/${session.id}/message`, { parts: [{ type: "text", text: "and the other family" }] })
    await all.find("what comes later", (e) => e.type === "session.next.prompted" && e.data.prompt.text === "and the other family")
    assert.equal(all.ended, undefined)
    for (const event of all.all) valid(event.json)
    const of = (type) => all.all.map((e) => e.json).filter((e) => e.type === type && e.data.sessionID === session.id)
    for (const ended of of("session.next.text.ended")) {
      const deltas = of("session.next.text.delta").filter((e) => e.data.textID === ended.data.textID)
      assert.equal(deltas.map((e) => e.data.delta).join(""), ended.data.text)
    }
    assert.ok(of("session.next.text.delta").length > 0)
    // Who comes back is told what came meanwhile.
    const last = all.all.findLast((e) => e.id).id
    await all.close()
    await prompt(session.id, "meanwhile")
    await wait(session.id)
    const back = server.events(api("/event"), { "last-event-id": last })
    await back.find("what came meanwhile", (e) => e.type === "session.next.prompted" && e.data.prompt.text === "meanwhile")
    await back.close()
    const over = new AbortController()
    const { stream: events } = await client.v2.event.subscribe({ signal: over.signal })
    for await (const event of events) {
      assert.equal(event.type, "server.connected")
      break
    }
    over.abort()
  })

  it("asks for permission", async () => {
    const session = await create()
    const c = client.v2
    const all = stream("/event")
    await all.connected()
    await prompt(session.id, "/ask run echo yes")
    const asked = await all.find("a request", (e) => e.type === "permission.v2.asked" && e.data.sessionID === session.id)
    valid(asked)
    const sessionID = session.id
    const requestID = asked.data.id
    assert.deepEqual((await c.session.permission.list({ sessionID })).data.data, [asked.data])
    assert.deepEqual((await c.session.permission.get({ sessionID, requestID })).data.data, asked.data)
    const { data: here } = await c.permission.request.list({ location: { directory: server.project } })
    assert.ok(here.data.some((p) => p.id === requestID))
    assert.deepEqual((await c.session.active()).data.data[sessionID], { type: "running" })
    await c.session.permission.reply({ sessionID, requestID, reply: "once" })
    valid(await all.find("the reply", (e) => e.type === "permission.v2.replied" && e.data.requestID === requestID))
    await wait(sessionID)
    assert.deepEqual((await c.session.permission.list({ sessionID })).data.data, [])
    assert.deepEqual((await c.permission.saved.list()).data.data, [])
    assert.deepEqual((await c.session.question.list({ sessionID })).data.data, [])
    assert.deepEqual((await c.question.request.list()).data.data, [])
    await all.close()
  })

  it("asks what the agent wants to know", async () => {
    const session = await create()
    const c = client.v2
    const sessionID = session.id
    const all = stream("/event")
    await all.connected()
    const open = async (words) => {
      await prompt(sessionID, words)
      const asked = await all.find("a question", (e) => e.type === "question.v2.asked" && e.data.sessionID === sessionID
        && words.includes(e.data.questions[0].question))
      valid(asked)
      assert.deepEqual((await c.session.question.list({ sessionID })).data.data, [asked.data])
      const { data: here } = await c.question.request.list({ location: { directory: server.project } })
      assert.ok(here.data.some((q) => q.id === asked.data.id))
      return asked.data.id
    }
    let requestID = await open("/question Which one? | this | that")
    await c.session.question.reply({ sessionID, requestID, questionV2Reply: { answers: [["that"]] } })
    valid(await all.find("the reply", (e) => e.type === "question.v2.replied" && e.data.requestID === requestID))
    await wait(sessionID)
    const said = async () => JSON.stringify((await messages(sessionID)).at(-1))
    assert.match(await said(), /You answered .*that/)
    requestID = await open("/question And now?")
    await c.session.question.reject({ sessionID, requestID })
    valid(await all.find("the rejection", (e) => e.type === "question.v2.rejected" && e.data.requestID === requestID))
    await wait(sessionID)
    assert.match(await said(), /You did not want to answer/)
    assert.deepEqual((await c.session.question.list({ sessionID })).data.data, [])
    // The first family's methods are about the same questions.
    requestID = await open("/question Once more? | a | b")
    assert.ok((await client.question.list()).data.some((q) => q.id === requestID))
    assert.equal((await client.question.reply({ requestID, answers: [["b"]] })).data, true)
    await wait(sessionID)
    requestID = await open("/question And at last? | a | b")
    assert.equal((await client.question.reject({ requestID })).data, true)
    await wait(sessionID)
    await all.close()
  })

  it("interrupts", async () => {
    const session = await create()
    await prompt(session.id, "/hang")
    await until("it hangs", async () => (await messages(session.id)).some((m) => m.type === "assistant"))
    await client.v2.session.interrupt({ sessionID: session.id })
    const last = (await messages(session.id)).at(-1)
    assert.deepEqual([last.finish, last.error.type], ["error", "unknown"])
    assert.ok(!(await client.v2.session.active()).data.data[session.id])
    await client.v2.session.interrupt({ sessionID: session.id })
  })

  it("stages, clears and commits a revert", async () => {
    const session = await unattended()
    const sessionID = session.id
    const c = client.v2.session.revert
    await prompt(sessionID, "hello")
    await wait(sessionID)
    const { id: messageID } = await prompt(sessionID, "/write staged.txt words")
    await wait(sessionID)
    const file = join(server.project, "staged.txt")
    assert.ok(existsSync(file))
    const { data: staged } = await c.stage({ sessionID, messageID, files: true })
    assert.ok(!existsSync(file))
    assert.deepEqual(staged.data.files.map((f) => [f.path, f.status]), [["staged.txt", "deleted"]])
    assert.deepEqual((await client.v2.session.get({ sessionID })).data.data.revert, staged.data)
    await c.clear({ sessionID })
    assert.ok(existsSync(file))
    await c.stage({ sessionID, messageID })
    await c.commit({ sessionID })
    await c.commit({ sessionID })
    assert.equal((await messages(sessionID)).length, 2)
    assert.equal((await server.oc("GET", `/session/${sessionID}/message`)).length, 2)
    assert.ok(!existsSync(file))
  })

  it("switches agent and model", async () => {
    const session = await create()
    const sessionID = session.id
    await prompt(sessionID, "hello")
    await wait(sessionID)
    const live = stream(`/session/${sessionID}/event`)
    await live.find("the answer", (e) => e.type === "session.next.step.ended")
    const { data: models } = await client.v2.model.list()
    const { id, providerID } = models.data.find((m) => m.providerID === "demo")
    await client.v2.session.switchModel({ sessionID, model: { id, providerID } })
    valid(await live.find("model", (e) => e.type === "session.next.model.switched"))
    await client.v2.session.switchAgent({ sessionID, agent: "auto" })
    valid(await live.find("agent", (e) => e.type === "session.next.agent.switched"))
    const { data: now } = await client.v2.session.get({ sessionID })
    assert.deepEqual([now.data.agent, now.data.model.id], ["auto", id])
    await live.close()
  })

  it("tells what a place offers", async () => {
    const c = client.v2
    const location = { directory: server.project }
    const { data: where } = await c.location.get({ location })
    assert.equal(where.directory, server.project)
    for (const [name, call] of Object.entries({
      agent: c.agent, model: c.model, provider: c.provider, command: c.command, skill: c.skill,
      integration: c.integration, reference: c.reference,
    })) {
      const { data } = await call.list({ location })
      assert.deepEqual(data.location, where, name)
      assert.ok(Array.isArray(data.data), name)
    }
    const { data: demo } = await c.provider.get({ providerID: "demo", location })
    assert.equal(demo.data.id, "demo")
    assert.deepEqual((await c.health.get()).data, { healthy: true })
  })

  it("says what it does not offer", async () => {
    for (const [method, path, body] of [
      ["GET", "/pty"], ["POST", "/pty", {}], ["DELETE", "/credential/x"], ["POST", "/integration/x/connect/key", { key: "k" }],
      ["DELETE", "/permission/saved/x"], ["POST", "/session/ses_v2mine/permission", { action: "edit", resources: [] }],
    ]) {
      const { status, json } = await server.call(method, api(path), body)
      assert.equal(status, 501, `${method} ${path}`)
      assert.equal(json.name, "NotImplementedError")
    }
    const { status, json } = await fetch(server.url + api("/session")).then(async (r) => ({ status: r.status, json: await r.json() }))
    assert.deepEqual([status, json._tag], [401, "UnauthorizedError"])
  })

  it("keeps everything through a kill -9 in mid-turn", async () => {
    const session = await unattended()
    const sessionID = session.id
    await prompt(sessionID, "/write kept.txt words")
    await wait(sessionID)
    const before = await messages(sessionID)
    const events = await history(sessionID)
    await prompt(sessionID, "/slow 400 50", { id: "msg_v2cut" })
    const grown = await until("some words", async () => {
      const last = (await messages(sessionID)).at(-1)
      return last.content?.find((p) => p.text?.length > 20)
    })
    await server.restart()
    const now = await messages(sessionID)
    assert.deepEqual(now.slice(0, before.length), before)
    const cut = now.at(-1)
    assert.deepEqual([cut.finish, cut.error.type], ["error", "unknown"])
    assert.ok(cut.time.completed)
    assert.ok(cut.content.find((p) => p.id === grown.id).text.length > 0)
    const again = await history(sessionID)
    assert.deepEqual(again.slice(0, events.length), events)
    assert.deepEqual(fold(again).map(bare), now.map(bare))
    // A reader that goes on after the last event it had sees the end.
    const rest = stream(`/session/${sessionID}/event?after=${events.at(-1).durable.seq}`)
    const failed = await rest.find("the end", (e) => e.type === "session.next.step.failed")
    assert.equal(failed.data.assistantMessageID, cut.id)
    await rest.close()
    // The same prompt again is the same prompt.
    const replay = await prompt(sessionID, "/slow 400 50", { id: "msg_v2cut" })
    assert.ok(replay.promotedSeq)
    assert.deepEqual(await messages(sessionID), now)
  })
})
