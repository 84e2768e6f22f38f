// How the real agents are started so that the scripted model is all they ever talk to.
import { mkdirSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { npm, opencodeBin } from "./paths.mjs"
import { hermetic } from "./process.mjs"

function put(path, content) {
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, typeof content === "string" ? content : JSON.stringify(content, null, 2))
}

export function opencodeConfig(model) {
  const models = {}
  for (const id of ["scripted-1", "scripted-2"]) {
    models[id] = { name: id, tool_call: true, reasoning: true, limit: { context: 100_000, output: 8_000 } }
  }
  return {
    autoupdate: false,
    share: "disabled",
    model: "lab/scripted-1",
    small_model: "lab/scripted-1",
    provider: {
      lab: {
        npm: "@ai-sdk/openai-compatible",
        name: "Lab",
        options: { baseURL: `${model}/v1`, apiKey: "sk-lab" },
        models,
      },
    },
    permission: { edit: "ask", bash: "ask" },
  }
}

export const opencodeEnv = {
  OPENCODE_DISABLE_AUTOUPDATE: "1",
  OPENCODE_DISABLE_MODELS_FETCH: "1",
  OPENCODE_DISABLE_DEFAULT_PLUGINS: "1",
  OPENCODE_DISABLE_LSP_DOWNLOAD: "1",
}

const codexToml = (model) => `model = "gpt-5.5"
model_provider = "lab"
approval_policy = "on-request"
sandbox_mode = "read-only"
check_for_update_on_startup = false
[analytics]
enabled = false
[model_providers.lab]
name = "lab"
base_url = "${model}/v1"
wire_api = "responses"
env_key = "LAB_KEY"
request_max_retries = 1
stream_max_retries = 1
stream_idle_timeout_ms = 20000
[tools]
update_plan = { enabled = true }
`

/** Each takes a home and the model's URL, and answers an entry of `sessiond.toml`. */
export const recipes = {
  opencode(home, model) {
    put(join(home, ".config/opencode/opencode.json"), opencodeConfig(model))
    return { command: opencodeBin(), args: ["acp"], env: hermetic(home, opencodeEnv) }
  },

  claude(home, model) {
    mkdirSync(join(home, ".claude"), { recursive: true })
    return {
      command: process.execPath,
      args: [npm("@agentclientprotocol/claude-agent-acp/dist/index.js")],
      default_mode: "default",
      env: hermetic(home, {
        ANTHROPIC_BASE_URL: model,
        ANTHROPIC_API_KEY: "sk-lab",
        CLAUDE_CONFIG_DIR: join(home, ".claude"),
        DISABLE_TELEMETRY: "1",
        DISABLE_ERROR_REPORTING: "1",
        DISABLE_AUTOUPDATER: "1",
        CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: "1",
        CLAUDE_CODE_MAX_RETRIES: "1",
        CLAUDE_CODE_ENABLE_TODO_TOOLS: "1",
        CLAUDE_CODE_ENABLE_TASKS: "0",
        ENABLE_TOOL_SEARCH: "false",
      }),
    }
  },

  codex(home, model) {
    put(join(home, ".codex/config.toml"), codexToml(model))
    return {
      command: process.execPath,
      args: [npm("@agentclientprotocol/codex-acp/dist/index.js")],
      default_mode: "read-only",
      env: hermetic(home, { CODEX_HOME: join(home, ".codex"), LAB_KEY: "sk-lab", NO_BROWSER: "1" }),
    }
  },
}

/** The `[agents.NAME]` tables of a configuration file. */
export function agentTables(agents) {
  const value = (v) => JSON.stringify(v)
  let toml = ""
  for (const [name, spec] of Object.entries(agents)) {
    toml += `\n[agents.${name}]\ncommand = ${value(spec.command)}\nargs = ${value(spec.args)}\n`
    if (spec.default_mode) toml += `default_mode = ${value(spec.default_mode)}\n`
    toml += `[agents.${name}.env]\n`
    for (const [key, v] of Object.entries(spec.env ?? {})) toml += `${key} = ${value(v)}\n`
  }
  return toml
}
