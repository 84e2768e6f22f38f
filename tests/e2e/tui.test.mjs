// The real terminal UI, in tmux, against the demo agent: what a person does, and what the screen says.
import assert from "node:assert/strict"
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { after, before, describe, it } from "node:test"
import { until } from "./lib/process.mjs"
import { Sessiond, text, TOKEN } from "./lib/sessiond.mjs"
import { emptyPrompt, noTerminal, squeezed, Tui, WORKING } from "./lib/tui.mjs"

const HOME = /Ask anything/i

let server
before(async () => {
  if (!noTerminal) server = await Sessiond.start({ name: "tui" })
})
after(() => server?.stop())

const say = (id, words) => server.oc("POST", `/session/${id}/message`, { parts: [{ type: "text", text: words }] })
const get = (id) => server.oc("GET", `/session/${id}`)
const messages = (id) => server.oc("GET", `/session/${id}/message`)
const newest = async () => (await server.oc("GET", "/session?roots=true"))[0]

let homes = 0
/** A client that attaches as the README says. */
function attach(args = [], options = {}) {
  const credentials = options.credentials ?? ["-p", TOKEN]
  return new Tui([server.base, ...credentials, ...args], {
    home: options.home ?? join(server.dir, `client${++homes}`), cwd: server.project, ...options,
  })
}

async function withTui(args, options, work) {
  const tui = attach(args, options)
  try {
    return await work(tui)
  } finally {
    tui.end()
  }
}

/** The screen of a pane without sidebar says all that GET says. */
async function agrees(tui, id) {
  for (const message of await messages(id)) {
    const said = squeezed(text(message))
    await tui.shows((screen) => squeezed(screen).includes(said))
  }
}

describe("opencode attach: a session", { skip: noTerminal }, () => {
  let tui
  let id
  let broken
  /** What follows a failure would fail for no reason of its own. */
  const step = (name, work) => it(name, async (t) => {
    if (broken) return t.skip(`after: ${broken}`)
    broken = name
    await work()
    broken = undefined
  })
  before(async () => {
    tui = attach(["--dir", server.project])
    await tui.shows(HOME)
  })
  after(() => tui?.end())

  /** A slash command of the client itself. */
  async function command(name, args = "") {
    await tui.type(`/${name}`)
    await tui.shows(new RegExp(`/${name} {2,}\\S`))
    tui.keys("Enter")
    if (args) await tui.say(args)
  }
  const idle = () => tui.gone(WORKING)
  const sent = (words) => until(`the prompt ${words}`, async () => (await messages(id)).some((m) => text(m).includes(words)))

  step("takes a prompt and shows the answer", async () => {
    await tui.say("hello from the terminal")
    await tui.shows(/Hello, I am the demo agent[\s\S]*Try \/help/)
    ;({ id } = await newest())
    assert.match(tui.screen, /hello from the terminal/)
  })

  step("streams: text is on the screen before the turn ends", async () => {
    await tui.say("/slow 30 100")
    await tui.shows((screen) => /tick-3 /.test(screen) && WORKING.test(screen) && !/tick-30/.test(screen))
    await tui.shows(/tick-30/)
    await idle()
  })

  step("asks for permission: once, reject, always", async () => {
    await tui.say("/ask run echo once-$((20+2))")
    await tui.shows(/Permission required[\s\S]*\$ echo once[\s\S]*Allow once/)
    tui.keys("Enter")
    await tui.shows(/once-22/)
    await idle()

    await tui.say("/ask write refused.txt no")
    await tui.shows(/Permission required[\s\S]*refused\.txt/)
    tui.keys("Right", "Right", "Enter")
    await tui.shows(/All right, I leave it/)
    await idle()
    assert.equal(existsSync(join(server.project, "refused.txt")), false)

    await tui.say("/ask write wanted.txt yes")
    await tui.shows(/Permission required[\s\S]*wanted\.txt/)
    tui.keys("Right", "Enter")
    await tui.shows(/Always allow[\s\S]*Confirm/i)
    tui.keys("Enter")
    await until("the file", () => existsSync(join(server.project, "wanted.txt")))
    await tui.gone(/Always allow/i)
    await idle()
    assert.deepEqual(await server.oc("GET", "/permission"), [])
  })

  step("asks what the agent wants to know: a choice, several, own words, no answer", async () => {
    const answered = async (words) => {
      await tui.shows((screen) => squeezed(screen).includes(squeezed(`You answered ${words}`)))
      await idle()
    }
    await tui.say("/question Which colour? | Red | Blue")
    await tui.shows(/Which colour\?[\s\S]*1\. Red[\s\S]*2\. Blue[\s\S]*Type your own answer/)
    assert.equal((await server.oc("GET", "/question"))[0].sessionID, id)
    tui.keys("Down", "Enter")
    await answered('{"answer":"Blue"}')

    await tui.say("/questions Which colours? | Red | Blue | Green")
    await tui.shows(/select all that apply[\s\S]*1\. \[ \] Red/)
    tui.keys("Enter")
    await tui.shows(/1\. \[✓\] Red/)
    tui.keys("Down", "Down", "Enter")
    await tui.shows(/3\. \[✓\] Green/)
    tui.keys("Right")
    await tui.shows(/Review[\s\S]*Red, Green/)
    tui.keys("Enter")
    await until("the answer", async () => text((await messages(id)).at(-1)).includes('{"answer":["Red","Green"]}'))
    await idle()

    await tui.say("/question Your name?")
    await tui.shows(/Your name\?[\s\S]*Type your own answer/)
    tui.keys("Enter")
    await tui.type("Ada")
    tui.keys("Enter")
    await answered('{"answer":"Ada"}')

    await tui.say("/question Really? | Yes | No")
    await tui.shows(/Really\?[\s\S]*esc dismiss/)
    tui.keys("Escape")
    await tui.shows(/You did not want to answer/)
    await idle()
    assert.deepEqual(await server.oc("GET", "/question"), [])
  })

  step("shows modified files and what is to do beside the conversation", async () => {
    await tui.shows(/Modified Files[\s\S]*wanted\.txt/)
    await tui.say("/plan 1")
    await tui.shows(/Todo[\s\S]*\[✓\] Read the code[\s\S]*\[•\] Write the fix[\s\S]*\[ \] Run the tests/)
    assert.deepEqual((await server.oc("GET", `/session/${id}/todo`)).map((t) => t.status), ["completed", "in_progress", "pending"])
    await idle()
  })

  step("opens its viewer of changes", async () => {
    await command("diff")
    await tui.shows(/Diff working tree[\s\S]*wanted\.txt[\s\S]*\+ yes/)
    tui.keys("Escape")
    await tui.shows(emptyPrompt)
  })

  step("stops the work with esc esc", async () => {
    await tui.say("/slow 2000 100")
    await tui.shows((screen) => /tick-3 /.test(screen) && WORKING.test(screen))
    tui.keys("Escape")
    await tui.shows(/esc again to interrupt/)
    tui.keys("Escape")
    await tui.shows(/interrupted/)
    await idle()
    assert.equal((await messages(id)).at(-1).info.error.name, "MessageAbortedError")
  })

  step("runs a shell command after an exclamation mark", async () => {
    tui.keys("!")
    await tui.shows(/exit shell mode/)
    await tui.say("echo shell-$((40+2))")
    await tui.shows(/shell-42/)
    await idle()
    const part = (await messages(id)).at(-1).parts.find((p) => p.type === "tool")
    assert.equal(part.state.status, "completed")
    assert.match(part.state.output, /shell-42/)
  })

  step("undoes and redoes, files too", async () => {
    await tui.say("/ask write undo.txt yes")
    await tui.shows(/Permission required/)
    tui.keys("Enter")
    await until("the file", () => existsSync(join(server.project, "undo.txt")))
    await idle()
    await tui.gone(/Permission required/)
    await command("undo")
    await tui.shows(/1 message reverted[\s\S]* undo\.txt/)
    assert.equal(existsSync(join(server.project, "undo.txt")), false)
    assert.ok((await get(id)).revert.messageID)
    // The words of the message are in the prompt again.
    await tui.shows(/\/ask write undo\.txt yes/)
    await tui.clear()
    await command("redo")
    await tui.gone(/message reverted/)
    // The files come back first.
    await until("the session is whole again", async () => !(await get(id)).revert)
    assert.ok(existsSync(join(server.project, "undo.txt")))
  })

  step("shares and unshares", async () => {
    await command("share")
    await tui.shows(/Share Session/)
    tui.keys("Enter")
    await tui.shows(/Share URL copied|\/s\//)
    const { share } = await get(id)
    const page = await fetch(share.url)
    assert.equal(page.status, 200)
    assert.match(await page.text(), /hello from the terminal/)
    await command("unshare")
    await until("the end of the share", async () => (await fetch(share.url)).status === 404)
    assert.equal((await get(id)).share, undefined)
  })

  step("goes back with the timeline, and forks from it", async () => {
    await command("timeline")
    await tui.shows(/Timeline[\s\S]*hello from the terminal/)
    await tui.type("exclam-nothing")
    await tui.shows(/No results found/)
    tui.keys("C-u")
    await tui.shows(/\/slow 30 100 +\d/)
    await tui.type("slow 30")
    await tui.gone(/hello from the terminal +\d+:\d\d/)
    tui.keys("Enter")
    await tui.shows(/Message Actions[\s\S]*Fork/)
    tui.keys("Down", "Down", "Enter")
    await tui.shows(/\(fork #1\)/)
    const fork = await newest()
    assert.match(fork.title, /\(fork #1\)$/)
    assert.equal(fork.parentID, undefined)
    assert.deepEqual((await messages(fork.id)).map(text), (await messages(id)).slice(0, 2).map(text))
    await tui.shows((screen) => /Hello, I am the demo agent/.test(screen) && !/tick-30/.test(screen))
    // The message before which it was forked stands in the prompt.
    await tui.shows(/\/slow 30 100/)
    await tui.clear()

    await tui.say("a second question")
    await tui.answers("a second question")
    await command("timeline")
    await tui.shows(/Timeline[\s\S]*a second question/)
    tui.keys("Enter")
    await tui.shows(/Message Actions[\s\S]*Revert/)
    tui.keys("Enter")
    await tui.shows(/1 message reverted/)
    assert.ok((await get(fork.id)).revert)
    await tui.shows((screen) => !emptyPrompt(screen))
    await tui.clear()
  })

  step("summarises", async () => {
    const fork = await newest()
    await command("redo")
    await tui.gone(/message reverted/)
    await command("compact")
    await tui.shows(/Compaction/)
    await idle()
    const all = await messages(fork.id)
    assert.ok(all.at(-2).parts.some((p) => p.type === "compaction"))
    assert.equal(all.at(-1).info.summary, true)
  })

  step("runs slash commands of the server", async () => {
    await tui.type("/init")
    await tui.shows(/\/init {2,}\S/)
    tui.keys("Enter")
    await tui.gone(/\/init {2,}\S/)
    tui.keys("Enter")
    await tui.shows(/Permission required[\s\S]*AGENTS\.md/)
    tui.keys("Enter")
    await until("AGENTS.md", () => existsSync(join(server.project, "AGENTS.md")))
    await idle()
    assert.match(readFileSync(join(server.project, "AGENTS.md"), "utf8"), /demo agent/)
  })

  step("lists, searches, switches, renames and deletes sessions", async () => {
    const fork = await newest()
    for (const title of ["the apple session", "the pear session"]) {
      const { id } = await server.oc("POST", "/session", { title })
      await say(id, `about ${title}`)
    }
    await command("sessions")
    await tui.shows(/Sessions[\s\S]*the pear session[\s\S]*the apple session/)
    await tui.type("apple")
    await tui.gone(/the pear session/)
    tui.keys("Enter")
    await tui.answers("about the apple session")

    await command("sessions")
    await tui.shows(/Sessions[\s\S]*the pear session/)
    await tui.type("apple")
    await tui.gone(/the pear session/)
    tui.keys("C-r")
    await tui.shows(/Rename Session/)
    tui.keys("C-u")
    await tui.type("the quince session")
    tui.keys("Enter")
    await tui.shows(/the quince session/)
    await until("the title", async () => (await server.oc("GET", "/session?search=quince")).length === 1)
    await tui.gone(/Rename Session/)
    tui.keys("Escape")
    await tui.gone(/rename ctrl\+r/)

    await command("sessions")
    await tui.shows(/Sessions[\s\S]*the pear session/)
    await tui.type("pear")
    await tui.gone(/the quince session +/)
    tui.keys("C-d")
    await tui.shows(/again to confirm/i)
    tui.keys("C-d")
    await until("no pear", async () => (await server.oc("GET", "/session?search=pear")).length === 0)
    tui.keys("Escape")
    await tui.gone(/delete ctrl\+d/)
    assert.ok((await get(fork.id)).id)
  })

  step("finds files after an at sign", async () => {
    await tui.type("read @READ")
    await tui.shows(/┃ README /)
    tui.keys("Enter")
    await tui.shows(/read @README/)
    await tui.clear()
  })

  step("offers models and agents", async () => {
    await command("models")
    await tui.shows(/Select model[\s\S]*Demo agent/)
    tui.keys("Escape")
    await tui.gone(/Select model/)
    await command("agents")
    await tui.shows(/Select agent[\s\S]*build/)
    tui.keys("Escape")
    await tui.gone(/Select agent/)
  })
})

describe("opencode attach: how it starts", { skip: noTerminal }, () => {
  it("without --dir it works where the server works", () => withTui([], {}, async (tui) => {
    await tui.shows(HOME)
    await tui.say("without a directory")
    await tui.answers("without a directory")
    assert.equal((await newest()).directory, server.project)
  }))

  it("with -s it shows that session, with --fork a copy", async () => {
    const { id } = await server.oc("POST", "/session", { title: "to be shown" })
    await say(id, "first words")
    await withTui(["-s", id], {}, (tui) => tui.answers("first words"))
    await withTui(["-s", id, "--fork"], {}, async (tui) => {
      await tui.answers("first words")
      const fork = await newest()
      assert.equal(fork.title, "to be shown (fork #1)")
      await tui.say("/history .")
      await tui.shows(/first words[\s\S]*first words[\s\S]*first words/)
      assert.equal((await messages(id)).length, 2)
    })
  })

  it("with -c it goes on with the last session", async () => {
    const { id } = await server.oc("POST", "/session", { title: "the last one" })
    await say(id, "first words")
    await withTui(["-c"], {}, async (tui) => {
      await tui.answers("first words")
      await tui.say("and more")
      await tui.answers("and more")
    })
    assert.equal((await messages(id)).length, 4)
  })

  it("an unknown session is named, and nothing is started", () => withTui(["-s", "ses_unknown"], {}, async (tui) => {
    const screen = await tui.shows(/ended with \d+/)
    assert.match(screen, /Session not found/)
    assert.match(screen, /ended with 1/)
  }))

  it("takes the password from the environment, and refuses a wrong one", async () => {
    const env = { OPENCODE_SERVER_PASSWORD: TOKEN }
    await withTui([], { credentials: [], env }, (tui) => tui.shows(HOME))
    await withTui([], { credentials: ["-p", "wrong"] }, async (tui) => {
      assert.match(await tui.shows(/ended with \d+/), /ended with 1/)
    })
  })

  it("shows what was asked before it came", async () => {
    const { id } = await server.oc("POST", "/session", { title: "asking" })
    const answer = say(id, "/ask run echo early-$((40+2))")
    await server.permission(id)
    await withTui(["-s", id], {}, async (tui) => {
      await tui.shows(/Permission required[\s\S]*\$ echo early/)
      tui.keys("Enter")
      await tui.shows(/early-42/)
      await answer
    })
  })

  it("--mini: a prompt and a permission", () => withTui(["--mini"], {}, async (tui) => {
    await tui.shows(HOME)
    await tui.type("hello in short")
    tui.keys("Enter")
    await tui.answers("hello in short")
    await tui.shows(/▣ Build/)
    await tui.type("/ask run echo mini-$((40+2))")
    tui.keys("Enter")
    await tui.shows(/Permission required[\s\S]*Allow once/)
    tui.keys("Enter")
    await tui.shows(/mini-42/)
  }))
})

describe("opencode attach: the server is killed", { skip: noTerminal }, () => {
  const ticks = (words) => squeezed(words).match(/tick-\d+/g) ?? []
  // Too narrow for the sidebar: the screen holds the conversation and nothing else.
  const shape = { width: 110, height: 60 }

  it("in mid-turn: the same screen comes to what GET shows, and goes on", () => withTui(["--dir", server.project], shape, async (tui) => {
    await tui.shows(HOME)
    await tui.say("a first exchange")
    await tui.answers("a first exchange")
    const { id } = await newest()
    await tui.say("/slow 3000 50")
    await tui.shows((screen) => /tick-12 /.test(screen) && WORKING.test(screen))
    await server.restart()
    await tui.gone(WORKING)
    const kept = ticks(text((await messages(id)).at(-1)))
    assert.ok(kept.length > 3, `${kept.length}`)
    await tui.shows((screen) => `${ticks(screen)}` === `${kept}`)
    await agrees(tui, id)
    assert.deepEqual(await server.oc("GET", "/session/status"), {})
    await tui.say("and after it")
    await tui.answers("and after it")
    await tui.gone(WORKING)
    await agrees(tui, id)
  }))

  it("while it asks: the question goes away", () => withTui([], shape, async (tui) => {
    await tui.shows(HOME)
    await tui.say("/ask write never.txt x")
    await tui.shows(/Permission required/)
    await server.restart()
    await tui.gone(/Permission required/)
    await tui.gone(WORKING)
    await tui.say("what now")
    await tui.answers("what now")
    assert.equal(existsSync(join(server.project, "never.txt")), false)
    await agrees(tui, (await newest()).id)
  }))

  it("while it wants to know something: the dialog goes away", () => withTui([], shape, async (tui) => {
    await tui.shows(HOME)
    await tui.say("/question Stay or go? | Stay | Go")
    await tui.shows(/Stay or go\?[\s\S]*esc dismiss/)
    await server.restart()
    await tui.gone(/esc dismiss/)
    await tui.gone(WORKING)
    await tui.say("what now")
    await tui.answers("what now")
    assert.deepEqual(await server.oc("GET", "/question"), [])
    await agrees(tui, (await newest()).id)
  }))
})

describe("opencode attach: all of the above", { skip: noTerminal }, () => {
  it("was refused nothing but what was wrong", () => {
    const answered = [...readFileSync(server.log, "utf8").matchAll(/answered method=(\S+) path="([^"]*)" status=(\d+)/g)]
    assert.ok(answered.length > 100, "requests are logged")
    const refused = answered.filter(([, , , status]) => status >= 400).map(([, method, path, status]) => `${status} ${method} ${path}`)
    // A wrong password; `-s ses_unknown`; a link that was taken back.
    const wrong = /^401 |\/session\/ses_unknown$|^404 GET \/s\//
    assert.deepEqual(refused.filter((r) => !wrong.test(r)), [])
  })
})
