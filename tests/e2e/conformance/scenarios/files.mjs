// Files of a project. The text search of OpenCode wants a program that it downloads: it can't be compared everywhere.
export default [
  {
    name: "files are listed and read",
    steps: [
      { edit: "notes.txt", text: "alpha\nbeta\n" },
      { send: "GET /file/content?path=README", quirks: { "Q-file-exact": "body/content" } },
      { send: "GET /file/content?path=notes.txt", quirks: { "Q-file-exact": "body/content" } },
      { send: "GET /file" },
      { send: "GET /find" },
      { send: "GET /find/file" },
    ],
  },
]
