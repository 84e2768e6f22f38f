// What is around sessions, with both generations of the real SDK; what can be compared is asked of the real
// OpenCode server, too.
import assert from "node:assert/strict"
import { existsSync, mkdirSync } from "node:fs"
import { join } from "node:path"
import { after, before, describe, it } from "node:test"
import { createOpencodeClient as v1Client } from "@opencode-ai/sdk"
import { createOpencodeClient as v2Client } from "@opencode-ai/sdk/v2"
import { until } from "./lib/process.mjs"
import { RealOpencode } from "./lib/real.mjs"
import { Sessiond, gitProject, sandbox } from "./lib/sessiond.mjs"

let server, real, seen
const over = new AbortController()
before(async () => {
  server = await Sessiond.start({ name: "around" })
  const dir = sandbox("around-real")
  gitProject(join(dir, "real-opencode/project"))
  real = await RealOpencode.start(dir)
  seen = { ours: await follow(ours()), real: await follow(theirs()) }
}, { timeout: 120_000 })
after(async () => {
  over.abort()
  await server?.stop()
  await real?.stop()
})

const ours = () => v2Client({ baseUrl: server.base, headers: server.headers(), directory: server.project, throwOnError: true })
const theirs = () => v2Client({ baseUrl: real.url, directory: real.project, throwOnError: true })
const old = () => v1Client({ baseUrl: server.base, headers: server.headers(), directory: server.project, throwOnError: true })

/** Collects what `/global/event` tells. */
async function follow(client) {
  const all = []
  const { stream } = await client.global.event({ signal: over.signal })
  ;(async () => {
    for await (const frame of stream) all.push(frame)
  })().catch(() => {})
  await until("the stream", () => all.some((f) => f.payload.type === "server.connected"))
  return all
}

/** The first frame of a type after a place in what was seen. */
const next = (all, from, type) => until(type, () => all.slice(from).find((f) => f.payload.type === type))

/** What a value is made of, without what it says. */
function shape(value) {
  if (Array.isArray(value)) return value.length ? [shape(value[0])] : []
  if (value === null || typeof value !== "object") return typeof value
  return Object.fromEntries(Object.keys(value).sort().map((key) => [key, shape(value[key])]))
}

/** The status and the body of a call that may be refused. */
async function outcome(call) {
  const { data, error, response } = await call
  return { status: response.status, body: data ?? error }
}

describe("user interfaces", () => {
  const calls = [
    ["appendPrompt", { text: "hi" }, "tui.prompt.append"],
    ["submitPrompt", {}, "tui.command.execute"],
    ["clearPrompt", {}, "tui.command.execute"],
    ["openHelp", {}, "tui.command.execute"],
    ["openSessions", {}, "tui.command.execute"],
    ["openModels", {}, "tui.command.execute"],
    ["executeCommand", { command: "agent_cycle" }, "tui.command.execute"],
    ["showToast", { message: "m", variant: "info" }, "tui.toast.show"],
    ["showToast", { title: "t", message: "m", variant: "error", duration: 9 }, "tui.toast.show"],
    ["publish", { body: { type: "tui.prompt.append", properties: { text: "x" } } }, "tui.prompt.append"],
  ]
  for (const [method, args, type] of calls) {
    it(`tui.${method} tells ${type} as OpenCode does`, async () => {
      const told = []
      for (const [client, all] of [[ours(), seen.ours], [theirs(), seen.real]]) {
        const from = all.length
        const { data } = await client.tui[method](args)
        const frame = await next(all, from, type)
        told.push({ data, properties: frame.payload.properties, keys: Object.keys(frame).sort() })
      }
      assert.deepEqual(told[0], told[1])
    })
  }

  it("selects a session, and refuses one that is not there", async () => {
    const told = []
    for (const [client, all] of [[ours(), seen.ours], [theirs(), seen.real]]) {
      const { data: session } = await client.session.create({})
      const from = all.length
      await client.tui.selectSession({ sessionID: session.id })
      const frame = await next(all, from, "tui.session.select")
      assert.deepEqual(frame.payload.properties, { sessionID: session.id })
      told.push(await outcome(client.tui.selectSession({ sessionID: "ses_unknown" }, { throwOnError: false })))
    }
    assert.deepEqual(told[0], told[1])
  })

  it("opens the themes, and answers at the control queue", async () => {
    const from = seen.ours.length
    await old().tui.openThemes()
    const frame = await next(seen.ours, from, "tui.command.execute")
    assert.deepEqual(frame.payload.properties, { command: "theme.switch" })
    const { data } = await ours().tui.control.response({ body: { a: 1 } })
    assert.equal(data, false)
  })

  it("ends a wait at the control queue when the client goes away", async () => {
    const gone = new AbortController()
    const wait = ours().tui.control.next({}, { signal: gone.signal })
    gone.abort()
    await assert.rejects(wait)
    assert.equal((await ours().global.health()).data.healthy, true)
  })
})

describe("configuration", () => {
  it("keeps what clients set over a kill -9, and tells", async () => {
    const from = seen.ours.length
    const command = { greet: { template: "hello $1", description: "greets" } }
    const { data } = await ours().global.config.update({ config: { username: "ann", command, permission: { bash: "ask" } } })
    assert.equal(data.username, "ann")
    await next(seen.ours, from, "global.disposed")
    await server.restart()
    const { data: read } = await ours().config.get()
    assert.equal(read.username, "ann")
    assert.deepEqual(read.permission, { bash: "ask" })
    assert.ok((await ours().command.list()).data.some((c) => c.name === "greet"))
    const { data: whole } = await old().config.update({ body: read })
    assert.deepEqual(whole, read)
    assert.ok(existsSync(join(server.data, "settings.json")))
    seen.ours = await follow(ours())
  })

  it("refuses what nobody here would do, by name", async () => {
    const refused = await outcome(ours().config.update({ config: { mcp: { x: { type: "local", command: ["x"] } } } }, { throwOnError: false }))
    assert.equal(refused.status, 400)
    assert.match(JSON.stringify(refused.body), /mcp/)
  })

  it("refuses wrong values in OpenCode's words", async () => {
    for (const config of [{ share: "never" }, { model: 5 }]) {
      const both = []
      for (const client of [ours(), theirs()]) {
        both.push(await outcome(client.global.config.update({ config }, { throwOnError: false })))
      }
      assert.deepEqual(both[0], both[1])
      assert.equal(both[0].status, 400)
    }
  })
})

describe("projects", () => {
  it("have a name, an icon and commands", async () => {
    const told = []
    const change = { name: "X", icon: { color: "red" }, commands: { start: "make" } }
    for (const [client, all] of [[ours(), seen.ours], [theirs(), seen.real]]) {
      await client.session.create({})
      const { data: current } = await client.project.current()
      const from = all.length
      const { data: project } = await client.project.update({ projectID: current.id, ...change })
      const frame = await next(all, from, "project.updated")
      assert.equal(frame.directory, "global")
      assert.deepEqual(frame.payload.properties, project)
      const { data: listed } = await client.project.list()
      assert.deepEqual(listed.find((p) => p.id === current.id), project)
      const unknown = await outcome(client.project.update({ projectID: "nope", name: "X" }, { throwOnError: false }))
      const wrong = await outcome(client.project.update({ projectID: current.id, name: 5 }, { throwOnError: false }))
      told.push({ shape: shape(project), icon: project.icon, unknown, wrong })
    }
    assert.deepEqual(told[0], told[1])
    const { data: directories } = await ours().project.directories({ projectID: "global" })
    assert.deepEqual(directories, [])
  })

  it("survive a kill -9 with their names", async () => {
    await server.restart()
    assert.equal((await ours().project.current()).data.name, "X")
    seen.ours = await follow(ours())
  })

  it("begin with git init", async () => {
    const told = []
    for (const [client, base] of [[ours(), server.dir], [theirs(), real.dir]]) {
      const directory = join(base, "fresh")
      mkdirSync(directory)
      const { data } = await client.project.initGit({ directory })
      assert.ok(existsSync(join(directory, ".git")))
      told.push(data.vcs)
    }
    assert.deepEqual(told, ["git", "git"])
  })
})

describe("sessions of all projects", () => {
  it("are listed page by page, none lost", async () => {
    const client = ours()
    const directory = gitProject(join(server.dir, "second"))
    const made = []
    for (let i = 0; i < 5; i++) {
      made.push((await client.session.create({ title: `page ${i}` })).data.id)
      made.push((await client.session.create({ directory, title: `page ${i}` })).data.id)
    }
    const found = []
    for (let cursor; ;) {
      // The SDK puts the client's directory into the query of a GET; this list is for all.
      const query = new URLSearchParams({ limit: "3", search: "page", ...(cursor ? { cursor } : {}) })
      const reply = await server.call("GET", `/opencode/experimental/session?${query}`)
      found.push(...reply.json)
      cursor = reply.headers.get("x-next-cursor")
      if (!cursor) break
    }
    assert.deepEqual(found.map((s) => s.id).sort(), made.sort())
    assert.equal(new Set(found.map((s) => s.project.worktree)).size, 2)
    const here = (await client.experimental.session.list({ directory })).data
    assert.equal(here.length, 5)
    const moved = await outcome(client.experimental.session.background({ sessionID: made[0] }))
    assert.deepEqual(moved, { status: 200, body: false })
  })

  it("have OpenCode's shape", async () => {
    const shapes = []
    for (const client of [ours(), theirs()]) {
      await client.session.create({ title: "shape" })
      const { data } = await client.experimental.session.list({ search: "shape", limit: 1 })
      const { name, ...project } = data[0].project
      shapes.push(shape({ ...data[0], project }))
    }
    assert.deepEqual(shapes[0], shapes[1])
  })
})

describe("directories and the server", () => {
  it("are dropped without harm", async () => {
    const client = ours()
    const { data: session } = await client.session.create({})
    const from = seen.ours.length
    assert.equal((await client.instance.dispose()).data, true)
    const frame = await next(seen.ours, from, "server.instance.disposed")
    assert.deepEqual(frame.payload.properties, { directory: server.project })
    assert.equal((await client.global.dispose()).data, true)
    await next(seen.ours, from, "global.disposed")
    assert.equal((await client.session.get({ sessionID: session.id })).data.id, session.id)
  })

  it("write lines of clients into the log", async () => {
    const line = { service: "around", level: "warn", message: "one\ntwo \u001b[31m", extra: { a: 1 } }
    assert.equal((await old().app.log({ body: line })).data, true)
    const logged = await until("the line", () => server.child.stderr.split("\n").find((l) => l.includes("around") && l.includes("one")))
    assert.ok(!logged.includes("\u001b[31m"))
    const both = []
    for (const client of [ours(), theirs()]) {
      both.push(await outcome(client.app.log({ ...line, level: "loud" }, { throwOnError: false })))
    }
    assert.deepEqual(both[0], both[1])
  })

  it("answer what there is none of as OpenCode does", async () => {
    const calls = {
      capabilities: (c) => c.experimental.capabilities.get(),
      console: (c) => c.experimental.console.get(),
      organisations: (c) => c.experimental.console.listOrgs(),
      resource: (c) => c.experimental.resource.list(),
      workspaces: (c) => c.experimental.workspace.list(),
      workspaceStatus: (c) => c.experimental.workspace.status(),
      worktrees: (c) => c.worktree.list(),
      lsp: (c) => c.lsp.status(),
      formatter: (c) => c.formatter.status(),
      mcp: (c) => c.mcp.status(),
      providerAuth: (c) => c.provider.auth(),
    }
    for (const [name, call] of Object.entries(calls)) {
      assert.deepEqual(await outcome(call(ours())), await outcome(call(theirs())), name)
    }
    for (const name of ["path", "project"]) {
      const call = (c) => (name === "path" ? c.path.get() : c.project.current())
      assert.equal((await outcome(call(ours()))).status, 200)
    }
    assert.deepEqual((await old().app.agents()).data.map((a) => typeof a.name).slice(0, 1), ["string"])
    assert.ok((await old().config.providers()).data.providers.length)
  })

  it("say so where nothing is offered", async () => {
    const c = ours()
    const none = { throwOnError: false }
    const calls = [
      c.tool.ids({}, none),
      c.tool.list({ provider: "demo", model: "default" }, none),
      c.worktree.create({}, none),
      c.global.upgrade({ target: "9.9.9" }, none),
      c.mcp.add({ name: "x", config: { type: "local", command: ["x"] } }, none),
      c.auth.set({ providerID: "demo", auth: { type: "api", key: "k" } }, none),
      c.provider.oauth.authorize({ providerID: "demo", method: 0 }, none),
      c.pty.list({}, none),
      c.sync.start({}, none),
    ]
    for (const call of calls) {
      const { status, body } = await outcome(call)
      assert.equal(status, 501, JSON.stringify(body))
      assert.equal(body.name, "NotImplementedError")
    }
  })
})

describe("the history of events", () => {
  it("is that of the stream, after what is known", async () => {
    const client = ours()
    const from = seen.ours.length
    const { data: session } = await client.session.create({})
    await client.session.prompt({ sessionID: session.id, parts: [{ type: "text", text: "hello" }] })
    await next(seen.ours, from, "session.idle")
    const told = seen.ours.slice(from).filter((f) => f.payload.type === "sync").map((f) => f.payload.syncEvent)
    const { data: rows } = await client.sync.history.list({ body: { ses_unknown: 0 } })
    const mine = rows.filter((r) => r.aggregate_id === session.id)
    assert.ok(mine.length > 5)
    for (const row of mine) {
      const same = told.find((t) => t.id === row.id)
      assert.deepEqual([same.seq, same.type], [row.seq, row.type])
    }
    const { data: rest } = await client.sync.history.list({ body: Object.fromEntries(rows.map((r) => [r.aggregate_id, r.seq])) })
    assert.deepEqual(rest, [])
    const { data: theirRows } = await theirs().sync.history.list({ body: { ses_unknown: 0 } })
    const created = (all) => shape({ ...all.find((r) => r.type === "session.created.1"), data: {} })
    assert.deepEqual(created(rows), created(theirRows))
    const stolen = await outcome(client.sync.steal({ sessionID: session.id }, { throwOnError: false }))
    assert.equal(stolen.status, 400)
  })

  it("of a session on the real server can be replayed here", async () => {
    const { data: session } = await theirs().session.create({ title: "elsewhere" })
    await theirs().session.prompt({ sessionID: session.id, noReply: true, parts: [{ type: "text", text: "a note" }] })
    const { data: rows } = await theirs().sync.history.list({ body: { ses_unknown: 0 } })
    const mine = rows.filter((r) => r.aggregate_id === session.id)
    // Both projects have one commit of their own: the real one's is made known here by a session in it.
    await ours().session.create({ directory: real.project })
    const events = mine.map(({ aggregate_id, ...row }) => ({ ...row, aggregateID: aggregate_id }))
    for (const from of [0, 0, 1]) {
      const { data } = await ours().sync.replay({ body_directory: server.project, events: events.slice(from) })
      assert.deepEqual(data, { sessionID: session.id })
    }
    const { data: copy } = await ours().session.get({ sessionID: session.id })
    assert.equal(copy.title, session.title)
    assert.deepEqual((await ours().session.messages({ sessionID: session.id })).data.map((m) => m.parts[0].text), ["a note"])
    await server.restart()
    assert.equal((await ours().session.get({ sessionID: session.id })).data.id, session.id)
  })
})
