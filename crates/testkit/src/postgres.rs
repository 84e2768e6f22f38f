//! A private PostgreSQL for tests: one server for each test process, made by the programs of the
//! Debian package (or those that `pg_config` knows), with one database for each store.
//!
//! `SESSIOND_TEST_POSTGRES=postgres://…` names a server to use instead; its user must be allowed
//! to create databases. `SESSIOND_TEST_POSTGRES_BIN=DIRECTORY` names the programs to make a private
//! one with.

use std::io::{self, Write as _};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, net, thread};

/// Names a server to use instead of a private one.
pub const ENV: &str = "SESSIOND_TEST_POSTGRES";

/// Names the directory of the programs to make a private server with.
pub const BIN_ENV: &str = "SESSIOND_TEST_POSTGRES_BIN";

/// The system's user that the server runs as when we are root: it refuses to be root.
const USER: &str = "postgres";

/// How long the server may take to start.
const START: Duration = Duration::from_secs(60);

/// How a private server is set up.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// Lines of `postgresql.conf`, after ours.
    pub settings: Vec<String>,
    /// Lines of `pg_hba.conf` instead of ours, which trust everybody on this machine.
    pub access: Vec<String>,
    /// Whether what it acknowledges survives a loss of power, as in earnest.
    pub durable: bool,
    /// Whether it speaks TLS, with a certificate for `localhost` that `openssl` makes and signs
    /// itself.
    pub tls: bool,
}

/// A private server. It is stopped, and its files are removed, when this is dropped or the process
/// ends, however it ends.
#[derive(Debug)]
pub struct Server {
    dir: PathBuf,
    port: u16,
    bin: PathBuf,
    /// Waits for the end of its input, which comes when this process has ended; then it cleans up.
    guard: Child,
    input: Option<ChildStdin>,
}

/// A database that is dropped with this.
#[derive(Debug)]
pub struct Database {
    url: String,
    name: String,
    admin: String,
}

/// Where PostgreSQL's programs are.
fn programs() -> io::Result<PathBuf> {
    if let Some(bin) = env::var_os(BIN_ENV).map(PathBuf::from) {
        if bin.join("initdb").exists() {
            return Ok(bin);
        }
        let why = format!("{BIN_ENV}: there is no initdb in {}", bin.display());
        return Err(io::Error::new(io::ErrorKind::NotFound, why));
    }
    installed()
}

/// Where the programs of the newest version are that is installed.
fn installed() -> io::Result<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            let bin = entry.path().join("bin");
            bin.join("initdb").exists().then_some((version, bin))
        })
        .collect();
    found.sort();
    if let Some((_, bin)) = found.pop() {
        return Ok(bin);
    }
    let asked = Command::new("pg_config").arg("--bindir").output();
    let bin = asked
        .ok()
        .filter(|o| o.status.success())
        .map(|o| text(&o.stdout));
    let bin = bin
        .map(PathBuf::from)
        .filter(|bin| bin.join("initdb").exists());
    bin.ok_or_else(|| {
        let why = format!("no PostgreSQL server is installed: install `postgresql`, or set {ENV}");
        io::Error::new(io::ErrorKind::NotFound, why)
    })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

fn checked(what: &str, output: &Output) -> io::Result<String> {
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    let said = format!("{} {}", text(&output.stdout), text(&output.stderr));
    Err(io::Error::other(format!("{what} failed: {said}")))
}

/// The ids of the user that the server runs as, when that is not ours.
fn other_user() -> io::Result<Option<(u32, u32)>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let id = |flag: &str| {
        let asked = Command::new("id").args([flag, USER]).output()?;
        let id = checked("id", &asked)?;
        id.parse()
            .map_err(|_| io::Error::other("id gave no number"))
    };
    Ok(Some((id("-u")?, id("-g")?)))
}

/// A command as the server's user.
fn as_user(user: Option<(u32, u32)>, program: &Path) -> Command {
    use std::os::unix::process::CommandExt as _;
    let mut command = Command::new(program);
    if let Some((uid, gid)) = user {
        command.uid(uid).gid(gid);
    }
    command.current_dir("/").env_remove("PGOPTIONS");
    command
}

/// The guard: waits for the end of its input, stops the server at once and removes its files.
const GUARD: &str = r#"
read -r line
if [ -s "$1/data/postmaster.pid" ]; then
  pid=$(head -n 1 "$1/data/postmaster.pid")
  kill -QUIT "$pid" 2>/dev/null
  for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
  kill -KILL "$pid" 2>/dev/null
fi
rm -rf "$1"
"#;

impl Server {
    /// Makes and starts a server.
    ///
    /// # Errors
    /// When PostgreSQL is not installed, or does not start.
    pub fn start(setup: &Setup) -> io::Result<Self> {
        let bin = programs()?;
        let user = other_user()?;
        let dir = tempfile::Builder::new()
            .prefix("sessiond-pg-")
            .tempdir()?
            .keep();
        if let Some((uid, gid)) = user {
            chown(&dir, Some(uid), Some(gid))?;
        }
        let mut guard = Command::new("sh")
            .args(["-c", GUARD, "guard"])
            .arg(&dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let input = guard.stdin.take();
        let mut server = Self {
            dir,
            port: free_port()?,
            bin,
            guard,
            input,
        };
        server.make(user)?;
        server.configure(setup)?;
        if setup.tls {
            server.certify(user)?;
        }
        server.boot(user)?;
        Ok(server)
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    fn make(&self, user: Option<(u32, u32)>) -> io::Result<()> {
        let mut initdb = as_user(user, &self.bin.join("initdb"));
        initdb.args(["-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"]);
        initdb.args(["--no-sync", "--no-instructions"]);
        checked("initdb", &initdb.arg("-D").arg(self.data()).output()?).map(drop)
    }

    fn configure(&self, setup: &Setup) -> io::Result<()> {
        let append = |name: &str, lines: &str| {
            let path = self.data().join(name);
            let mut file = fs::OpenOptions::new().append(true).open(path)?;
            file.write_all(lines.as_bytes())
        };
        let mut lines = format!(
            "listen_addresses = '127.0.0.1'\nport = {}\nunix_socket_directories = '{}'\n\
             max_connections = 300\nshared_buffers = 64MB\nlog_min_messages = fatal\n",
            self.port,
            self.dir.display()
        );
        if !setup.durable {
            lines.push_str("fsync = off\nfull_page_writes = off\n");
        }
        for line in &setup.settings {
            lines.push_str(line);
            lines.push('\n');
        }
        append("postgresql.conf", &lines)?;
        if !setup.access.is_empty() {
            // The superuser of the socket stays, to make databases.
            let mut lines = String::from("local all all trust\n");
            lines.push_str(&setup.access.join("\n"));
            lines.push('\n');
            fs::write(self.data().join("pg_hba.conf"), lines)?;
        }
        Ok(())
    }

    fn certify(&self, user: Option<(u32, u32)>) -> io::Result<()> {
        let key = self.dir.join("server.key");
        let made = Command::new("openssl")
            .args([
                "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
            ])
            .args([
                "-subj",
                "/CN=localhost",
                "-addext",
                "subjectAltName=DNS:localhost",
            ])
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(self.certificate())
            .output()?;
        checked("openssl", &made)?;
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600))?;
        if let Some((uid, gid)) = user {
            chown(&key, Some(uid), Some(gid))?;
        }
        let lines = format!(
            "ssl = on\nssl_cert_file = '{}'\nssl_key_file = '{}'\n",
            self.certificate().display(),
            key.display()
        );
        let path = self.data().join("postgresql.conf");
        let mut file = fs::OpenOptions::new().append(true).open(path)?;
        file.write_all(lines.as_bytes())
    }

    /// Its certificate, when it speaks TLS.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.dir.join("server.crt")
    }

    fn boot(&mut self, user: Option<(u32, u32)>) -> io::Result<()> {
        let log = fs::File::create(self.dir.join("log"))?;
        let mut server = as_user(user, &self.bin.join("postgres"))
            .arg("-D")
            .arg(self.data())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let deadline = Instant::now() + START;
        while psql(&self.admin(), "SELECT 1").is_err() {
            if server.try_wait()?.is_some() || Instant::now() > deadline {
                let log = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
                return Err(io::Error::other(format!("PostgreSQL did not start: {log}")));
            }
            thread::sleep(Duration::from_millis(20));
        }
        // Collects it when it ends.
        thread::spawn(move || server.wait());
        Ok(())
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The directory of its programs.
    #[must_use]
    pub fn bin(&self) -> &Path {
        &self.bin
    }

    /// The database `postgres`, by the socket, for its superuser.
    fn admin(&self) -> String {
        let dir = self.dir.display().to_string().replace('/', "%2F");
        format!("postgres://{USER}@{dir}:{}/postgres", self.port)
    }

    /// The id of its main process.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pid(&self) -> io::Result<u32> {
        let file = fs::read_to_string(self.data().join("postmaster.pid"))?;
        let pid = file
            .lines()
            .next()
            .and_then(|line| line.trim().parse().ok());
        pid.ok_or_else(|| io::Error::other("PostgreSQL does not run"))
    }

    /// Ends it at once, with everything that is connected; what it acknowledged is kept.
    ///
    /// # Errors
    /// When it does not end.
    pub fn crash(&self) -> io::Result<()> {
        self.signal(rustix::process::Signal::QUIT)?;
        let deadline = Instant::now() + START;
        while self.pid().is_ok_and(alive) {
            if Instant::now() > deadline {
                return Err(io::Error::other("PostgreSQL did not end"));
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn signal(&self, signal: rustix::process::Signal) -> io::Result<()> {
        let pid = i32::try_from(self.pid()?)
            .ok()
            .and_then(rustix::process::Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::other("a strange process id"))?;
        Ok(rustix::process::kill_process(pid, signal)?)
    }

    /// Starts it again after [`crash`](Self::crash).
    ///
    /// # Errors
    /// When it does not start.
    pub fn restart(&mut self) -> io::Result<()> {
        self.boot(other_user()?)
    }

    /// A new, empty database.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn database(&self) -> io::Result<Database> {
        let base = format!("postgres://{USER}@127.0.0.1:{}", self.port);
        Database::make(self.admin(), &base)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.input.take());
        // It only fails when it is gone already.
        let _ = self.guard.wait();
    }
}

fn alive(pid: u32) -> bool {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    pid.is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok())
}

fn free_port() -> io::Result<u16> {
    Ok(net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Runs a statement by `psql`.
///
/// # Errors
/// What `psql` says.
pub fn psql(url: &str, sql: &str) -> io::Result<String> {
    // Not every set of a server's programs has one; any version speaks to any other.
    let client = |bin: io::Result<PathBuf>| bin.ok().map(|bin| bin.join("psql"));
    let found = [client(programs()), client(installed())];
    let mut found = found.into_iter().flatten().filter(|psql| psql.exists());
    let program = found.next().unwrap_or_else(|| "psql".into());
    let mut command = as_user(None, &program);
    command.args([
        "-X",
        "-q",
        "-A",
        "-t",
        "-v",
        "ON_ERROR_STOP=1",
        "-c",
        sql,
        url,
    ]);
    checked("psql", &command.stdin(Stdio::null()).output()?)
}

impl Database {
    fn make(admin: String, base: &str) -> io::Result<Self> {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let made = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("sessiond_test_{}_{made}", std::process::id());
        // In the order of a dictionary where the server can: sessiond must not depend on it.
        let version = psql(&admin, "SHOW server_version_num")?;
        let order = if version
            .parse::<u32>()
            .is_ok_and(|version| version >= 150_000)
        {
            "LOCALE_PROVIDER icu ICU_LOCALE 'en-US'"
        } else {
            ""
        };
        psql(
            &admin,
            &format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' {order}"),
        )?;
        Ok(Self {
            url: format!("{base}/{name}"),
            name,
            admin,
        })
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs a statement in it by `psql`.
    ///
    /// # Errors
    /// What `psql` says.
    pub fn psql(&self, sql: &str) -> io::Result<String> {
        let (base, _) = self.admin.rsplit_once('/').unwrap_or_default();
        psql(&format!("{base}/{}", self.name), sql)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // It goes with its server anyway.
        let _ = psql(
            &self.admin,
            &format!("DROP DATABASE {} WITH (FORCE)", self.name),
        );
    }
}

/// The server of this process, started when it is first wanted.
static SHARED: OnceLock<Result<Server, String>> = OnceLock::new();

/// A new, empty database on the server of this process, or on that of [`ENV`].
///
/// # Panics
/// When there is none; it says why.
#[must_use]
pub fn database() -> Database {
    try_database().unwrap_or_else(|why| panic!("{why}"))
}

fn try_database() -> io::Result<Database> {
    if let Ok(url) = env::var(ENV) {
        let (base, _) = url.rsplit_once('/').ok_or_else(|| {
            io::Error::other(format!("{ENV} must be postgres://user@host:port/database"))
        })?;
        return Database::make(url.clone(), base);
    }
    let shared =
        SHARED.get_or_init(|| Server::start(&Setup::default()).map_err(|error| error.to_string()));
    match shared {
        Ok(server) => server.database(),
        Err(why) => Err(io::Error::other(why.clone())),
    }
}
