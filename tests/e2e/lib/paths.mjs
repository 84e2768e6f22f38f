// Where things are: the programs of this repository and of node_modules.
import { existsSync } from "node:fs"
import { dirname, join, resolve } from "node:path"
import { fileURLToPath } from "node:url"

export const e2e = resolve(dirname(fileURLToPath(import.meta.url)), "..")
export const repo = resolve(e2e, "../..")

const target = process.env.CARGO_TARGET_DIR ? resolve(process.env.CARGO_TARGET_DIR) : join(repo, "target")

function program(env, fallback) {
  const path = resolve(process.env[env] ?? fallback)
  if (!existsSync(path)) throw new Error(`${path} is missing; build it first or set ${env}`)
  return path
}

export const sessiondBin = () => program("SESSIOND_BIN", join(target, "debug/sessiond"))
export const scriptedModelBin = () => program("SCRIPTED_MODEL_BIN", join(target, "debug/scripted-model"))

/** A file of an installed npm package. */
export const npm = (...path) => join(e2e, "node_modules", ...path)

/** The real OpenCode, whether or not npm ran its install script. */
export function opencodeBin() {
  const linked = npm("opencode-ai/bin/opencode.exe")
  const native = npm(`opencode-${process.platform}-${process.arch}`, "bin/opencode")
  return existsSync(native) ? native : linked
}
