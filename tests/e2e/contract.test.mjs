// What /opencode answers of an agent that is not OpenCode, held against the OpenAPI document of the real OpenCode.
// What can be compared with the real server is in conformance.test.mjs.
import assert from "node:assert/strict"
import Ajv from "ajv/dist/2020.js"
import addFormats from "ajv-formats"
import { after, before, describe, it } from "node:test"
import { openapiOfOpencode, operation } from "./lib/real.mjs"
import { until } from "./lib/process.mjs"
import { Sessiond, sandbox } from "./lib/sessiond.mjs"

let server
let doc
let ajv
before(async () => {
  const dir = sandbox("contract")
  doc = await openapiOfOpencode(dir)
  ajv = new Ajv.default({ strict: false, allErrors: false, validateFormats: false })
  addFormats.default(ajv)
  ajv.addSchema(doc, "doc")
  server = await Sessiond.start({ name: "contract", dir })
})
after(() => server?.stop())

const escape = (pointer) => pointer.replace(/~/g, "~0").replace(/\//g, "~1")

/** What a value violates of the schema at a place of the document. */
function faults(pointer, value) {
  const validate = ajv.getSchema(`doc#${pointer}`) ?? ajv.compile({ $ref: `doc#${pointer}` })
  return validate(value) ? [] : validate.errors.map((e) => `${e.instancePath || "/"} ${e.message} ${JSON.stringify(e.params)}`)
}

/** Sends a request and holds the answer against the document. */
async function check(method, path, { body, expect = 200, schema } = {}) {
  const op = operation(doc, method, path)
  assert.ok(op, `${method} ${path} is in the document`)
  const reply = await server.call(method, `/opencode${path}`, body)
  assert.equal(reply.status, expect, `${method} ${path}: ${reply.text.slice(0, 300)}`)
  const content = op.responses[expect]?.content
  if (content?.["application/json"]) {
    assert.match(reply.headers.get("content-type") ?? "", /^application\/json/, `${method} ${path}`)
    const pointer = `/paths/${escape(op.template)}/${method.toLowerCase()}/responses/${expect}/content/${escape("application/json")}/schema`
    assert.deepEqual(faults(schema ?? pointer, reply.json), [], `${method} ${path} -> ${reply.text.slice(0, 1500)}`)
  }
  return reply.json
}

const say = (words) => ({ parts: [{ type: "text", text: words }] })

describe("the OpenAPI document of OpenCode", () => {
  it("is followed along the life of a session", async () => {
    const session = await check("POST", "/session", { body: { title: "by the book", metadata: { a: 1 } } })
    const at = `/session/${session.id}`
    const child = await check("POST", "/session", { body: { parentID: session.id } })
    await check("GET", at)
    await check("PATCH", at, { body: { title: "still by the book" } })
    await check("GET", `${at}/children`)
    const plain = await check("POST", `${at}/message`, { body: say("hello") })
    await check("POST", `${at}/message`, { body: say("/think hard\n/plan") })
    const tools = say("/write book.txt one\n/edit book.txt one two\n/run cat book.txt")
    await server.permitting(session, "once", check("POST", `${at}/message`, { body: tools }))
    await check("POST", `${at}/message`, { body: say("/fail on purpose") })
    await check("POST", `${at}/message`, { body: say("/silent-tool") })
    // The document knows only assistant messages as replies; without a reply it is the user's own.
    const own = "/paths/~1session~1{sessionID}~1message~1{messageID}/get/responses/200/content/application~1json/schema"
    await check("POST", `${at}/message`, { body: { noReply: true, ...say("a note") }, schema: own })
    await check("POST", `${at}/message`, {
      schema: own,
      body: { noReply: true, parts: [{ type: "file", mime: "text/plain", filename: "a.txt", url: "data:text/plain;base64,aGk=" }] },
    })
    const messages = await check("GET", `${at}/message`)
    assert.ok(messages.length >= 11)
    await check("GET", `${at}/message?limit=2`)
    await check("GET", `${at}/message/${plain.info.id}`)
    await check("GET", `${at}/todo`)
    await check("GET", `${at}/diff`)
    const part = plain.parts.find((p) => p.type === "text")
    const where = `${at}/message/${plain.info.id}/part/${part.id}`
    await check("PATCH", where, { body: { ...part, text: "edited" } })
    await check("DELETE", where)
    await check("DELETE", `${at}/message/${plain.info.id}`)
    await check("GET", "/session?limit=1")
    await check("GET", `/session?search=${encodeURIComponent("book")}&roots=true`)
    await check("POST", `${at}/prompt_async`, { body: say("later"), expect: 204 })
    await until("idle", async () => !(await check("GET", "/session/status"))[session.id])
    await check("DELETE", `/session/${child.id}`)
    await check("DELETE", at)
  })

  it("is followed while a turn waits for permission", async () => {
    const session = await check("POST", "/session", { body: {} })
    const turn = check("POST", `/session/${session.id}/message`, { body: say("/ask run echo yes") })
    const asked = await server.permission(session.id)
    await check("GET", "/permission")
    await check("GET", "/session/status")
    await check("GET", `/session/${session.id}/message`)
    await check("POST", `/permission/${asked.id}/reply`, { body: { reply: "once" } })
    await turn
    const slow = check("POST", `/session/${session.id}/message`, { body: say("/slow 500 100") })
    await until("busy", async () => (await check("GET", "/session/status"))[session.id]?.type === "busy")
    await check("POST", `/session/${session.id}/abort`)
    await slow
  })

  it("is followed by every event", async () => {
    const plain = server.events("/opencode/event")
    const global = server.events("/opencode/global/event")
    await plain.connected()
    await global.connected()
    const session = await check("POST", "/session", { body: {} })
    const turn = check("POST", `/session/${session.id}/message`, { body: say("/think\n/plan\n/ask run echo yes") })
    const asked = await server.permission(session.id)
    await check("POST", `/permission/${asked.id}/reply`, { body: { reply: "once" } })
    await turn
    const { info, parts } = await check("POST", `/session/${session.id}/message`, { body: say("/fail it") })
    await check("DELETE", `/session/${session.id}/message/${info.id}/part/${parts[0].id}`)
    await check("DELETE", `/session/${session.id}/message/${info.id}`)
    await check("PATCH", `/session/${session.id}`, { body: { title: "another" } })
    await check("DELETE", `/session/${session.id}`)
    const gone = (e) => (e.payload ?? e).type === "session.deleted" && JSON.stringify(e).includes(session.id)
    await plain.find("session.deleted", gone)
    await global.find("session.deleted", gone)
    const seen = new Set()
    for (const { json } of plain.all) {
      seen.add(json.type)
      assert.deepEqual(faults("/components/schemas/Event", json), [], JSON.stringify(json).slice(0, 1500))
    }
    for (const { json } of global.all) {
      // The real server sends these two without the directory that its document wants.
      if (["server.connected", "server.heartbeat"].includes(json.payload.type)) json.directory ??= "/"
      assert.deepEqual(faults("/components/schemas/GlobalEvent", json), [], JSON.stringify(json).slice(0, 1500))
    }
    for (const type of [
      "server.connected", "session.created", "session.updated", "session.deleted", "session.status", "session.idle", "session.error",
      "message.updated", "message.removed", "message.part.updated", "message.part.delta", "message.part.removed",
      "todo.updated", "permission.asked", "permission.replied",
    ]) {
      assert.ok(seen.has(type), `${type} was sent`)
    }
    assert.ok(plain.all.filter((e) => e.id).length > 10, "events carry ids")
    const before = plain.all.length
    await until("heartbeat", () => plain.all.some((e) => e.json.type === "server.heartbeat"), { within: 15_000 })
    assert.ok(plain.all.length > before - 1)
    await plain.close()
    await global.close()
  })
})
