// The scripted model server as a child process.
import { scriptedModelBin } from "./paths.mjs"
import { Child, hermetic } from "./process.mjs"

export async function startModel(home) {
  const child = new Child("scripted-model", scriptedModelBin(), [], { env: hermetic(home) })
  const [, url] = await child.line(/^(http:\/\/\S+)$/m)
  const log = async () => (await fetch(`${url}/__log`)).json()
  return {
    url,
    log,
    /** Requests for which this script was played. */
    played: async (script) => (await log()).filter((entry) => entry.script === script),
    stop: () => child.stop(),
  }
}

/** What the user said in a logged request, whatever its wire format. */
export function userTexts(entry) {
  const messages = entry.body.messages ?? entry.body.input ?? []
  const text = (content) =>
    typeof content === "string" ? content
      : Array.isArray(content) ? content.filter((c) => c.type !== "tool_result").map((c) => c.text ?? "").join("\n")
      : ""
  return messages.filter((m) => m.role === "user").map((m) => text(m.content))
}
