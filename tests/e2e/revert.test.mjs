// Diff, revert and unrevert with the real @opencode-ai/sdk, in a repository that must stay as it is.
import assert from "node:assert/strict"
import { execFileSync } from "node:child_process"
import { createHash } from "node:crypto"
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { after, before, describe, it } from "node:test"
import { createOpencodeClient as v2Client } from "@opencode-ai/sdk/v2"
import { until } from "./lib/process.mjs"
import { Sessiond } from "./lib/sessiond.mjs"

let server
before(async () => {
  server = await Sessiond.start({ name: "revert" })
})
after(async () => {
  await server?.stop()
})

const file = (name) => join(server.project, name)
const client = () => v2Client({ baseUrl: server.base, headers: server.headers(), directory: server.project, throwOnError: true })

async function ask(sessionID, words) {
  const { data } = await client().session.prompt({ sessionID, agent: "auto", parts: [{ type: "text", text: words }] })
  assert.equal(data.info.error, undefined)
  return data.info.parentID
}

/** Everything that git itself keeps: index, HEAD, refs, stash, config. */
function repository() {
  const all = {}
  const walk = (dir) => {
    for (const entry of readdirSync(dir, { withFileTypes: true })) {
      const path = join(dir, entry.name)
      if (entry.isDirectory()) walk(path)
      else all[path] = `${createHash("sha256").update(readFileSync(path)).digest("hex")} ${statSync(path).mode}`
    }
  }
  walk(file(".git"))
  return all
}

describe("revert", () => {
  it("undoes and redoes the work of turns, and leaves the repository alone", async () => {
    const git = (...args) => execFileSync("git", ["-c", "user.name=A", "-c", "user.email=a@b", ...args], { cwd: server.project })
    if (!existsSync(file(".git"))) git("init", "-q")
    writeFileSync(file("kept.txt"), "committed\n")
    git("add", "kept.txt")
    git("commit", "-qm", "kept")
    writeFileSync(file("kept.txt"), "in the worktree\n")
    const before = repository()

    const c = client()
    const { data: session } = await c.session.create({})
    const first = await ask(session.id, "/write a.txt one")
    const second = await ask(session.id, "/write a.txt two\n/run echo three > b.txt && rm kept.txt")
    const { data: diff } = await c.session.diff({ sessionID: session.id })
    assert.deepEqual(diff.map((d) => [d.file, d.status]), [["a.txt", "added"], ["b.txt", "added"], ["kept.txt", "deleted"]])
    const { data: one } = await c.session.diff({ sessionID: session.id, messageID: first })
    assert.deepEqual(one.map((d) => d.file), ["a.txt"])

    const { data: reverted } = await c.session.revert({ sessionID: session.id, messageID: second })
    assert.equal(reverted.revert.messageID, second)
    assert.equal(readFileSync(file("a.txt"), "utf8"), "one")
    assert.equal(readFileSync(file("kept.txt"), "utf8"), "in the worktree\n")
    assert.equal(existsSync(file("b.txt")), false)
    const { data: whole } = await c.session.unrevert({ sessionID: session.id })
    assert.equal(whole.revert, undefined)
    assert.equal(readFileSync(file("a.txt"), "utf8"), "two")
    assert.equal(existsSync(file("kept.txt")), false)
    assert.deepEqual(repository(), before)
  })

  it("stays reverted over a kill, and the next prompt removes what was hidden", async () => {
    const c = client()
    const { data: session } = await c.session.create({})
    await ask(session.id, "/write c.txt one")
    const second = await ask(session.id, "/write c.txt two")
    await c.session.revert({ sessionID: session.id, messageID: second })
    await server.restart({ signal: "SIGKILL" })
    const again = client()
    const { data: still } = await again.session.get({ sessionID: session.id })
    assert.equal(still.revert.messageID, second)
    assert.equal(readFileSync(file("c.txt"), "utf8"), "one")
    await ask(session.id, "/history")
    const { data: messages } = await again.session.messages({ sessionID: session.id })
    assert.equal(messages.length, 4)
    assert.ok(messages.every((m) => m.info.id !== second))
    const said = messages.at(-1).parts.filter((p) => p.type === "text").map((p) => p.text).join("")
    assert.ok(!said.includes("/write c.txt two"), said)
  })

  it("is whole or not at all, whenever sessiond is killed", async () => {
    const names = Array.from({ length: 40 }, (_, i) => `many/${i}.txt`)
    const { data: session } = await client().session.create({})
    const write = (text) => ask(session.id, `/run mkdir -p many; for i in $(seq 0 39); do echo ${text} > many/$i.txt; done`)
    await write("before")
    const second = await write("after")
    const seen = { whole: 0, reverted: 0 }
    for (let round = 0; round < 12; round += 1) {
      const c = client()
      const { data: now } = await c.session.get({ sessionID: session.id })
      const asked = now.revert
        ? c.session.unrevert({ sessionID: session.id })
        : c.session.revert({ sessionID: session.id, messageID: second })
      const cutOff = asked.catch(() => {})
      // Somewhere in it: before, between any two files, after.
      await new Promise((done) => setTimeout(done, Math.random() * 120))
      await server.restart({ signal: "SIGKILL" })
      await cutOff
      const { data: then } = await client().session.get({ sessionID: session.id })
      const text = then.revert ? "before\n" : "after\n"
      for (const name of names) assert.equal(readFileSync(file(name), "utf8"), text, `${name}, round ${round}`)
      seen[then.revert ? "reverted" : "whole"] += 1
    }
    assert.ok(seen.reverted > 0, JSON.stringify(seen))
    assert.deepEqual(readdirSync(file("many")).sort(), names.map((n) => n.slice(5)).sort(), "no temporary file stays")
  })

  it("tells those who watch: the changes left, and what a person's edit kept from going back", async () => {
    const c = client()
    const { data: session } = await c.session.create({})
    const { stream } = await c.event.subscribe()
    const events = []
    const reading = (async () => {
      for await (const event of stream) events.push(event)
    })().catch(() => {})
    await until("the stream", () => events.find((e) => e.type === "server.connected"))
    const prompted = await ask(session.id, "/write d.txt agent")
    writeFileSync(file("d.txt"), "person")
    const { data: reverted } = await c.session.revert({ sessionID: session.id, messageID: prompted })
    assert.deepEqual(reverted.conflicts.map((x) => x.reason), ["changed"])
    assert.equal(readFileSync(file("d.txt"), "utf8"), "person")
    const of = (type) => events.filter((e) => e.type === type && (e.properties.sessionID ?? session.id) === session.id)
    await until("a toast", () => of("tui.toast.show").find((e) => e.properties.message.includes("d.txt")))
    assert.deepEqual(of("session.diff").map((e) => e.properties.diff.length), [1, 0])
    void reading
  })
})
