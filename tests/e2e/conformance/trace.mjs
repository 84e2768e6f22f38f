// The events of a session as lines of text that two servers can be compared by.

/** Told by tasks of their own at any time: only a step with `also` compares them, as a set after the rest. */
const DETACHED = ["session.updated", "session.diff"]
/** News of OpenCode's inner life: Q-inner-events. */
const INNER = /^(plugin|catalog|reference|integration|file|lsp|vcs|project|mcp|server|installation)\./

export const sessionOf = ({ properties: p = {} }) => p.sessionID ?? p.info?.sessionID ?? p.part?.sessionID ?? p.info?.id

/** Who wrote each message, as the events themselves tell it. */
function rolesOf(events) {
  const roles = new Map()
  for (const { properties: p } of events) if (p.info?.role) roles.set(p.info.id, p.info.role)
  return roles
}

function line({ type, properties: p }, role) {
  switch (type) {
    case "message.updated": {
      const end = p.info.error ? ` ${p.info.error.name}` : p.info.finish ? ` ${p.info.finish}` : ""
      return `${p.info.role}${end}${p.info.time.completed ? " completed" : ""}`
    }
    case "message.removed": return "message removed"
    case "message.part.removed": return "part removed"
    case "message.part.delta": return `${role(p.messageID)} delta ${p.field}`
    case "message.part.updated": return `${role(p.part.messageID)} ${part(p.part)}`
    case "session.status": return `status ${p.status.type}`
    case "session.error": return `error ${p.error?.name}`
    case "permission.replied": return `permission.replied ${p.reply}`
    default: return type
  }
}

function part(p) {
  switch (p.type) {
    case "tool": return `tool ${p.tool} ${p.state.status}`
    case "text":
    case "reasoning": return `${p.type}${p.synthetic ? " synthetic" : ""}${p.time?.end ? " ended" : ""}`
    case "step-finish": return `step-finish ${p.reason}`
    default: return p.type
  }
}

/** Lines of events; what is repeated at once is one line. */
export function trace(events, withDetached) {
  const roles = rolesOf(events)
  const role = (id) => roles.get(id) ?? "earlier"
  const told = events.filter((e) => !INNER.test(e.type))
  const lines = told.filter((e) => !DETACHED.includes(e.type) && !isSummary(e)).map((e) => line(e, role))
  const also = DETACHED.filter((type) => withDetached && told.some((e) => e.type === type)).map((type) => `also ${type}`)
  return [...lines.filter((l, i) => l !== lines[i - 1]), ...also]
}

/** What a turn changed is told as an update of the prompt, whenever it is known. */
const isSummary = (e) => e.type === "message.updated" && e.properties.info.role === "user" && e.properties.info.summary !== undefined
