// The real `opencode run --attach` against the demo agent.
import assert from "node:assert/strict"
import { existsSync } from "node:fs"
import { join } from "node:path"
import { after, before, describe, it } from "node:test"
import { opencodeEnv, recipes } from "./lib/agents.mjs"
import { startModel } from "./lib/model.mjs"
import { opencodeBin } from "./lib/paths.mjs"
import { hermetic, run } from "./lib/process.mjs"
import { RealOpencode } from "./lib/real.mjs"
import { Sessiond, TOKEN, gitProject, sandbox } from "./lib/sessiond.mjs"

let server
before(async () => {
  server = await Sessiond.start({ name: "run" })
})
after(() => server?.stop())

const environment = () => hermetic(join(server.dir, "client"), {
  ...opencodeEnv,
  OPENCODE_SERVER_PASSWORD: TOKEN,
})

// It puts words in quotes that come as one argument with spaces, so each word is one.
async function opencodeRun(words, ...options) {
  const end = await run("opencode run", opencodeBin(), ["run", "--attach", server.base, ...options, ...words.split(" ")], {
    env: environment(), cwd: server.project, timeout: 60_000,
  })
  return { ...end, lines: end.stdout.split("\n") }
}

describe("opencode run --attach", () => {
  it("prints the answer and ends", async () => {
    const end = await opencodeRun("what is the weather")
    assert.equal(end.code, 0, end.stderr)
    assert.match(end.stdout, /You said: what is the weather/)
  })

  it("continues the last session with -c", async () => {
    await opencodeRun("remember the word tangerine")
    const sessions = (await server.oc("GET", "/session")).length
    const end = await opencodeRun("/history", "-c")
    assert.equal(end.code, 0, end.stderr)
    assert.match(end.stdout, /tangerine/)
    assert.equal((await server.oc("GET", "/session")).length, sessions)
  })

  it("goes on in a copy with --fork", async () => {
    await opencodeRun("remember the word clementine")
    const before = await server.oc("GET", "/session?roots=true")
    const end = await opencodeRun("/history", "-c", "--fork")
    assert.equal(end.code, 0, end.stderr)
    assert.match(end.stdout, /clementine/)
    const after = await server.oc("GET", "/session?roots=true")
    assert.equal(after.length, before.length + 1)
    assert.match(after[0].title, /\(fork #1\)$/)
    const origin = await server.oc("GET", `/session/${before[0].id}/message`)
    assert.equal(origin.length, 2, "the origin stays as it was")
  })

  it("runs a slash command with --command", async () => {
    const end = await opencodeRun("briefly", "--command", "init", "--auto")
    assert.equal(end.code, 0, end.stderr)
    assert.equal(existsSync(join(server.project, "AGENTS.md")), true, end.stdout + end.stderr)
  })

  it("rejects permissions by itself, and allows them with --auto", async () => {
    const no = await opencodeRun("/ask write rejected.txt no")
    assert.equal(existsSync(join(server.project, "rejected.txt")), false, no.stdout + no.stderr)
    const yes = await opencodeRun("/ask write allowed.txt yes", "--auto")
    assert.equal(yes.code, 0, yes.stderr)
    assert.equal(existsSync(join(server.project, "allowed.txt")), true, yes.stdout + yes.stderr)
  })

  it("speaks JSON with --format json", async () => {
    const end = await opencodeRun("in json please", "--format", "json")
    assert.equal(end.code, 0, end.stderr)
    const events = end.lines.filter(Boolean).map((line) => JSON.parse(line))
    const types = new Set(events.map((e) => e.type))
    for (const type of ["step_start", "text", "step_finish"]) assert.ok(types.has(type), `${type} in ${[...types]}`)
    assert.match(events.find((e) => e.type === "text").part.text, /in json please/)
  })

  it("tells about a failed turn", async () => {
    const end = await opencodeRun("/fail the well is dry")
    assert.match(end.stdout + end.stderr, /the well is dry/)
  })
})

describe("prints what it prints with the real server", () => {
  let model, real, ours
  before(async () => {
    const dir = sandbox("run-both")
    model = await startModel(dir)
    ;[real, ours] = await Promise.all([
      RealOpencode.start(dir, { project: gitProject(join(dir, "real/project")), model: model.url, password: TOKEN }),
      Sessiond.start({
        name: "run-both", dir: join(dir, "sessiond"), defaultAgent: "opencode",
        agents: { opencode: recipes.opencode(join(dir, "agent-home"), model.url) },
      }),
    ])
  }, { timeout: 120_000 })
  after(async () => {
    await Promise.all([ours?.stop(), real?.stop()])
    await model?.stop()
  })

  /** Runs the same on both; what they print, without what has to differ. */
  async function both(words, ...options) {
    const sides = [[real.url, real.project, real.home], [ours.base, ours.project, ours.dir]]
    return Promise.all(sides.map(async ([base, project, home]) => {
      const mine = words.map((word) => word.replace("<project>", project))
      const end = await run("opencode run", opencodeBin(), ["run", "--attach", base, "--dir", project, ...options, ...mine], {
        env: hermetic(join(home, "run-client"), { ...opencodeEnv, OPENCODE_SERVER_PASSWORD: TOKEN }), cwd: project, timeout: 90_000,
      })
      const plain = (text) => text.replaceAll(project, "<project>")
        .replace(/\x1b\[[0-9;]*m/g, "").replace(/· \S+/g, "· <model>")
      return { code: end.code, stdout: plain(end.stdout), stderr: plain(end.stderr) }
    }))
  }

  it("an answer", async () => {
    const [theirs, mine] = await both(["please", "@@TEXT"])
    assert.equal(theirs.code, 0, theirs.stderr)
    assert.ok(theirs.stdout.trim(), "it says something")
    assert.deepEqual(mine, theirs)
  })

  it("a file that is written, with --auto", async () => {
    const [theirs, mine] = await both(["please", "@@WRITE:<project>/run.txt"], "--auto")
    assert.equal(theirs.code, 0, theirs.stderr)
    assert.equal(existsSync(join(ours.project, "run.txt")), true)
    assert.deepEqual(mine, theirs)
  })

  it("JSON", async () => {
    const [theirs, mine] = await both(["please", "@@TEXT"], "--format", "json")
    const [a, b] = [theirs, mine].map(({ stdout }) => stdout.trim().split("\n").map((line) => JSON.parse(line)))
    const said = (events) => events.map((e) => [e.type, Object.keys(e).sort(), e.part.type, e.part.text])
    assert.deepEqual(said(b), said(a))
    assert.deepEqual(a.map((e) => e.type), ["step_start", "text", "step_finish"])
  })
})
