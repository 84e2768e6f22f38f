// Differences that may be anywhere, each with its entry of QUIRKS.md.
// A rule that explains nothing in a whole run fails the suite.
export const EVERYWHERE = [
  { id: "Q-busy-once", at: ["trace/-status busy"] },
  { id: "Q-finish-once", at: ["trace/-assistant stop", "trace/-assistant tool-calls"] },
  { id: "Q-tool-metadata", at: ["body/*/parts/*/metadata", "body/parts/*/metadata", "trace/+assistant tool write running"] },
  { id: "Q-headers", at: ["headers/x-content-type-options"] },
]

/** Keys of ours that the document of the real server does not know. */
export const EXTRA_KEYS = [{ id: "Q-revert-safe", key: "conflicts" }]
