// Throws what schemathesis makes of both OpenAPI documents at sessiond: no 5xx, no hang.
//
//   node fuzz.mjs PATH_OF_SCHEMATHESIS      (FUZZ_SEED, FUZZ_EXAMPLES, FUZZ_SECONDS)
import { spawn } from "node:child_process"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { hermetic } from "./lib/process.mjs"
import { openapiOfOpencode, operations } from "./lib/real.mjs"
import { Sessiond, TOKEN, sandbox } from "./lib/sessiond.mjs"

const schemathesis = process.argv[2] ?? "schemathesis"
const seed = process.env.FUZZ_SEED ?? "20261122"
const examples = process.env.FUZZ_EXAMPLES ?? "25"
const seconds = process.env.FUZZ_SECONDS ?? "90"

// An agent that asks nobody: a turn that waits for a person would hold all that come after it.
const settings = `[limits]\nagent_idle = "2s"\n[agents.demo]\ndefault_mode = "auto"`

const dir = sandbox("fuzz")
const server = await Sessiond.start({ name: "fuzz", dir, settings })

// Methods that the document does not list are not its business: some answer an honest 501.
writeFileSync(join(dir, "schemathesis.toml"), `[phases.coverage]\nunexpected-methods = []\n`)

/** What there is, so that not every request ends at "no such session". */
const session = await server.oc("POST", "/session", { title: "to be fuzzed" })
const other = await server.oc("POST", "/session", { parentID: session.id })
const { info, parts } = await server.oc("POST", `/session/${session.id}/message`, { noReply: true, parts: [{ type: "text", text: "hi" }] })
const there = {
  sessionID: [session.id, other.id], session_id: [session.id, other.id],
  messageID: [info.id], message_id: [info.id], partID: [parts[0].id],
}

/** The document without what is not offered, and with ids that exist. */
async function prepare(doc, base, keep) {
  const copy = structuredClone(doc)
  const dropped = []
  for (const { method, template, path } of operations(doc)) {
    if (!keep(template)) {
      delete copy.paths[template]
      continue
    }
    // 501 is an honest answer of a route that is known and not built.
    const { status } = await server.call(method, base + path, method === "GET" ? undefined : {})
    if (status === 501) {
      delete copy.paths[template][method.toLowerCase()]
      dropped.push(`${method} ${template}`)
    }
  }
  if (dropped.length) console.log(`not offered (501): ${dropped.join(", ")}`)
  for (const item of Object.values(copy.paths)) {
    for (const op of Object.values(item)) {
      for (const parameter of op.parameters ?? []) {
        const known = parameter.in === "path" && there[parameter.name]
        if (known) parameter.schema = { anyOf: [{ enum: known }, parameter.schema] }
      }
    }
  }
  return copy
}

async function fuzz(name, doc, base, checks) {
  const file = join(dir, `${name}.json`)
  writeFileSync(file, JSON.stringify(doc))
  console.log(`\n== ${name}: ${Object.keys(doc.paths).length} paths, seed ${seed}`)
  // Not spawnSync: this process reads the server's log meanwhile, or the pipe fills up.
  const child = spawn(schemathesis, [
    "run", file, "--url", base, "--header", `Authorization: Bearer ${TOKEN}`,
    "--checks", checks, "--phases", "examples,coverage,fuzzing", "--max-examples", examples, "--max-time", seconds,
    "--request-timeout", "30", "--max-response-time", "20", "--workers", "1", "--seed", seed,
    "--continue-on-failure", "--no-color", "--no-shrink", "--warnings", "off", "--generation-database", "none",
  ], { stdio: ["ignore", "inherit", "inherit"], cwd: dir, env: hermetic(dir) })
  const status = await new Promise((done) => child.on("close", done))
  return status === 0
}

// Streams never end, and what stops the server or waits for people is no target.
const offered = /^\/(session|permission|question|config|provider|agent|command|path|project|global\/(health|config))(\/|$)/
const core = await server.v1("GET", "/openapi.json")
const prefix = Object.keys(core.paths).every((p) => p.startsWith("/v1")) ? "" : "/v1"
const results = [
  await fuzz("v1", await prepare(core, prefix, (p) => !p.endsWith("/events")), server.url + prefix, "not_a_server_error,response_schema_conformance,content_type_conformance"),
  await fuzz("opencode", await prepare(await openapiOfOpencode(dir), "/opencode", (p) => offered.test(p)), server.base, "not_a_server_error"),
]

// It is still well: it answers, and a prompt works.
const well = await server.oc("POST", "/session", {})
const reply = await server.oc("POST", `/session/${well.id}/message`, { parts: [{ type: "text", text: "still well?" }] })
const alive = reply.parts.some((p) => /still well/.test(p.text ?? ""))
await server.stop()
const passed = [...results, alive].filter(Boolean).length
console.log(`\nfuzz: ${passed} passed, ${3 - passed} failed`)
process.exit(passed === 3 ? 0 : 1)
