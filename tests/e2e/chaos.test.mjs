// Three nodes, stock clients, and everything that goes wrong at random: at the end all that was
// acknowledged is there once, all that was accepted has ended, and every stream shows what GET shows.
//
// SEED=n repeats a run's choices; CHAOS_SECONDS=n makes it longer.
import assert from "node:assert/strict"
import { after, before, describe, it } from "node:test"
import { Fleet } from "./lib/fleet.mjs"
import { until } from "./lib/process.mjs"
import { EventLog, TOKEN, text } from "./lib/sessiond.mjs"

const SEED = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31))
const SECONDS = Number(process.env.CHAOS_SECONDS ?? 75)
const LEASE = 3
const SESSIONS = 6

/** mulberry32: small, seeded, good enough to choose by. */
function random(seed) {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms))

/** A reader of /v1 that reconnects at any node with its cursor, for ever. */
class Follower {
  parts = new Map()
  closed = new Set()
  numbers = []
  errors = []

  constructor(base, session) {
    this.url = `${base}/v1/events?session=${session}&after=0`
    this.run = this.#follow()
  }

  async #follow() {
    while (!this.stopped) {
      this.log = new EventLog(this.url, {
        authorization: `Bearer ${TOKEN}`, accept: "text/event-stream",
        ...(this.cursor ? { "last-event-id": this.cursor } : {}),
      })
      let taken = 0
      const drain = () => {
        for (; taken < this.log.all.length; taken++) this.#take(this.log.all[taken])
      }
      while (!this.log.ended && !this.log.error && !this.stopped) {
        drain()
        await Promise.race([this.log.done, pause(20)])
      }
      drain()
      await this.log.close()
      await pause(50)
    }
  }

  #take({ id, json: e }) {
    if (id) this.cursor = id
    // Below: what a stream says of itself, and states, have no number of their own.
    if (e.session_seq > 0) this.numbers.push(e.session_seq)
    if (e.type === "part.updated") this.parts.set(e.data.id, e.data.text ?? "")
    if (e.type === "part.removed") this.parts.delete(e.data.part_id)
    if (e.type === "part.delta") {
      const known = this.parts.get(e.data.part_id)
      if (known === undefined || Buffer.byteLength(known) !== e.data.offset) {
        this.errors.push(`growth at ${e.data.offset} of ${known === undefined ? "an unknown part" : Buffer.byteLength(known)}`)
      } else this.parts.set(e.data.part_id, known + e.data.delta)
    }
    if (e.type === "resync") this.errors.push("resync")
  }

  async stop() {
    this.stopped = true
    await this.log?.close()
    await this.run
  }
}

describe(`chaos, SEED=${SEED}`, () => {
  let fleet
  before(async () => {
    fleet = await Fleet.start({ name: "chaos", lease: LEASE })
  })
  after(() => fleet?.stop())

  it(`leaves everything as it was promised, after ${SECONDS} s of it`, async () => {
    const client = fleet.client()
    const chance = random(SEED)
    const pick = (list) => list[Math.floor(chance() * list.length)]
    const sessions = []
    for (let i = 0; i < SESSIONS; i++) sessions.push((await client.session.create({ body: { title: `chaos ${i}` } })).data.id)
    const followers = sessions.map((id) => new Follower(fleet.proxy.url, id))

    const acked = new Map(), deeds = [], strange = []
    let over = false
    // Each client prompts one session, a small answer or one that takes a while; some are stopped.
    const clients = sessions.map(async (id, n) => {
      for (let i = 0; !over; i++) {
        const words = `c${n}-${i}.`
        const slow = i % 3 === 1
        const messageID = `msg_chaos${SEED.toString(36)}x${n}x${String(i).padStart(6, "0")}`
        // As a person at a client would: the same message again until it is taken.
        for (let taken = false; !taken && !over;) {
          try {
            const { response } = await client.session.promptAsync({
              path: { id }, body: { messageID, parts: [{ type: "text", text: slow ? `/slow 40 50\n${words}` : words }] },
              signal: AbortSignal.timeout(20_000),
            })
            taken = response.status === 204
            if (taken) acked.set(messageID, { id, words })
            else if (![502, 503].includes(response.status)) {
              strange.push(`${response.status} for ${messageID}: ${(await response.clone().text().catch(() => "")).slice(0, 300)}`)
            }
          } catch {
            // Cut off: whether it arrived is not known, so it is sent again.
          }
          if (!taken) await pause(200)
        }
        if (i % 7 === 5) await client.session.abort({ path: { id }, signal: AbortSignal.timeout(30_000) }).catch(() => {})
        await pause(100 + 37 * n)
      }
    })

    const nodes = fleet.nodes
    const stopped = new Set()
    const cont = (node) => {
      stopped.delete(node)
      try {
        process.kill(node.child.pid, "SIGCONT")
      } catch {
        // It was killed.
      }
    }
    const blows = {
      async kill() {
        const node = pick(nodes)
        if (stopped.has(node)) return
        await node.crash()
        await pause(chance() * 2 * LEASE * 1000)
        await node.up()
      },
      async freeze() {
        const node = pick(nodes)
        if (stopped.has(node)) return
        stopped.add(node)
        process.kill(node.child.pid, "SIGSTOP")
        await pause(chance() * 3 * LEASE * 1000)
        cont(node)
      },
      async cut() {
        for (let i = 0; i < 3; i++) {
          pick(fleet.wires).cut()
          await pause(chance() * 300)
        }
      },
      async hole() {
        const wire = pick(fleet.wires)
        wire.set("hole")
        await pause(chance() * 2.5 * LEASE * 1000)
        wire.set("open")
      },
      async database() {
        await fleet.postgres.restart(pick(["SIGINT", "SIGQUIT", "SIGKILL"]))
      },
      async stop() {
        const node = pick(nodes)
        if (stopped.has(node)) return
        await node.stop()
        await node.up()
      },
    }
    const order = ["kill", "freeze", "cut", "kill", "hole", "database", "freeze", "stop"]
    const end = Date.now() + SECONDS * 1000
    while (Date.now() < end) {
      const blow = pick(order)
      deeds.push(blow)
      await blows[blow]()
      await pause(chance() * 1500)
    }
    for (const node of nodes) cont(node)
    for (const wire of fleet.wires) wire.set("open")
    over = true
    await Promise.all(clients)
    console.log(`# SEED=${SEED}: ${deeds.join(" ")}; ${acked.size} prompts acknowledged`)
    await until("all nodes are ready", async () => {
      const all = await Promise.all(nodes.map((n) => fetch(`${n.url}/readyz`)))
      return all.every((r) => r.ok)
    }, { within: 60_000 })
    assert.deepEqual(strange, [], "nothing but 204, 502 of the proxy, and 503")
    assert.ok(acked.size > SESSIONS * 3, `${acked.size} prompts were acknowledged`)

    const [a, b, c] = nodes
    await until("nothing is at work any more", async () => {
      const status = await b.oc("GET", `/session/status?directory=${encodeURIComponent(fleet.project)}`)
      return sessions.every((id) => (status[id]?.type ?? "idle") === "idle")
    }, { within: 120_000 })
    for (const [n, id] of sessions.entries()) {
      const events = await fleet.events(c, id)
      const numbers = events.map((e) => e.session_seq)
      assert.deepEqual(numbers, numbers.map((_, i) => i + 1), "numbered 1..n without gaps")
      assert.ok(events.every((e, i) => i === 0 || e.seq > events[i - 1].seq), "one order")

      const turns = await a.turns(id)
      const ends = ["completed", "failed", "aborted", "interrupted"]
      assert.deepEqual(turns.filter((t) => !ends.includes(t.state)), [], "every turn has ended")
      const messages = await b.oc("GET", `/session/${id}/message`)
      const ids = messages.map((m) => m.info.id)
      assert.equal(new Set(ids).size, ids.length)
      for (const [message, { words }] of [...acked].filter(([, told]) => told.id === id)) {
        const found = messages.filter((m) => m.info.id === message)
        assert.equal(found.length, 1, `${message} is there`)
        assert.ok(text(found[0]).includes(words))
        assert.equal(turns.filter((t) => t.user_message_id === message).length, 1, `one turn of ${message}`)
      }
      for (const m of messages.filter((m) => m.info.role === "assistant")) {
        assert.ok(m.info.time.completed, `${m.info.id} is closed`)
        const open = m.parts.filter((p) => p.type === "tool" && !["completed", "error"].includes(p.state.status))
        assert.deepEqual(open, [], "no tool is open")
      }

      const follower = followers[n]
      const last = numbers.at(-1)
      await until(`the stream of ${id} has come to ${last}`, () => follower.numbers.at(-1) === last)
      await follower.stop()
      assert.deepEqual(follower.errors, [])
      assert.deepEqual(follower.numbers, numbers, "the stream had every event once, in order")
      for (const part of messages.flatMap((m) => m.parts).filter((p) => p.type === "text")) {
        assert.equal(follower.parts.get(part.id), part.text, "the fold of the stream is what GET shows")
      }
    }
  })
})
