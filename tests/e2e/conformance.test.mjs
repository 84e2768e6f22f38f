// One list of scenarios, played on the real OpenCode server and on sessiond: what differs is in QUIRKS.md.
import assert from "node:assert/strict"
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { after, before, describe, it } from "node:test"
import { differences, judge, lineDifferences, names } from "./conformance/diff.mjs"
import { Normaliser, merged } from "./conformance/normalise.mjs"
import { NEVER, play, title } from "./conformance/play.mjs"
import { EVERYWHERE, EXTRA_KEYS } from "./conformance/rules.mjs"
import { Document } from "./conformance/schema.mjs"
import { startSides } from "./conformance/sides.mjs"
import { trace } from "./conformance/trace.mjs"
import { e2e, repo } from "./lib/paths.mjs"
import { mentions, pinned } from "./lib/versions.mjs"

// ONLY=text plays only the scenarios whose group or name has it.
const only = process.env.ONLY ?? ""
const folder = join(e2e, "conformance/scenarios")
const groups = await Promise.all(readdirSync(folder).sort().map(async (file) => {
  const group = file.replace(".mjs", "")
  const { default: all } = await import(join(folder, file))
  return { group, scenarios: all.filter(({ name }) => `${group}: ${name}`.includes(only)) }
}))
const quirks = readFileSync(join(repo, "crates/opencode/QUIRKS.md"), "utf8")
/** Its entries, as it says where they stand. */
const documented = new Set([...quirks.matchAll(/^(?:\| |\* )?`(Q-[a-z0-9-]+)`/gm)].map(([, id]) => id))

let world
let doc
const explained = new Set()
let requests = 0
before(async () => {
  world = await startSides()
  doc = new Document(world.doc)
})
after(() => world?.stop())

/** What one step showed, normalised. */
function view(step, played, normaliser) {
  if (played.stream) return played.stream
  if (played.file !== undefined) return { file: played.file }
  if (played.reply && step.merged) return normaliser.reply({ ...played.reply, body: merged(played.reply.body) })
  if (played.reply) return normaliser.reply(played.reply)
  if (played.event) return { event: normaliser.value(played.event) }
  return { lines: played.events ? trace(played.events, step.also) : [] }
}

/** Differences of one step that are printed; the artefact has all. */
const MOST = 12

const shown = (value) => (value === undefined ? "(nothing)" : JSON.stringify(value)?.slice(0, 600))

/** Compares the two plays of a step; answers what is wrong, in words. */
function compare(step, real, ours) {
  const all = step.trace ? lineDifferences(real.view.lines, ours.view.lines) : differences(real.view, ours.view)
  const within = (patterns, path) => patterns.some((pattern) => names(pattern, path))
  const found = all.filter(({ path }) => (!step.only || within(step.only, path)) && !within(step.ignore ?? [], path))
  const { undocumented, used, gone } = judge(found, step.quirks ?? {}, EVERYWHERE)
  for (const id of used) explained.add(id)
  const wrong = undocumented.slice(0, MOST).map((d) => `  ${d.path}\n    - ${shown(d.real)}\n    + ${shown(d.ours)}`)
  if (undocumented.length > MOST) wrong.push(`  … and ${undocumented.length - MOST} more`)
  wrong.push(...gone.filter((id) => !step.sometimes?.includes(id)).map((id) => `  ${id} is named here and explains no difference`))
  if (ours.reply && ours.reply.status !== NEVER) {
    // What the real server itself violates is the document's fault.
    const excused = real.reply.status === ours.reply.status ? doc.reply(real.sent, real.reply) : []
    wrong.push(...doc.reply(ours.sent, ours.reply).filter((fault) => !excused.includes(fault) && !isExtra(fault)).map((fault) => `  the document: ${fault}`))
  }
  return wrong
}

const isExtra = (fault) => EXTRA_KEYS.some(({ key }) => fault.includes(`"additionalProperty":"${key}"`))

async function check(group, scenario) {
  const { real, ours } = world.sides
  const plays = await Promise.all([play(real, scenario), play(ours, scenario)])
  const [a, b] = plays.map(({ played }) => played)
  const normalisers = [real, ours].map((side, i) => {
    const normaliser = new Normaliser(side.places, scenario.agent === undefined)
    normaliser.meet(plays[i].events)
    return normaliser
  })
  const wrong = scenario.steps.flatMap((step, i) => {
    for (const normaliser of normalisers) normaliser.begin(i + 1)
    a[i].view = view(step, a[i], normalisers[0])
    b[i].view = view(step, b[i], normalisers[1])
    if (step.send) requests += 1
    const found = compare(step, a[i], b[i])
    return found.length ? [`${i + 1}. ${title(step)} ${shown(step.body ?? step.raw) === "(nothing)" ? "" : shown(step.body ?? step.raw)}`, ...found] : []
  })
  if (wrong.length === 0) return
  const artefacts = join(e2e, "artifacts/conformance")
  mkdirSync(artefacts, { recursive: true })
  const file = join(artefacts, `${group}-${scenario.name.replace(/\W+/g, "-")}.json`)
  writeFileSync(file, JSON.stringify(scenario.steps.map((step, i) => ({ step, real: a[i], ours: b[i] })), null, 1))
  const error = new Error()
  error.stack = `${scenario.name} (- OpenCode, + sessiond)\n${wrong.join("\n")}\nboth sides: ${file}`
  throw error
}

for (const { group, scenarios } of groups) {
  describe(`conformance: ${group}`, () => {
    for (const scenario of scenarios) it(scenario.name, () => check(group, scenario))
  })
}

describe("conformance: the whole run", () => {
  it("is about the version that everything names", () => {
    const version = pinned()["opencode-ai"]
    const wrong = mentions().flatMap(({ file, versions }) => versions.filter((v) => v !== version).map((v) => `${file}: ${v}`))
    assert.deepEqual(wrong, [], `tests/e2e/package.json pins ${version}`)
  })

  it("names only entries of QUIRKS.md", () => {
    const named = groups.flatMap((g) => g.scenarios.flatMap((s) => s.steps.flatMap((step) => Object.keys(step.quirks ?? {}))))
    assert.deepEqual([...new Set([...named, ...[...EVERYWHERE, ...EXTRA_KEYS].map((rule) => rule.id)])].filter((id) => !documented.has(id)), [])
  })

  it("shows every entry of QUIRKS.md, or another suite does that is named there", { skip: only !== "" }, () => {
    const shown = new Set(groups.flatMap((g) => g.scenarios.flatMap((s) => s.steps.flatMap((step) => Object.keys(step.quirks ?? {})))))
    for (const rule of [...EVERYWHERE, ...EXTRA_KEYS]) shown.add(rule.id)
    const elsewhere = [...quirks.matchAll(/^\| `(Q-[a-z0-9-]+)` \| (\S+) \|$/gm)].map(([, id, file]) => ({ id, file }))
    const wrong = [...documented].filter((id) => !shown.has(id) && !elsewhere.some((row) => row.id === id)).map((id) => `${id}: nothing shows it`)
    for (const { id, file } of elsewhere) {
      const path = join(repo, file)
      // A longer id that begins with this one is another.
      const isNamed = existsSync(path) && new RegExp(`${id}(?![a-z0-9-])`).test(readFileSync(path, "utf8"))
      if (!isNamed) wrong.push(`${id}: ${file} does not name it`)
      if (shown.has(id)) wrong.push(`${id}: has a scenario, and needs no other suite`)
    }
    assert.deepEqual(wrong, [])
  })

  it("has a use for every rule that holds everywhere", { skip: only !== "" }, () => {
    assert.deepEqual(EVERYWHERE.map((rule) => rule.id).filter((id) => !explained.has(id)), [])
    assert.ok(requests >= 150, `${requests} requests`)
  })

  it("sends events that the document of OpenCode knows", () => {
    const { real, ours } = world.sides
    const faults = (side, of) => new Set(of(side).map(({ at, fault }) => `${at}: ${fault}`))
    const all = (side) => [
      ...side.events.all.flatMap(({ json }) => doc.event(json).map((fault) => ({ at: json.type, fault }))),
      ...side.api.all.flatMap(({ json }) => doc.apiEvent(json).map((fault) => ({ at: `api ${json.type}`, fault }))),
      ...side.global.all.flatMap(({ json }) => doc.globalEvent(json).map((fault) => ({ at: `global ${json.payload?.type}`, fault }))),
    ]
    const excused = faults(real, all)
    assert.deepEqual([...faults(ours, all)].filter((fault) => !excused.has(fault)), [])
    assert.ok(ours.events.all.length > 20 || only !== "", "there were events")
    assert.ok(new Set(ours.api.all.map(({ json }) => json.type)).size >= 20 || only !== "", "there were events of /api")
  })
})
