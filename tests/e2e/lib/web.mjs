// OpenCode's web UI, as `opencode serve` serves it, in headless Chromium, pointed at our server.
import { existsSync, mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { chromium } from "playwright-core"
import { opencodeConfig, opencodeEnv } from "./agents.mjs"
import { e2e, opencodeBin } from "./paths.mjs"
import { Child, hermetic } from "./process.mjs"

const executablePath = ["/usr/bin/chromium", "/usr/bin/google-chrome"].find(existsSync)

/** Why there can be no browser; `false` when there can. */
export const noBrowser = executablePath ? false : "Chromium is not installed"

/** Starts the server of the pages; nothing but the pages is asked of it. */
export async function servePages(dir) {
  const home = join(dir, "pages")
  mkdirSync(join(home, ".config/opencode"), { recursive: true })
  writeFileSync(join(home, ".config/opencode/opencode.json"), JSON.stringify(opencodeConfig("http://127.0.0.1:9")))
  const child = new Child("opencode serve", opencodeBin(), ["serve", "--hostname", "127.0.0.1", "--port", "0"], {
    env: hermetic(home, opencodeEnv), cwd: home,
  })
  const [url] = await child.line(/http:\/\/127\.0\.0\.1:\d+/, { within: 60_000 })
  return { url, stop: () => child.stop(2_000) }
}

export const launch = () => chromium.launch({
  executablePath,
  args: [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
  ],
})

/** The name of a server in the addresses of the pages. */
export const key = (server) => Buffer.from(server).toString("base64url")

/** A page; `E2E_SLOW_PAGES=6` makes it six times as slow, as on a busy machine. */
export async function newPage(context) {
  const page = await context.newPage()
  page.setDefaultTimeout(20_000)
  const rate = Number(process.env.E2E_SLOW_PAGES ?? 1)
  if (rate > 1) await (await context.newCDPSession(page)).send("Emulation.setCPUThrottlingRate", { rate })
  return page
}

/** A browser that knows our server and a project there, as after adding them by hand. */
export async function visitor(browser, server, password, worktree) {
  const context = await browser.newContext({ viewport: { width: 1500, height: 950 } })
  await context.addInitScript(({ server, password, worktree }) => {
    if (localStorage.getItem("opencode.global.dat:server")) return
    const http = { url: server, username: "opencode", password }
    localStorage.setItem("opencode.global.dat:server", JSON.stringify({
      list: [{ type: "http", http }], projects: { [server]: [{ worktree, expanded: true }] }, lastProject: { [server]: worktree },
    }))
    localStorage.setItem("opencode.settings.dat:defaultServerUrl", server)
  }, { server, password, worktree })
  const page = await newPage(context)
  const seen = { requests: [], console: [] }
  page.on("response", (r) => seen.requests.push(`${r.status()} ${r.request().method()} ${r.url()}`))
  page.on("console", (m) => m.type() === "error" && seen.console.push(m.text()))
  page.on("pageerror", (e) => seen.console.push(String(e)))
  return { context, page, seen }
}

/** Keeps a picture among the artefacts. */
export async function picture(page, name) {
  mkdirSync(join(e2e, "artifacts"), { recursive: true })
  await page.screenshot({ path: join(e2e, "artifacts", `web-${name}.png`) })
}
