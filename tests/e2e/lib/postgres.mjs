// A private PostgreSQL, made by the programs of the Debian package, and a way to it that can be cut.
import { execFileSync, spawn } from "node:child_process"
import { appendFileSync, chownSync, existsSync, mkdtempSync, openSync, readFileSync, readdirSync, rmSync } from "node:fs"
import { createServer, connect } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { until } from "./process.mjs"

/** Where PostgreSQL's programs are: those of the newest version. */
export function programs() {
  const root = "/usr/lib/postgresql"
  const versions = existsSync(root) ? readdirSync(root).filter((v) => existsSync(join(root, v, "bin/initdb"))) : []
  const newest = versions.map(Number).sort((a, b) => b - a)[0]
  if (!newest) throw new Error("no PostgreSQL server is installed: install the package `postgresql`")
  return join(root, String(newest), "bin")
}

/** The server refuses to be root. */
function user() {
  if (process.getuid() !== 0) return {}
  const id = (flag) => Number(execFileSync("id", [flag, "postgres"], { encoding: "utf8" }))
  return { uid: id("-u"), gid: id("-g") }
}

export function freePort() {
  return new Promise((done, fail) => {
    const server = createServer().on("error", fail).listen(0, "127.0.0.1", () => {
      const { port } = server.address()
      server.close(() => done(port))
    })
  })
}

export class Postgres {
  static async start({ durable = true } = {}) {
    const pg = new Postgres()
    pg.bin = programs()
    pg.as = user()
    pg.dir = mkdtempSync(join(tmpdir(), "sessiond-pg-"))
    pg.data = join(pg.dir, "data")
    if (pg.as.uid !== undefined) chownSync(pg.dir, pg.as.uid, pg.as.gid)
    pg.port = await freePort()
    process.on("exit", () => {
      pg.signal("SIGQUIT")
      pg.signal("SIGKILL")
      rmSync(pg.dir, { recursive: true, force: true })
    })
    execFileSync(join(pg.bin, "initdb"), ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8",
      "--no-sync", "--no-instructions", "-D", pg.data], { ...pg.as, cwd: "/", stdio: "pipe" })
    appendFileSync(join(pg.data, "postgresql.conf"), [
      `listen_addresses = '127.0.0.1'`, `port = ${pg.port}`, `unix_socket_directories = '${pg.dir}'`,
      "max_connections = 200", "shared_buffers = 64MB", durable ? "" : "fsync = off", "",
    ].join("\n"))
    await pg.up()
    return pg
  }

  async up() {
    const log = openSync(join(this.dir, "log"), "a")
    this.child = spawn(join(this.bin, "postgres"), ["-D", this.data], { ...this.as, cwd: "/", stdio: ["ignore", log, log] })
    this.exited = new Promise((done) => this.child.on("close", done))
    await until("PostgreSQL answers", () => this.sql("SELECT 1") === "1")
  }

  signal(name) {
    try {
      this.child?.kill(name)
    } catch {
      // It is gone.
    }
  }

  /** Ends it: `SIGINT` in order, `SIGQUIT` at once, `SIGKILL` only the postmaster, as an OOM killer does. */
  async down(signal = "SIGINT") {
    this.signal(signal)
    await this.exited
    // After SIGKILL its children end by themselves, and until then the data directory is theirs.
    await until("the backends are gone", () => {
      const found = readdirSync("/proc").filter((pid) => /^\d+$/.test(pid)).some((pid) => {
        try {
          return readFileSync(`/proc/${pid}/cwd/PG_VERSION`) && execFileSync("readlink", [`/proc/${pid}/cwd`], { encoding: "utf8" }).trim() === this.data
        } catch {
          return false
        }
      })
      return !found
    })
  }

  async restart(signal) {
    await this.down(signal)
    await this.up()
  }

  sql(text, database = "postgres") {
    return execFileSync(join(this.bin, "psql"), ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", text,
      this.url(database)], { encoding: "utf8", stdio: "pipe" }).trim()
  }

  url(database = "postgres", port = this.port) {
    return `postgres://postgres@127.0.0.1:${port}/${database}`
  }
}

/** A way to a TCP port that can be cut, held up and closed. */
export class Wire {
  static async to(port) {
    const wire = new Wire()
    wire.pairs = new Set()
    wire.mode = "open"
    wire.target = port
    wire.server = createServer((from) => wire.#join(from))
    await new Promise((done) => wire.server.listen(0, "127.0.0.1", done))
    wire.port = wire.server.address().port
    return wire
  }

  #join(from) {
    from.on("error", () => {})
    if (this.mode === "closed") return from.destroy()
    const to = connect(this.target, "127.0.0.1").on("error", () => from.destroy())
    const pair = { from, to }
    this.pairs.add(pair)
    for (const [a, b] of [[from, to], [to, from]]) {
      a.on("data", (bytes) => {
        // Nothing of what a black hole swallows comes out again: the connection is dead.
        if (this.mode === "hole" || pair.dead) {
          pair.dead = true
          return
        }
        this.spy?.(a === from ? "up" : "down", bytes, pair)
        if (!b.write(bytes)) {
          a.pause()
          b.once("drain", () => a.resume())
        }
      })
      a.on("close", () => {
        b.destroy()
        this.pairs.delete(pair)
      })
    }
  }

  /** Cuts what is connected; new connections go through. */
  cut() {
    for (const { from, to } of this.pairs) {
      from.resetAndDestroy()
      to.resetAndDestroy()
    }
  }

  /** `open`; `closed`: everything is refused; `hole`: nothing comes through, and nobody is told. */
  set(mode) {
    this.mode = mode
    if (mode === "closed") this.cut()
    // What was swallowed is lost, so that these connections can't go on.
    if (mode === "open") for (const pair of this.pairs) if (pair.dead) pair.from.resetAndDestroy()
  }

  close() {
    this.cut()
    this.server.close()
  }
}
