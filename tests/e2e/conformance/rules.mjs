// Differences that may be anywhere, each with its entry of QUIRKS.md.
// A rule that explains nothing in a whole run fails the suite.
export const EVERYWHERE = [
  { id: "Q-headers", at: ["headers/x-content-type-options"] },
]
