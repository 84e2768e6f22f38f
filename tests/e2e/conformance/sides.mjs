// The two servers that are compared: the real OpenCode and sessiond, with the same password.
import { join } from "node:path"
import { recipes } from "../lib/agents.mjs"
import { startModel } from "../lib/model.mjs"
import { RealOpencode } from "../lib/real.mjs"
import { NEVER } from "./play.mjs"
import { EventLog, Sessiond, TOKEN, gitProject, sandbox } from "../lib/sessiond.mjs"

const authorization = `Basic ${Buffer.from(`opencode:${TOKEN}`).toString("base64")}`

/** One of the two: where it is, what is normalised away, and its event streams. */
class Side {
  constructor(name, base, project, models, places) {
    Object.assign(this, { name, base, project, models, places })
    this.events = new EventLog(`${base}/event`, { authorization })
    this.global = new EventLog(`${base}/global/event`, { authorization })
    // The real server ends it at the first status (D8).
    this.api = new EventLog(`${base}/api/event`, { authorization })
  }

  async listening() {
    await this.events.connected()
    await this.global.connected()
    await this.api.connected()
  }

  /** Sends a request; the reply is plain data. */
  async send(method, path, { body, headers = {}, within = 90_000 }) {
    try {
      return await this.#send(method, path, body, headers, AbortSignal.timeout(within))
    } catch (error) {
      if (error.name !== "TimeoutError" || within >= 90_000) throw error
      return { status: NEVER, headers: {}, body: "" }
    }
  }

  /** What the first frame of a stream is made of. */
  async firstFrame(path) {
    const reply = await fetch(this.base + path, { headers: { authorization }, signal: AbortSignal.timeout(30_000) })
    let text = ""
    const decoder = new TextDecoder()
    for await (const bytes of reply.body) {
      text += decoder.decode(bytes, { stream: true })
      if (text.includes("\n\n")) break
    }
    const frame = text.split("\n\n")[0].split("\n").map((line) => [line.split(":")[0], line.slice(line.indexOf(":") + 1)])
    const json = JSON.parse(Object.fromEntries(frame).data)
    return { status: reply.status, fields: frame.map(([name]) => name).sort().join(" "), type: (json.payload ?? json).type }
  }

  async #send(method, path, body, headers, signal) {
    const reply = await fetch(this.base + path, {
      method, body, redirect: "manual",
      headers: { authorization, ...(body === undefined ? {} : { "content-type": "application/json" }), ...headers },
      signal,
    })
    const type = reply.headers.get("content-type") ?? ""
    if (type.startsWith("text/event-stream")) {
      await reply.body.cancel()
      return { status: reply.status, headers: Object.fromEntries(reply.headers), body: "" }
    }
    const text = await reply.text()
    let json = text
    try {
      json = JSON.parse(text)
    } catch {
      // It is not JSON, and is kept as text.
    }
    return { status: reply.status, headers: Object.fromEntries(reply.headers), body: json }
  }

  async close() {
    await this.events.close()
    await this.global.close()
    await this.api.close()
  }
}

/** Starts both, and everything they talk to. */
export async function startSides() {
  const dir = sandbox("conformance")
  const model = await startModel(dir)
  const config = { command: { greet: { template: "please @@TEXT, $1", description: "Greets" } } }
  const [real, sessiond] = await Promise.all([
    RealOpencode.start(dir, { project: gitProject(join(dir, "real", "project")), model: model.url, config, password: TOKEN }),
    Sessiond.start({
      name: "conformance", dir: join(dir, "sessiond"),
      agents: { opencode: recipes.opencode(join(dir, "agent-home"), model.url) },
      settings: "[share]\nenabled = false\n[commands.greet]\ntemplate = \"please @@TEXT, $1\"\ndescription = \"Greets\"",
    }),
  ])
  const doc = await real.document()
  const scripted = { providerID: "lab", modelID: "scripted-1" }
  const sides = {
    real: new Side("real", real.url, real.project, { demo: scripted, opencode: scripted }, [
      [real.project, "<project>"], [real.url, "<url>"],
      [join(real.home, ".config/opencode"), "<config>"], [join(real.home, ".local/state/opencode"), "<state>"], [real.home, "<home>"],
    ]),
    ours: new Side("ours", sessiond.base, sessiond.project, {
      demo: { providerID: "demo", modelID: "default" }, opencode: { providerID: "opencode", modelID: "default" },
    }, [
      [sessiond.project, "<project>"], [sessiond.base, "<url>"], [sessiond.data, "<state>"], [sessiond.dir, "<config>"], [sessiond.home, "<home>"],
    ]),
  }
  await Promise.all(Object.values(sides).map((side) => side.listening()))
  const stop = async () => {
    await Promise.all(Object.values(sides).map((side) => side.close()))
    await Promise.all([real.stop(), sessiond.stop(), model.stop()])
  }
  return { sides, doc, stop }
}
