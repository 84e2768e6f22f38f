// Three nodes on one PostgreSQL: any node answers, one owns, another takes over.
import assert from "node:assert/strict"
import { mkdirSync } from "node:fs"
import { join } from "node:path"
import { after, before, describe, it } from "node:test"
import { Fleet } from "./lib/fleet.mjs"
import { until } from "./lib/process.mjs"
import { EventLog, TOKEN, gitProject, sandbox, text } from "./lib/sessiond.mjs"

const LEASE = 4
const AUTH = { authorization: `Bearer ${TOKEN}` }
const say = (words) => ({ parts: [{ type: "text", text: words }] })

async function newSession(fleet, node) {
  return node.oc("POST", `/session?directory=${encodeURIComponent(fleet.project)}`, {})
}

/** A prompt that is accepted and goes on. */
async function begin(node, session, words) {
  const { turn } = await node.v1("POST", `/sessions/${session.id}/prompt`, { parts: [{ type: "text", text: words }] })
  return turn.id
}

function running(node, session, turn) {
  return until(`turn ${turn} runs and has said something`, async () => {
    const { turns } = await node.v1("GET", `/sessions/${session.id}/turns`)
    const messages = await node.oc("GET", `/session/${session.id}/message`)
    return turns.find((t) => t.id === turn && t.state === "running") && messages.some((m) => m.info.role === "assistant" && text(m).length > 20)
  })
}

async function gapless(fleet, node, session) {
  const numbers = (await fleet.events(node, session.id)).map((e) => e.session_seq)
  assert.deepEqual(numbers, numbers.map((_, i) => i + 1), "numbered 1..n without gaps")
  return numbers.length
}

/** Fold of a /v1 stream: part id → text. */
function folded(log) {
  const parts = new Map()
  for (const { json: e } of log.all) {
    if (e.type === "part.updated" && e.data.text !== undefined) parts.set(e.data.id, e.data.text)
    if (e.type === "part.delta") parts.set(e.part_id, (parts.get(e.part_id) ?? "") + e.delta)
  }
  return parts
}

describe("three nodes", () => {
  let fleet
  before(async () => {
    fleet = await Fleet.start({ name: "fleet", lease: LEASE })
  })
  after(() => fleet?.stop())

  it("answers for any session at any node, with a stock client", async () => {
    const client = fleet.client()
    const { data: session } = await client.session.create({ body: { title: "any" } })
    for (let i = 0; i < 6; i++) {
      const { data } = await client.session.prompt({ path: { id: session.id }, body: say(`number ${i}`) })
      assert.ok(text(data).includes(`number ${i}`), JSON.stringify(data).slice(0, 300))
    }
    for (const node of fleet.nodes) {
      const { data: messages } = await fleet.client(node).session.messages({ path: { id: session.id } })
      assert.equal(messages.length, 12)
      // What the agent told the owner of itself when it ran.
      await until("the models are on offer here too", async () => {
        const { data } = await fleet.client(node).config.providers()
        return data.providers.some((provider) => "demo-2" in provider.models)
      })
    }
    const { data: renamed } = await client.session.update({ path: { id: session.id }, body: { title: "renamed" } })
    assert.equal(renamed.title, "renamed")
    const lists = await Promise.all(fleet.nodes.map((n) => fleet.client(n).session.list()))
    for (const { data } of lists) assert.equal(data.find((s) => s.id === session.id).title, "renamed")
    const { nodes } = await fleet.nodes[1].v1("GET", "/nodes")
    assert.deepEqual(nodes.map((n) => [n.name, n.alive, n.is_this]), [["node-0", true, false], ["node-1", true, true], ["node-2", true, false]])
  })

  it("aborts, answers permissions and runs shell commands through another node", async () => {
    const [a, b, c] = fleet.nodes
    const session = await newSession(fleet, a)
    const turn = await begin(a, session, "/slow 100000 20")
    await running(b, session, turn)
    assert.equal(await b.oc("POST", `/session/${session.id}/abort`), true)
    const ended = await c.turnEnd(session.id, turn)
    assert.equal(ended.state, "aborted")

    const asking = await begin(c, session, "/ask write asked.txt yes")
    const { result, asked } = await b.permitting(session, "once", c.turnEnd(session.id, asking))
    assert.equal(result.state, "completed")
    assert.ok(asked.length > 0, "it asked")

    const shell = await c.oc("POST", `/session/${session.id}/shell`, { agent: "build", command: "echo from-$((40+2))" })
    const messages = await b.oc("GET", `/session/${session.id}/message`)
    assert.ok(JSON.stringify(messages).includes("from-42"), JSON.stringify(shell).slice(0, 200))
    await gapless(fleet, b, session)
  })

  it("stops, deletes and restores what is below a session wherever it is held", async () => {
    const [a, b, c] = fleet.nodes
    const above = await newSession(fleet, a)
    const idle = await b.v1("POST", "/sessions", { parent_id: above.id, directory: fleet.project })
    const busy = await b.v1("POST", "/sessions", { parent_id: above.id, directory: fleet.project })
    const first = await begin(b, busy, "/slow 100000 20")
    await running(c, busy, first)
    assert.equal(fleet.holder(above.id), "node-0")
    assert.deepEqual([fleet.holder(idle.id), fleet.holder(busy.id)], ["node-1", "node-1"])
    assert.equal((await c.v1("POST", `/sessions/${above.id}/abort`, {})).aborted, true)
    assert.equal((await a.turns(busy.id))[0].state, "aborted")

    const second = await begin(b, busy, "/slow 100000 20")
    await running(c, busy, second)
    const { deleted } = await c.v1("DELETE", `/sessions/${above.id}`)
    assert.deepEqual(new Set(deleted), new Set([above.id, idle.id, busy.id]))
    for (const id of deleted) assert.equal((await a.call("GET", `/v1/sessions/${id}`)).status, 404)
    await a.v1("POST", `/sessions/${above.id}/restore`)
    assert.deepEqual((await c.turns(busy.id)).map((t) => t.state), ["aborted", "aborted"])
    assert.equal((await c.v1("GET", `/sessions/${idle.id}`)).parent_id, above.id)
    await gapless(fleet, a, busy)
  })

  it("shows text as it grows on another node", async () => {
    const [a, b] = fleet.nodes
    const session = await newSession(fleet, a)
    const log = new EventLog(`${b.url}/v1/events?session=${session.id}`, { ...AUTH, accept: "text/event-stream" })
    await until("the stream", () => log.all.length > 0)
    const turn = await begin(a, session, "/slow 60 50")
    await log.find("a piece of text", (e) => e.type === "part.delta")
    const before = (await a.turns(session.id)).find((t) => t.id === turn)
    assert.equal(before.state, "running", "seen while it is written")
    await a.turnEnd(session.id, turn)
    await log.find("the end", (e) => e.type === "turn.updated" && e.data.state === "completed")
    const seen = folded(log)
    for (const message of await b.oc("GET", `/session/${session.id}/message`)) {
      if (message.info.role !== "assistant") continue
      for (const part of message.parts.filter((p) => p.type === "text")) assert.equal(seen.get(part.id), part.text)
    }
    await log.close()
  })

  it("goes on at another node when the owner is killed in mid-turn", async () => {
    const [a, b, c] = fleet.nodes
    const session = await newSession(fleet, a)
    await a.turnEnd(session.id, await begin(a, session, "remember the word plum"))
    const log = new EventLog(`${a.url}/v1/events?session=${session.id}&after=0`, { ...AUTH, accept: "text/event-stream" })
    const turn = await begin(a, session, "/slow 100000 20")
    await running(b, session, turn)
    const waiting = await begin(b, session, "after the crash")
    await until("the stream is where we are", () => log.all.some((e) => e.json.type === "part.delta"))
    await a.crash()
    const killed = Date.now()
    await log.done
    const last = log.all.map((e) => e.id).filter(Boolean).at(-1)

    const onward = new EventLog(`${c.url}/v1/events?session=${session.id}`, { ...AUTH, accept: "text/event-stream", "last-event-id": last })
    const ended = await b.turnEnd(session.id, turn, 30_000)
    const seconds = (Date.now() - killed) / 1000
    assert.equal(ended.state, "interrupted")
    assert.ok(seconds < LEASE + 5, `closed ${seconds} s after the kill, with a lease of ${LEASE} s`)
    assert.equal((await c.turnEnd(session.id, waiting)).state, "completed", "the queue goes on")

    const next = await begin(c, session, "what did I say?")
    assert.equal((await c.turnEnd(session.id, next)).state, "completed")
    await onward.find("the last turn", (e) => e.type === "turn.updated" && e.data.id === next && e.data.state === "completed")
    const total = await gapless(fleet, b, session)
    const durable = [...log.all, ...onward.all].filter((e) => e.json.session_seq > 0).map((e) => e.json.session_seq)
    assert.deepEqual(durable, durable.map((_, i) => i + 1), "one numbering over both nodes")
    assert.ok(durable.length <= total)
    for (const message of await b.oc("GET", `/session/${session.id}/message`)) {
      if (message.info.role === "assistant") assert.ok(message.info.time.completed, "closed")
    }
    await onward.close()
    await a.up()
    const { nodes } = await a.v1("GET", "/nodes")
    assert.ok(nodes.every((n) => n.alive), JSON.stringify(nodes))
  })

  it("lets an owner that stood still for 30 s write nothing", async () => {
    const [a, b] = fleet.nodes
    const session = await newSession(fleet, a)
    const turn = await begin(a, session, "/slow 100000 20")
    await running(b, session, turn)
    process.kill(a.child.pid, "SIGSTOP")
    const stopped = Date.now()
    const ended = await b.turnEnd(session.id, turn)
    assert.equal(ended.state, "interrupted")
    let meanwhile = 0
    while (Date.now() - stopped < 30_000) {
      const next = await begin(b, session, `/slow 5 100 meanwhile ${++meanwhile}`)
      assert.equal((await b.turnEnd(session.id, next)).state, "completed")
    }
    const before = await fleet.events(b, session.id)
    process.kill(a.child.pid, "SIGCONT")
    // Until it has a lease again it says so; from then on it passes on what is for the new owner,
    // although nobody has told it yet that the session is not its own any more.
    const refusals = []
    const again = await until("it takes a prompt", () => begin(a, session, "from the old owner").catch((error) => {
      refusals.push(error.message)
    }), { every: 1 })
    assert.deepEqual(refusals.filter((m) => !/503 .*the lease of this node has ended/.test(m)), [])
    assert.equal((await a.turnEnd(session.id, again)).state, "completed")
    const now = await fleet.events(a, session.id)
    const messages = await a.oc("GET", `/session/${session.id}/message`)
    const place = (e) => [e.session_seq, e.seq, e.at]
    assert.deepEqual(now.slice(0, before.length).map(place), before.map(place), "what was, is")
    const told = (m) => m.parts.map((p) => p.text ?? "").join("")
    assert.equal(messages.filter((m) => told(m).includes("from the old owner")).length, 2, "a prompt and its answer")
    assert.equal((await a.turns(session.id)).filter((t) => t.id === turn)[0].state, "interrupted")
    await gapless(fleet, b, session)
  })

  it("hands over at once when a node stops in order", async () => {
    const [a, b, c] = fleet.nodes
    const session = await newSession(fleet, c)
    await c.turnEnd(session.id, await begin(c, session, "hello"))
    assert.equal(fleet.holder(session.id), "node-2")
    await c.stop()
    const reply = await b.call("POST", `/opencode/session/${session.id}/message`, say("go on"))
    assert.equal(reply.status, 200, reply.text)
    assert.ok(["node-0", "node-1"].includes(fleet.holder(session.id)))
    await c.up()
    await gapless(fleet, a, session)
  })
})

describe("directories that not all nodes have", () => {
  let fleet, ours
  before(async () => {
    ours = sandbox("fleet-roots")
    for (const name of ["one", "two"]) mkdirSync(join(ours, name))
    gitProject(join(ours, "one", "project"))
    fleet = await Fleet.start({ name: "fleet-roots", size: 2, lease: LEASE, roots: (i) => [join(ours, ["one", "two"][i])] })
  })
  after(() => fleet?.stop())

  it("are worked on where they are, and named where nobody has them", async () => {
    const [a, b] = fleet.nodes
    const directory = encodeURIComponent(join(ours, "one", "project"))
    const session = await a.oc("POST", `/session?directory=${directory}`, {})
    const first = await b.oc("POST", `/session/${session.id}/message`, say("at the other"))
    assert.ok(text(first).includes("at the other"))
    assert.equal(fleet.holder(session.id), "node-0")
    await a.stop()
    const refused = await b.call("POST", `/opencode/session/${session.id}/message`, say("nobody"))
    assert.equal(refused.status, 409, refused.text)
    assert.match(refused.text, /node-0/)
    const problem = await b.call("POST", `/v1/sessions/${session.id}/prompt`, say("nobody"))
    assert.equal(problem.status, 409, problem.text)
    assert.match(problem.json.detail, /node-0/)
    const { title } = await b.oc("PATCH", `/session/${session.id}`, { title: "still mine" })
    assert.equal(title, "still mine")
    await a.up()
    const again = await b.oc("POST", `/session/${session.id}/message`, say("back again"))
    assert.ok(text(again).includes("back again"))
    assert.equal(fleet.holder(session.id), "node-0")
  })
})

describe("trouble with PostgreSQL", () => {
  let fleet
  before(async () => {
    fleet = await Fleet.start({ name: "fleet-db", size: 2, lease: LEASE })
  })
  after(() => fleet?.stop())

  /** Prompts without an answer, one after the other, until told to stop; what was acknowledged is kept. */
  function load(sessions) {
    const acked = [], refused = []
    let stop = false
    const work = sessions.map(async (session, n) => {
      for (let i = 0; !stop; i++) {
        const node = fleet.nodes[(i + n) % fleet.nodes.length]
        const words = `s${n} number ${i}.`
        try {
          const reply = await node.call("POST", `/opencode/session/${session.id}/message`, { noReply: true, ...say(words) })
          if (reply.status === 200) acked.push([session.id, words])
          else refused.push([reply.status, reply.headers.get("retry-after"), reply.text])
        } catch (error) {
          refused.push([0, undefined, String(error)])
        }
        await new Promise((next) => setTimeout(next, 5))
      }
    })
    return {
      acked, refused,
      async end() {
        stop = true
        await Promise.all(work)
      },
    }
  }

  // Q-unavailable
  async function everything(sessions, { acked, refused }) {
    assert.ok(acked.length > 20, `${acked.length} acknowledged`)
    const told = refused.filter(([status]) => status !== 503)
    assert.deepEqual(told, [], "nothing but 503")
    assert.ok(refused.every(([, retry]) => Number(retry) > 0), "with Retry-After")
    for (const session of sessions) {
      const messages = await fleet.nodes[0].oc("GET", `/session/${session.id}/message`)
      const words = messages.map((m) => text(m))
      for (const [, mine] of acked.filter(([id]) => id === session.id)) {
        assert.equal(words.filter((w) => w === mine).length, 1, `${mine} is there once`)
      }
      assert.equal(new Set(words).size, words.length, "nothing is there twice")
      await gapless(fleet, fleet.nodes[1], session)
    }
  }

  const ready = () => until("all nodes are ready", async () => {
    const all = await Promise.all(fleet.nodes.map((n) => fetch(`${n.url}/readyz`)))
    return all.every((r) => r.ok)
  }, { within: 60_000 })

  const trouble = (what, seconds, cause) => it(what, async () => {
    const sessions = await Promise.all([0, 1, 2, 3].map((n) => newSession(fleet, fleet.nodes[n % 2])))
    const turnIn = await newSession(fleet, fleet.nodes[0])
    const turn = await begin(fleet.nodes[0], turnIn, `/slow ${seconds * 20} 50`)
    const work = load(sessions)
    await until("some work", () => work.acked.length > 20)
    await cause(work)
    await ready()
    const before = work.acked.length
    await until("work goes on", () => work.acked.length > before + 20)
    await work.end()
    await everything(sessions, work)
    const ended = await fleet.nodes[1].turnEnd(turnIn.id, turn, 120_000)
    assert.equal(ended.state, "completed", "a running turn lives through it")
  })

  trouble("is restarted", 8, () => fleet.postgres.restart("SIGINT"))
  trouble("loses its postmaster under load", 8, () => fleet.postgres.restart("SIGKILL"))
  trouble("is cut off in mid-commit, again and again", 12, async () => {
    for (let i = 0; i < 12; i++) {
      fleet.wires[i % 2].cut()
      await new Promise((next) => setTimeout(next, 150 + 37 * i))
    }
  })
  trouble("is unreachable for 30 s", 40, async (work) => {
    for (const wire of fleet.wires) wire.set("hole")
    const since = Date.now()
    await until("readiness says so", async () => {
      const reply = await fetch(`${fleet.nodes[0].url}/readyz`)
      return reply.status === 503 && (await reply.text()).includes("database")
    }, { within: 20_000 })
    const asked = Date.now()
    const reply = await fleet.nodes[1].call("POST", `/opencode/session`, {})
    assert.equal(reply.status, 503)
    assert.ok(Date.now() - asked < 15_000, `told after ${Date.now() - asked} ms, not left hanging`)
    await until("30 s", () => Date.now() - since > 30_000, { within: 40_000 })
    assert.ok(work.refused.length > 0)
    for (const wire of fleet.wires) wire.set("open")
  })
})
