// Import and export with the real OpenCode: its command line, its database, its server at work.
import assert from "node:assert/strict"
import { createHash } from "node:crypto"
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { join } from "node:path"
import { after, before, describe, it } from "node:test"
import { opencodeConfig, opencodeEnv } from "./lib/agents.mjs"
import { startModel } from "./lib/model.mjs"
import { opencodeBin, sessiondBin } from "./lib/paths.mjs"
import { Child, hermetic, run, until } from "./lib/process.mjs"
import { gitProject, sandbox, Sessiond, text, TOKEN } from "./lib/sessiond.mjs"

const dir = sandbox("port")
const home = join(dir, "home")
const project = gitProject(join(dir, "project"))
const store = join(home, ".local/share/opencode")
const database = join(store, "opencode.db")
const env = hermetic(home, opencodeEnv)

let model
let real
before(async () => {
  model = await startModel(join(dir, "model"))
  mkdirSync(join(home, ".config/opencode"), { recursive: true })
  const config = { ...opencodeConfig(model.url), permission: "allow" }
  writeFileSync(join(home, ".config/opencode/opencode.json"), JSON.stringify(config))
  real = await startReal()
  await fill()
})
after(async () => {
  await real?.stop()
  await model?.stop()
})

function freePort() {
  return new Promise((done, fail) => {
    const server = createServer()
    server.on("error", fail)
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address()
      server.close(() => done(port))
    })
  })
}

async function startReal() {
  const port = await freePort()
  const child = new Child("opencode serve", opencodeBin(), ["serve", "--hostname", "127.0.0.1", "--port", String(port)], { env, cwd: project })
  await child.line(/listening on/, { within: 60_000 })
  const call = async (method, path, body) => {
    const reply = await fetch(`http://127.0.0.1:${port}${path}`, {
      method,
      headers: body === undefined ? {} : { "content-type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(90_000),
    })
    const content = await reply.text()
    assert.ok(reply.ok, `${method} ${path}: ${reply.status} ${content.slice(0, 300)}`)
    return content ? JSON.parse(content) : undefined
  }
  return { call, stop: () => child.stop(2_000) }
}

const say = (id, words) => real.call("POST", `/session/${id}/message`, { parts: [{ type: "text", text: words }] })

/** Sessions of all kinds on the real server. */
const made = {}
async function fill() {
  const create = (body) => real.call("POST", "/session", body)
  made.talk = await create({ title: "Talk", permission: [{ permission: "bash", pattern: "*", action: "allow" }] })
  for (const script of ["@@TEXT", "@@THINK", "@@BASH", "@@WRITE", "@@PLAN"]) await say(made.talk.id, `please ${script}`)
  made.child = await create({ title: "Sub-task", parentID: made.talk.id })
  await say(made.child.id, "@@TEXT")
  made.archived = await create({ title: "Archived", metadata: { a: [1] } })
  await real.call("PATCH", `/session/${made.archived.id}`, { time: { archived: 1_700_000_000_000 } })
  made.reverted = await create({ title: "Reverted" })
  const first = await say(made.reverted.id, "@@TEXT")
  await say(made.reverted.id, "@@TEXT again")
  const messages = await real.call("GET", `/session/${made.reverted.id}/message`)
  await real.call("POST", `/session/${made.reverted.id}/revert`, { messageID: messages[2].info.id })
  assert.ok(first)
}

const sessiond = (data, args, options = {}) =>
  run("sessiond", sessiondBin(), ["--data-dir", data, ...args], {
    env: hermetic(join(dir, "cli"), { SESSIOND_TOKEN: TOKEN, TMPDIR: mkdtempSync(join(dir, "tmp-")), ...options.env }), cwd: dir,
  })

async function imported(data, ...args) {
  const end = await sessiond(data, ["import", "opencode", ...(args.length ? args : [database])])
  assert.equal(end.code, 0, end.stdout + end.stderr)
  return end.stdout
}

const opencode = (args) => run("opencode", opencodeBin(), args, { env, cwd: project })

/** Names, times and contents of what OpenCode keeps. */
function state() {
  const files = {}
  for (const name of readdirSync(store).filter((n) => n.startsWith("opencode.db"))) {
    const path = join(store, name)
    const { mtimeNs, size } = statSync(path, { bigint: true })
    files[name] = [String(mtimeNs), String(size), createHash("sha256").update(readFileSync(path)).digest("hex")]
  }
  return files
}

/** Waits until the server writes no more. */
async function settled() {
  let last
  await until("the database is at rest", async () => {
    const now = JSON.stringify(state())
    const same = now === last
    last = now
    return same
  }, { every: 300 })
}

/** What documents say is different: cost and tokens are sums, links and snapshots stay behind. */
function sessionOf({ share, summary, revert, cost, ...info }) {
  const { snapshot, ...marker } = revert ?? {}
  return { ...info, revert: revert && marker, summary: summary && { ...summary, diffs: undefined }, cost: Math.round(cost * 1e9) }
}
const plain = (value) => JSON.parse(JSON.stringify(value))

describe("import of a database", () => {
  const data = join(dir, "data")

  it("takes all sessions of a server at work, and leaves its files as they are", async () => {
    await settled()
    const before = state()
    const dry = await imported(data, database, "--dry-run")
    assert.match(dry, /would import 4 sessions/)
    const done = await imported(data)
    assert.match(done, /imported 4 sessions \(\d+ messages\): 4 new, 0 grown; 0 already there; 0 left out/)
    assert.deepEqual(state(), before)
    assert.match(await imported(data), /imported 0 sessions \(0 messages\): 0 new, 0 grown; 4 already there; 0 left out/)
    assert.deepEqual(state(), before)
  })

  it("finds the database by itself", async () => {
    const env = { XDG_DATA_HOME: join(home, ".local/share") }
    const end = await sessiond(data, ["import", "opencode"], { env })
    assert.match(end.stdout, /4 already there/, end.stderr)
    const other = await sessiond(data, ["import", "opencode"], { env: { OPENCODE_DB: join(dir, "nowhere.db") } })
    assert.equal(other.code, 1)
    assert.match(other.stderr, /there is no file .*nowhere\.db/)
  })

  it("keeps ids, order, times, parts, todos and metadata", async () => {
    const server = await Sessiond.start({ name: "port", dir: join(dir, "one"), settings: "" })
    try {
      await imported(server.data)
      for (const { id } of Object.values(made)) {
        const there = await real.call("GET", `/session/${id}`)
        const here = await server.oc("GET", `/session/${id}`)
        assert.deepEqual(plain(sessionOf(here)), plain(sessionOf(there)))
        assert.deepEqual(await server.oc("GET", `/session/${id}/message`), await real.call("GET", `/session/${id}/message`))
        assert.deepEqual(await server.oc("GET", `/session/${id}/todo`), await real.call("GET", `/session/${id}/todo`))
      }
      const children = await server.oc("GET", `/session/${made.talk.id}/children`)
      assert.deepEqual(children.map((c) => c.id), [made.child.id])
      assert.ok((await server.oc("GET", `/session/${made.talk.id}/todo`)).length > 0, "the plan came along")
      await continues(server)
    } finally {
      await server.stop()
    }
  })

  async function continues(server) {
    const listed = await server.oc("GET", `/session?directory=${encodeURIComponent(project)}&search=talk`)
    assert.deepEqual(listed.map((s) => s.id), [made.talk.id])
    const { id } = made.talk
    const reply = await server.oc("POST", `/session/${id}/message`, { parts: [{ type: "text", text: "/history" }] })
    assert.equal(reply.info.error, undefined)
    assert.match(text(reply), /scripted model/, "its agent was told what had been said")
    const fork = await server.oc("POST", `/session/${id}/fork`, {})
    const of = async (session) => (await server.oc("GET", `/session/${session}/message`)).length
    assert.equal(await of(fork.id), await of(id))
    const shared = await server.oc("POST", `/session/${id}/share`)
    assert.equal((await fetch(shared.share.url)).status, 200)

    // The real client goes on with it too: the model that it was made with is not here.
    const client = await run("opencode run", opencodeBin(), ["run", "--attach", server.base, "-s", made.child.id, "hello"], {
      env: hermetic(join(dir, "client"), { ...opencodeEnv, OPENCODE_SERVER_PASSWORD: TOKEN }), cwd: project, timeout: 60_000,
    })
    assert.match(client.stdout, /You said: hello/, client.stderr)

    // It went on here and goes on there: neither is overwritten.
    await say(id, "@@TEXT in both places")
    const again = await sessiond(server.data, ["import", "opencode", database, "--session", id])
    assert.match(again.stdout, new RegExp(`${id}: it went on here, and 2 of its messages there are not here`))
  }

  it("gives a session that grew its new messages", async () => {
    await say(made.archived.id, "@@TEXT after all")
    const done = await imported(data, database, "--session", made.archived.id)
    assert.match(done, /imported 1 session \(2 messages\): 0 new, 1 grown/)
    const export_ = JSON.parse((await sessiond(data, ["export", made.archived.id])).stdout)
    assert.deepEqual(export_.messages, await real.call("GET", `/session/${made.archived.id}/message`))
  })

  it("closes what is not finished, and takes its end later", async () => {
    const session = await real.call("POST", "/session", { title: "Slow" })
    const answer = say(session.id, "@@SLOW")
    await until("it writes", async () => (await real.call("GET", `/session/${session.id}/message`)).length === 2)
    assert.match(await imported(data, database, "--session", session.id), /1 new/)
    const read = async () => JSON.parse((await sessiond(data, ["export", session.id])).stdout).messages
    const [, cut] = await read()
    assert.equal(cut.info.error.name, "MessageAbortedError")
    assert.ok(cut.info.time.completed && cut.parts.every((p) => p.type !== "text" || p.time.end))
    await answer
    await settled()
    assert.match(await imported(data, database, "--session", session.id), /1 grown/)
    // What OpenCode notes of changed files at the prompt, when its turn is over, does not come any more.
    const bare = (messages) => messages.map(({ info: { summary, ...info }, parts }) => ({ info, parts }))
    assert.deepEqual(bare(await read()), bare(await real.call("GET", `/session/${session.id}/message`)))
  })
})

describe("a kill -9 in the middle of an import", () => {
  it("leaves nothing half done in sight, and the next import finishes it", async () => {
    // One session of many batches, made from a real one.
    const source = JSON.parse((await sessiond(join(dir, "data"), ["export", made.talk.id])).stdout)
    const [user, answer] = source.messages
    const id = "ses_0000000000largeOneOfManyBatch"
    const renamed = (message, n) => {
      const msg = `msg_${String(n).padStart(12, "0")}large`
      const created = 1_700_000_000_000 + n
      return {
        info: { ...message.info, id: msg, sessionID: id, time: { created, completed: message.info.role === "assistant" ? created : undefined } },
        parts: message.parts.map((p, i) => ({ ...p, id: `prt_${String(n).padStart(12, "0")}x${i}`, sessionID: id, messageID: msg })),
      }
    }
    const many = Array.from({ length: 4_000 }, (_, n) => renamed(n % 2 ? answer : user, n + 1))
    const file = join(dir, "large.json")
    writeFileSync(file, JSON.stringify({ info: { ...source.info, id }, messages: many }))

    const server = await Sessiond.start({ name: "port-kill", dir: join(dir, "kill") })
    try {
      for (let round = 0; round < 2; round += 1) {
        const child = new Child("sessiond import", sessiondBin(), ["--data-dir", server.data, "import", "opencode", "--file", file],
          { env: hermetic(join(dir, "cli"), { SESSIOND_TOKEN: TOKEN }), cwd: dir })
        await until("a batch came", async () => {
          const { sessions } = await server.v1("GET", "/trash")
          return sessions.some((t) => t.session.id === id) || child.end
        }, { every: 5 })
        await server.crash()
        await child.exited
        await server.up()
        const listed = await server.oc("GET", `/session?directory=${encodeURIComponent(project)}`)
        const whole = listed.some((s) => s.id === id)
        if (whole) {
          assert.equal((await server.oc("GET", `/session/${id}/message`)).length, many.length)
        } else {
          assert.equal((await server.call("GET", `/opencode/session/${id}`)).status, 404)
        }
      }
      const end = await sessiond(server.data, ["import", "opencode", "--file", file])
      assert.equal(end.code, 0, end.stdout + end.stderr)
      const messages = await server.oc("GET", `/session/${id}/message`)
      assert.deepEqual(messages.map((m) => m.info.id), many.map((m) => m.info.id))
      assert.deepEqual(messages.map((m) => m.parts.length), many.map((m) => m.parts.length))
    } finally {
      await server.stop()
    }
  })
})

describe("the round trip", () => {
  it("sessiond, opencode import, its database, another sessiond: the same messages", async () => {
    const server = await Sessiond.start({ name: "port-trip", dir: join(dir, "trip") })
    let id
    let here
    try {
      // OpenCode puts an imported session where it runs.
      const session = await server.oc("POST", `/session?directory=${encodeURIComponent(project)}`, { title: "Round trip" })
      id = session.id
      for (const words of ["hello there", "/write made.txt some text", "/plan", "/run echo out"]) {
        const ask = server.oc("POST", `/session/${id}/message`, { agent: "auto", parts: [{ type: "text", text: words }] })
        await server.permitting(session, "once", ask)
      }
      const reply = await server.call("GET", `/opencode/session/${id}/export`)
      assert.equal(reply.status, 200)
      assert.equal(reply.headers.get("content-disposition"), `attachment; filename="${id}.json"`)
      const v1 = await server.call("GET", `/v1/sessions/${id}/export?format=opencode`)
      assert.deepEqual(v1.json, reply.json)
      assert.equal((await server.call("GET", `/v1/sessions/${id}/export?format=x`)).json.field, "format")
      here = await server.oc("GET", `/session/${id}/message`)
      assert.deepEqual(reply.json.messages, here)
      const file = join(dir, "trip.json")
      // While the server runs it is asked.
      const end = await sessiond(server.data, ["export", id, "-o", file])
      assert.equal(end.code, 0, end.stderr)
      assert.deepEqual(JSON.parse(readFileSync(file, "utf8")), reply.json)
      assert.equal(existsSync(`${file}.part`), false)
      const none = await sessiond(server.data, ["export", "ses_unknown"])
      assert.deepEqual([none.code, none.stdout], [1, ""])
    } finally {
      await server.stop()
    }
    const file = join(dir, "trip.json")
    const taken = await opencode(["import", file])
    assert.match(taken.stdout, new RegExp(`Imported session: ${id}`), taken.stderr)
    const list = await opencode(["session", "list", "--format", "json"])
    assert.ok(JSON.parse(list.stdout).some((s) => s.id === id && s.title === "Round trip"))
    const back = await opencode(["export", id])
    const exported = JSON.parse(back.stdout.slice(back.stdout.indexOf("{")))
    assert.deepEqual(exported.messages, here)

    const fresh = join(dir, "fresh")
    assert.match(await imported(fresh, database, "--session", id), /1 new/)
    const again = JSON.parse((await sessiond(fresh, ["export", id])).stdout)
    assert.deepEqual(again.messages, here)
    const original = JSON.parse(readFileSync(file, "utf8"))
    assert.deepEqual(plain(sessionOf(again.info)), plain(sessionOf(original.info)))

    // And straight from the file, of either program.
    for (const [name, content] of [["ours", readFileSync(file)], ["theirs", JSON.stringify(exported)]]) {
      const from = join(dir, `${name}.json`)
      writeFileSync(from, content)
      assert.match(await imported(join(dir, name), "--file", from), /1 new/)
      const export_ = JSON.parse((await sessiond(join(dir, name), ["export", id])).stdout)
      assert.deepEqual(export_.messages, here)
    }
  })
})

describe("what is no database", () => {
  it("is named", async () => {
    const nothing = join(dir, "nothing.db")
    writeFileSync(nothing, "this is no database. ".repeat(400))
    const end = await sessiond(join(dir, "damaged-data"), ["import", "opencode", nothing])
    assert.equal(end.code, 1)
    assert.match(end.stderr, /cannot read/)
  })
})
