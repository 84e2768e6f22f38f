//! The git program, with the user's configuration but none of its side effects.

use std::io;
use std::path::Path;
use std::process::Stdio;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use crate::work::{self, DEADLINE};
use crate::{Result, WorkspaceError};

/// Of one run, in bytes; what is more is cut off.
pub(crate) const MAX_OUTPUT: u64 = 32 << 20;
/// Of what it complains, in bytes.
const MAX_COMPLAINT: u64 = 4 << 10;

/// What a run gave.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) success: bool,
    pub(crate) stdout: Vec<u8>,
    /// There was more than is kept.
    pub(crate) cut: bool,
    pub(crate) stderr: String,
}

impl Output {
    /// The text of a run that succeeded, without the last line's end.
    pub(crate) fn line(self) -> Option<String> {
        self.success
            .then(|| String::from_utf8_lossy(&self.stdout).trim().to_owned())
            .filter(|line| !line.is_empty())
    }
}

/// One run of git.
#[derive(Debug)]
pub(crate) struct Git<'a> {
    directory: &'a Path,
    index: Option<&'a Path>,
    input: Vec<u8>,
}

impl<'a> Git<'a> {
    pub(crate) fn at(directory: &'a Path) -> Self {
        Self {
            directory,
            index: None,
            input: Vec::new(),
        }
    }

    /// With another index than the user's.
    pub(crate) fn index(mut self, index: &'a Path) -> Self {
        self.index = Some(index);
        self
    }

    pub(crate) fn input(mut self, input: Vec<u8>) -> Self {
        self.input = input;
        self
    }

    /// Runs to the end; a failure of git's is in the output.
    ///
    /// # Errors
    /// `TimedOut`; `Git` when there is no git.
    pub(crate) async fn run(self, args: &[&str]) -> Result<Output> {
        let _slot = work::slot().await?;
        let mut command = Command::new("git");
        command
            .arg("-C")
            .arg(self.directory)
            .arg("--literal-pathspecs");
        for setting in [
            // These would start programs.
            "core.fsmonitor=false",
            "core.hooksPath=/dev/null",
            "core.quotePath=false",
            // What is larger is not compared but called binary.
            "core.bigFileThreshold=4m",
            "diff.noPrefix=false",
            "diff.mnemonicPrefix=false",
            "diff.relative=false",
            "diff.submodule=short",
        ] {
            command.arg("-c").arg(setting);
        }
        command
            .args(args)
            .env("LC_ALL", "C")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env_remove("GIT_DIR")
            .env_remove("GIT_WORK_TREE")
            .env_remove("GIT_INDEX_FILE")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        if let Some(index) = self.index {
            command.env("GIT_INDEX_FILE", index);
        }
        let failed = |e: io::Error| WorkspaceError::Git(e.to_string());
        let mut child = command.spawn().map_err(failed)?;
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let input = self.input;
        let work = async {
            let write = async {
                if let Some(mut pipe) = stdin {
                    // It may end before it has read all.
                    let _ = pipe.write_all(&input).await;
                }
                Ok(())
            };
            let ((), stdout, stderr) =
                tokio::try_join!(write, read(stdout, MAX_OUTPUT), read(stderr, MAX_COMPLAINT))?;
            let status = child.wait().await?;
            io::Result::Ok(Output {
                success: status.success(),
                cut: stdout.len() as u64 == MAX_OUTPUT,
                stdout,
                stderr: String::from_utf8_lossy(&stderr).trim().to_owned(),
            })
        };
        match tokio::time::timeout(DEADLINE, work).await {
            Ok(output) => output.map_err(failed),
            Err(_) => Err(work::timed_out()),
        }
    }
}

/// The first bytes of a pipe; the rest is read, too, so that the writer comes to its end.
async fn read(pipe: Option<impl tokio::io::AsyncRead + Unpin>, most: u64) -> io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    if let Some(mut pipe) = pipe {
        (&mut pipe).take(most).read_to_end(&mut kept).await?;
        tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await?;
    }
    Ok(kept)
}
