// Plays a scenario on one side. Steps:
//   { send: "POST /session", body | raw, headers, as, start }   a request; `start` names it and does not wait;
//                                                               `cursor` keeps what its X-Next-Cursor says
//   { finish: NAME, as }                                        the reply to a started one
//   { wait: TYPE, of: "{s.id}", with, as }                      the next event of that type (whose properties have
//                                                               something at the place `with`), its properties kept
//   { trace: "{s.id}", also }                                   the events of a session since its last trace; `also`
//                                                               compares those too that come at any time
//   { stream: "GET /event" }                                    the fields and the type of the first frame of a stream
//   { edit: "NAME", text }                                      a person writes a file of the project
//   { look: "NAME" }                                            what is in that file
// `merged` compares a list of messages as a conversation: one answer to each prompt. `within` are the milliseconds after
// which a request counts as never answered.
// `quirks` are the differences that a step is known to have, and where: { "Q-…": [patterns of paths] }; `sometimes` names those
// of them that the real server does not always show; `only` are the
// places that are compared at all, `ignore` those that are not. `as` keeps a reply; `{name.key.0.key}` in a string takes from what is kept.
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
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
  await fence(side)
  return { played, events: side.events.all.slice(seen.from).map((e) => e.json) }
}

/** The status of a request that is not answered. */
export const NEVER = "never answered"

/** What a step does, for people. */
export function title(step) {
  if (step.send) return step.send
  const [kind] = ["finish", "wait", "trace", "stream", "edit", "look"].filter((key) => step[key])
  return `${kind} ${step[kind]}`
}

async function playStep(side, step, kept, seen, started) {
  if (step.send) {
    const [method, path] = fill(step.send, kept).split(" ")
    const body = step.raw ?? (step.body === undefined ? undefined : JSON.stringify(fill(step.body, kept)))
    const reply = side.send(method, path, { body, headers: fill(step.headers ?? {}, kept), within: step.within })
    const sent = { method, path, body }
    if (step.start) {
      reply.catch(() => {})
      started.set(step.start, reply.then((r) => ({ sent, reply: r })))
      return {}
    }
    return keep(step, kept, { sent, reply: await reply })
  }
  if (step.stream) return { stream: await side.firstFrame(step.stream.split(" ")[1]) }
  if (step.edit) {
    writeFileSync(join(side.project, step.edit), step.text)
    return {}
  }
  if (step.look) return { file: contentOf(join(side.project, step.look)) }
  if (step.finish) return keep(step, kept, await started.get(step.finish))
  const session = fill(step.wait ? step.of : step.trace, kept)
  if (step.wait) {
    const found = await until(`${step.wait} of ${session}`, () => {
      const all = side.events.all
      const at = all.findIndex((e, i) => i >= seen.next && e.json.type === step.wait && sessionOf(e.json) === session && fits(step, e.json))
      if (at < 0) return undefined
      seen.next = at + 1
      return all[at].json
    }, { within: 90_000 })
    if (step.as) kept[step.as] = found.properties
    return { event: found }
  }
  await fence(side)
  const since = seen.traced[session] ?? seen.from
  seen.traced[session] = side.events.all.length
  return { events: side.events.all.slice(since).map((e) => e.json).filter((e) => sessionOf(e) === session) }
}

const fits = (step, { properties }) => !step.with || Boolean(step.with.split(".").reduce((v, key) => v?.[key], properties))

/** Waits until the stream has told everything up to now: what is made now is told after it. */
async function fence(side) {
  const { body } = await side.send("POST", "/session", { body: JSON.stringify({ title: "fence" }) })
  const told = (log, payload) => log.all.some(({ json }) => payload(json).type === "session.created" && sessionOf(payload(json)) === body.id)
  await until("the stream catches up", () => told(side.events, (e) => e) && told(side.global, (e) => e.payload))
}

function contentOf(path) {
  return existsSync(path) ? readFileSync(path, "utf8") : "(no such file)"
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
