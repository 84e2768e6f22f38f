// Runs every suite and counts: what `npm test` and scripts/test call.
import { spawnSync } from "node:child_process"
import { readdirSync, readFileSync } from "node:fs"
import { mkdirSync, rmSync } from "node:fs"
import { join } from "node:path"
import { e2e } from "./lib/paths.mjs"

const artifacts = join(e2e, "artifacts")
rmSync(artifacts, { recursive: true, force: true })
mkdirSync(artifacts, { recursive: true })
const tap = join(artifacts, "result.tap")
const named = process.argv.slice(2)
const suites = named.length ? named : readdirSync(e2e).filter((f) => f.endsWith(".test.mjs")).sort()

const { status } = spawnSync(process.execPath, [
  "--test", "--test-force-exit", "--test-concurrency=1", "--test-timeout=900000",
  "--test-reporter=spec", "--test-reporter-destination=stdout",
  "--test-reporter=tap", `--test-reporter-destination=${tap}`,
  ...suites.map((f) => join(e2e, f)),
], { stdio: ["ignore", "inherit", "inherit"], cwd: e2e })

const count = (what) => Number(readFileSync(tap, "utf8").match(new RegExp(`^# ${what} (\\d+)$`, "m"))?.[1] ?? 0)
console.log(`e2e: ${count("pass")} passed, ${count("fail") + count("cancelled")} failed, ${count("skipped")} skipped`)
process.exit(status ?? 1)
