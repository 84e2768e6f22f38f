// Share pages in a real browser: Debian's Chromium, headless.
import assert from "node:assert/strict"
import { existsSync } from "node:fs"
import { join } from "node:path"
import { after, before, describe, it } from "node:test"
import { chromium } from "playwright-core"
import { e2e } from "./lib/paths.mjs"
import { until } from "./lib/process.mjs"
import { Sessiond, TOKEN } from "./lib/sessiond.mjs"

const artifacts = join(e2e, "artifacts")
const KEY = `ghp_${"aB3dE5".repeat(6)}`
const HOSTILE = [
  "<script>window.pwned = 1</script>",
  "<img src=x onerror=\"window.pwned = 2\">",
  "![pixel](https://elsewhere.invalid/pixel.png)",
  "[press](javascript:window.pwned=3)",
  "<style>body{background:url(https://elsewhere.invalid/x)}</style>",
  "<iframe src=https://elsewhere.invalid></iframe><svg onload=window.pwned=4>",
  "</main></body><script>window.pwned = 5</script>",
].join("\n\n")

let server
let browser
before(async () => {
  server = await Sessiond.start({ name: "share" })
  browser = await chromium.launch({
    executablePath: ["/usr/bin/chromium", "/usr/bin/google-chrome"].find(existsSync),
    args: [
      "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
      "--disable-background-networking", "--disable-component-update", "--disable-sync",
    ],
  })
})
after(async () => {
  await browser?.close()
  await server?.stop()
})

const say = (id, text) => server.oc("POST", `/session/${id}/message`, { parts: [{ type: "text", text }] })

/** A shared session in which a file was written, a secret told, and something hostile tried. */
async function shared() {
  const session = await server.oc("POST", "/session", {
    title: "Fix the <b>parser</b>",
    permission: [{ permission: "*", pattern: "*", action: "allow" }],
  })
  await say(session.id, "/write src/parser.rs fn main() {}")
  await say(session.id, "/edit src/parser.rs main parse")
  await say(session.id, `Please use ${KEY}, and:\n\n\`\`\`rust\nfn main() { let x = 1; }\n\`\`\``)
  await say(session.id, HOSTILE)
  const { share } = await server.oc("POST", `/session/${session.id}/share`)
  return { id: session.id, url: share.url }
}

/** A page that notes what it asks for and what it complains of. */
async function open(url, options = {}) {
  const context = await browser.newContext(options)
  const page = await context.newPage()
  const seen = { requests: [], console: [], errors: [] }
  page.on("request", (r) => seen.requests.push(r.url()))
  page.on("console", (m) => ["error", "warning"].includes(m.type()) && seen.console.push(m.text()))
  page.on("pageerror", (e) => seen.errors.push(String(e)))
  const response = await page.goto(url, { waitUntil: "load" })
  return { context, page, seen, response }
}

const foreign = (seen) => seen.requests.filter((url) => !url.startsWith(server.url) && !url.startsWith("data:"))

describe("share page", () => {
  it("is readable without JavaScript and asks for nothing but itself", async () => {
    const { url } = await shared()
    const { page, seen, response, context } = await open(url, { javaScriptEnabled: false })
    assert.equal(response.status(), 200)
    assert.equal(await page.title(), "Fix the <b>parser</b>")
    const text = await page.locator("main").innerText()
    assert.match(text, /You said: Please use \[redacted: github-token\]/)
    assert.ok(!(await page.content()).includes(KEY))
    // Tool calls are folded, and open by themselves.
    const tool = page.locator("details.tool").first()
    assert.equal(await tool.getAttribute("open"), null)
    await tool.locator("summary").click()
    assert.ok(await tool.locator("pre").first().isVisible())
    assert.ok((await page.locator(".diff .d-add").count()) > 0, "diffs are coloured")
    assert.ok((await page.locator("pre .h-k").count()) > 0, "code is highlighted")
    assert.deepEqual(seen.requests.filter((r) => !r.startsWith("data:")), [url])
    assert.deepEqual(seen.console, [])
    await context.close()
  })

  it("runs nothing of what it shows", async () => {
    const { url } = await shared()
    const { page, seen, context } = await open(url)
    assert.equal(await page.evaluate("window.pwned"), undefined)
    assert.equal(await page.locator("img, iframe, svg, object, main style, main script").count(), 0)
    for (const a of await page.locator("main a").all()) {
      assert.match((await a.getAttribute("href")) ?? "", /^(https?:|mailto:|\?|$)/)
    }
    // An origin of its own: no script here could use what the browser knows of the server.
    assert.equal(await page.evaluate("self.origin"), "null")
    assert.deepEqual(foreign(seen), [])
    assert.deepEqual(seen.console, [], "no violation of the policy")
    assert.deepEqual(seen.errors, [])
    await context.close()
  })

  it("follows a running session and goes when it is ended", async () => {
    const { id, url } = await shared()
    const { page, seen, context } = await open(url)
    const tool = page.locator("details.tool").first()
    await tool.locator("summary").click()
    await say(id, "the mandarin is ripe")
    await page.getByText("You said: the mandarin is ripe").waitFor({ timeout: 30_000 })
    assert.notEqual(await tool.getAttribute("open"), null, "what was opened stays open")
    const running = say(id, "/slow 6 500")
    await page.locator(".busy").waitFor({ timeout: 30_000 })
    await running
    await page.locator(".busy").waitFor({ state: "detached", timeout: 30_000 })
    assert.deepEqual(foreign(seen), [])
    assert.deepEqual(seen.console, [])
    await server.oc("DELETE", `/session/${id}/share`)
    assert.equal((await fetch(url)).status, 404)
    await page.getByText("Nothing is shared here").waitFor({ timeout: 30_000 })
    await context.close()
  })

  it("comes back after a restart of the server", async () => {
    const { id, url } = await shared()
    const { page, context } = await open(url)
    await server.restart({ signal: "SIGTERM" })
    await say(id, "after the restart")
    await page.getByText("You said: after the restart").waitFor({ timeout: 60_000 })
    await context.close()
  })

  it("fits on a phone, light and dark", async () => {
    const { url } = await shared()
    for (const colorScheme of ["light", "dark"]) {
      const { page, context } = await open(url, { viewport: { width: 360, height: 740 }, deviceScaleFactor: 2, isMobile: true, colorScheme })
      for (const tool of await page.locator("details > summary").all()) await tool.click()
      const [width, inner] = await page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
      assert.ok(width <= inner, `${width} > ${inner}: it scrolls sideways`)
      const ground = await page.evaluate("getComputedStyle(document.body).backgroundColor")
      assert.equal(ground === "rgb(255, 255, 255)", colorScheme === "light", ground)
      await page.screenshot({ path: join(artifacts, `share-phone-${colorScheme}.png`), fullPage: true })
      await context.close()
    }
  })

  it("keeps its token out of the log", async () => {
    const { url } = await shared()
    await fetch(url)
    const token = url.split("/").at(-1)
    await until("the look in the log", () => server.child.stderr.includes("answered"))
    assert.ok(!server.child.stderr.includes(token))
    assert.ok(!server.child.stderr.includes(TOKEN))
  })
})
