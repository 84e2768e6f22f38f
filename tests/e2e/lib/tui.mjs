// OpenCode's terminal UI in a tmux pane: keys in, text of the screen out.
import { execFileSync, spawnSync } from "node:child_process"
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { opencodeEnv } from "./agents.mjs"
import { e2e, opencodeBin } from "./paths.mjs"
import { Ended, hermetic, until } from "./process.mjs"

const socket = `sessiond-e2e-${process.pid}`
const tmux = (...args) => execFileSync("tmux", ["-L", socket, ...args], { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] })

/** Why there can be no terminal; `false` when there can. */
export const noTerminal = spawnSync("tmux", ["-V"]).status === 0 ? false : "tmux is not installed"

process.on("exit", () => spawnSync("tmux", ["-L", socket, "kill-server"]))

/** What a turn that goes on looks like: the bar that runs to and fro, and the hint beside it. */
export const WORKING = /esc (again to )?interrupt/

let panes = 0
let holds = false

/** tmux ends with its last session, in the middle of a suite too. */
function hold() {
  if (!holds) tmux("-f", "/dev/null", "new-session", "-d", "-s", "hold", "sleep", "3600")
  holds = true
}

export class Tui {
  /**
   * Starts `opencode attach`.
   * @param args what comes after `attach`
   * @param options.home where the client keeps its own state
   * @param options.env further environment
   */
  constructor(args, { home, cwd, env = {}, width = 150, height = 50 }) {
    this.name = `tui${++panes}`
    const vars = { ...hermetic(home, opencodeEnv), TERM: "xterm-256color", ...env }
    const words = Object.entries(vars).map(([k, v]) => `${k}=${v}`)
    mkdirSync(home, { recursive: true })
    hold()
    // The pane stays when its program ends, so that the last words can be read.
    tmux("new-session", "-d", "-s", this.name, "-x", `${width}`, "-y", `${height}`, "-c", cwd,
      "sh", "-c", 'env -i "$@"; echo "ended with $?"; exec sleep 3600', "sh", ...words, opencodeBin(), "attach", ...args)
  }

  get screen() {
    return tmux("capture-pane", "-p", "-t", this.name)
  }

  /** Waits until the screen fits a pattern or a predicate; keeps the screen when it never does. */
  async shows(what, { within = Number(process.env.TUI_PATIENCE ?? 60_000), not = false } = {}) {
    const fits = typeof what === "function" ? what : (screen) => what.test(screen)
    try {
      return await until(`the screen ${not ? "no longer " : ""}shows ${what}`, () => {
        const screen = this.screen
        if (fits(screen) !== not) return screen
        if (/^ended with \d+/m.test(screen)) throw new Ended("the client ended")
        return false
      }, { within, every: 80 })
    } catch (error) {
      throw new Error(`${error.message}\n${this.keep(`${this.name}-failed`)}`)
    }
  }

  gone(what, options) {
    return this.shows(what, { ...options, not: true })
  }

  /** Keeps the screen among the artefacts. */
  keep(name) {
    const screen = this.screen
    mkdirSync(join(e2e, "artifacts"), { recursive: true })
    writeFileSync(join(e2e, "artifacts", `${name}.txt`), screen)
    return screen
  }

  /** Keys by their names in tmux: `Enter`, `Escape`, `C-x`, … */
  keys(...names) {
    tmux("send-keys", "-t", this.name, ...names)
  }

  /** Types a text and waits until it is on the screen. What a closing dialog swallows is typed anew. */
  async type(text) {
    const typed = (screen) => squeezed(screen).includes(squeezed(text))
    for (let attempt = 1; ; attempt++) {
      tmux("send-keys", "-t", this.name, "-l", text)
      if (attempt === 4) return this.shows(typed)
      const there = await until(text, () => typed(this.screen), { within: 4_000 }).catch(() => false)
      if (there) return
      this.keys("C-u")
    }
  }

  /** Types a text and sends it, and waits until it is taken. */
  async say(text) {
    await this.type(text)
    this.keys("Enter")
    // A question that comes at once takes the place of the prompt.
    await this.shows((screen) => emptyPrompt(screen) || /Permission required[\s\S]*Allow once|esc dismiss/.test(screen))
  }

  /** Waits until the demo agent has answered this. */
  answers(words) {
    const said = squeezed(`You said: ${words}`)
    return this.shows((screen) => squeezed(withoutSidebar(screen)).includes(said))
  }

  /** Takes back what stands in the prompt. */
  async clear() {
    this.keys("C-u")
    await this.shows(emptyPrompt)
  }

  end() {
    spawnSync("tmux", ["-L", socket, "kill-session", "-t", this.name])
  }
}

/** The conversation alone; the sidebar, with its foot, is on screens of more than 120 columns. */
const withoutSidebar = (screen) =>
  screen.includes("• OpenCode") ? screen.split("\n").map((line) => line.slice(0, 107)).join("\n") : screen

/** Nothing stands in the prompt: three empty lines above the name of the agent. */
export function emptyPrompt(screen) {
  const lines = screen.split("\n").map((line) => line.slice(0, 100).trimEnd())
  const agent = lines.findLastIndex((line) => /^ *┃ {2}(Build|Shell)\b/.test(line))
  return agent > 3 && lines.slice(agent - 3, agent).every((line) => /^ *┃$/.test(line) || /Ask anything/.test(line))
}

/** A text without what wrapping and borders do to it. */
export const squeezed = (text) => text.replace(/[\s┃│▏▎╹╻]+/g, "")
