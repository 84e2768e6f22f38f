// Files, searches and git's view, with the real SDK: one list of calls, asked of sessiond and of the real OpenCode server
// about the same directory.
import assert from "node:assert/strict"
import { execFileSync } from "node:child_process"
import { chmodSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { after, before, describe, it } from "node:test"
import { createOpencodeClient } from "@opencode-ai/sdk/v2"
import { hermetic } from "./lib/process.mjs"
import { RealOpencode } from "./lib/real.mjs"
import { Sessiond, gitProject, sandbox } from "./lib/sessiond.mjs"

let server, real, project
before(async () => {
  const dir = sandbox("files")
  project = gitProject(join(dir, "both"))
  const git = (...args) => execFileSync("git", ["-c", "user.name=T", "-c", "user.email=t@example.invalid", ...args],
    { cwd: project, env: hermetic(dir), stdio: "pipe" })
  const write = (path, text) => writeFileSync(join(project, path), text)
  mkdirSync(join(project, "src/deep"), { recursive: true })
  mkdirSync(join(project, "build"))
  mkdirSync(join(dir, "beside"))
  writeFileSync(join(dir, "beside/secret.txt"), "secret\n")
  write(".gitignore", "build/\nignored.txt\n")
  write("ignored.txt", "alpha\n")
  write("build/out", "x")
  write("src/main.rs", "fn main() {\n    let alpha = 1;\n}")
  write("src/deep/täst name.txt", "ü")
  write("long.txt", Array.from({ length: 60 }, (_, i) => `line ${i}`).join("\n") + "\n")
  write("moved.txt", "1\n2\n3\n")
  write("gone.txt", "gone\n")
  write("data.bin", Buffer.from([0, 1, 2, 255]))
  write("pic.png", Buffer.from("89504e470d0a1a0a00", "hex"))
  symlinkSync("../beside", join(project, "out"))
  git("add", "-A")
  git("commit", "-q", "-m", "second")
  write("long.txt", Array.from({ length: 60 }, (_, i) => (i === 30 ? "changed" : `line ${i}`)).join("\n") + "\n")
  write("data.bin", Buffer.from([0, 9]))
  write("new file.txt", "one\ntwo\n")
  write("staged.txt", "s\n")
  rmSync(join(project, "gone.txt"))
  git("add", "staged.txt")
  git("mv", "moved.txt", "renamed.txt")
  chmodSync(join(project, "src/main.rs"), 0o755)
  server = await Sessiond.start({ name: "files" })
  real = await RealOpencode.start(dir)
}, { timeout: 120_000 })
after(async () => {
  await server?.stop()
  await real?.stop()
})

const clients = () => [
  createOpencodeClient({ baseUrl: server.base, headers: server.headers(), directory: project }),
  createOpencodeClient({ baseUrl: real.url, directory: project }),
]

/** What both servers answer to a call. */
async function both(call) {
  const [ours, theirs] = await Promise.all(clients().map(async (client) => {
    const { data, error, response } = await call(client)
    return { status: response.status, body: data ?? error }
  }))
  return { ours, theirs }
}

describe("the same as on the real server", () => {
  const calls = {
    "file.list of the top": (c) => c.file.list({ path: "" }),
    "file.list of a directory": (c) => c.file.list({ path: "src/" }),
    "file.list of an ignored directory": (c) => c.file.list({ path: "build" }),
    "file.read of text": (c) => c.file.read({ path: "src/main.rs" }),
    "file.read of a name with a space": (c) => c.file.read({ path: "src/deep/täst name.txt" }),
    "file.read of a picture": (c) => c.file.read({ path: "pic.png" }),
    "file.read of bytes": (c) => c.file.read({ path: "data.bin" }),
    "file.read of what is gone": (c) => c.file.read({ path: "gone.txt" }),
    "find.files, the first": (c) => c.find.files({ query: "main.rs", limit: 1 }),
    "find.files, a directory": (c) => c.find.files({ query: "deep", type: "directory", limit: 1 }),
    "find.files, a limit of 0": (c) => c.find.files({ query: "a", limit: 0 }),
    "vcs.get": (c) => c.vcs.get(),
    "vcs.status": (c) => c.vcs.status(),
    "vcs.diff": (c) => c.vcs.diff({ mode: "git" }),
    "vcs.diff with 3 lines around": (c) => c.vcs.diff({ mode: "git", context: 3 }),
    "vcs.diff of the default branch": (c) => c.vcs.diff({ mode: "branch" }),
  }
  for (const [name, call] of Object.entries(calls)) {
    it(name, async () => {
      const { ours, theirs } = await both(call)
      assert.equal(theirs.status < 500, true, JSON.stringify(theirs))
      assert.deepEqual(ours, theirs)
    })
  }

  it("client.v2.fs", async () => {
    for (const call of [(c) => c.v2.fs.list({ path: "src" }), (c) => c.v2.fs.find({ query: "main.rs", limit: 1 })]) {
      const { ours, theirs } = await both((c) => call(c).then((r) => r))
      assert.equal(ours.status, 200)
      assert.deepEqual(ours.body.data, theirs.body.data)
    }
  })
})

describe("better than the real server", () => {
  it("nothing leads out of the directory, and the refusal says so", async () => {
    for (const path of ["..", "../beside/secret.txt", "out/secret.txt", "/etc/passwd"]) {
      const { ours, theirs } = await both((c) => c.file.read({ path }))
      assert.equal(theirs.status, 500)
      assert.equal(ours.status, 400)
      assert.match(ours.body.data.message, /outside of the directory\n {2}at \["path"\]/)
    }
  })

  it("a patch that is refused says why", async () => {
    const { ours, theirs } = await both((c) => c.vcs.apply({ patch: "x" }))
    assert.match(ours.body.data.message, /No valid patches in input/)
    ours.body.data.message = theirs.body.data.message
    assert.deepEqual(ours, theirs)
  })

  it("text is searched without a download", async () => {
    const [ours] = clients()
    const { data } = await ours.find.text({ pattern: "let (\\w+)" })
    assert.deepEqual(data, [{
      path: { text: "src/main.rs" }, lines: { text: "    let alpha = 1;\n" }, line_number: 2, absolute_offset: 12,
      submatches: [{ match: { text: "let alpha" }, start: 4, end: 13 }],
    }])
    const wrong = await ours.find.text({ pattern: "al(" })
    assert.equal(wrong.response.status, 400)
  })

  it("file.status tells what has changed", async () => {
    const { ours, theirs } = await both((c) => c.file.status())
    assert.deepEqual(theirs.body, [])
    const changes = Object.fromEntries(ours.body.map((f) => [f.path, f.status]))
    assert.deepEqual(changes, {
      "data.bin": "modified", "gone.txt": "deleted", "long.txt": "modified", "moved.txt": "deleted",
      "new file.txt": "added", "renamed.txt": "added", "src/main.rs": "modified", "staged.txt": "added",
    })
  })

  it("a raw difference can be applied elsewhere, binary files too", async () => {
    const raw = await fetch(`${server.base}/vcs/diff/raw?directory=${encodeURIComponent(project)}`, { headers: server.headers() })
    const patch = await raw.text()
    const copy = join(project, "../copy")
    execFileSync("git", ["clone", "-q", project, copy], { env: hermetic(server.dir), stdio: "pipe" })
    const there = createOpencodeClient({ baseUrl: server.base, headers: server.headers(), directory: copy, throwOnError: true })
    const { data } = await there.vcs.apply({ patch })
    assert.deepEqual(data, { applied: true })
    const [ours] = clients()
    const before = (await ours.vcs.diff({ mode: "git" })).data
    assert.deepEqual((await there.vcs.diff({ mode: "git" })).data, before)
  })
})
