// The real coding agents through sessiond, their model replaced by the scripted one.
import assert from "node:assert/strict"
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { after, before, describe, it } from "node:test"
import { recipes } from "./lib/agents.mjs"
import { startModel, userTexts } from "./lib/model.mjs"
import { until } from "./lib/process.mjs"
import { Sessiond, sandbox, text } from "./lib/sessiond.mjs"

// AGENTS=claude,codex runs only those.
const only = process.env.AGENTS?.split(",")

for (const agent of Object.keys(recipes).filter((name) => !only || only.includes(name))) {
  describe(`agent ${agent}`, () => {
    let server
    let model

    before(async () => {
      const dir = sandbox(`agent-${agent}`)
      model = await startModel(dir)
      server = await Sessiond.start({
        name: `agent-${agent}`, dir, agents: { [agent]: recipes[agent](join(dir, "agent-home"), model.url) },
      })
    })
    after(async () => {
      await server?.stop()
      await model?.stop()
    })

    const create = () => server.oc("POST", "/session", {})
    const body = (words) => ({
      model: { providerID: agent, modelID: "default" },
      parts: [{ type: "text", text: words }],
    })
    const prompt = (session, words) => server.oc("POST", `/session/${session.id}/message`, body(words))
    const lastTurn = async (session) => (await server.turns(session.id)).at(-1)
    const file = (name) => join(server.project, name)

    const permitting = (session, reply, work) => server.permitting(session, reply, work)

    it("answers with text and a reasoning part", async () => {
      const session = await create()
      const reply = await prompt(session, "please @@TEXT")
      assert.equal(reply.info.error, undefined)
      assert.equal(text(reply), "Hello from the scripted model.")
      assert.equal((await lastTurn(session)).restore, "new")
      const thought = await prompt(session, "please @@THINK")
      assert.match(thought.parts.filter((p) => p.type === "reasoning").map((p) => p.text).join(""), /weigh the question/)
      assert.equal(text(thought), "The answer is 42.")
      assert.equal((await lastTurn(session)).restore, "live")
      const { tokens } = await server.v1("GET", `/sessions/${session.id}`)
      assert.ok(tokens.input > 0 && tokens.output > 0, "tokens are counted")
    })

    it("writes a file when it may", async () => {
      const session = await create()
      const path = file("written.txt")
      const { result, asked } = await permitting(session, "once", prompt(session, `please @@WRITE:${path}`))
      assert.equal(asked.length, 1)
      assert.equal(readFileSync(path, "utf8"), "line one\nline two\n")
      const tool = result.parts.find((p) => p.type === "tool")
      assert.equal(tool.state.status, "completed")
      assert.ok(tool.state.time.end >= tool.state.time.start)
      assert.deepEqual(asked[0].tool?.callID, tool.callID)
      assert.match(text(result), /is written/)
    })

    it("runs a command when it may, and does not when it may not", async () => {
      const session = await create()
      const yes = await permitting(session, "once", prompt(session, `please @@BASH:${file("ran.txt")}`))
      assert.equal(yes.asked.length, 1)
      assert.ok(existsSync(file("ran.txt")))
      const tool = yes.result.parts.find((p) => p.type === "tool")
      assert.equal(tool.state.status, "completed")
      assert.match(tool.state.output, /out-1\nout-2\nout-3/)
      const no = await permitting(session, "reject", prompt(session, `please @@BASH:${file("not-run.txt")}`))
      assert.equal(no.asked.length, 1)
      assert.ok(!existsSync(file("not-run.txt")))
      const refused = no.result.parts.find((p) => p.type === "tool")
      assert.equal(refused.state.status, "error")
      assert.ok(no.result.info.time.completed)
    })

    it("has its work shown, undone and done again", async () => {
      const session = await create()
      const path = file("undone.txt")
      const { result } = await permitting(session, "once", prompt(session, `please @@WRITE:${path}`))
      const written = readFileSync(path)
      const turn = await lastTurn(session)
      assert.equal(turn.worktree.coverage, "full", JSON.stringify(turn.worktree))
      const diff = await server.oc("GET", `/session/${session.id}/diff`)
      assert.deepEqual(diff.map((d) => [d.file, d.status]), [["undone.txt", "added"]])
      assert.match(diff[0].patch, /^\+/m)
      const prompted = result.info.parentID
      const reverted = await server.oc("POST", `/session/${session.id}/revert`, { messageID: prompted })
      assert.equal(reverted.revert.messageID, prompted)
      assert.equal(reverted.conflicts, undefined)
      assert.equal(existsSync(path), false)
      assert.deepEqual(await server.oc("GET", `/session/${session.id}/diff`), [])
      await server.oc("POST", `/session/${session.id}/unrevert`, {})
      assert.deepEqual(readFileSync(path), written)
    })

    it("keeps its plan as todos", async () => {
      const session = await create()
      const reply = await prompt(session, "please @@PLAN")
      assert.equal(reply.info.error, undefined)
      const todos = await server.oc("GET", `/session/${session.id}/todo`)
      assert.deepEqual(todos.map((t) => [t.content, t.status]),
        [["Look around", "completed"], ["Change the code", "completed"], ["Run the tests", "completed"]])
    })

    it("asks a person, and goes on with the answer", { skip: agent === "claude" ? false : "only Claude's adapter asks in its usual mode" }, async () => {
      const session = await create()
      const asking = prompt(session, "please @@ASK")
      const question = await until("the question", async () => (await server.oc("GET", "/question")).find((q) => q.sessionID === session.id))
      const [shown] = question.questions
      assert.equal(shown.question, "Which colour is it to be?")
      assert.equal(shown.header, "Colour")
      assert.deepEqual(shown.options.map((o) => [o.label, o.description]), [["Red", "like fire"], ["Blue", "like the sea"]])
      assert.deepEqual((await server.call("POST", `/opencode/question/${question.id}/reply`, { answers: [["Red", "Blue"]] })).status, 400)
      assert.equal(await server.oc("POST", `/question/${question.id}/reply`, { answers: [["Blue"]] }), true)
      const reply = await asking
      assert.equal(text(reply), "Thank you for the answer.")
      const told = JSON.stringify(await model.log())
      assert.match(told, /Which colour is it to be\?[^}]*Blue/)
    })

    it("stops when it is told to: in mid-text and in a command", async () => {
      const session = await create()
      const talking = prompt(session, "please @@SLOW")
      await until("a first word", async () =>
        (await server.oc("GET", `/session/${session.id}/message`)).some((m) => /tick-1 /.test(text(m))))
      assert.equal(await server.oc("POST", `/session/${session.id}/abort`), true)
      const stopped = await talking
      assert.equal(stopped.info.error.name, "MessageAbortedError")
      assert.match(text(stopped), /tick-1 /)

      const marker = file("slow-done.txt")
      const running = prompt(session, `please @@SLOWBASH:${marker}`)
      const asked = await server.permission(session.id)
      assert.equal(await server.oc("POST", `/permission/${asked.id}/reply`, { reply: "once" }), true)
      await until("a running tool", async () =>
        (await server.oc("GET", `/session/${session.id}/message`)).at(-1).parts.some((p) => p.type === "tool" && p.state.status === "running"))
      const begun = Date.now()
      assert.equal(await server.oc("POST", `/session/${session.id}/abort`), true)
      const result = await running
      assert.ok(Date.now() - begun < 15_000, "within the promised time")
      assert.equal(result.info.error.name, "MessageAbortedError")
      assert.ok(result.parts.filter((p) => p.type === "tool").every((p) => ["completed", "error"].includes(p.state.status)))
      await until("idle", async () => !(await server.oc("GET", "/session/status"))[session.id])
      assert.ok(!existsSync(marker), "the command did not come to its end")
      const next = await prompt(session, "please @@TEXT")
      assert.equal(text(next), "Hello from the scripted model.")
    })

    it("says that the model failed", async () => {
      const session = await create()
      const reply = await prompt(session, "please @@ERR400")
      const shown = JSON.stringify(reply.info.error ?? "") + text(reply)
      assert.match(shown, /scripted 400/)
      assert.ok(reply.info.time.completed)
    })

    it("remembers after sessiond was killed and started again", async () => {
      const session = await create()
      await prompt(session, "the code word is pomegranate @@TEXT")
      await server.restart()
      const reply = await prompt(session, "please @@HISTORY")
      assert.match(text(reply), /markers=.*TEXT,.*HISTORY/)
      const sent = (await model.played("HISTORY")).at(-1)
      assert.match(userTexts(sent).join("\n"), /pomegranate/, "the model was sent the first prompt")
      const turn = await lastTurn(session)
      assert.ok(["resumed", "loaded"].includes(turn.restore), `restored by ${turn.restore}`)
      const { binding } = await server.v1("GET", `/sessions/${session.id}/binding`)
      assert.equal(binding.rung, turn.restore)
    })

    it("goes on after a kill in mid-turn", async () => {
      const session = await create()
      await prompt(session, "the fruit is a quince @@TEXT")
      const lost = server.call("POST", `/opencode/session/${session.id}/message`, body("please @@SLOW")).catch(() => undefined)
      await until("a first word", async () =>
        (await server.oc("GET", `/session/${session.id}/message`)).some((m) => /tick-1 /.test(text(m))))
      await server.restart()
      await lost
      const messages = await server.oc("GET", `/session/${session.id}/message`)
      const cut = messages.at(-1)
      assert.equal(cut.info.role, "assistant")
      assert.ok(cut.info.time.completed && cut.info.error, "the cut message is closed")
      assert.match(text(cut), /tick-1 /)
      assert.equal((await lastTurn(session)).state, "interrupted")
      const reply = await prompt(session, "please @@HISTORY")
      assert.match(text(reply), /HISTORY/)
      assert.match(userTexts((await model.played("HISTORY")).at(-1)).join("\n"), /quince/)
    })
  })
}
