// What was there before a restart is there after it, the same.
import assert from "node:assert/strict"
import { after, before, describe, it } from "node:test"
import { until } from "./lib/process.mjs"
import { Sessiond, text } from "./lib/sessiond.mjs"

let server
before(async () => {
  server = await Sessiond.start({ name: "restart" })
})
after(() => server?.stop())

const say = (words) => ({ parts: [{ type: "text", text: words }] })

/** Everything that a client can see, by both surfaces. */
async function picture() {
  const seen = { sessions: await server.oc("GET", "/session"), v1: {}, messages: {}, todos: {}, turns: {}, events: {} }
  for (const { id } of seen.sessions) {
    seen.v1[id] = await server.v1("GET", `/sessions/${id}`)
    seen.messages[id] = await server.oc("GET", `/session/${id}/message`)
    seen.todos[id] = await server.oc("GET", `/session/${id}/todo`)
    seen.turns[id] = await server.turns(id)
    const { events } = await server.v1("GET", `/events?session=${id}&limit=1000`)
    seen.events[id] = events.map((e) => [e.seq, e.session_seq])
  }
  seen.projects = await server.oc("GET", "/project")
  seen.status = await server.oc("GET", "/session/status")
  return seen
}

async function furnish() {
  const first = await server.oc("POST", "/session", {
    title: "furnished", metadata: { ticket: 7, nested: { deep: ["a", 1, null] } },
    permission: [{ permission: "bash", pattern: "git *", action: "allow" }],
  })
  const child = await server.oc("POST", "/session", { parentID: first.id })
  await server.oc("POST", `/session/${first.id}/message`, say("/plan"))
  await server.permitting(first, "once", server.oc("POST", `/session/${first.id}/message`, say("/think\n/write kept.txt words")))
  await server.oc("POST", `/session/${first.id}/message`, { noReply: true, ...say("a note: ünïcödé 🦀 \u0000-free") })
  await server.oc("POST", `/session/${child.id}/message`, say("/fail on purpose"))
  await server.oc("PATCH", `/session/${child.id}`, { title: "the child", time: { archived: 1_700_000_000_000 } })
  return { first, child }
}

describe("restart", () => {
  for (const signal of ["SIGKILL", "SIGTERM"]) {
    it(`changes nothing (${signal})`, async () => {
      await furnish()
      await until("idle", async () => Object.keys(await server.oc("GET", "/session/status")).length === 0)
      const before = await picture()
      await server.restart({ signal })
      const { events, ...rest } = await picture()
      const { events: eventsBefore, ...restBefore } = before
      assert.deepEqual(rest, restBefore)
      for (const [id, old] of Object.entries(eventsBefore)) {
        // What the restart itself did (the agent's process is gone) comes after all that was.
        assert.deepEqual(events[id].slice(0, old.length), old)
        assert.deepEqual(events[id].map(([, own]) => own), events[id].map((_, i) => i + 1), "no gap")
      }
    })
  }

  it("a pending permission expires and its turn is interrupted; a second answer is refused", async () => {
    const session = await server.oc("POST", "/session", {})
    const cut = server.call("POST", `/opencode/session/${session.id}/message`, say("/ask run touch never")).catch(() => {})
    const asked = await server.permission(session.id)
    await server.restart()
    await cut
    assert.deepEqual((await server.oc("GET", "/permission")).filter((p) => p.sessionID === session.id), [])
    const late = await server.call("POST", `/opencode/permission/${asked.id}/reply`, { reply: "once" })
    assert.ok([404, 409].includes(late.status), `${late.status}`)
    const [turn] = await server.turns(session.id)
    assert.equal(turn.state, "interrupted")
    const { events } = await server.v1("GET", `/events?session=${session.id}&limit=1000`)
    assert.ok(events.some((e) => e.type === "permission.resolved"))
    const open = (await server.oc("GET", `/session/${session.id}/message`)).flatMap((m) => m.parts)
      .filter((p) => p.type === "tool" && !["completed", "error"].includes(p.state.status))
    assert.deepEqual(open, [])
    const next = await server.oc("POST", `/session/${session.id}/message`, say("go on"))
    assert.match(text(next), /go on/)
  })

  it("SIGTERM ends a running turn in order and within ten seconds", async () => {
    const session = await server.oc("POST", "/session", {})
    const cut = server.call("POST", `/opencode/session/${session.id}/message`, say("/slow 1000 100")).catch(() => {})
    await until("a first word", async () =>
      (await server.oc("GET", `/session/${session.id}/message`)).some((m) => /tick-3 /.test(text(m))))
    const begun = Date.now()
    await server.child.kill("SIGTERM")
    assert.ok(Date.now() - begun < 10_000)
    assert.equal(server.child.end.signal, null, "it ended by itself")
    await cut
    await server.up()
    const answer = (await server.oc("GET", `/session/${session.id}/message`)).at(-1)
    assert.ok(answer.info.time.completed && answer.info.error)
    assert.match(text(answer), /tick-3 /)
    assert.equal((await server.turns(session.id))[0].state, "interrupted")
  })

  it("one process owns a data directory", async () => {
    const second = new Sessiond()
    Object.assign(second, { ...server, port: 0, name: "second" })
    await assert.rejects(second.up())
    const said = second.child.stdout + second.child.stderr
    assert.match(said, new RegExp(`\\b${server.child.pid}\\b`), "it names the holder")
    assert.match(said, new RegExp(server.url))
    await second.child.stop()
  })

  it("a deleted session stays deleted, and can be restored", async () => {
    const session = await server.v1("POST", "/sessions", { title: "wanderer" })
    await server.v1("DELETE", `/sessions/${session.id}`)
    await server.restart()
    assert.equal((await server.call("GET", `/opencode/session/${session.id}`)).status, 404)
    await server.v1("POST", `/sessions/${session.id}/restore`)
    assert.equal((await server.oc("GET", `/session/${session.id}`)).title, "wanderer")
  })
})
