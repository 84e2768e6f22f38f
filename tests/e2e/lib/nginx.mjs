// A real nginx with the files of contrib, only their addresses changed.
import { execFileSync } from "node:child_process"
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { repo } from "./paths.mjs"
import { freePort } from "./postgres.mjs"
import { Child, hermetic, until } from "./process.mjs"

const program = () => ["/usr/sbin/nginx", "/usr/bin/nginx", "/usr/local/sbin/nginx"].find(existsSync) ?? "nginx"

/** Replaces each of `pairs`, which must be there. */
export function changed(file, pairs) {
  let text = readFileSync(join(repo, "contrib", file), "utf8")
  for (const [from, to] of pairs) {
    if (!text.includes(from)) throw new Error(`${file} has no ${from}`)
    text = text.replaceAll(from, to)
  }
  return text
}

export class Nginx {
  /** Starts one before `nodes`, with the upstream of `contrib/KIND`. */
  static async over(nodes, dir, kind = "systemd") {
    const nginx = new Nginx()
    const port = await freePort()
    const address = { systemd: (i) => `10.0.0.${i + 1}:2468`, compose: (i) => `node-${i + 1}:2468` }[kind]
    mkdirSync(join(dir, "conf.d"), { recursive: true })
    const put = (name, text) => writeFileSync(join(dir, name), text)
    put("conf.d/sessiond.conf", changed("nginx/sessiond.conf", [["listen 8080;", `listen 127.0.0.1:${port};`]]))
    put("conf.d/upstream.conf", changed(`${kind}/upstream.conf`, nodes.map((n, i) => [address(i), `127.0.0.1:${n.port}`])))
    put("nginx.conf", [
      // As root its workers would be somebody who can't enter our directory.
      process.getuid() === 0 ? "user root;" : "",
      "daemon off; worker_processes 2;",
      `pid ${dir}/pid; error_log ${dir}/error.log info;`,
      "events { worker_connections 1024; }",
      "http {",
      ...["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((what) => `${what}_temp_path ${dir}/${what};`),
      `include ${dir}/conf.d/*.conf;`,
      "}",
    ].join("\n"))
    const args = ["-c", join(dir, "nginx.conf"), "-p", dir, "-e", join(dir, "error.log")]
    const env = hermetic(dir)
    execFileSync(program(), [...args, "-t"], { env, stdio: "pipe" })
    nginx.child = new Child("nginx", program(), args, { env, cwd: dir, log: join(dir, "output.log") })
    nginx.port = port
    nginx.url = `http://127.0.0.1:${port}`
    await until("nginx answers", async () => (await fetch(`${nginx.url}/readyz`)).ok)
    return nginx
  }

  stop() {
    return this.child.stop()
  }
}
