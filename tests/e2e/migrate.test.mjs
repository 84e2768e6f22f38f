// `sessiond migrate`: from SQLite to PostgreSQL and back, with the real binary, killed in between.
import assert from "node:assert/strict"
import { existsSync, mkdtempSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { after, before, describe, it } from "node:test"
import { isDeepStrictEqual } from "node:util"
import { sessiondBin } from "./lib/paths.mjs"
import { Postgres } from "./lib/postgres.mjs"
import { Child, hermetic, run, until } from "./lib/process.mjs"
import { sandbox, Sessiond, text } from "./lib/sessiond.mjs"

const NASTY = "quotes \" ' \\ \u2028 \u{1f980} \u{10ffff} \\u0000 \u0000 end"

describe("sessiond migrate", { timeout: 600_000 }, () => {
  let pg
  let server
  let url
  let known
  const dir = sandbox("migrate")

  const command = (...args) => [sessiondBin(), ["migrate", "--data-dir", server.data, ...args], { env: hermetic(server.home), cwd: dir }]
  const migrate = (...args) => run("sessiond migrate", ...command(...args))

  /** What clients and tools read of everything. */
  async function read() {
    const sessions = await server.oc("GET", "/session?limit=1000")
    const all = {}
    for (const { id } of sessions) {
      all[id] = {
        session: await server.v1("GET", `/sessions/${id}`),
        messages: await server.oc("GET", `/session/${id}/message`),
        todo: await server.oc("GET", `/session/${id}/todo`),
        turns: await server.turns(id),
        diff: await server.v1("GET", `/sessions/${id}/diff`),
        export: (await server.call("GET", `/opencode/session/${id}/export`)).text,
      }
    }
    const events = []
    for (let after = 0, more = true; more;) {
      const page = await server.v1("GET", `/events?after=${after}&limit=1000`, undefined, { accept: "application/json" })
      events.push(...page.events)
      after = page.next
      more = page.more
    }
    return { sessions, all, events }
  }

  /** The same, and if not, what differs: a comparison of all at once would look for that for minutes. */
  function same(now, then) {
    for (const [n, event] of then.events.entries()) assert.deepEqual(now.events[n], event)
    for (const [id, one] of Object.entries(then.all)) for (const what of Object.keys(one)) {
      assert.ok(isDeepStrictEqual(now.all[id]?.[what], one[what]), `${what} of ${id}`)
    }
    assert.ok(isDeepStrictEqual(now, then), "all of it")
  }

  /** A start notes that the agents of before are gone: that is not to be taken for a difference. */
  async function settle() {
    await server.restart({ signal: "SIGTERM" })
    known = await read()
  }

  before(async () => {
    pg = await Postgres.start({ durable: false })
    pg.sql("CREATE DATABASE sessions")
    url = pg.url("sessions")
    server = await Sessiond.start({ name: "migrate", dir })
    const session = await server.oc("POST", "/session", { title: NASTY.replaceAll("\u0000", "") })
    const say = (id, words, agent) => server.oc("POST", `/session/${id}/message`, { agent, parts: [{ type: "text", text: words }] })
    await say(session.id, NASTY)
    await say(session.id, "/plan")
    await say(session.id, "/write kept.txt one", "auto")
    server.session = session.id
    const fork = await server.oc("POST", `/session/${session.id}/fork`, {})
    await say(fork.id, "go on")
    const gone = await server.oc("POST", "/session", { title: "in the trash" })
    await server.call("DELETE", `/opencode/session/${gone.id}`)
    server.trashed = gone.id
    await server.oc("POST", `/session/${session.id}/share`)
    // Enough that a move takes some time.
    const many = await server.oc("POST", "/session", { title: "many" })
    for (let n = 0; n < 1200; n += 40) {
      await Promise.all(Array.from({ length: 40 }, (_, k) => server.oc("POST", `/session/${many.id}/message`, {
        noReply: true,
        parts: Array.from({ length: 6 }, (_, p) => ({ type: "text", text: `${n + k}.${p} ${"word ".repeat(40)}` })),
      })))
    }
    await settle()
  })
  after(async () => {
    await server?.stop()
    pg?.signal("SIGQUIT")
  })

  it("refuses what is in use, what is wrong, and tells no password", async () => {
    const used = await migrate("--from", "sqlite:", "--to", url)
    assert.notEqual(used.code, 0)
    assert.match(used.stderr, new RegExp(`in use by process ${server.child.pid}`))
    const wrong = await migrate("--from", "mysql://me:s3cret@db/x", "--to", "sqlite:")
    assert.notEqual(wrong.code, 0)
    assert.match(wrong.stderr, /--from: must be `sqlite:PATH`/)
    const away = await migrate("--from", "postgres://me:s3cret@127.0.0.1:1/x", "--to", `sqlite:${join(dir, "other")}`)
    assert.notEqual(away.code, 0)
    assert.match(away.stderr, /127\.0\.0\.1:1/)
    for (const { stdout, stderr } of [wrong, away]) assert.doesNotMatch(stdout + stderr, /s3cret/)
  })

  it("reads what a killed server left in its write-ahead log", async () => {
    const last = "said just before the end"
    await server.oc("POST", `/session/${server.session}/message`, { noReply: true, parts: [{ type: "text", text: last }] })
    await server.child.kill("SIGKILL")
    const files = () => ["sessiond.db", "sessiond.db-wal"].map((name) => readFileSync(join(server.data, name)))
    const left = files()
    assert.ok(!left[0].includes(last) && left[1].includes(last), "it is in the log only")
    const home = mkdtempSync(join(dir, "log-"))
    const done = await migrate("--from", "sqlite:", "--to", `sqlite:${home}`)
    assert.equal(done.code, 0, done.stderr)
    assert.ok(files().every((bytes, n) => bytes.equals(left[n])), "the source was written")
    const from = server.data
    server.data = home
    await server.up()
    assert.match(JSON.stringify(await server.oc("GET", `/session/${server.session}/message`)), new RegExp(last))
    await server.stop()
    server.data = from
    await server.up()
    await settle()
  })

  it("goes on after kill -9, and keeps servers away until it is done", async () => {
    await server.stop()
    const bytes = readFileSync(join(server.data, "sessiond.db"))
    const child = new Child("sessiond migrate", ...command("--from", "sqlite:", "--to", url))
    const rows = () => {
      try {
        return Number(pg.sql("SELECT (value::json->>'rows')::int FROM sessiond.meta WHERE name = 'moving'", "sessions"))
      } catch {
        return 0
      }
    }
    await until("rows in the target", () => child.end || rows() >= 5000, { every: 5 })
    await child.kill("SIGKILL")
    assert.equal(child.end.signal, "SIGKILL", "it was over before it was killed")
    const half = rows()
    assert.ok(half >= 5000, String(half))

    server.extra = { SESSIOND_STORE: url }
    const refused = await run("sessiond serve", sessiondBin(), ["serve", "--listen", "127.0.0.1:0", "--data-dir", server.data],
      { env: hermetic(server.home, server.extra), cwd: dir, timeout: 30_000 })
    assert.notEqual(refused.code, 0)
    assert.match(refused.stderr + refused.stdout, /sessiond migrate.*run that again/)

    const done = await migrate("--from", "sqlite:", "--to", url)
    assert.equal(done.code, 0, done.stderr)
    assert.match(done.stdout, /Went on with a move that was cut off after \d+ rows/)
    assert.match(done.stdout, /part +\d{4,} +[0-9a-f]{16}/)
    assert.match(done.stdout, /Moved 4 sessions from sqlite:/)
    assert.ok(readFileSync(join(server.data, "sessiond.db")).equals(bytes), "the source was written")
  })

  it("shows the same in PostgreSQL, numbers of events too, and goes on there", async () => {
    await server.up()
    const there = await read()
    same(there, known)
    assert.match(JSON.stringify(await server.v1("GET", "/trash")), new RegExp(server.trashed))
    // Files that were captured before the move are brought back after it.
    const kept = join(server.project, "kept.txt")
    assert.ok(existsSync(kept))
    const write = there.all[server.session].messages.find((m) => text(m).startsWith("/write"))
    await server.oc("POST", `/session/${server.session}/revert`, { messageID: write.info.id })
    assert.ok(!existsSync(kept))
    await server.oc("POST", `/session/${server.session}/unrevert`)
    assert.ok(existsSync(kept))
    const answer = await server.oc("POST", `/session/${server.session}/message`, { parts: [{ type: "text", text: "still there?" }] })
    assert.match(text(answer), /still there/)
    const again = await migrate("--from", "sqlite:", "--to", url)
    assert.notEqual(again.code, 0)
    await settle()
  })

  it("moves back, into a directory of its own", async () => {
    await server.stop()
    const home = mkdtempSync(join(dir, "back-"))
    const full = await migrate("--from", url, "--to", "sqlite:")
    assert.notEqual(full.code, 0)
    assert.match(full.stderr, /not empty .*nothing was written/)
    const done = await migrate("--from", url, "--to", `sqlite:${home}`)
    assert.equal(done.code, 0, done.stderr)
    assert.match(done.stdout, new RegExp(`to sqlite:${home}`))
    server.data = home
    server.extra = {}
    await server.up()
    same(await read(), known)
    const answer = await server.oc("POST", `/session/${server.session}/message`, { parts: [{ type: "text", text: "home again" }] })
    assert.match(text(answer), /home again/)
  })
})
