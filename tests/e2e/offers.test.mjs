// A client that is there already learns what an agent offers when that agent first runs.
import assert from "node:assert/strict"
import { join } from "node:path"
import { afterEach, beforeEach, describe, it } from "node:test"
import { EventLog, Sessiond, TOKEN } from "./lib/sessiond.mjs"
import { noTerminal, Tui, WORKING } from "./lib/tui.mjs"
import { key, launch, noBrowser, picture, servePages, visitor } from "./lib/web.mjs"

const HOME = /Ask anything/i
const AUTH = { authorization: `Bearer ${TOKEN}` }

describe("what an agent offers", () => {
  let server
  beforeEach(async () => {
    server = await Sessiond.start({ name: "offers" })
  })
  afterEach(() => server?.stop())

  const attach = (...args) => new Tui([server.base, "-p", TOKEN, ...args], { home: join(server.dir, "client"), cwd: server.project })

  it("Q-offers-changed: is told on every stream, which stays open", async () => {
    const session = await server.oc("POST", "/session", {})
    const here = `?directory=${encodeURIComponent(server.project)}`
    const [all, one, v2] = ["/global/event", `/event${here}`, "/api/event"].map((path) => new EventLog(server.base + path, AUTH))
    await all.connected()
    await one.connected()
    await v2.connected()
    const say = (words) => server.oc("POST", `/session/${session.id}/message`, { parts: [{ type: "text", text: words }] })
    await say("hello")
    const isNews = (e) => (e.payload ?? e).type === "catalog.updated"
    await all.find("catalog.updated, of this directory", (e) => isNews(e) && e.directory === server.project)
    await all.find("catalog.updated, of all", (e) => isNews(e) && e.directory === "global")
    await one.find("catalog.updated", isNews)
    await v2.find("catalog.updated", isNews)
    // `attach --mini` ends when its own directory is disposed of; the other interface looks again.
    const disposed = await all.find("server.instance.disposed", (e) => e.payload.type === "server.instance.disposed")
    assert.equal(disposed.directory, "global")
    await say("again")
    for (const log of [all, one, v2]) {
      await log.find("the second turn", (e) => JSON.stringify(e).includes("again"))
      assert.ok(!log.ended)
      await log.close()
    }
    const news = all.all.filter((e) => isNews(e.json) && e.json.directory === "global")
    assert.equal(news.length, 1, "what has not changed is not news")
    assert.ok(!one.all.some((e) => e.json.type === "server.instance.disposed"))
  })

  it("is in the terminal UI's list", { skip: noTerminal }, async () => {
    const tui = attach("--dir", server.project)
    const models = async () => {
      await tui.type("/models")
      await tui.shows(/\/models {2,}\S/)
      tui.keys("Enter")
      await tui.shows(/Select model[\s\S]*Default/)
    }
    try {
      await tui.shows(HOME)
      await models()
      assert.doesNotMatch(tui.screen, /Demo 2/)
      tui.keys("Escape")
      await tui.gone(/Select model/)
      await tui.say("hello")
      await tui.answers("hello")
      await tui.gone(WORKING)
      await models()
      await tui.shows(/Demo 2/)
    } finally {
      tui.end()
    }
  })

  it("does not disturb --mini", { skip: noTerminal }, async () => {
    const tui = attach("--mini")
    try {
      await tui.shows(HOME)
      for (const words of ["hello", "once more"]) {
        await tui.type(words)
        tui.keys("Enter")
        await tui.answers(words)
      }
    } finally {
      tui.end()
    }
  })

  it("is in the web UI's list", { skip: noBrowser }, async () => {
    const pages = await servePages(server.dir)
    const browser = await launch()
    try {
      const session = await server.oc("POST", "/session", {})
      const { page } = await visitor(browser, server.base, TOKEN, server.project)
      await page.goto(`${pages.url}/server/${key(server.base)}/session/${session.id}`)
      const models = page.getByText("Default", { exact: true }).last()
      await models.click()
      await page.getByPlaceholder("Search models").waitFor()
      assert.equal(await page.getByText("Demo 2", { exact: true }).count(), 0)
      await page.keyboard.press("Escape")
      await server.oc("POST", `/session/${session.id}/message`, { parts: [{ type: "text", text: "hello" }] })
      await page.getByText("You said: hello").first().waitFor()
      await models.click()
      await page.getByText("Demo 2", { exact: true }).first().waitFor()
      await picture(page, "models")
    } finally {
      await browser.close()
      await pages.stop()
    }
  })
})
