// Runs every suite and counts: what `npm test` and scripts/test call.
import { spawn } from "node:child_process"
import { mkdirSync, readdirSync, rmSync } from "node:fs"
import { join } from "node:path"
import { e2e } from "./lib/paths.mjs"

const artifacts = join(e2e, "artifacts")
rmSync(artifacts, { recursive: true, force: true })
mkdirSync(artifacts, { recursive: true })
const named = process.argv.slice(2)
const suites = named.length ? named : readdirSync(e2e).filter((f) => f.endsWith(".test.mjs")).sort()

// --test-force-exit: a stream that a client left open must not keep a suite alive.
const child = spawn(process.execPath, [
  "--test", "--test-force-exit", "--test-concurrency=1", "--test-timeout=900000", "--test-reporter=spec",
  ...suites.map((f) => join(e2e, f)),
], { stdio: ["ignore", "pipe", "inherit"], cwd: e2e })

let output = ""
child.stdout.setEncoding("utf8")
child.stdout.on("data", (text) => {
  output += text
  process.stdout.write(text)
})
child.on("close", (status) => {
  const count = (what) => Number(output.match(new RegExp(`^\\S+ ${what} (\\d+)$`, "m"))?.[1] ?? 0)
  const passed = count("pass")
  const failed = count("fail") + count("cancelled")
  console.log(`e2e: ${passed} passed, ${failed} failed, ${count("skipped")} skipped`)
  process.exitCode = status === 0 && passed > 0 ? 0 : 1
})
