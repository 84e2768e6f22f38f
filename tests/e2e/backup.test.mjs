// A backup that is taken while nodes serve, by the commands of docs/postgres.md, and a node on what
// is restored from it.
import assert from "node:assert/strict"
import { execFile } from "node:child_process"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { after, before, describe, it } from "node:test"
import { promisify } from "node:util"
import { Fleet } from "./lib/fleet.mjs"
import { repo } from "./lib/paths.mjs"
import { until } from "./lib/process.mjs"
import { EventLog, Sessiond, TOKEN, text } from "./lib/sessiond.mjs"

const AUTH = { authorization: `Bearer ${TOKEN}` }
const say = (words) => ({ parts: [{ type: "text", text: words }] })
const ENDS = ["completed", "failed", "aborted", "interrupted"]

/** The commands of the page's code block that begins with the comment `# NAME`. */
function commands(name) {
  const page = readFileSync(join(repo, "docs/postgres.md"), "utf8")
  const found = page.match(new RegExp(`^\`\`\`sh\\n# ${name}\\n([^\`]+)^\`\`\`$`, "m"))
  assert.ok(found, `docs/postgres.md has no block "# ${name}"`)
  return found[1]
}

describe("a backup of PostgreSQL", () => {
  let fleet
  before(async () => {
    fleet = await Fleet.start({ name: "backup", size: 2, lease: 3 })
  })
  after(() => fleet?.stop())

  it("has all that was acknowledged before it, and a node goes on from it", async () => {
    const { postgres } = fleet
    const [a, b] = fleet.nodes
    const create = (node, title) => node.oc("POST", `/session?directory=${encodeURIComponent(fleet.project)}`, { title })
    // What nobody touches any more, in all its forms.
    const quiet = await create(a, "quiet")
    await a.oc("POST", `/session/${quiet.id}/message`, say("remember the word plum"))
    await a.permitting(quiet, "once", a.oc("POST", `/session/${quiet.id}/message`, say("/plan\n/write made.txt words")))
    await a.oc("POST", `/session/${quiet.id}/message`, say("/big 50000"))
    await b.oc("POST", `/session/${quiet.id}/shell`, { agent: "build", command: "echo from-$((40+2))" })
    const fork = await b.oc("POST", `/session/${quiet.id}/fork`, {})
    const gone = await create(b, "in the trash")
    await b.oc("DELETE", `/session/${gone.id}`)
    const paths = [quiet, fork].flatMap(({ id }) => [
      `/opencode/session/${id}`, `/opencode/session/${id}/message`, `/opencode/session/${id}/todo`,
      `/opencode/session/${id}/diff`, `/v1/sessions/${id}`, `/v1/sessions/${id}/turns`, `/v1/events?session=${id}&limit=1000&after=0`,
    ])
    const seen = async (node) => Object.fromEntries(await Promise.all(paths.map(async (path) => {
      // How far the whole store has come is no matter of the session.
      const json = await node.ok("GET", path)
      delete json.next
      return [path, json]
    })))

    // What is written while the backup is taken, and a turn that runs.
    const busy = await Promise.all([0, 1, 2, 3, 4, 5, 6, 7].map((n) => create(fleet.nodes[n % 2], `busy ${n}`)))
    const running = await create(a, "running")
    const { turn } = await a.v1("POST", `/sessions/${running.id}/prompt`, say("/slow 100000 20"))
    const acked = []
    let over = false
    const work = busy.map(async ({ id }, n) => {
      for (let i = 0; !over; i++) {
        const words = `b${n} number ${i}.`
        // Nodes that are busy may lose a short lease for a moment: what got a 503 is sent again, under its id.
        const body = { messageID: `msg_backup${n}x${String(i).padStart(6, "0")}`, noReply: true, ...say(words) }
        await until("it is taken", async () => {
          const reply = await fleet.nodes[(i + n) % 2].call("POST", `/opencode/session/${id}/message`, body)
          assert.ok(reply.status === 200 || Number(reply.headers.get("retry-after")) > 0, reply.text)
          return reply.status === 200
        })
        acked.push([id, words])
      }
    })
    await until("some work", () => acked.length > 400)
    const before = await seen(b)
    const known = acked.length

    const shell = (name) => promisify(execFile)("sh", ["-e", "-u", "-c", commands(name)], {
      cwd: fleet.dir,
      env: { PATH: `${postgres.bin}:${process.env.PATH}`, SERVER: postgres.url(), DATABASE: postgres.url(), RESTORED: postgres.url("sessiond_restored") },
    })
    const began = Date.now()
    await shell("backup")
    const took = Date.now() - began
    const during = acked.length
    over = true
    await Promise.all(work)
    const cursor = (await b.v1("GET", `/events?session=${running.id}&limit=1`)).next
    assert.ok(cursor > 0)
    const last = Number(postgres.sql("SELECT seq FROM sessiond.clock"))
    // Two copies at work at once would each take the other's agents for left over.
    for (const node of fleet.nodes) await node.stop()

    await shell("restore")
    const sql = (query) => postgres.sql(query, "sessiond_restored")
    // One instant of the store, whole.
    const clock = Number(sql("SELECT seq FROM sessiond.clock"))
    assert.equal(sql("SELECT count(*) || ' ' || min(seq) || ' ' || max(seq) FROM sessiond.event"), `${clock} 1 ${clock}`)
    assert.equal(sql("SELECT count(*) FROM (SELECT count(*), max(session_seq) FROM sessiond.event GROUP BY sid HAVING count(*) <> max(session_seq)) AS gaps"), "0")
    const old = Number(sql("SELECT max(epoch) FROM sessiond.session"))
    assert.ok(Number(sql("SELECT last_value FROM sessiond.epoch")) >= old, "epochs go on above those that were given")
    console.log(`# ${known} prompts acknowledged before the backup, ${during - known} in the ${took} ms that it took; event ${clock} of ${last}`)

    const config = readFileSync(a.config, "utf8")
    const settings = config.slice(config.indexOf("store ="), config.indexOf("[log]")).replace(/^store = .*$/m, `store = "${postgres.url("sessiond_restored")}"`)
    const node = await Sessiond.start({ name: "backup-restored", dir: join(fleet.dir, "restored"), project: fleet.project, port: a.port, settings })
    try {
      assert.deepEqual(await seen(node), before, "what was quiet is what it was")
      for (const { id } of busy) {
        const words = (await node.oc("GET", `/session/${id}/message`)).map((m) => text(m))
        assert.equal(new Set(words).size, words.length, "nothing is there twice")
        for (const [, mine] of acked.slice(0, known).filter(([of]) => of === id)) assert.ok(words.includes(mine), `${mine} is there`)
      }
      const trash = await node.v1("GET", "/trash")
      assert.ok(JSON.stringify(trash).includes(gone.id))
      assert.equal((await node.turnEnd(running.id, turn.id)).state, "interrupted")

      // A client whose cursor is of what came after the backup is told so.
      const future = new EventLog(`${node.url}/v1/events`, { ...AUTH, accept: "text/event-stream", "last-event-id": String(last + 1000) })
      await future.find("resync", (e) => e.type === "resync")
      await future.close()

      for (const { id } of [quiet, fork, running, ...busy]) {
        // What was held when the backup was taken is free when the lease of its holder has ended.
        const reply = await until("a prompt is taken", async () => {
          const reply = await node.call("POST", `/opencode/session/${id}/message`, say("after the restore"))
          assert.ok(reply.status === 200 || Number(reply.headers.get("retry-after")) > 0, reply.text)
          return reply.status === 200 && reply
        }, { within: 20_000, every: 500 })
        assert.ok(text(reply.json).includes("after the restore"), reply.text.slice(0, 300))
        const numbers = (await fleet.events(node, id)).map((e) => e.session_seq)
        assert.deepEqual(numbers, numbers.map((_, i) => i + 1), "numbered 1..n without gaps")
        assert.ok((await node.turns(id)).every((t) => ENDS.includes(t.state)))
      }
      assert.equal(sql(`SELECT count(*) FROM sessiond.lease l JOIN sessiond.node n ON n.number = l.node WHERE l.epoch <= ${old} AND n.ended_at IS NULL`), "0", "what is held is held above those of before")
      assert.equal(sql("SELECT count(*) FROM sessiond.node WHERE ended_at IS NULL"), "1")
    } finally {
      await node.stop()
    }
  })
})
