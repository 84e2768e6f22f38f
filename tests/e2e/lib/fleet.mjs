// Several real nodes on one PostgreSQL, and a round-robin proxy before them.
import { createServer, request } from "node:http"
import { join } from "node:path"
import { createOpencodeClient } from "@opencode-ai/sdk"
import { Postgres, Wire, freePort } from "./postgres.mjs"
import { Sessiond, TOKEN, gitProject, sandbox } from "./sessiond.mjs"

export class Fleet {
  /** Starts `size` nodes; `lease` in seconds; `roots(i)`: directories that node `i` has. */
  static async start({ name = "fleet", size = 3, lease = 10, roots = () => undefined, settings = "" } = {}) {
    const fleet = new Fleet()
    fleet.lease = lease
    fleet.dir = sandbox(name)
    fleet.postgres = await Postgres.start()
    fleet.project = gitProject(join(fleet.dir, "project"))
    fleet.nodes = []
    fleet.wires = []
    for (let i = 0; i < size; i++) {
      const wire = await Wire.to(fleet.postgres.port)
      const port = await freePort()
      const only = roots(i)
      fleet.wires.push(wire)
      fleet.nodes.push(await Sessiond.start({
        name: `${name}-${i}`,
        dir: join(fleet.dir, `node-${i}`),
        port,
        project: fleet.project,
        settings: [
          `store = ${JSON.stringify(fleet.postgres.url("postgres", wire.port))}`,
          settings,
          "[cluster]",
          `node = "node-${i}"`,
          `advertise_url = "http://127.0.0.1:${port}"`,
          `token = "a-token-that-nodes-show-each-other"`,
          `lease = "${lease}s"`,
          only ? `roots = ${JSON.stringify(only)}` : "",
        ].join("\n"),
      }))
    }
    fleet.proxy = await Proxy.over(fleet.nodes)
    return fleet
  }

  async stop() {
    this.proxy.close()
    await Promise.all(this.nodes.map((node) => node.stop()))
    for (const wire of this.wires) wire.close()
    await this.postgres.down()
  }

  /** A stock client that talks to the proxy, or to one node. */
  client(to = this.proxy) {
    return createOpencodeClient({
      baseUrl: `${to.url}/opencode`,
      directory: this.project,
      headers: { authorization: `Bearer ${TOKEN}` },
    })
  }

  /** The name of the node that holds a session now; nothing when none does. */
  holder(session) {
    return this.postgres.sql(`SELECT n.name FROM sessiond.lease l JOIN sessiond.session s ON s.sid = l.sid
      JOIN sessiond.node n ON n.number = l.node WHERE s.id = '${session}' AND n.ended_at IS NULL`)
  }

  node(name) {
    return this.nodes.find((_, i) => `node-${i}` === name)
  }

  /** All events of a session as a node's log has them. */
  async events(node, session) {
    const all = []
    for (let after = 0; ;) {
      const page = await node.v1("GET", `/events?session=${session}&limit=1000&after=${after}`)
      all.push(...page.events)
      if (page.events.length < 1000) return all
      after = page.next
    }
  }
}

/** Sends each request to the next node; to another one when that does not take it. */
class Proxy {
  static async over(nodes) {
    const proxy = new Proxy()
    proxy.nodes = nodes
    proxy.turn = 0
    proxy.server = createServer((req, res) => proxy.#serve(req, res))
    proxy.server.requestTimeout = 0
    await new Promise((done) => proxy.server.listen(0, "127.0.0.1", done))
    proxy.url = `http://127.0.0.1:${proxy.server.address().port}`
    return proxy
  }

  async #serve(req, res) {
    const parts = []
    req.on("error", () => {})
    try {
      for await (const part of req) parts.push(part)
    } catch {
      return
    }
    this.#send(req, res, Buffer.concat(parts), this.nodes.length)
  }

  #send(req, res, body, attempts) {
    const node = this.nodes[this.turn++ % this.nodes.length]
    const to = new URL(node.url)
    const up = request({
      host: to.hostname, port: to.port, path: req.url, method: req.method,
      headers: { ...req.headers, host: to.host, connection: "close" },
    })
    let answered = false
    up.on("response", (reply) => {
      answered = true
      res.writeHead(reply.statusCode, reply.headers)
      reply.on("error", () => res.destroy())
      reply.on("aborted", () => res.destroy())
      reply.pipe(res)
    })
    up.on("error", (error) => {
      // Only what has surely not arrived may be sent again.
      if (!answered && error.code === "ECONNREFUSED" && attempts > 1) return this.#send(req, res, body, attempts - 1)
      if (!res.headersSent) res.writeHead(502)
      res.destroy()
    })
    res.on("close", () => up.destroy())
    up.end(body)
  }

  close() {
    this.server.closeAllConnections()
    this.server.close()
  }
}
