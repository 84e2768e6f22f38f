// The real sessiond as a child process, in a home of its own.
import { execFileSync } from "node:child_process"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { basename, join } from "node:path"
import { agentTables } from "./agents.mjs"
import { e2e, sessiondBin } from "./paths.mjs"
import { Child, Ended, hermetic, until } from "./process.mjs"

export const TOKEN = "test-token-0123456789abcdef0123456789"

/** A temporary directory that is removed when the suite has passed. */
export function sandbox(name) {
  const dir = mkdtempSync(join(tmpdir(), `e2e-${name}-`))
  process.on("exit", (code) => {
    if (code === 0 && !process.env.KEEP) rmSync(dir, { recursive: true, force: true })
    else console.error(`kept: ${dir}`)
  })
  return dir
}

/** A git repository with one commit. */
export function gitProject(dir) {
  mkdirSync(dir, { recursive: true })
  const git = (...args) => execFileSync("git", args, { cwd: dir, env: hermetic(dir), stdio: "pipe" })
  git("init", "-q", "-b", "main")
  writeFileSync(join(dir, "README"), "a project\n")
  git("add", ".")
  git("-c", "user.name=T", "-c", "user.email=t@example.invalid", "commit", "-q", "-m", "first")
  return dir
}

export class Sessiond {
  /**
   * Starts one.
   * @param options.agents entries of `[agents]`, made with the recipes
   * @param options.defaultAgent the one that sessions begin with
   * @param options.settings further lines of the configuration file
   * @param options.env further environment
   * @param options.port where it listens; 0: anywhere
   * @param options.project its directory; otherwise a new one
   */
  static async start({ name = "e2e", dir = sandbox(name), agents = {}, defaultAgent = "demo", settings = "", env = {}, port = 0, project } = {}) {
    const server = new Sessiond()
    Object.assign(server, { name, dir, extra: env, port, starts: 0, token: TOKEN })
    server.data = join(dir, "data")
    server.home = join(dir, "home")
    server.project = project ?? gitProject(join(dir, "project"))
    mkdirSync(server.home, { recursive: true })
    server.config = join(dir, "config.toml")
    writeFileSync(server.config, [
      `token = ${JSON.stringify(TOKEN)}`,
      `directory = ${JSON.stringify(server.project)}`,
      `default_agent = ${JSON.stringify(defaultAgent)}`,
      settings,
      `[log]`,
      `level = "info,sessiond=debug"`,
      agentTables(agents),
    ].join("\n"))
    await server.up()
    return server
  }

  async up() {
    const artifacts = join(e2e, "artifacts")
    mkdirSync(artifacts, { recursive: true })
    this.log = join(artifacts, `${this.name}-${basename(this.dir)}.log`)
    this.child = new Child("sessiond", sessiondBin(),
      ["serve", "--listen", `127.0.0.1:${this.port}`, "--data-dir", this.data, "--config", this.config],
      { env: hermetic(this.home, this.extra), cwd: this.project, log: this.log })
    const [, port] = await this.child.line(/https?:\/\/127\.0\.0\.1:(\d+)/)
    this.port = Number(port)
    this.url = `http://127.0.0.1:${port}`
    this.base = `${this.url}/opencode`
    await until("readiness", async () => {
      if (this.child.end) throw new Ended(`it ended: ${this.child.stderr.slice(-1000)}`)
      return (await fetch(`${this.url}/readyz`, { signal: AbortSignal.timeout(5_000) })).ok
    })
    this.starts += 1
  }

  /** kill -9. */
  async crash() {
    await this.child.kill("SIGKILL")
  }

  async restart({ signal } = {}) {
    if (signal) await this.child.kill(signal)
    else await this.crash()
    await this.up()
  }

  async stop() {
    await this.child.stop()
  }

  headers(extra = {}) {
    return { authorization: `Bearer ${this.token}`, ...extra }
  }

  /** Any request; answers status, headers and the body as JSON when it is JSON. */
  async call(method, path, body, headers = {}) {
    const reply = await fetch(this.url + path, {
      method,
      headers: this.headers({ ...(body === undefined ? {} : { "content-type": "application/json" }), ...headers }),
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(90_000),
    })
    const text = await reply.text()
    let json
    try {
      json = JSON.parse(text)
    } catch {
      json = undefined
    }
    return { status: reply.status, headers: reply.headers, text, json }
  }

  /** A request that must succeed. */
  async ok(method, path, body, headers) {
    const reply = await this.call(method, path, body, headers)
    if (reply.status < 200 || reply.status > 299) {
      throw new Error(`${method} ${path}: ${reply.status} ${reply.text.slice(0, 500)}`)
    }
    return reply.json
  }

  oc = (method, path, body, headers) => this.ok(method, `/opencode${path}`, body, headers)
  v1 = (method, path, body, headers) => this.ok(method, `/v1${path}`, body, headers)

  /** Does `work` while every permission request of a session is answered with `reply`. */
  async permitting(session, reply, work) {
    let done = false
    const asked = []
    const answering = (async () => {
      while (!done) {
        for (const p of (await this.oc("GET", "/permission")).filter((p) => p.sessionID === session.id)) {
          asked.push(p)
          const { status } = await this.call("POST", `/opencode/permission/${p.id}/reply`, { reply })
          // Its turn may have been aborted meanwhile.
          if (![200, 404, 409].includes(status)) throw new Error(`reply to ${p.id}: ${status}`)
        }
        await new Promise((next) => setTimeout(next, 60))
      }
    })()
    try {
      return { result: await work, asked }
    } finally {
      done = true
      await answering
    }
  }

  /** Collects an event stream until it is closed. */
  events(path = "/opencode/event", headers = {}) {
    return new EventLog(this.url + path, this.headers(headers))
  }

  /** Waits until a turn has ended. */
  turnEnd(session, turn, within = 60_000) {
    return until(`turn ${turn} ends`, async () => {
      const { turns } = await this.v1("GET", `/sessions/${session}/turns`)
      return turns.find((t) => t.id === turn && !["queued", "running"].includes(t.state))
    }, { within })
  }

  async turns(session) {
    return (await this.v1("GET", `/sessions/${session}/turns?limit=1000`)).turns
  }

  /** Waits for a pending permission of a session. */
  permission(session, within = 30_000) {
    return until(`a permission request of ${session}`, async () =>
      (await this.oc("GET", "/permission")).find((p) => p.sessionID === session), { within })
  }
}

/** An event stream, parsed, kept. */
export class EventLog {
  all = []

  constructor(url, headers) {
    this.control = new AbortController()
    this.done = this.#read(url, headers).catch((error) => {
      if (!this.control.signal.aborted) this.error = error
    })
  }

  async #read(url, headers) {
    const reply = await fetch(url, { headers, signal: this.control.signal })
    this.status = reply.status
    this.headers = reply.headers
    let buffer = ""
    const decoder = new TextDecoder()
    for await (const bytes of reply.body) {
      buffer += decoder.decode(bytes, { stream: true })
      for (let end; (end = buffer.indexOf("\n\n")) >= 0; buffer = buffer.slice(end + 2)) {
        const frame = { id: undefined, event: undefined, data: "" }
        for (const line of buffer.slice(0, end).split("\n")) {
          if (line.startsWith("id:")) frame.id = line.slice(3).trim()
          else if (line.startsWith("event:")) frame.event = line.slice(6).trim()
          else if (line.startsWith("data:")) frame.data += line.slice(5).trimStart()
        }
        if (frame.data) this.all.push({ ...frame, json: JSON.parse(frame.data) })
      }
    }
    this.ended = true
  }

  /** Waits for the first event that fits. */
  find(what, fits, options) {
    return until(`event: ${what}`, () => this.all.map((e) => e.json).find(fits), options)
  }

  connected() {
    return this.find("server.connected", (e) => (e.payload ?? e).type === "server.connected")
  }

  of(session) {
    return this.all.map((e) => e.json).filter((e) => sessionOf(e) === session)
  }

  close() {
    this.control.abort()
    return this.done
  }
}

function sessionOf(event) {
  const p = event.properties ?? {}
  return p.sessionID ?? p.info?.sessionID ?? p.part?.sessionID ?? p.info?.id
}

export const text = (message) => message.parts.filter((p) => p.type === "text").map((p) => p.text).join("")
