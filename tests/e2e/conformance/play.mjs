// Plays a scenario on one side. Steps:
//   { send: "POST /session", body | raw, headers, as, start }   a request; `start` names it and does not wait;
//                                                               `cursor` keeps what its X-Next-Cursor says
//   { finish: NAME, as }                                        the reply to a started one
//   { wait: TYPE, of: "{s.id}", as }                            the next event of that type, its properties kept
//   { trace: "{s.id}" }                                         the events of a session since its last trace
// `as` keeps a reply; `{name.key.0.key}` in a string takes from what is kept.
import { until } from "../lib/process.mjs"
import { sessionOf } from "./trace.mjs"

export async function play(side, scenario) {
  const kept = { project: side.project, model: side.models[scenario.agent ?? "demo"], dir: encodeURIComponent(side.project) }
  const seen = { from: side.events.all.length, next: side.events.all.length, traced: {} }
  const started = new Map()
  const played = []
  for (const step of scenario.steps) {
    try {
      played.push(await playStep(side, step, kept, seen, started))
    } catch (error) {
      throw new Error(`${side.name}: ${title(step)}: ${error.message}; last reply: ${JSON.stringify(played.findLast((p) => p.reply)?.reply)?.slice(0, 600)}`)
    }
  }
  await Promise.allSettled(started.values())
  return played
}

export const title = (step) => step.send ?? (step.finish ? `reply to ${step.finish}` : step.wait ? `wait for ${step.wait}` : `trace of ${step.trace}`)

async function playStep(side, step, kept, seen, started) {
  if (step.send) {
    const [method, path] = fill(step.send, kept).split(" ")
    const body = step.raw ?? (step.body === undefined ? undefined : JSON.stringify(fill(step.body, kept)))
    const reply = side.send(method, path, { body, headers: fill(step.headers ?? {}, kept) })
    const sent = { method, path, body }
    if (step.start) {
      reply.catch(() => {})
      started.set(step.start, reply.then((r) => ({ sent, reply: r })))
      return {}
    }
    return keep(step, kept, { sent, reply: await reply })
  }
  if (step.finish) return keep(step, kept, await started.get(step.finish))
  const session = fill(step.wait ? step.of : step.trace, kept)
  if (step.wait) {
    const found = await until(`${step.wait} of ${session}`, () => {
      const all = side.events.all
      const at = all.findIndex((e, i) => i >= seen.next && e.json.type === step.wait && sessionOf(e.json) === session)
      if (at < 0) return undefined
      seen.next = at + 1
      return all[at].json
    })
    if (step.as) kept[step.as] = found.properties
    return { event: found }
  }
  const since = seen.traced[session] ?? seen.from
  seen.traced[session] = side.events.all.length
  return { events: side.events.all.slice(since).map((e) => e.json).filter((e) => sessionOf(e) === session) }
}

function keep(step, kept, played) {
  if (step.as) kept[step.as] = played.reply.body
  if (step.cursor) kept[step.cursor] = played.reply.headers["x-next-cursor"]
  return played
}

/** Puts what is kept into strings, at any depth. */
export function fill(value, kept) {
  if (typeof value === "string") {
    const whole = value.match(/^\{([a-zA-Z][\w.]*)\}$/)
    if (whole) return lookUp(whole[1], kept)
    return value.replace(/\{([a-zA-Z][\w.]*)\}/g, (_, path) => String(lookUp(path, kept)))
  }
  if (Array.isArray(value)) return value.map((v) => fill(v, kept))
  if (value === null || typeof value !== "object") return value
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, fill(v, kept)]))
}

function lookUp(path, kept) {
  const found = path.split(".").reduce((v, key) => (Array.isArray(v) && key === "last" ? v.at(-1) : v?.[key]), kept)
  if (found === undefined) throw new Error(`nothing is kept as {${path}}`)
  return found
}
