// Shell commands, slash commands, init and summaries: the real SDK, the real `opencode run`, and a crash.
import assert from "node:assert/strict"
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { after, before, describe, it } from "node:test"
import { createOpencodeClient as v1Client } from "@opencode-ai/sdk"
import { createOpencodeClient as v2Client } from "@opencode-ai/sdk/v2"
import { opencodeEnv } from "./lib/agents.mjs"
import { opencodeBin } from "./lib/paths.mjs"
import { hermetic, run, until } from "./lib/process.mjs"
import { Sessiond, text, TOKEN } from "./lib/sessiond.mjs"

const settings = `
[commands.greet]
description = "greets"
template = "Say hello to $1 in !\`basename $PWD\`"
[commands.doit]
template = "/write by-command.txt $ARGUMENTS"
agent = "auto"
`

let server
before(async () => {
  server = await Sessiond.start({ name: "commands", settings })
})
after(() => server?.stop())

const options = () => ({ baseUrl: server.base, headers: server.headers(), directory: server.project, throwOnError: true })
const allow = [{ permission: "*", pattern: "*", action: "allow" }]
const model = { providerID: "demo", modelID: "default" }

/** The processes whose environment has our marker of a turn. */
function processes(turn) {
  return readdirSync("/proc").filter((pid) => {
    if (!/^\d+$/.test(pid)) return false
    try {
      return readFileSync(`/proc/${pid}/environ`, "latin1").split("\0").includes(`SESSIOND_SPAWN_ID=${turn}`)
    } catch {
      return false
    }
  })
}

describe("SDK v1", () => {
  const create = async (body = {}) => (await v1Client(options()).session.create({ body })).data

  it("runs a shell command and gets its output", async () => {
    const c = v1Client(options())
    const session = await create()
    const { data: reply } = await c.session.shell({
      path: { id: session.id }, body: { agent: "build", command: "pwd; echo err >&2; exit 3" },
    })
    const [part] = reply.parts ?? (await c.session.messages({ path: { id: session.id } })).data[1].parts
    assert.equal(part.tool, "bash")
    assert.equal(part.state.status, "completed")
    assert.equal(part.state.output, `${server.project}\nerr\n`)
    assert.equal(part.state.metadata.exit, 3)
    const { data: messages } = await c.session.messages({ path: { id: session.id } })
    assert.deepEqual(messages.map((m) => m.info.role), ["user", "assistant"])
    assert.equal(text(messages[0]), "The following tool was executed by the user")
    const { data: heard } = await c.session.prompt({
      path: { id: session.id }, body: { parts: [{ type: "text", text: "/history" }] },
    })
    assert.match(text(heard), /echo err/)
  })

  it("is refused a shell command in a busy session, and an abort ends one", async () => {
    const c = v1Client(options())
    const session = await create()
    const running = c.session.shell({ path: { id: session.id }, body: { agent: "build", command: "echo begun; sleep 600" } })
    const [turn] = await until("the command runs", async () => {
      const turns = await server.turns(session.id)
      return turns[0] && processes(turns[0].id).length && turns
    })
    const busy = await v1Client({ ...options(), throwOnError: false }).session.shell({
      path: { id: session.id }, body: { agent: "build", command: "true" },
    })
    assert.equal(busy.response.status, 409)
    assert.equal(busy.error._tag, "SessionBusyError")
    await c.session.abort({ path: { id: session.id } })
    assert.deepEqual(processes(turn.id), [])
    const { data: reply } = await running
    assert.equal((reply.info ?? reply).error, undefined)
    const { data: messages } = await c.session.messages({ path: { id: session.id } })
    assert.match(messages[1].parts[0].state.output, /User aborted the command/)
  })

  it("lists and runs commands", async () => {
    const c = v1Client(options())
    const session = await create({ permission: allow })
    const names = async () => (await c.command.list()).data.map((command) => command.name)
    assert.deepEqual((await names()).slice(0, 3), ["init", "doit", "greet"])
    const { data: reply } = await c.session.command({
      path: { id: session.id }, body: { command: "greet", arguments: "'Ada Lovelace'" },
    })
    assert.match(text(reply), /You said: Say hello to Ada Lovelace in project/)
    assert.ok((await names()).includes("plan"), "the agent has told its commands")
    const { data: plan } = await c.session.command({ path: { id: session.id }, body: { command: "plan", arguments: "" } })
    assert.equal(plan.info.role, "assistant")
    assert.equal((await c.session.todo({ path: { id: session.id } })).data.length, 3)
    await c.session.command({ path: { id: session.id }, body: { command: "doit", arguments: "by command" } })
    assert.equal(readFileSync(join(server.project, "by-command.txt"), "utf8").trim(), "by command")
    const unknown = await v1Client({ ...options(), throwOnError: false }).session.command({
      path: { id: session.id }, body: { command: "nope", arguments: "" },
    })
    assert.equal(unknown.response.status, 400)
    assert.match(unknown.error.data.message, /Available commands: init, doit, greet/)
  })

  it("writes AGENTS.md", async () => {
    const session = await create()
    await server.oc("PATCH", `/session/${session.id}`, { permission: allow })
    const { data } = await v1Client(options()).session.init({
      path: { id: session.id }, body: { ...model, messageID: "msg_init_e2e" },
    })
    assert.equal(data, true)
    assert.ok(existsSync(join(server.project, "AGENTS.md")))
  })

  it("summarises", async () => {
    const c = v1Client(options())
    const session = await create()
    const say = (words) => c.session.prompt({ path: { id: session.id }, body: { parts: [{ type: "text", text: words }] } })
    await say("the first word is apple")
    const events = server.events()
    await events.connected()
    assert.equal((await c.session.summarize({ path: { id: session.id }, body: model })).data, true)
    await events.find("session.compacted", (e) => e.type === "session.compacted" && e.properties.sessionID === session.id)
    await events.close()
    const { data: messages } = await c.session.messages({ path: { id: session.id } })
    assert.deepEqual(messages[2].parts.map((p) => p.type), ["compaction"])
    assert.equal(messages[3].info.summary, true)
    const { data: next } = await say("/history")
    assert.match(text(next), /I remember 1 prompts/)
    assert.match(text(next), /summary of what came before[^]*apple/)
  })
})

describe("SDK v2", () => {
  it("does the same", async () => {
    const c = v2Client(options())
    const { data: session } = await c.session.create({})
    const sessionID = session.id
    await c.session.shell({ sessionID, agent: "build", command: "echo two > two.txt" })
    assert.equal(readFileSync(join(server.project, "two.txt"), "utf8"), "two\n")
    const { data: reply } = await c.session.command({ sessionID, command: "greet", arguments: "Grace" })
    assert.match(text(reply), /Say hello to Grace in project/)
    assert.equal((await c.session.summarize({ sessionID, ...model })).data, true)
    assert.ok((await c.command.list()).data.some((command) => command.name === "greet"))
  })
})

describe("opencode run --attach --command", () => {
  it("runs a command of the configuration", async () => {
    const end = await run("opencode run", opencodeBin(),
      ["run", "--attach", server.base, "--command", "greet", "Ada"], {
        env: hermetic(join(server.dir, "client"), { ...opencodeEnv, OPENCODE_SERVER_PASSWORD: TOKEN }),
        cwd: server.project, timeout: 60_000,
      })
    assert.equal(end.code, 0, end.stderr)
    assert.match(end.stdout, /Say hello to Ada in project/)
  })
})

describe("a crash", () => {
  it("ends a running shell command and all that it started", async () => {
    const session = await server.v1("POST", "/sessions", {})
    const command = "echo begun; trap '' TERM HUP; setsid sleep 600 & sleep 600 & wait"
    const { turn } = await server.v1("POST", `/sessions/${session.id}/shell`, { command })
    const waiting = await server.v1("POST", `/sessions/${session.id}/shell`, { command: "echo after > after.txt" })
    await until("the command runs", async () => {
      const { messages } = await server.v1("GET", `/sessions/${session.id}/messages`)
      const output = JSON.stringify(messages.map((m) => m.parts))
      return output.includes('"begun\\n"') && processes(turn.id).length >= 3
    })
    await server.crash()
    assert.ok(processes(turn.id).length >= 1, "a crash leaves orphans, or this proves nothing")
    await server.up()
    assert.deepEqual(processes(turn.id), [])
    const ended = await server.turnEnd(session.id, turn.id)
    assert.equal(ended.state, "interrupted")
    const { messages } = await server.v1("GET", `/sessions/${session.id}/messages`)
    const [part] = messages.find((m) => m.id === ended.assistant_message_id).parts
    assert.equal(part.state.status, "error")
    assert.match(part.state.error, /restart/)
    assert.equal(part.state.metadata.output, "begun\n")
    assert.equal(part.metadata ?? null, null)
    // The queue goes on.
    assert.equal((await server.turnEnd(session.id, waiting.turn.id)).state, "completed")
    assert.equal(readFileSync(join(server.project, "after.txt"), "utf8"), "after\n")
    assert.deepEqual(await server.oc("GET", "/session/status"), {})
  })
})
