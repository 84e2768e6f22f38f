// The web UI that the real `opencode serve` serves, pointed at sessiond, in headless Chromium.
import assert from "node:assert/strict"
import { existsSync } from "node:fs"
import { join } from "node:path"
import { after, before, describe, it } from "node:test"
import { isDeepStrictEqual } from "node:util"
import { createOpencodeClient } from "@opencode-ai/sdk/v2"
import { until } from "./lib/process.mjs"
import { Sessiond, text, TOKEN } from "./lib/sessiond.mjs"
import { key, launch, newPage, noBrowser, picture, servePages, visitor } from "./lib/web.mjs"

describe("web UI", { skip: noBrowser }, () => {
  let server
  let pages
  let browser
  let session
  let page
  let seen
  before(async () => {
    server = await Sessiond.start({ name: "web" })
    pages = await servePages(server.dir)
    browser = await launch()
    session = await server.oc("POST", "/session", { title: "on the web" })
    await say("first words")
    ;({ page, seen } = await visitor(browser, server.base, TOKEN, server.project))
  })
  after(async () => {
    if (page) await picture(page, "last").catch(() => {})
    await browser?.close()
    await pages?.stop()
    await server?.stop()
  })

  const say = (words) => server.oc("POST", `/session/${session.id}/message`, { parts: [{ type: "text", text: words }] })
  const get = () => server.oc("GET", `/session/${session.id}`)
  const messages = (id = session.id) => server.oc("GET", `/session/${id}/message`)
  const idle = () => until("no turn is open", async () => Object.keys(await server.oc("GET", "/session/status")).length === 0)
  const shown = async () => page.evaluate(() => document.body.innerText)
  const shows = (pattern) => until(`the page shows ${pattern}`, async () => pattern.test(await shown()))
    .catch(async (error) => {
      throw new Error(`${error.message}\n${(await shown()).slice(0, 3000)}`)
    })
  const open = (id) => page.goto(`${pages.url}/server/${key(server.base)}/session/${id}`)
  const box = () => page.locator("[data-component=prompt-input]")

  async function prompt(words) {
    await box().click()
    await box().fill(words)
    const holds = async () => (await box().innerText()).includes(words)
    await until("the words", holds)
    // A page that is still loading takes no prompt, and keeps the words.
    await until("the words are sent", async () => {
      await page.keyboard.press("Enter")
      return until("an empty box", async () => !(await holds()), { within: 3_000 }).then(() => true, () => false)
    })
  }

  /** A command of the page itself, chosen from its list. */
  async function command(name, description) {
    await box().click()
    await box().fill("")
    await box().pressSequentially(`/${name}`)
    await page.getByText(description).first().waitFor()
    await page.keyboard.press("Enter")
  }

  it("opens a session by its address", async () => {
    await open(session.id)
    await shows(/You said: first words/)
    await picture(page, "session")
  })

  it("takes a prompt, shows tools, and asks for permission", async () => {
    await prompt("/slow 10 50")
    await shows(/tick-10/)
    await prompt("/ask write web.txt by hand")
    await page.getByText("Allow once").first().click()
    await shows(/Done\./)
    await idle()
    assert.ok(existsSync(join(server.project, "web.txt")))
    const asked = (await messages()).filter((m) => m.info.role === "user").at(-1)
    assert.match(text(asked), /web\.txt/)
  })

  it("undoes and redoes, files too", async () => {
    await command("undo", "Undo the last message")
    await shows(/1 rolled back message/)
    assert.equal(existsSync(join(server.project, "web.txt")), false)
    await command("redo", "Redo the last undone message")
    await until("no marker", async () => !(await get()).revert)
    await shows(/Done\./)
    assert.ok(existsSync(join(server.project, "web.txt")))
  })

  it("shows what changed in the review panel", async () => {
    await page.getByLabel("Toggle review").first().click()
    await until("the changes are asked for", () => seen.requests.some((r) => /^200 GET .*\/vcs\/diff\?mode=git/.test(r)))
    // The lines themselves, in the panel's own tree.
    await page.getByText("by hand", { exact: true }).last().waitFor()
    await picture(page, "review")
    await page.getByLabel("Toggle review").first().click()
  })

  it("asks what the agent wants to know", async () => {
    await prompt("/question Which way? | Left | Right")
    await shows(/Which way\?[\s\S]*Select one answer/)
    await page.getByText("Right", { exact: true }).click()
    await picture(page, "question")
    await page.getByRole("button", { name: "Submit" }).click()
    await shows(/You answered \{"answer":"Right"\}/)
    await idle()
    await prompt("/question And why?")
    await shows(/And why\?/)
    await page.getByText("Dismiss", { exact: true }).click()
    await shows(/You did not want to answer/)
    await idle()
    assert.deepEqual(await server.oc("GET", "/question"), [])
  })

  it("renames, shares and summarises", async () => {
    await page.getByLabel("More options").click()
    await page.getByText("Rename").click()
    await until("a field with the title", () => page.evaluate(() => document.activeElement?.value === "on the web"))
    await page.keyboard.press("Control+A")
    await page.keyboard.type("renamed by hand")
    await page.keyboard.press("Enter")
    await until("the title", async () => (await get()).title === "renamed by hand")
    await command("share", "Share this session")
    const share = await until("the link", async () => (await get()).share)
    assert.match(await (await fetch(share.url)).text(), /first words/)
    await command("compact", "Summarize the session")
    await shows(/Session compacted/)
    await idle()
    assert.equal((await messages()).at(-1).info.summary, true)
  })

  it("forks from a message", async () => {
    await command("fork", "Create a new session from a")
    await page.locator("[role=dialog]").getByText("/slow 10 50").first().click()
    const fork = await until("the fork", async () => (await server.oc("GET", "/session")).find((s) => /fork #1/.test(s.title)))
    assert.deepEqual((await messages(fork.id)).map(text), (await messages()).slice(0, 2).map(text))
    await picture(page, "fork")
  })

  it("begins a session with ids of its own making", async () => {
    const before = new Set((await server.oc("GET", "/session")).map((s) => s.id))
    const sent = page.waitForRequest((r) => r.url().endsWith("/prompt_async"))
    await open(session.id)
    await shows(/first words/)
    await page.getByLabel("New session").first().click()
    await page.waitForURL(/new-session/)
    // The other session's box is still there for a moment.
    await until("an empty page", async () => !/first words/.test(await shown()))
    await prompt("a new beginning")
    const body = (await sent).postDataJSON()
    const made = await until("the session", async () => (await server.oc("GET", "/session")).find((s) => !before.has(s.id)))
    await shows(/You said: a new beginning/)
    const [asked] = await messages(made.id)
    assert.equal(asked.info.id, body.messageID)
    assert.equal(asked.parts[0].id, body.parts[0].id)
    assert.equal(made.directory, server.project)
  })

  it("fetches older messages as they are looked for", async () => {
    const long = await server.oc("POST", "/session", { title: "long" })
    for (let n = 1; n <= 45; n++) {
      await server.oc("POST", `/session/${long.id}/message`, { noReply: true, parts: [{ type: "text", text: `note ${n}.\n\n${"line\n\n".repeat(4)}` }] })
    }
    await open(long.id)
    // Where the page begins is its own affair: it may be on its way to the end.
    await shows(/note \d+\./)
    const older = () => seen.requests.some((r) => r.startsWith("200") && r.includes(long.id) && r.includes("before="))
    await page.mouse.move(600, 400)
    await until("older messages", async () => {
      await page.mouse.wheel(0, -2000)
      return older() && /note 1\./.test(await shown())
    }, { every: 200 }).catch(async (error) => {
      throw new Error(`${error.message}: ${(await shown()).match(/note \d+/g)} ${seen.requests.filter((r) => r.includes(long.id))}`)
    })
  })

  it("archives", async () => {
    const old = await server.oc("POST", "/session", { title: "to be put away" })
    await server.oc("POST", `/session/${old.id}/message`, { noReply: true, parts: [{ type: "text", text: "dust" }] })
    await open(old.id)
    await shows(/dust/)
    await page.getByLabel("More options").click()
    await page.getByText("Archive").click()
    await until("the archive", async () => (await server.oc("GET", `/session/${old.id}`)).time.archived > 0)
  })

  it("a kill -9 in mid-turn: page and SDK stream come to what GET shows", async () => {
    const cut = await server.oc("POST", "/session", { title: "to be cut" })
    await server.oc("POST", `/session/${cut.id}/message`, { noReply: true, parts: [{ type: "text", text: "before" }] })
    await open(cut.id)
    await shows(/before/)
    const client = createOpencodeClient({ baseUrl: server.base, headers: server.headers(), directory: server.project })
    const control = new AbortController()
    const { stream } = await client.event.subscribe({}, { signal: control.signal, sseDefaultRetryDelay: 300 })
    const told = new Map()
    const reading = (async () => {
      for await (const { type, properties: p } of stream) {
        if (type === "message.part.updated" && p.part.sessionID === cut.id) told.set(p.part.id, p.part)
        if (type === "message.part.delta" && told.has(p.partID)) told.get(p.partID).text += p.delta
      }
    })().catch(() => {})
    await prompt("/slow 3000 50")
    await shows(/tick-12 /)
    await server.restart()
    const kept = (await messages(cut.id)).at(-1)
    assert.ok(kept.info.error && kept.info.time.completed)
    const ticks = (words) => `${words.match(/tick-\d+/g) ?? []}`
    assert.ok(ticks(text(kept)).length > 20)
    await until("the page shows what GET shows", async () => ticks(await shown()) === ticks(text(kept)))
    await page.getByLabel("Send").waitFor()
    await until("the stream has told what GET shows", async () =>
      (await messages(cut.id)).flatMap((m) => m.parts).filter((p) => p.type === "text").every((p) => told.get(p.id)?.text === p.text || p.text === "before"))
    await picture(page, "after-kill")
    await prompt("and after it")
    await shows(/You said: and after it/)
    const last = (await messages(cut.id)).at(-1).parts.find((p) => p.type === "text")
    await until("the stream goes on", () => told.get(last.id)?.text === last.text)
    control.abort()
    await reading
  })

  it("a kill -9 with a command at work: page and SDK stream come to what GET shows", async () => {
    const cut = await server.oc("POST", "/session", { title: "at work" })
    await server.oc("POST", `/session/${cut.id}/message`, { noReply: true, parts: [{ type: "text", text: "before" }] })
    await open(cut.id)
    await shows(/before/)
    const client = createOpencodeClient({ baseUrl: server.base, headers: server.headers(), directory: server.project })
    const control = new AbortController()
    const { stream } = await client.event.subscribe({}, { signal: control.signal, sseDefaultRetryDelay: 300 })
    const told = new Map()
    const reading = (async () => {
      for await (const { type, properties: p } of stream) {
        if (type === "message.part.updated" && p.part.type === "tool" && p.part.sessionID === cut.id) told.set(p.part.id, p.part)
      }
    })().catch(() => {})
    await prompt("/ask run echo at-$((40+2)); sleep 300")
    await page.getByText("Allow once").first().click()
    const tool = async () => (await messages(cut.id)).flatMap((m) => m.parts).find((p) => p.type === "tool")
    await until("the command runs", async () => (await tool())?.state.status === "running")
    await server.restart()
    const kept = await tool()
    assert.equal(kept.state.status, "error")
    await page.getByLabel("Send").waitFor()
    await until("the stream has told what GET shows", () => isDeepStrictEqual(told.get(kept.id), kept))
    // The page says it in words of its own, the same as when it is opened anew.
    const said = /Shell\s+Tool execution aborted\s+Interrupted/
    await shows(said)
    await page.reload()
    await shows(said)
    await picture(page, "command-after-kill")
    control.abort()
    await reading
  })

  it("was refused nothing in all of the above", () => {
    const refused = seen.requests.filter((r) => r.includes(new URL(server.base).host) && !/^2/.test(r))
    // At the root of the host, not below `/opencode`: whether another protocol is spoken there.
    assert.deepEqual(refused.filter((r) => !r.endsWith("/api/health")), [])
    assert.ok(seen.requests.filter((r) => r.includes("/opencode/")).length > 100, "what was asked is known")
  })

  it("is added as a server and a project by hand", async () => {
    const context = await browser.newContext({ viewport: { width: 1500, height: 950 } })
    const fresh = await newPage(context)
    const field = (name) => fresh.getByPlaceholder(name, { exact: true })
    await fresh.goto(pages.url)
    await fresh.getByText("Settings", { exact: true }).first().click()
    await fresh.getByText("Servers", { exact: true }).first().click()
    await fresh.getByText("Add server", { exact: true }).first().click()
    await field("http://localhost:4096").fill(server.base)
    await field("Localhost").fill("ours")
    await field("username").fill("opencode")
    await field("password").fill(TOKEN)
    await fresh.getByRole("button", { name: "Add server" }).last().click()
    // It was asked how it is, with the password.
    await fresh.getByText(/v\d+\.\d+\.\d+ • opencode/).waitFor()
    // The first key may go to the part of the dialog that is just being closed.
    await until("the settings are closed", async () => {
      if (await fresh.locator("[role=dialog]").count() === 0) return true
      await fresh.keyboard.press("Escape")
    }, { every: 300 })
    await fresh.getByText("ours", { exact: true }).first().hover()
    await fresh.getByLabel("Add project").last().click()
    await field("Search folders").fill(server.project)
    await fresh.locator("[role=dialog]").getByRole("button").filter({ hasText: /project/ }).first().waitFor()
    await fresh.keyboard.press("Enter")
    await fresh.getByLabel("Search sessions in project").waitFor()
    await picture(fresh, "project")
    await fresh.getByText("on the web").or(fresh.getByText("renamed by hand")).first().click()
    await fresh.getByText("first words").first().waitFor()
    await context.close()
  })
})
