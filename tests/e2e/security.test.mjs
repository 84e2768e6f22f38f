// Every route of both OpenAPI documents against four kinds of strangers.
import assert from "node:assert/strict"
import { request } from "node:http"
import { after, before, describe, it } from "node:test"
import { openapiOfOpencode, operations } from "./lib/real.mjs"
import { Sessiond, TOKEN, sandbox } from "./lib/sessiond.mjs"

let server
const tables = []
before(async () => {
  const dir = sandbox("security")
  server = await Sessiond.start({ name: "security", dir })
  tables.push(...[...operations(await openapiOfOpencode(dir))].map((r) => ({ ...r, path: `/opencode${r.path}` })))
  const core = await server.v1("GET", "/openapi.json")
  tables.push(...[...operations(core)].map((r) => ({ ...r, path: r.path.startsWith("/v1") ? r.path : `/v1${r.path}` })))
  for (const path of ["/", "/metrics", "/global/health", "/v1/openapi.json", "/nope", "/opencode", "/v1"]) {
    tables.push({ method: "GET", path })
  }
})
after(() => server?.stop())

/** node:http, because fetch does not let a Host through. */
function send({ method, path }, headers) {
  return new Promise((done, fail) => {
    const req = request({ host: "127.0.0.1", port: server.port, method, path, headers, agent: false }, (reply) => {
      let body = ""
      reply.setEncoding("utf8")
      reply.on("data", (text) => {
        body += text
      })
      const finish = () => done({ status: reply.statusCode, headers: reply.headers, body })
      reply.on("end", finish)
      // A stream that was let through never ends: that it answered is what matters.
      setTimeout(() => req.destroy(), 5_000).unref()
      reply.on("close", finish)
    })
    req.on("error", fail)
    const payload = ["POST", "PUT", "PATCH"].includes(method) ? "{}" : undefined
    if (payload) req.setHeader("content-type", "application/json")
    req.end(payload)
  })
}

const bearer = `Bearer ${TOKEN}`
const strangers = {
  "no token": [{}, [401]],
  "a wrong token": [{ authorization: "Bearer wrong-wrong-wrong-wrong-wrong-wrong" }, [401]],
  "a wrong password": [{ authorization: `Basic ${Buffer.from("opencode:wrong").toString("base64")}` }, [401]],
  "a foreign Host": [{ authorization: bearer, host: "evil.example" }, [403, 421]],
  "a foreign Origin": [{ authorization: bearer, origin: "https://evil.example" }, [403]],
}

describe("closed by default", () => {
  for (const [who, [headers, allowed]] of Object.entries(strangers)) {
    it(`${who} gets nothing from any route`, async () => {
      const session = await server.oc("POST", "/session", { title: "canary-7f3a" })
      const wrong = []
      for (const route of tables) {
        const reply = await send(route, headers)
        if (!allowed.includes(reply.status)) wrong.push(`${route.method} ${route.path}: ${reply.status}`)
        if (/canary/.test(reply.body)) wrong.push(`${route.method} ${route.path} tells content`)
        if (who.includes("Origin") && reply.headers["access-control-allow-origin"]) wrong.push(`${route.path}: CORS`)
      }
      assert.deepEqual(wrong, [])
      assert.ok(tables.length > 100, "both documents were read")
      assert.equal((await server.oc("GET", `/session/${session.id}`)).title, "canary-7f3a")
    })
  }

  it("the owner gets in: Bearer, Basic, and in the query", async () => {
    const basic = Buffer.from(`opencode:${TOKEN}`).toString("base64")
    const route = { method: "GET", path: "/opencode/session" }
    assert.equal((await send(route, { authorization: bearer })).status, 200)
    assert.equal((await send(route, { authorization: `Basic ${basic}` })).status, 200)
    assert.equal((await send({ ...route, path: `${route.path}?auth_token=${encodeURIComponent(basic)}` }, {})).status, 200)
    const local = await send(route, { authorization: bearer, origin: "http://localhost:3000" })
    assert.equal(local.status, 200)
    assert.equal(local.headers["access-control-allow-origin"], "http://localhost:3000")
  })

  it("probes need no token and tell nothing", async () => {
    for (const path of ["/healthz", "/readyz"]) {
      const reply = await send({ method: "GET", path }, {})
      assert.equal(reply.status, 200)
      assert.ok(reply.body.length < 200 && !/canary/.test(reply.body))
    }
  })

  it("a preflight from elsewhere is not answered with a permission", async () => {
    const reply = await send({ method: "OPTIONS", path: "/opencode/session" }, {
      origin: "https://evil.example", "access-control-request-method": "POST",
    })
    assert.equal(reply.headers["access-control-allow-origin"], undefined)
  })
})
