// The terminal UI's own slash commands, one after the other in one session.
import assert from "node:assert/strict"
import { chmodSync, readFileSync, readdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { after, before, describe, it } from "node:test"
import { until } from "./lib/process.mjs"
import { Sessiond, text, TOKEN } from "./lib/sessiond.mjs"
import { noTerminal, Tui, WORKING } from "./lib/tui.mjs"

describe("opencode attach: slash commands", { skip: noTerminal }, () => {
  let server
  let tui
  let id
  before(async () => {
    server = await Sessiond.start({ name: "tui-commands" })
    const editor = join(server.dir, "editor.sh")
    // What is exported comes by, too, and is left as it is.
    writeFileSync(editor, `#!/bin/sh\n[ -s "$1" ] || printf 'from the editor' >"$1"\n`)
    chmodSync(editor, 0o755)
    tui = new Tui([server.base, "-p", TOKEN, "--dir", server.project], {
      home: join(server.dir, "client"), cwd: server.project, env: { EDITOR: editor },
    })
    await tui.shows(/Ask anything/i)
    await tui.say("first words")
    await tui.answers("first words")
    await tui.gone(WORKING)
    ;[{ id }] = await server.oc("GET", "/session")
  })
  after(async () => {
    tui?.end()
    await server?.stop()
  })

  async function command(name) {
    await tui.type(`/${name}`)
    await tui.shows(new RegExp(`/${name} {2,}\\S`))
    tui.keys("Enter")
  }

  async function closed(title) {
    tui.keys("Escape")
    await tui.gone(title)
  }

  it("/rename", async () => {
    await command("rename")
    await tui.shows(/Rename Session[\s\S]*first words/)
    await tui.type(", renamed")
    tui.keys("Enter")
    await until("the title", async () => (await server.oc("GET", `/session/${id}`)).title === "first words, renamed")
    await tui.gone(/Rename Session/)
  })

  it("/export writes what GET says", async () => {
    await command("export")
    await tui.shows(/Export Options[\s\S]*Filename/)
    tui.keys("Enter")
    const name = await until("the file", () => readdirSync(server.project).find((f) => /^session-.*\.md$/.test(f)))
    const written = await until("its content", () => readFileSync(join(server.project, name), "utf8"))
    assert.match(written, /^# first words, renamed/)
    for (const message of await server.oc("GET", `/session/${id}/message`)) assert.ok(written.includes(text(message)), written)
    await tui.gone(/Export Options/)
  })

  it("/copy", async () => {
    await command("copy")
    await tui.shows(/copied to clipboard/i)
  })

  it("/status, /mcps, /themes, /help", async () => {
    for (const [name, title] of [
      ["status", /Status +esc[\s\S]*No MCP Servers/],
      ["mcps", /MCPs +esc[\s\S]*No results found/],
      ["themes", /Themes +esc[\s\S]*opencode/],
      ["help", /Help +esc/],
    ]) {
      await command(name)
      await tui.shows(title)
      await closed(title)
    }
  })

  it("/editor", async () => {
    await command("editor")
    await tui.shows(/┃ {2}from the editor/)
    tui.keys("Enter")
    await tui.answers("from the editor")
    await tui.gone(WORKING)
  })

  it("/fork", async () => {
    await command("fork")
    await tui.shows(/Fork session +esc[\s\S]*Full session/)
    tui.keys("Enter")
    const fork = await until("the fork", async () => (await server.oc("GET", "/session")).find((s) => s.id !== id))
    const said = async (session) => (await server.oc("GET", `/session/${session}/message`)).map(text)
    assert.deepEqual(await said(fork.id), await said(id))
    await tui.gone(/Fork session +esc/)
    await tui.say("in the fork")
    await tui.answers("in the fork")
    assert.equal((await said(fork.id)).length, (await said(id)).length + 2)
    await tui.gone(WORKING)
  })

  it("/new", async () => {
    await command("new")
    await tui.shows(/Ask anything/i)
    await tui.say("a new beginning")
    await tui.answers("a new beginning")
    assert.equal((await server.oc("GET", "/session")).length, 3)
    await tui.gone(WORKING)
  })

  it("/exit", async () => {
    await command("exit")
    await tui.shows(/ended with 0/)
  })
})
