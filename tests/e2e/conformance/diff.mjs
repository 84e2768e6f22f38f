// Differences of two normalised values, and which of them are documented.

/** Every place where two JSON values differ: `{ path, real, ours }`. */
export function differences(real, ours, path = "") {
  if (Object.is(real, ours)) return []
  const both = (test) => test(real) && test(ours)
  const at = (key) => (path ? `${path}/${key}` : String(key))
  if (both(Array.isArray)) {
    return Array.from({ length: Math.max(real.length, ours.length) }, (_, i) => differences(real[i], ours[i], at(i))).flat()
  }
  if (both((v) => v !== null && typeof v === "object" && !Array.isArray(v))) {
    const keys = new Set([...Object.keys(real), ...Object.keys(ours)])
    return [...keys].flatMap((key) => differences(real[key], ours[key], at(key.replaceAll("/", "~"))))
  }
  return [{ path, real, ours }]
}

/** The lines that one list has and the other has not, by their longest common sequence. */
export function lineDifferences(real, ours) {
  const length = Array.from({ length: real.length + 1 }, () => new Array(ours.length + 1).fill(0))
  for (let i = real.length - 1; i >= 0; i--) {
    for (let j = ours.length - 1; j >= 0; j--) {
      length[i][j] = real[i] === ours[j] ? length[i + 1][j + 1] + 1 : Math.max(length[i + 1][j], length[i][j + 1])
    }
  }
  const found = []
  for (let i = 0, j = 0; i < real.length || j < ours.length;) {
    if (real[i] === ours[j]) [i, j] = [i + 1, j + 1]
    else if (j >= ours.length || (i < real.length && length[i + 1][j] >= length[i][j + 1])) {
      found.push({ path: `trace/-${real[i]}`, real: real[i], ours: undefined })
      i++
    } else {
      found.push({ path: `trace/+${ours[j]}`, real: undefined, ours: ours[j] })
      j++
    }
  }
  return found
}

/** Whether a pattern names a path or something above it; `*` is one segment, or the rest of one. */
export function names(pattern, path) {
  const [wanted, given] = [pattern.split("/"), path.split("/")]
  return wanted.length <= given.length && wanted.every((w, i) => (w.endsWith("*") ? given[i].startsWith(w.slice(0, -1)) : w === given[i]))
}

/**
 * Sorts differences into documented and undocumented.
 * @param quirks `{ "Q-…": [patterns] }` of a step
 * @param everywhere `[{ id, at: [patterns] }]`, which any step may have
 */
export function judge(found, quirks, everywhere) {
  const stated = Object.entries(quirks).map(([id, patterns]) => ({ id, at: [patterns].flat() }))
  const used = new Set()
  const undocumented = found.filter(({ path }) => {
    const fits = (rule) => rule.at.some((pattern) => names(pattern, path))
    const rule = stated.find(fits) ?? everywhere.find(fits)
    if (rule) used.add(rule.id)
    return !rule
  })
  return { undocumented, used, gone: stated.map((rule) => rule.id).filter((id) => !used.has(id)) }
}
