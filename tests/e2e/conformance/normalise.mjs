// What differs between any two runs is replaced by what it is: ids, times, places, names of models.

/** Made by a server; what a client chose has `zz` in these scenarios, and stays. */
const ID = /\b(ses|msg|prt|evt|per|que|err|call|tool)_(?!zz)[0-9A-Za-z]{8,}/g
const HASH = /\b[0-9a-f]{40}\b/g
const ISO = /\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\b/g
const [FIRST, LAST] = [1.6e12, 2.5e12]

/** Texts that are one word on both sides, by the key they stand under. */
const NAMED = {
  slug: "<slug>", version: "<version>", snapshot: "<snapshot>", providerID: "<provider>", modelID: "<model>", callID: "<call>",
  ref: "<ref>", projectID: "<projectID>", cursor: "<cursor>",
}

/** Headers that clients read. */
const HEADERS = [
  "content-type", "link", "x-next-cursor", "access-control-expose-headers", "www-authenticate", "cache-control",
  "x-accel-buffering", "x-content-type-options", "allow", "retry-after", "location",
]

/** Replaces, for one side of one scenario. */
export class Normaliser {
  ids = new Map()
  #step = 0
  #counts = {}

  /** @param loose whether what an agent says and counts is compared by its shape only */
  constructor(places, loose) {
    const encoded = places.map(([place, name]) => [encodeURIComponent(place), name])
    this.places = [...places, ...encoded].sort((a, b) => b[0].length - a[0].length)
    this.loose = loose
  }

  /** Messages are named by who wrote them, as the events told it: an answer by the prompt that it answers. */
  meet(events) {
    const prompts = new Map()
    for (const { type, properties: { info } = {} } of events) {
      if (type === "session.created") prompts.set(info.id, { session: prompts.size + 1, count: 0 })
      if (type !== "message.updated" || this.ids.has(info.id)) continue
      const home = prompts.get(info.sessionID) ?? { count: 0 }
      const name = info.role === "user" ? `<prompt ${(home.count += 1)} of ${home.session}>` : `<answer to ${this.ids.get(info.parentID) ?? "nothing"}>`
      this.ids.set(info.id, name)
    }
  }

  /** Ids are named after the step that shows them first, so that one more on a side does not rename all that follow. */
  begin(step) {
    this.#step = step
    this.#counts = {}
  }

  #id(id, kind) {
    if (kind === "evt" || kind === "err" || kind === "call" || kind === "tool") return `<${kind}>`
    if (!this.ids.has(id)) {
      this.#counts[kind] = (this.#counts[kind] ?? 0) + 1
      this.ids.set(id, `<${kind} ${this.#step}.${this.#counts[kind]}>`)
    }
    return this.ids.get(id)
  }

  text(text) {
    for (const [place, name] of this.places) text = text.replaceAll(place, name)
    return text.replace(ID, (id, kind) => this.#id(id, kind)).replace(HASH, "<hash>").replace(ISO, "<iso>")
  }

  value(value, key) {
    if (typeof value === "number") return Number.isInteger(value) && value > FIRST && value < LAST ? "<time>" : value
    if (typeof value === "string") return NAMED[key] ?? this.text(value)
    if (Array.isArray(value)) return value.map((item) => this.value(item))
    if (value === null || typeof value !== "object") return value
    if (key === "cursor") return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, v && "<cursor>"]))
    if (key === "model" && typeof value.id === "string") value = { ...value, id: "<model>" }
    if (this.loose) value = said(value)
    // In the order of the keys, so that ids are named in the same order on both sides.
    const entries = Object.entries(value).filter(([k, v]) => !isEmptySummary(k, v)).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
    return Object.fromEntries(entries.map(([k, v]) => [this.text(k), this.value(v, k)]))
  }

  reply({ status, headers, body }) {
    const kept = HEADERS.filter((name) => headers[name] !== undefined).map((name) => [name, this.#header(name, headers[name])])
    const shown = typeof body === "string" && body.length > 200 ? `${body.slice(0, 40)}…` : body
    return { status, headers: Object.fromEntries(kept), body: this.value(shown) }
  }

  #header(name, value) {
    if (name === "x-next-cursor") return "<cursor>"
    if (name === "link") return this.text(value).replace(/before=[^&>]+/, "before=<cursor>")
    return value.toLowerCase()
  }
}

/** Leaves the shape of what an agent said and used. */
function said(value) {
  if (value.info?.role === "assistant" && Array.isArray(value.parts)) {
    return { ...value, parts: value.parts.map((part) => (part.type === "text" ? { ...part, text: "<said>" } : part)) }
  }
  if (value.tokens && typeof value.cost === "number") return { ...value, tokens: "<tokens>", cost: "<cost>" }
  return value
}

/** Parts that say where a step of the agent began and ended. */
const STEPS = ["step-start", "step-finish", "patch"]

/** A conversation as it reads: one answer to each prompt, whatever the number of messages it came in (Q-one-message). */
export function merged(messages) {
  const answers = new Map()
  const told = []
  for (const { info, parts } of messages) {
    const kept = parts.filter((part) => !STEPS.includes(part.type)).map(({ id, messageID, ...rest }) => rest)
    const { id, tokens, cost, ...rest } = info
    if (info.role !== "assistant") told.push({ info, parts: kept })
    else if (answers.has(info.parentID)) {
      const answer = answers.get(info.parentID)
      answer.info = rest
      answer.parts.push(...kept)
    } else {
      answers.set(info.parentID, { info: rest, parts: kept })
      told.push(answers.get(info.parentID))
    }
  }
  return told
}

/** OpenCode adds it to sessions and prompts some time after a turn, also when nothing changed. */
function isEmptySummary(key, value) {
  return key === "summary" && typeof value === "object" && (value.diffs?.length === 0 || value.files === 0)
}
