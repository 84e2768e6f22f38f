// The real OpenCode server.
import { mkdirSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { join } from "node:path"
import { opencodeConfig, opencodeEnv } from "./agents.mjs"
import { opencodeBin } from "./paths.mjs"
import { Child, hermetic, until } from "./process.mjs"

function freePort() {
  return new Promise((done, fail) => {
    const server = createServer()
    server.on("error", fail)
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address()
      server.close(() => done(port))
    })
  })
}

/** The real server as a child process, in a home of its own. */
export class RealOpencode {
  /**
   * Starts one.
   * @param dir where its home is made
   * @param options.project its working directory
   * @param options.model the URL of its model; without one it has none that answers
   * @param options.config what its configuration says besides
   * @param options.password what every request has to bring
   */
  static async start(dir, { project, model = "http://127.0.0.1:9", config = {}, password } = {}) {
    const server = new RealOpencode()
    const home = join(dir, "real-opencode")
    Object.assign(server, { dir, home, project: project ?? join(home, "project") })
    server.headers = password ? { authorization: `Basic ${btoa(`opencode:${password}`)}` } : {}
    mkdirSync(join(home, ".config/opencode"), { recursive: true })
    mkdirSync(server.project, { recursive: true })
    writeFileSync(join(home, ".config/opencode/opencode.json"), JSON.stringify({ ...opencodeConfig(model), ...config }))
    const port = await freePort()
    server.url = `http://127.0.0.1:${port}`
    server.child = new Child("opencode serve", opencodeBin(), ["serve", "--hostname", "127.0.0.1", "--port", String(port)], {
      env: hermetic(home, { ...opencodeEnv, ...(password ? { OPENCODE_SERVER_PASSWORD: password } : {}) }), cwd: server.project,
    })
    await server.child.line(/listening on/, { within: 60_000 })
    // A request that comes while it still starts may never be answered.
    await until("OpenCode's readiness", async () => {
      const reply = await fetch(`${server.url}/global/health`, { headers: server.headers, signal: AbortSignal.timeout(4_000) })
      return reply.ok
    }, { within: 60_000, every: 200 })
    return server
  }

  /** The OpenAPI document that it gives of itself. */
  async document() {
    return until("the OpenAPI document of OpenCode", async () => {
      const reply = await fetch(`${this.url}/doc`, { headers: this.headers, signal: AbortSignal.timeout(4_000) })
      const doc = await reply.json()
      return doc.paths && doc
    }, { within: 60_000, every: 200 })
  }

  async stop() {
    await this.child.stop(2_000)
  }
}

/** The document that `opencode serve` gives of itself. */
export async function openapiOfOpencode(dir) {
  const server = await RealOpencode.start(dir)
  try {
    return await server.document()
  } finally {
    await server.stop()
  }
}

/** Finds the operation of a request; the template with the fewest parameters wins. */
export function operation(doc, method, path) {
  const bare = path.split("?")[0]
  const fits = Object.keys(doc.paths).filter((template) => {
    const pattern = template.replace(/[.*+?^$()|[\]\\]/g, "\\$&").replace(/\{[^}]+\}/g, "[^/]+")
    return new RegExp(`^${pattern}$`).test(bare) && doc.paths[template][method.toLowerCase()]
  })
  fits.sort((a, b) => a.split("{").length - b.split("{").length)
  return fits[0] && { template: fits[0], ...doc.paths[fits[0]][method.toLowerCase()] }
}

/** All operations of a document, with example values for the parameters of their paths. */
export function* operations(doc) {
  for (const [template, item] of Object.entries(doc.paths)) {
    for (const method of ["get", "post", "put", "patch", "delete"]) {
      if (item[method]) {
        const path = template.replace(/\{([^}]+)\}/g, (_, name) => example(name))
        yield { method: method.toUpperCase(), template, path, operation: item[method] }
      }
    }
  }
}

function example(name) {
  const prefixes = { session: "ses", message: "msg", part: "prt", permission: "per", question: "que", turn: "trn", request: "per" }
  const kind = Object.keys(prefixes).find((k) => name.toLowerCase().startsWith(k))
  return kind ? `${prefixes[kind]}_0123456789abExampleExample` : "example"
}
