// Forks, sub-tasks, the trash: the real SDK against the demo agent, a kill, and a search for what a purge leaves.
import assert from "node:assert/strict"
import { readdirSync, readFileSync, statSync } from "node:fs"
import { join } from "node:path"
import { after, before, describe, it } from "node:test"
import { createOpencodeClient as v1Client } from "@opencode-ai/sdk"
import { createOpencodeClient as v2Client } from "@opencode-ai/sdk/v2"
import { until } from "./lib/process.mjs"
import { Sessiond, text } from "./lib/sessiond.mjs"

let server
before(async () => {
  server = await Sessiond.start({ name: "families" })
})
after(() => server?.stop())

const options = () => ({ baseUrl: server.base, headers: server.headers(), directory: server.project, throwOnError: true })
const say = (words) => [{ type: "text", text: words }]
const statusOf = async (c, id) => (await c.session.status()).data[id]?.type ?? "idle"

/** Prompts a session and gives the answer. */
async function ask(c, id, words) {
  return (await c.session.prompt({ path: { id }, body: { parts: say(words) } })).data
}

/** Begins a long answer and waits for its first word. */
async function begin(c, id) {
  const answer = c.session.prompt({ path: { id }, body: { parts: say("/slow 2000 100") } })
  answer.catch(() => {})
  await until("a first word", async () =>
    (await c.session.messages({ path: { id } })).data.some((m) => /tick-1 /.test(text(m))))
}

describe("forks", () => {
  it("are made before a message, and remember no more", async () => {
    const c = v1Client(options())
    const { data: session } = await c.session.create({ body: { title: "Fork me" } })
    await ask(c, session.id, "alpha")
    await ask(c, session.id, "/plan")
    await ask(c, session.id, "gamma")
    const { data: messages } = await c.session.messages({ path: { id: session.id } })
    const { data: fork } = await c.session.fork({ path: { id: session.id }, body: { messageID: messages[4].info.id } })
    assert.equal(fork.title, "Fork me (fork #1)")
    assert.equal(fork.parentID, undefined)
    const { data: copies } = await c.session.messages({ path: { id: fork.id } })
    assert.deepEqual(copies.map(text), messages.slice(0, 4).map(text))
    assert.deepEqual((await c.session.todo({ path: { id: fork.id } })).data,
      (await c.session.todo({ path: { id: session.id } })).data)
    const told = text(await ask(c, fork.id, "/history"))
    assert.match(told, /alpha/)
    assert.doesNotMatch(told, /gamma/)
    assert.equal((await c.session.messages({ path: { id: session.id } })).data.length, messages.length)
  })

  it("are made whole by the v2 SDK, also of a busy session, and outlive a kill", async () => {
    const [c, c2] = [v1Client(options()), v2Client(options())]
    const { data: session } = await c2.session.create({ title: "Busy" })
    await ask(c, session.id, "alpha")
    const { data: whole } = await c2.session.fork({ sessionID: session.id })
    await begin(c, session.id)
    const { data: part } = await c2.session.fork({ sessionID: session.id })
    assert.deepEqual([whole.title, part.title], ["Busy (fork #1)", "Busy (fork #2)"])
    for (const fork of [whole, part]) {
      const { data: copies } = await c2.session.messages({ sessionID: fork.id })
      assert.deepEqual(copies.map((m) => m.info.role), ["user", "assistant"])
    }
    await server.restart()
    const turn = await ask(c, whole.id, "/history")
    assert.match(text(turn), /alpha/)
    const tree = await server.v1("GET", `/sessions/${part.id}/tree`)
    assert.deepEqual(tree.nodes.map((n) => n.relation), ["root", "fork", "fork"])
    const next = await server.v1("POST", `/sessions/${part.id}/fork`)
    assert.equal(next.title, "Busy (fork #3)")
  })
})

describe("trees", () => {
  it("are aborted whole", async () => {
    const c = v1Client(options())
    const { data: parent } = await c.session.create({ body: {} })
    const { data: child } = await c.session.create({ body: { parentID: parent.id } })
    const { data: deepest } = await c.session.create({ body: { parentID: child.id } })
    await Promise.all([begin(c, parent.id), begin(c, deepest.id)])
    assert.equal((await c.session.abort({ path: { id: parent.id } })).data, true)
    for (const { id } of [parent, child, deepest]) assert.equal(await statusOf(c, id), "idle")
    assert.match(text(await ask(c, deepest.id, "still there?")), /still there\?/)
  })

  it("are deleted with their work, and come back together", async () => {
    const c = v1Client(options())
    const { data: parent } = await c.session.create({ body: {} })
    const { data: child } = await c.session.create({ body: { parentID: parent.id } })
    await begin(c, child.id)
    const events = server.events("/opencode/event")
    await events.connected()
    assert.equal((await c.session.delete({ path: { id: parent.id } })).data, true)
    await events.find("the parent is gone", (e) => e.type === "session.deleted" && e.properties.info.id === parent.id)
    const gone = events.all.map((e) => e.json).filter((e) => e.type === "session.deleted")
    assert.deepEqual(gone.map((e) => e.properties.info.id), [child.id, parent.id])
    const errors = events.all.map((e) => e.json).filter((e) => e.type === "session.error")
    assert.ok(errors.every((e) => e.properties.error.name === "MessageAbortedError"), JSON.stringify(errors))
    await events.close()
    await server.v1("POST", `/sessions/${parent.id}/restore`)
    const { data: children } = await c.session.children({ path: { id: parent.id } })
    assert.deepEqual(children.map((s) => s.id), [child.id])
    assert.match(text(await ask(c, child.id, "again")), /again/)
  })
})

describe("the archive", () => {
  it("takes a session in and gives it back", async () => {
    const c = v2Client(options())
    const { data: session } = await c.session.create({})
    const { data: archived } = await c.session.update({ sessionID: session.id, time: { archived: 5 } })
    assert.equal(archived.time.archived, 5)
    const listed = async (archived) =>
      (await server.v1("GET", `/sessions?archived=${archived}&limit=1000`)).sessions.some((s) => s.id === session.id)
    assert.deepEqual([await listed(true), await listed(false)], [true, false])
    const { data: back } = await c.session.update({ sessionID: session.id, time: { archived: 0 } })
    assert.equal(back.time.archived, undefined)
    assert.deepEqual([await listed(true), await listed(false)], [false, true])
  })
})

/** The files below a directory that have a text in them; what agents keep for themselves apart. */
function found(dir, needle) {
  return readdirSync(dir).filter((name) => name !== "demo-sessions").flatMap((name) => {
    const path = join(dir, name)
    if (statSync(path).isDirectory()) return found(path, needle)
    return readFileSync(path).includes(needle) ? [path] : []
  })
}

describe("the trash", () => {
  it("leaves nothing of what is purged", async () => {
    const c = v1Client(options())
    const canary = "canary-5b1e77a9"
    const { data: session } = await c.session.create({ body: { title: canary } })
    const id = session.id
    await ask(c, id, `say ${canary}\n/plan`)
    await ask(c, id, `/big 200000\n${canary.repeat(200)}`)
    const { data: fork } = await c.session.fork({ path: { id } })
    assert.ok(found(server.data, canary).length > 0, "the search finds it")
    for (const one of [id, fork.id]) {
      await c.session.delete({ path: { id: one } })
      const { purged } = await server.v1("DELETE", `/trash/${one}`)
      assert.deepEqual(purged, [one])
      assert.equal((await server.call("POST", `/v1/sessions/${one}/restore`)).status, 404)
    }
    assert.deepEqual(found(server.data, canary), [])
    await server.restart({ signal: "SIGTERM" })
    assert.deepEqual(found(server.data, canary), [])
  })
})
