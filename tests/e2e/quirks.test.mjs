// Entries of QUIRKS.md that can't be played on both servers, since the real one would hang, lose something or stop telling.
import assert from "node:assert/strict"
import { execFileSync } from "node:child_process"
import { join } from "node:path"
import { after, before, describe, it } from "node:test"
import { createOpencodeClient as v1Client } from "@opencode-ai/sdk"
import { createOpencodeClient as v2Client } from "@opencode-ai/sdk/v2"
import { hermetic, until } from "./lib/process.mjs"
import { Sessiond, gitProject, text } from "./lib/sessiond.mjs"

let server
const over = new AbortController()
before(async () => {
  server = await Sessiond.start({ name: "quirks" })
})
after(async () => {
  over.abort()
  await server?.stop()
})

const say = (words) => [{ type: "text", text: words }]
const options = () => ({ baseUrl: server.base, headers: server.headers(), directory: server.project })
const v1 = () => v1Client(options())
const v2 = () => v2Client(options())
const create = (body = {}) => server.oc("POST", "/session", body)
const messages = (id) => server.oc("GET", `/session/${id}/message`)
const git = (dir, ...args) => execFileSync("git", args, { cwd: dir, env: hermetic(dir), stdio: "pipe" })
const ALLOW = [{ permission: "*", pattern: "*", action: "allow" }]

/** Collects a stream of the SDK. */
function collect(stream) {
  const all = []
  ;(async () => {
    for await (const event of stream) all.push(event)
  })().catch(() => {})
  return { all, find: (what, fits, options) => until(`event: ${what}`, () => all.find(fits), options) }
}

/** A session at work that does not end by itself. */
async function hanging() {
  const session = await create()
  await server.oc("POST", `/session/${session.id}/prompt_async`, { parts: say("/hang") })
  await until("it hangs", async () => (await messages(session.id)).some((m) => m.info.role === "assistant"))
  return session
}

describe("turns", () => {
  it("Q-prompt-unanswered: a prompt whose turn was taken away is told so", async () => {
    const { id } = await hanging()
    const waiting = v1().session.prompt({ path: { id }, body: { parts: say("never") } })
    await until("it waits", async () => (await server.turns(id)).some((t) => t.state === "queued"))
    await v1().session.abort({ path: { id } })
    const { data } = await waiting
    assert.deepEqual([data.info.error.name, data.parts], ["MessageAbortedError", []])
  })

  it("Q-no-retry: a turn that fails is busy, and idle then", async () => {
    const events = server.events()
    await events.connected()
    const session = await create()
    await v1().session.prompt({ path: { id: session.id }, body: { parts: say("/fail on purpose") } })
    await events.find("idle", (e) => e.type === "session.idle" && e.properties.sessionID === session.id)
    const told = events.of(session.id).filter((e) => e.type === "session.status").map((e) => e.properties.status.type)
    assert.deepEqual(told, ["busy", "idle"])
    await events.close()
  })

  it("Q-message-order: messages are in the order in which they came, whatever their ids say", async () => {
    const { id } = await create()
    const ids = ["msg_zzzzzzzzzzzzlaterbyname001", "msg_000000000000earlierbyname1"]
    for (const messageID of ids) await server.oc("POST", `/session/${id}/message`, { messageID, noReply: true, parts: say(messageID) })
    assert.deepEqual((await messages(id)).map((m) => m.info.id), ids)
  })
})

describe("the second family", () => {
  const prompt = (id, words, more) => v2().v2.session.prompt({ sessionID: id, prompt: { text: words }, ...more }, { throwOnError: true })

  it("Q-api-delivery, Q-api-interrupt: a prompt that is to steer waits, and an interrupt takes it away", async () => {
    const { id } = await hanging()
    const { data } = await prompt(id, "to the side", { delivery: "steer" })
    assert.equal(data.data.delivery, "steer")
    assert.equal((await server.turns(id)).filter((t) => t.state === "queued").length, 1)
    await v2().v2.session.interrupt({ sessionID: id })
    await until("nothing waits", async () => (await server.turns(id)).every((t) => !["queued", "running"].includes(t.state)))
    assert.ok(!(await messages(id)).some((m) => /You said: to the side/.test(text(m))))
  })
})

describe("git", () => {
  const branchOf = async (dir) => (await v2().vcs.get({ directory: dir })).data.branch

  it("Q-vcs-absent: a branch that is not known is left out", async () => {
    const project = gitProject(join(server.dir, "detached"))
    git(project, "checkout", "-q", "--detach")
    const { json } = await server.call("GET", `/opencode/vcs?directory=${encodeURIComponent(project)}`)
    assert.ok(!("branch" in json), JSON.stringify(json))
  })

  it("another branch is told to who listens: of a project, of a linked worktree, of a detached HEAD", async () => {
    const project = gitProject(join(server.dir, "branches"))
    const linked = join(server.dir, "linked")
    git(project, "worktree", "add", "-q", "-b", "side", linked)
    const { stream } = await v2().global.event({ signal: over.signal })
    const all = collect(stream)
    await all.find("connected", (f) => f.payload.type === "server.connected")
    const { stream: narrow } = await v1Client({ ...options(), directory: project }).event.subscribe({ signal: over.signal })
    const here = collect(narrow)
    await here.find("connected", (e) => e.type === "server.connected")
    assert.deepEqual([await branchOf(project), await branchOf(linked)], ["main", "side"])
    const told = (dir, branch) => all.find(`${branch} in ${dir}`, (f) =>
      f.directory === dir && f.payload.type === "vcs.branch.updated" && f.payload.properties.branch === branch)
    git(project, "checkout", "-q", "-b", "topic/one")
    await told(project, "topic/one")
    await here.find("topic/one", (e) => e.type === "vcs.branch.updated" && e.properties.branch === "topic/one")
    git(linked, "checkout", "-q", "-b", "topic/two")
    await told(linked, "topic/two")
    git(project, "checkout", "-q", "--detach")
    await told(project, undefined)
    assert.ok(!here.all.some((e) => e.type === "vcs.branch.updated" && e.properties.branch === "topic/two"), "of its own directory only")
    assert.equal(await branchOf(linked), "topic/two")
  })
})

describe("a restart in mid-turn", () => {
  it("leaves no stream behind: what was changed, todos, statuses, open tools", async () => {
    const session = await create({ permission: ALLOW })
    const { id } = session
    await server.oc("POST", `/session/${id}/message`, { parts: say("/plan") })
    await server.oc("POST", `/session/${id}/message`, { parts: say("/write kept.txt words") })
    const want = await server.oc("GET", `/session/${id}/diff`)
    assert.equal(want.length, 1)
    const streams = { v1: server.events("/opencode/global/event"), api: server.events("/opencode/api/event") }
    for (const stream of Object.values(streams)) await stream.connected()
    const positions = () => Object.fromEntries(Object.entries(streams).map(([name, s]) => [name, s.all.findLast((e) => e.id)?.id]))
    await server.oc("POST", `/session/${id}/prompt_async`, { parts: say("/run sleep 300") })
    const running = await until("a tool at work", async () =>
      (await messages(id)).at(-1).parts.find((p) => p.type === "tool" && p.state.status === "running"))
    await streams.v1.find("the tool", (f) => f.payload?.properties?.part?.id === running.id && f.payload.properties.part.state.status === "running")
    await streams.api.find("the tool", (e) => e.type === "session.next.tool.called" && e.data.sessionID === id)
    const last = positions()
    await server.restart()
    for (const stream of Object.values(streams)) await stream.close()
    const shown = await until("it has ended", async () => {
      const all = await messages(id)
      return all.at(-1).info.time.completed && all
    })
    const ended = shown.at(-1).parts.find((p) => p.id === running.id)
    assert.equal(ended.state.status, "error")
    // A fresh one, as the TUI opens it, and one that goes on where it was, as the SDK and the web UI do.
    for (const headers of [{}, { "last-event-id": last.v1 }]) {
      const name = headers["last-event-id"] ? "resumed" : "fresh"
      const back = server.events("/opencode/global/event", headers)
      const of = (type) => back.all.map((f) => f.json.payload).filter((e) => e.type === type && (e.properties.sessionID ?? e.properties.info?.id) === id)
      await until(`${name}: idle`, () => of("session.status").some((e) => e.properties.status.type === "idle"))
      const parts = new Map(back.all.map((f) => f.json.payload).filter((e) => e.type === "message.part.updated").map((e) => [e.properties.part.id, e.properties.part]))
      assert.deepEqual(parts.get(running.id), ended, name)
      const info = of("message.updated").findLast((e) => e.properties.info.id === shown.at(-1).info.id)
      assert.deepEqual(info.properties.info, shown.at(-1).info, name)
      const diff = await until(`${name}: what was changed`, () => of("session.diff").at(-1))
      assert.deepEqual(diff.properties.diff, want, name)
      if (name === "fresh") assert.deepEqual(of("todo.updated").at(-1).properties.todos, await server.oc("GET", `/session/${id}/todo`))
      await back.close()
    }
    const api = server.events("/opencode/api/event", { "last-event-id": last.api })
    const of = (type) => api.all.map((f) => f.json).filter((e) => e.type === type && e.data.sessionID === id)
    await until("the tool's end on /api/event", () => of("session.next.tool.failed").some((e) => e.data.callID === running.callID))
    await until("the step's end on /api/event", () => of("session.next.step.failed").some((e) => e.data.assistantMessageID === shown.at(-1).info.id))
    const { data } = await v2().v2.session.messages({ sessionID: id, order: "asc" })
    const tool = data.data.at(-1).content.find((p) => p.type === "tool")
    assert.deepEqual(of("session.next.tool.failed").at(-1).data.error, tool.state.error)
    await api.close()
  })
})
