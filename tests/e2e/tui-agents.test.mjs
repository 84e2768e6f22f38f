// Real coding agents under the real terminal UI, their model replaced by the scripted one.
import assert from "node:assert/strict"
import { existsSync } from "node:fs"
import { join } from "node:path"
import { after, before, describe, it } from "node:test"
import { recipes } from "./lib/agents.mjs"
import { startModel } from "./lib/model.mjs"
import { until } from "./lib/process.mjs"
import { sandbox, Sessiond, TOKEN } from "./lib/sessiond.mjs"
import { noTerminal, squeezed, Tui, WORKING } from "./lib/tui.mjs"

for (const agent of Object.keys(recipes)) {
  describe(`opencode attach: ${agent}`, { skip: noTerminal }, () => {
    let real
    let model
    before(async () => {
      const dir = sandbox(`tui-${agent}`)
      model = await startModel(dir)
      real = await Sessiond.start({
        name: `tui-${agent}`, dir, defaultAgent: agent, agents: { [agent]: recipes[agent](join(dir, "agent-home"), model.url) },
      })
    })
    after(async () => {
      await real?.stop()
      await model?.stop()
    })

    it("works, is killed with a command at work, and is shown as GET shows it", async () => {
      const tui = new Tui([real.base, "-p", TOKEN, "--dir", real.project], { home: join(real.dir, "client"), cwd: real.project, width: 110, height: 120 })
      const all = (id) => real.oc("GET", `/session/${id}/message`)
      const open = async (id) => (await all(id)).flatMap((m) => m.parts).filter((p) => ["pending", "running"].includes(p.state?.status))
      const allow = async () => {
        await tui.shows(/Permission required[\s\S]*Allow once/)
        tui.keys("Enter")
      }
      try {
        await tui.shows(/Ask anything/i)
        await tui.say("please @@TEXT")
        await tui.shows(/Hello from the scripted model/)
        await tui.gone(WORKING)
        const { id } = (await real.oc("GET", "/session?roots=true"))[0]

        // What it has told of itself meanwhile.
        const [{ models }] = (await real.oc("GET", "/config/providers")).providers
        const told = Object.values(models).filter((m) => m.id !== "default").at(-1)
        await tui.type("/models")
        await tui.shows(/\/models {2,}\S/)
        tui.keys("Enter")
        await tui.shows(/Select model/)
        await tui.shows((screen) => squeezed(screen).includes(squeezed(told.name)))
        tui.keys("Escape")
        await tui.gone(/Select model/)

        if (agent === "claude") {
          await tui.say("please @@ASK")
          await tui.shows(/Which colour is it to be\?[\s\S]*1\. Red[\s\S]*like the sea/)
          tui.keys("Down", "Enter")
          await tui.shows(/Thank you for the answer/)
          await tui.gone(WORKING)
        }

        const path = join(real.project, "by-hand.txt")
        await tui.say(`please @@WRITE:${path}`)
        await allow()
        await tui.shows(/is written/)
        assert.ok(existsSync(path))
        await tui.gone(WORKING)

        await tui.say("please @@SLOWBASH")
        await allow()
        await until("the command runs", async () => (await open(id)).some((p) => p.state.status === "running") && (await real.oc("GET", "/permission")).length === 0)
        await tui.shows(WORKING)
        await real.restart()
        await tui.gone(WORKING)
        assert.deepEqual(await open(id), [])
        for (const part of (await all(id)).flatMap((m) => m.parts).filter((p) => p.type === "text" && !p.synthetic)) {
          const said = squeezed(part.text)
          await tui.shows((screen) => squeezed(screen).includes(said))
        }
        await tui.say("please @@TEXT")
        await until("the answer", async () => (await all(id)).at(-1).parts.some((p) => p.text?.includes("Hello from the scripted model")))
        await tui.gone(WORKING)
      } finally {
        tui.keep(`tui-${agent}`)
        tui.end()
      }
    })
  })
}
