// Child processes in groups of their own, with their output kept and no environment but the given one.
import { spawn } from "node:child_process"
import { createWriteStream } from "node:fs"

const running = new Set()

process.on("exit", () => {
  for (const child of running) child.killGroup("SIGKILL")
})

/** What was waited for can no longer come. */
export class Ended extends Error {}

/** Waits until `probe` answers something truthy; tells what it waited for when it does not. */
export async function until(what, probe, { within = 30_000, every = 40 } = {}) {
  const end = Date.now() + within
  let last
  for (;;) {
    try {
      const found = await probe()
      if (found) return found
    } catch (error) {
      if (error instanceof Ended) throw error
      last = error
    }
    if (Date.now() > end) throw new Error(`not within ${within} ms: ${what}${last ? ` (${last.message})` : ""}`)
    await new Promise((done) => setTimeout(done, every))
  }
}

/** Variables that every child gets; nothing else of ours reaches it. */
export function hermetic(home, extra = {}) {
  return {
    PATH: process.env.PATH,
    HOME: home,
    LANG: "C.UTF-8",
    TERM: "dumb",
    SHELL: "/bin/bash",
    TZ: "UTC",
    NO_PROXY: "127.0.0.1,localhost",
    XDG_CONFIG_HOME: `${home}/.config`,
    XDG_DATA_HOME: `${home}/.local/share`,
    XDG_STATE_HOME: `${home}/.local/state`,
    XDG_CACHE_HOME: `${home}/.cache`,
    GIT_CONFIG_NOSYSTEM: "1",
    GIT_CONFIG_GLOBAL: "/dev/null",
    ...extra,
  }
}

export class Child {
  stdout = ""
  stderr = ""

  constructor(name, command, args, { env, cwd, log } = {}) {
    this.name = name
    this.child = spawn(command, args, { env, cwd, detached: true, stdio: ["ignore", "pipe", "pipe"] })
    running.add(this)
    const file = log ? createWriteStream(log, { flags: "a" }) : undefined
    for (const which of ["stdout", "stderr"]) {
      this.child[which].setEncoding("utf8")
      this.child[which].on("data", (text) => {
        this[which] += text
        file?.write(text)
      })
    }
    this.exited = new Promise((done) => {
      this.child.on("error", (error) => done({ code: null, error }))
      this.child.on("close", (code, signal) => done({ code, signal }))
    }).then((end) => {
      running.delete(this)
      file?.end()
      this.end = end
      return end
    })
  }

  get pid() {
    return this.child.pid
  }

  killGroup(signal) {
    if (!this.pid) return
    try {
      process.kill(-this.pid, signal)
    } catch {
      // The group is gone already.
    }
  }

  async kill(signal = "SIGKILL") {
    if (!this.end) process.kill(this.pid, signal)
    return this.exited
  }

  /** Ends the whole group: orderly first. */
  async stop(grace = 12_000) {
    if (!this.end) this.child.kill("SIGTERM")
    const timer = setTimeout(() => this.killGroup("SIGKILL"), grace)
    await this.exited
    clearTimeout(timer)
    this.killGroup("SIGKILL")
  }

  /** Waits for a line on stdout or stderr. */
  line(pattern, options) {
    return until(`${this.name} prints ${pattern}`, () => {
      const found = (this.stdout + "\n" + this.stderr).match(pattern)
      if (!found && this.end) throw new Ended(`${this.name} ended (${JSON.stringify(this.end)}): ${this.stderr.slice(-2000)}`)
      return found
    }, options)
  }
}

/** Runs a program to its end. */
export async function run(name, command, args, { timeout = 120_000, ...options } = {}) {
  const child = new Child(name, command, args, options)
  const timer = setTimeout(() => child.killGroup("SIGKILL"), timeout)
  const end = await child.exited
  clearTimeout(timer)
  return { ...end, stdout: child.stdout, stderr: child.stderr }
}
