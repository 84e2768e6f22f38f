// The versions of the clients: package.json pins them, and what else names one has to agree.
import { execFileSync } from "node:child_process"
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { e2e, repo } from "./paths.mjs"

export const manifest = join(e2e, "package.json")
export const pinned = () => JSON.parse(readFileSync(manifest, "utf8")).devDependencies

const MENTION = /((?:OpenCode |opencode-ai@))(\d+\.\d+\.\d+)/g
/** Recorded or measured once, with the version that they name. */
const RECORDS = /(^CHANGELOG\.md|^docs\/.*|package-lock\.json|\/fixtures\/.*)$/

/** Files of the repository that name a version of OpenCode, each with the versions. */
export function mentions() {
  const files = execFileSync("git", ["grep", "-lE", "(OpenCode |opencode-ai@)[0-9]+[.][0-9]+[.][0-9]+"], { cwd: repo, encoding: "utf8" })
  return files.trim().split("\n").filter((file) => !RECORDS.test(file)).map((file) => {
    const path = join(repo, file)
    return { file, path, versions: [...readFileSync(path, "utf8").matchAll(MENTION)].map((m) => m[2]) }
  })
}

/** Makes them name another version. */
export function mention(version) {
  for (const { path } of mentions()) writeFileSync(path, readFileSync(path, "utf8").replace(MENTION, `$1${version}`))
}
