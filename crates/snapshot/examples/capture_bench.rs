//! What captures cost: 1,000 turns that each change 10 small files in a tree of 2,000, beside
//! `git add -A && git write-tree` in a copy of that tree.
//!
//! `cargo run --release -p sessiond-snapshot --example capture_bench [turns] [files] [plain]`

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use sessiond_model::SessionId;
use sessiond_snapshot::{Capture, Limits, Snapshots};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const CHANGED: usize = 10;

fn main() -> Outcome<()> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let number = |i: usize, default| args.get(i).map_or(Ok(default), |text| text.parse());
    let (turns, files) = (number(0, 1000)?, number(1, 2000)?);
    let plain = args.get(2).is_some_and(|kind| kind == "plain");

    let temp = tempfile::tempdir()?;
    let (ours, theirs, root) = (
        temp.path().join("ours"),
        temp.path().join("theirs"),
        temp.path().join("data"),
    );
    for tree in [&ours, &theirs] {
        fs::create_dir(tree)?;
        for file in 0..files {
            write(tree, file, 0)?;
        }
        if !plain || *tree == theirs {
            git(tree, &["init", "-q"])?;
            git(tree, &["add", "-A"])?;
            git(
                tree,
                &[
                    "-c",
                    "user.name=b",
                    "-c",
                    "user.email=b@b",
                    "commit",
                    "-qm",
                    "b",
                ],
            )?;
        }
    }
    let limits = Limits {
        deadline: Duration::from_secs(600),
        ..Limits::default()
    };
    let session = SessionId::parse("ses_bench")?;
    let snapshots = Snapshots::open(root.clone(), limits)?;
    let worktree = snapshots.worktree(&ours)?;
    let capture = || -> Outcome<(Duration, Capture)> {
        let start = Instant::now();
        let capture = worktree.capture(&session, &[]);
        match capture.tree {
            Some(_) => Ok((start.elapsed(), capture)),
            None => Err(capture.reason.unwrap_or_default().into()),
        }
    };

    let (first, _) = capture()?;
    let size = disk(&root)?;
    let (mut before, mut after, mut by_hand, mut compared) = (vec![], vec![], vec![], vec![]);
    for turn in 1..=turns {
        let (took, start) = capture()?;
        before.push(took);
        for i in 0..CHANGED {
            let file = (turn * 7919 + i * 197) % files;
            write(&ours, file, turn)?;
            write(&theirs, file, turn)?;
        }
        let (took, end) = capture()?;
        after.push(took);
        let since = Instant::now();
        git(&theirs, &["add", "-A"])?;
        git(&theirs, &["write-tree"])?;
        by_hand.push(since.elapsed());
        let since = Instant::now();
        let changes = worktree.changes(
            start.tree.as_deref().unwrap_or_default(),
            end.tree.as_deref().unwrap_or_default(),
        )?;
        compared.push(since.elapsed());
        if changes.len() != CHANGED.min(files) {
            return Err(format!("turn {turn}: {} changes", changes.len()).into());
        }
    }
    let added = disk(&root)? - size;
    let since = Instant::now();
    snapshots.collect()?;
    let collect = since.elapsed();

    let mut out = io::stdout().lock();
    writeln!(out, "first capture of {files} files: {}", ms(first))?;
    for (what, times) in [
        ("capture before a turn", &mut before),
        ("capture after a turn", &mut after),
        ("git add -A && git write-tree", &mut by_hand),
        ("changes of a turn", &mut compared),
    ] {
        times.sort_unstable();
        let at = |percent: usize| ms(times[(times.len() - 1) * percent / 100]);
        writeln!(
            out,
            "{what}: p50 {}, p95 {}, max {}",
            at(50),
            at(95),
            at(100)
        )?;
    }
    let ratio = after[after.len() / 2].as_secs_f64() / by_hand[by_hand.len() / 2].as_secs_f64();
    writeln!(out, "ratio of the medians: {ratio:.2}")?;
    writeln!(
        out,
        "added by {turns} turns: {:.1} MiB, {:.1} MiB after a collection of {}",
        mib(added),
        mib(disk(&root)? - size),
        ms(collect)
    )?;
    Ok(())
}

fn write(tree: &Path, file: usize, turn: usize) -> io::Result<()> {
    let path: PathBuf = tree.join(format!("dir{}/sub{}/file{file}.rs", file % 20, file % 100));
    fs::create_dir_all(path.parent().unwrap_or(tree))?;
    let mut text = String::new();
    for line in 0..40 {
        // One line of forty differs from turn to turn.
        let turn = if line == turn % 40 { turn } else { 0 };
        text += &format!("    let value_{line} = compute({file}, {line}, {turn});\n");
    }
    fs::write(path, text)
}

fn git(tree: &Path, args: &[&str]) -> Outcome<()> {
    let status = Command::new("git")
        .args(args)
        .current_dir(tree)
        .stdout(Stdio::null())
        .status()?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("git {args:?}: {status}").into())
    }
}

/// What a directory takes on disk, in bytes.
fn disk(dir: &Path) -> io::Result<i64> {
    let mut sum = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        sum += i64::try_from(meta.blocks() * 512).unwrap_or(i64::MAX);
        if meta.is_dir() {
            sum += disk(&entry.path())?;
        }
    }
    Ok(sum)
}

fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

#[expect(clippy::cast_precision_loss)]
fn mib(bytes: i64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
