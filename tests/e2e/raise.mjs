// Raises the clients to the newest versions of the registry, plays the conformance suite, and tells what changed:
//   npm run raise              all of them
//   npm run raise -- opencode-ai @opencode-ai/sdk
import { execFileSync, spawnSync } from "node:child_process"
import { readFileSync, writeFileSync } from "node:fs"
import { e2e } from "./lib/paths.mjs"
import { manifest, mention, pinned } from "./lib/versions.mjs"

const named = process.argv.slice(2)
const before = pinned()
const unknown = named.filter((name) => !before[name])
if (unknown.length) throw new Error(`package.json does not have: ${unknown.join(", ")}`)
const after = Object.fromEntries(Object.entries(before).map(([name, version]) => {
  const wanted = named.length === 0 || named.includes(name)
  return [name, wanted ? execFileSync("npm", ["view", name, "version"], { cwd: e2e, encoding: "utf8" }).trim() : version]
}))
const changed = Object.keys(after).filter((name) => after[name] !== before[name])
if (changed.length === 0) {
  console.log("everything is the newest there is")
  process.exit(0)
}

const text = readFileSync(manifest, "utf8")
writeFileSync(manifest, changed.reduce((t, name) => t.replace(`"${name}": "${before[name]}"`, `"${name}": "${after[name]}"`), text))
mention(after["opencode-ai"])
execFileSync("npm", ["install", "--include=optional", "--no-audit", "--no-fund"], { cwd: e2e, stdio: "inherit" })
const { status } = spawnSync(process.execPath, ["run.mjs", "conformance.test.mjs"], { cwd: e2e, stdio: "inherit" })

console.log("\nraised:")
for (const name of changed) console.log(`  ${name} ${before[name]} -> ${after[name]}`)
console.log(status === 0
  ? "conformance passes: nothing that we know of changed"
  : "conformance fails: above is what the new OpenCode does differently; both sides are in tests/e2e/artifacts/conformance")
process.exitCode = status ?? 1
