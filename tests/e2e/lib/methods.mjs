// The methods of a client of the SDK, found by looking at it.

const isInner = (key) => key === "constructor" || key === "client" || key.startsWith("_")

/** The names of an object and of what it is made from. */
function keysOf(object) {
  const keys = new Set()
  for (let o = object; o && o !== Object.prototype; o = Object.getPrototypeOf(o)) {
    for (const key of Object.getOwnPropertyNames(o)) if (!isInner(key)) keys.add(key)
  }
  return [...keys]
}

/** Every method of a client as a path with dots; one that is in two places is told twice. */
export function methodsOf(object, path = []) {
  return keysOf(object).flatMap((key) => {
    const value = object[key]
    if (typeof value === "function") return [[...path, key].join(".")]
    return value && typeof value === "object" ? methodsOf(value, [...path, key]) : []
  })
}

/** The method at such a path, bound to what it belongs to. */
export function methodAt(client, path) {
  const keys = path.split(".")
  const owner = keys.slice(0, -1).reduce((o, key) => o[key], client)
  return owner[keys.at(-1)].bind(owner)
}
