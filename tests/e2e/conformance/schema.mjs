// Holds replies and events against the OpenAPI document of the real server.
import Ajv from "ajv/dist/2020.js"
import addFormats from "ajv-formats"
import { operation } from "../lib/real.mjs"

/** Refusals that the real server sends and its document does not know, and ours (Q-…). */
const REFUSALS = [
  (b) => b?.name === "BadRequest" && typeof b.data?.message === "string" && ["Payload", "Query", "Params", "Body"].includes(b.data.kind),
  (b) => typeof b?._tag === "string" && (b.name === undefined || typeof b.data?.message === "string"),
  (b) => typeof b?.name === "string" && typeof b.data?.message === "string",
]

/** Forbids keys that the document does not know; where it composes schemas, it is taken as it is. */
function close(schema) {
  if (Array.isArray(schema)) return schema.map(close)
  if (schema === null || typeof schema !== "object") return schema
  const closed = {}
  for (const [key, value] of Object.entries(schema)) closed[key] = key === "allOf" || key === "example" || key === "default" ? value : close(value)
  const open = schema.additionalProperties === undefined && !schema.allOf && !schema.anyOf && !schema.oneOf
  if (schema.type === "object" && schema.properties && open) closed.additionalProperties = false
  return closed
}

const escape = (pointer) => pointer.replace(/~/g, "~0").replace(/\//g, "~1")

export class Document {
  constructor(doc) {
    this.doc = doc
    this.ajv = new Ajv.default({ strict: false, allErrors: true, validateFormats: true })
    addFormats.default(this.ajv)
    const typesOf = (schema) => {
      const variants = (doc.components.schemas[schema].anyOf ?? []).map(({ $ref }) => $ref?.split("/").at(-1)).filter(Boolean)
      return new Map(variants.map((name) => {
        const type = doc.components.schemas[name].properties?.type
        return [type?.const ?? type?.enum?.[0], name]
      }))
    }
    /** The schema of each type of event, of both families. */
    this.types = typesOf("Event")
    this.apiTypes = typesOf("V2Event")
    this.ajv.addSchema({ ...doc, paths: close(doc.paths), components: close(doc.components) }, "doc")
  }

  #faults(pointer, value) {
    const validate = this.ajv.getSchema(`doc#${pointer}`) ?? this.ajv.compile({ $ref: `doc#${pointer}` })
    return validate(value) ? [] : validate.errors.map((e) => `${e.instancePath || "/"} ${e.message} ${JSON.stringify(e.params)}`)
  }

  /** What a reply violates. */
  reply({ method, path }, { status, headers, body }) {
    if (status >= 400) return REFUSALS.some((fits) => fits(body)) ? [] : [`a refusal of no known form: ${JSON.stringify(body)}`]
    // The document knows only assistant messages as replies; without an answer it is the user's own.
    const own = method === "POST" && body?.info?.role === "user"
    const op = own ? operation(this.doc, "GET", `${path.split("?")[0]}/msg_x`) : operation(this.doc, method, path)
    if (!op) return [`${method} ${path} is not in the document`]
    const response = op.responses[status]
    if (!response) return [`the document has no ${status}`]
    if (!response.content?.["application/json"]) return []
    if (!/^application\/json/.test(headers["content-type"] ?? "")) return [`content-type: ${headers["content-type"]}`]
    return this.#faults(`/paths/${escape(op.template)}/${own ? "get" : method.toLowerCase()}/responses/${status}/content/${escape("application/json")}/schema`, body)
  }

  /** What an event of `/event` violates. */
  event(json) {
    return this.#variant("Event", json, json.type, "")
  }

  /** What an event of `/api/event` violates. */
  apiEvent(json) {
    const faults = this.#faults("/components/schemas/V2Event", json)
    const own = this.apiTypes.get(json.type)
    if (!own) return faults.length ? [`${json.type} is not in the document`] : []
    return faults.length ? [this.#faults(`/components/schemas/${own}`, json).slice(0, 3).join("; ") || "it fits no variant"] : []
  }

  /** What a frame of `/global/event` violates. */
  globalEvent(json) {
    // The real server sends its greeting without the directory that its document wants.
    const frame = json.payload.type === "server.connected" ? { directory: "/", ...json } : json
    return this.#variant("GlobalEvent", frame, json.payload.type, "payload")
  }

  /** Only the variant of that type is told of: what the others want says nothing. */
  #variant(schema, value, type, at) {
    // Sent by the real server every ten seconds, and not in its document.
    if (type === "server.heartbeat") return []
    const faults = this.#faults(`/components/schemas/${schema}`, value)
    const own = `#/components/schemas/${this.types.get(type)}`
    const named = this.types.has(type) && at === "" ? this.#faults(own.slice(1), value) : faults
    return faults.length ? [named.slice(0, 3).join("; ") || `${type} is not in the document`] : []
  }
}
