// What there is to choose from: configuration, providers, agents, commands. What it is differs by nature (Q-providers,
// Q-agents, Q-commands, Q-config); that it has the form that clients read is what the document says.
const only = ["status", "headers"]

export default [
  {
    name: "what a client reads when it starts",
    steps: [
      "/config", "/global/config", "/config/providers", "/provider", "/provider/auth", "/agent", "/command", "/skill", "/lsp",
      "/formatter", "/mcp", "/experimental/resource", "/experimental/capabilities", "/experimental/console",
      "/experimental/workspace",
    ].map((path) => ({ send: `GET ${path}`, only })),
  },
]
