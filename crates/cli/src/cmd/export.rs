//! `sessiond export`: a session, as `opencode import` reads it.

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use http_body_util::BodyExt as _;
use hyper::Method;
use serde_json::Value;
use sessiond_server::{Access, Config};

use super::Outcome;
use crate::args::Export;
use crate::out;

pub(crate) fn run(config: &Config, args: &Export) -> Outcome {
    if !config.data_dir.exists() {
        let dir = config.data_dir.display();
        return Err(format!("there are no sessions in {dir} yet").into());
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let access = Access::open(config).await?;
        let done = export(&access, args).await;
        access.close().await;
        done.map(|()| ExitCode::SUCCESS)
    })
}

async fn export(access: &Access, args: &Export) -> Result<(), Box<dyn Error>> {
    let id = &args.session;
    if id.contains(['/', '?', '#', '%']) || !id.is_ascii() {
        return Err(format!("{id:?} is no id of a session").into());
    }
    let path = format!("/v1/sessions/{id}/export");
    let response = access.send(Method::GET, &path, None).await?;
    let status = response.status();
    let mut body = response.into_body();
    if !status.is_success() {
        let bytes = body.collect().await?.to_bytes();
        let problem: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let detail = problem.get("detail").and_then(Value::as_str);
        return Err(detail.unwrap_or("the server refuses").to_owned().into());
    }
    let mut target = Target::open(args.output.as_deref())?;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| format!("the export was cut off: {e}"))?;
        if let Some(bytes) = frame.data_ref() {
            target.write(bytes)?;
        }
    }
    target.finish()
}

/// Where an export goes. A file appears under its name when it is whole.
enum Target {
    Out,
    File {
        file: File,
        draft: PathBuf,
        path: PathBuf,
        whole: bool,
    },
}

impl Target {
    fn open(path: Option<&Path>) -> Result<Self, Box<dyn Error>> {
        let Some(path) = path.filter(|p| *p != Path::new("-")) else {
            return Ok(Self::Out);
        };
        let mut draft = path.as_os_str().to_owned();
        draft.push(".part");
        let draft = PathBuf::from(draft);
        let file =
            File::create(&draft).map_err(|e| format!("cannot write {}: {e}", draft.display()))?;
        Ok(Self::File {
            file,
            draft,
            path: path.to_owned(),
            whole: false,
        })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Out => out::bytes(bytes),
            Self::File { file, .. } => file.write_all(bytes),
        }
    }

    fn finish(mut self) -> Result<(), Box<dyn Error>> {
        if let Self::File {
            file,
            draft,
            path,
            whole,
        } = &mut self
        {
            file.sync_all()?;
            fs::rename(draft, path)?;
            *whole = true;
        }
        Ok(())
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Self::File {
            draft,
            whole: false,
            ..
        } = self
        {
            let _ = fs::remove_file(draft);
        }
    }
}
