// Three nodes behind a real nginx, with the files of contrib; and those files by themselves.
import assert from "node:assert/strict"
import { execFileSync } from "node:child_process"
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { after, before, describe, it } from "node:test"
import { parse, parseDocument } from "yaml"
import { Fleet } from "./lib/fleet.mjs"
import { Nginx, changed } from "./lib/nginx.mjs"
import { repo, sessiondBin } from "./lib/paths.mjs"
import { Postgres, freePort } from "./lib/postgres.mjs"
import { Child, hermetic, until } from "./lib/process.mjs"
import { EventLog, TOKEN, gitProject, sandbox, text } from "./lib/sessiond.mjs"

const LEASE = 4
const AUTH = { authorization: `Bearer ${TOKEN}` }
const say = (words) => ({ parts: [{ type: "text", text: words }] })
const ENDS = ["completed", "failed", "aborted", "interrupted"]

describe("three nodes behind nginx", () => {
  let fleet, nginx
  before(async () => {
    fleet = await Fleet.start({ name: "nginx", lease: LEASE })
    nginx = await Nginx.over(fleet.nodes, join(fleet.dir, "nginx"))
  })
  after(async () => {
    await nginx?.stop()
    await fleet?.stop()
  })

  const call = (method, path, body) => fetch(nginx.url + path, {
    method, headers: { ...AUTH, "content-type": "application/json" }, body: body && JSON.stringify(body),
    signal: AbortSignal.timeout(90_000),
  })
  const stream = (session, cursor) => new EventLog(`${nginx.url}/v1/events?session=${session}${cursor ? "" : "&after=0"}`, {
    ...AUTH, accept: "text/event-stream", ...(cursor ? { "last-event-id": cursor } : {}),
  })
  const numbers = (log) => log.all.map((e) => e.json.session_seq).filter((n) => n > 0)
  const gapless = (list) => assert.deepEqual(list, list.map((_, i) => i + 1), "numbered 1..n without gaps")

  it("answers a stock client, and streams while a turn runs", async () => {
    const client = fleet.client(nginx)
    const { data: session } = await client.session.create({ body: { title: "through nginx" } })
    for (let i = 0; i < 6; i++) {
      const { data } = await client.session.prompt({ path: { id: session.id }, body: say(`number ${i}`) })
      assert.ok(text(data).includes(`number ${i}`))
    }
    const { data: messages } = await client.session.messages({ path: { id: session.id } })
    assert.equal(messages.length, 12)

    const seen = { deltas: 0, open: false }
    const { stream: events } = await client.event.subscribe()
    const heard = (async () => {
      for await (const event of events) {
        const of = event.properties?.sessionID ?? event.properties?.part?.sessionID
        if (of !== session.id) continue
        if (event.type === "message.part.delta") seen.deltas += 1
        if (event.type === "session.idle") return
      }
    })()
    const asked = client.session.prompt({ path: { id: session.id }, body: say("/slow 40 50") }).then((r) => {
      seen.open = true
      return r
    })
    await until("text that grows", () => seen.deltas > 5)
    assert.equal(seen.open, false, "seen while it is written")
    const { data: slow } = await asked
    assert.ok(slow.info.time.completed)
    await heard
  })

  it("goes on when the owner is killed: streams reconnect, and nothing is asked twice", async () => {
    const client = fleet.client(nginx)
    const { data: session } = await client.session.create({ body: {} })
    await client.session.prompt({ path: { id: session.id }, body: say("remember the word plum") })
    const owner = fleet.node(fleet.holder(session.id))
    const others = fleet.nodes.filter((n) => n !== owner)
    // The node with the fewest requests gets the next one, so each gets a stream.
    const logs = [stream(session.id), stream(session.id), stream(session.id)]
    await until("the streams", () => logs.every((log) => log.all.length > 0))
    const { turn } = await (await call("POST", `/v1/sessions/${session.id}/prompt`, say("/slow 100000 20"))).json()
    await until("it is seen on every stream", () => logs.every((log) => log.all.some((e) => e.json.type === "part.delta")))
    // Prompts that wait for their answer, at all nodes.
    const waiting = [0, 1, 2].map((n) => call("POST", `/opencode/session/${session.id}/message`, {
      messageID: `msg_nginx0000000000000000${n}`, ...say(`while it dies ${n}`),
    }).then(async (r) => [r.status, await r.text()]))
    await until("they are queued", async () => (await others[0].turns(session.id)).length === 5)

    await owner.crash()
    const killed = Date.now()
    const since = () => ((Date.now() - killed) / 1000).toFixed(1)
    const cut = await until("a stream is cut", () => logs.find((log) => log.ended || log.error))
    const told = since()
    const onward = stream(session.id, cut.all.map((e) => e.id).filter(Boolean).at(-1))
    await until("the stream goes on", () => onward.status === 200)
    const again = since()
    let refused = 0
    const taken = await until("a prompt is taken", async () => {
      const reply = await call("POST", `/v1/sessions/${session.id}/prompt`, { message_id: "msg_nginx00000000000000009", ...say("after the crash") })
      if (reply.ok) return reply.json()
      refused += 1
      assert.equal(reply.status, 503, await reply.text())
      assert.ok(Number(reply.headers.get("retry-after")) > 0)
    }, { every: 250 })
    const accepted = since()
    const ended = await others[0].turnEnd(session.id, turn.id)
    assert.equal(ended.state, "interrupted")
    assert.equal((await others[1].turnEnd(session.id, taken.turn.id)).state, "completed")
    console.log(`# lease ${LEASE} s; seconds after kill -9 of the owner: stream cut ${told}, stream on at another node ${again}, `
      + `prompt accepted ${accepted} (${refused} times 503), answered ${since()}`)

    for (const [status, body] of await Promise.all(waiting)) {
      assert.ok([200, 502, 503].includes(status), `${status} ${body.slice(0, 200)}`)
    }
    const turns = await until("every turn has ended", async () => {
      const all = await others[0].turns(session.id)
      return all.every((t) => ENDS.includes(t.state)) && all
    })
    assert.equal(turns.length, 6, "each prompt once")
    const { data: messages } = await client.session.messages({ path: { id: session.id } })
    const words = messages.filter((m) => m.info.role === "user").map((m) => text(m))
    for (const mine of ["while it dies 0", "while it dies 1", "while it dies 2", "after the crash"]) {
      assert.equal(words.filter((w) => w === mine).length, 1, mine)
    }

    // Most often each node has one stream; but it is nginx that says so.
    const whole = logs.filter((log) => !log.ended && !log.error)
    assert.ok(whole.length > 0, "a stream of a node that lives goes on")
    await until("the streams are where the log is", async () => {
      const last = (await fleet.events(others[0], session.id)).at(-1).session_seq
      return [...whole, onward].every((log) => numbers(log).at(-1) === last)
    }).catch((error) => {
      throw new Error(`${error.message}: ${[...logs, onward].map((log) => `${numbers(log).at(-1)} ${log.ended ?? ""} ${log.error ?? ""}`)}`)
    })
    for (const log of whole) gapless(numbers(log))
    gapless([...numbers(cut), ...numbers(onward)])
    for (const log of [...whole, onward]) await log.close()
    await owner.up()
  })

  it("shows the numbers of each node, and none through nginx", async () => {
    assert.equal((await call("GET", "/metrics")).status, 404)
    const read = async (node) => {
      const { text: page } = await node.call("GET", "/metrics")
      const value = (name) => {
        assert.match(page, new RegExp(`^# HELP ${name} \\S.+$`, "m"), `${name} is explained`)
        return Number(page.match(new RegExp(`^${name} (\\S+)$`, "m"))[1])
      }
      return Object.fromEntries(["sessiond_leases", "sessiond_store_groups", "sessiond_store_group_jobs", "sessiond_store_group_seconds",
        "sessiond_store_group_retries", "sessiond_store_lag_events", "sessiond_forwards_total"].map((name) => [name, value(name)]))
    }
    // Those of the last test may have been taken by any; a session is given back when it is not used.
    const sessions = []
    for (let i = 0; i < 6; i++) sessions.push(await (await call("POST", `/opencode/session?directory=${encodeURIComponent(fleet.project)}`, {})).json())
    for (const { id } of sessions) for (const node of fleet.nodes) {
      assert.equal((await node.call("PATCH", `/opencode/session/${id}`, { title: `named by ${node.name}` })).status, 200)
    }
    const all = await until("nobody lags", async () => {
      const all = await Promise.all(fleet.nodes.map(read))
      return all.every((n) => n.sessiond_store_lag_events === 0) && all
    })
    const sum = (name) => all.reduce((sum, n) => sum + n[name], 0)
    assert.ok(sum("sessiond_leases") >= 6, JSON.stringify(all))
    assert.ok(sum("sessiond_forwards_total") >= 12, JSON.stringify(all))
    for (const n of all) {
      assert.ok(n.sessiond_store_groups > 0 && n.sessiond_store_group_jobs >= n.sessiond_store_groups, JSON.stringify(n))
      assert.ok(n.sessiond_store_group_seconds > 0)
    }
  })
})

describe("the files of contrib", () => {
  const dir = sandbox("contrib")
  const project = gitProject(join(dir, "srv"))
  let postgres
  before(async () => {
    postgres = await Postgres.start()
  })
  after(() => postgres?.down())

  /** Starts nodes from what the files say, and has one prompted and the others answer. */
  async function serve(name, nodes, kind) {
    const children = []
    let nginx
    try {
      for (const [i, { args, env }] of nodes.entries()) {
        const home = join(dir, `${name}-${i}`)
        mkdirSync(home, { recursive: true })
        children.push(new Child(name, sessiondBin(), args, { env: hermetic(home, env), cwd: project }))
      }
      for (const child of children) await child.line(/https?:\/\/\S+:\d+/)
      nginx = await Nginx.over(nodes, join(dir, `${name}-nginx`), kind)
      // By the name that it is called in public, as a proxy before it would.
      const oc = async (method, path, body) => {
        const reply = await fetch(`${nginx.url}/opencode${path}`, {
          method, headers: { ...AUTH, "content-type": "application/json" }, body: body && JSON.stringify(body),
        })
        assert.equal(reply.status, 200, await reply.clone().text())
        return reply.json()
      }
      const session = await oc("POST", `/session?directory=${encodeURIComponent(project)}`, {})
      for (let i = 0; i < nodes.length; i++) {
        assert.ok(text(await oc("POST", `/session/${session.id}/message`, say(`hello ${i}`))).includes(`hello ${i}`))
      }
      const known = await (await fetch(`${nginx.url}/v1/nodes`, { headers: AUTH })).json()
      assert.deepEqual(known.nodes.filter((n) => n.alive).map((n) => n.name).sort(), nodes.map((_, i) => `node-${i + 1}`))
    } finally {
      await nginx?.stop()
      await Promise.all(children.map((child) => child.stop()))
    }
  }

  it("systemd: the unit is sound, and three nodes start by it", async () => {
    const unit = changed("systemd/sessiond@.service", [["/usr/local/bin/sessiond", sessiondBin()]])
    const file = join(dir, "sessiond@node-1.service")
    writeFileSync(file, unit)
    try {
      execFileSync("systemd-analyze", ["verify", file], { stdio: "pipe" })
    } catch (error) {
      if (error.code !== "ENOENT") throw new Error(`${error.stderr ?? error}`)
      console.log("# without systemd-analyze the unit is not verified")
    }
    const nodes = []
    for (const i of [1, 2, 3]) {
      const port = await freePort()
      const [config, secrets, data] = [join(dir, `node-${i}.toml`), "systemd/node-1.env", join(dir, `data-${i}`)]
      writeFileSync(config, changed("systemd/node-1.toml", [
        ["0.0.0.0:2468", `127.0.0.1:${port}`], ["http://10.0.0.1:2468", `http://127.0.0.1:${port}`],
        ['node = "node-1"', `node = "node-${i}"`], ["/srv/projects", dir], ['default_agent = "claude"', 'default_agent = "demo"'],
      ]))
      chmodSync(config, 0o600)
      const env = Object.fromEntries(changed(secrets, [
        ["postgres://sessiond:PASSWORD@db.example.org/sessiond?sslmode=verify-full", `${postgres.url()}?schema=systemd`],
        ["FIRST-SECRET-OF-AT-LEAST-20", TOKEN],
      ]).split("\n").filter((line) => /^[A-Z]/.test(line)).map((line) => line.split(/=(.*)/s).slice(0, 2)))
      const [, ...args] = unit.match(/^ExecStart=(.*)$/m)[1]
        .replace("/etc/sessiond/%i.toml", config).replace("/var/lib/sessiond/%i", data).split(" ")
      nodes.push({ args, env, port })
    }
    await serve("systemd", nodes, "systemd")
  })

  it("compose: the file is sound, and three nodes start by what it says", async () => {
    const source = readFileSync(join(repo, "contrib/compose/compose.yaml"), "utf8")
    assert.deepEqual(parseDocument(source, { merge: true }).errors, [])
    const compose = parse(source, { merge: true })
    for (const [name, service] of Object.entries(compose.services)) {
      assert.ok(service.image, name)
      for (const other of Object.keys(service.depends_on ?? {})) assert.ok(compose.services[other]?.healthcheck, `${name} waits for ${other}`)
      for (const volume of service.volumes ?? []) {
        const [from] = volume.split(":")
        if (from.startsWith(".")) assert.ok(readFileSync(join(repo, "contrib/compose", from)).length, from)
        else assert.ok(from in compose.volumes, from)
      }
    }
    const given = {
      POSTGRES_PASSWORD: "unused", SESSIOND_TOKEN: TOKEN, SESSIOND_CLUSTER_TOKEN: "a-token-that-nodes-show-each-other",
    }
    const docker = readFileSync(join(repo, "contrib/compose/Dockerfile"), "utf8")
    const command = JSON.parse(docker.match(/^CMD (.*)$/m)[1])
    const nodes = []
    for (const i of [1, 2, 3]) {
      const { environment } = compose.services[`node-${i}`]
      const port = await freePort()
      const env = Object.fromEntries(Object.entries(environment).map(([key, value]) => [key, value
        .replace(/\$\{(\w+)(?::[-?]([^}]*))?\}/g, (_, name, or) => given[name] ?? or)
        .replace("sessiond:unused@postgres/sessiond?sslmode=disable", `postgres@127.0.0.1:${postgres.port}/postgres?sslmode=disable&schema=compose`)
        .replace(`http://node-${i}:2468`, `http://127.0.0.1:${port}`)
        .replace("/srv/projects", dir)]))
      env.SESSIOND_DATA_DIR = join(dir, `compose-data-${i}`)
      nodes.push({ args: command.map((arg) => arg.replace("0.0.0.0:2468", `127.0.0.1:${port}`)), env, port })
    }
    await serve("compose", nodes, "compose")
  })
})
