//! What `git diff -z --raw --numstat -p` says, in parts.

/// What happened to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileStatus {
    /// It is new.
    Added,
    /// It is gone.
    Deleted,
    /// It is another, or its mode is.
    Modified,
}

/// A file that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileChange {
    /// Relative to the repository's worktree.
    pub file: String,
    /// What happened to it.
    pub status: FileStatus,
    /// Lines; 0 of a binary file.
    pub additions: u64,
    /// Lines; 0 of a binary file.
    pub deletions: u64,
    /// As git writes it; `None` when all together are too much.
    pub patch: Option<String>,
}

const HEADER: &[u8] = b"diff --git ";

/// The changes, in git's order. Sections of the patch come in the order of the records, so
/// names, which may be anything, need not be read out of them.
pub(crate) fn parse(output: &[u8]) -> Vec<FileChange> {
    let mut fields = output.split(|b| *b == 0).peekable();
    let mut changes = Vec::new();
    let mut sections = Vec::new();
    while let Some(record) = fields.next_if(|f| f.starts_with(b":")) {
        let Some(path) = fields.next() else { break };
        let letter = record.rsplit(|b| *b == b' ').next().unwrap_or_default();
        let status = match letter.first() {
            Some(b'A') => FileStatus::Added,
            Some(b'D') => FileStatus::Deleted,
            _ => FileStatus::Modified,
        };
        // A file that became a link, or the like, is taken away and added again.
        sections.push(if letter.first() == Some(&b'T') { 2 } else { 1 });
        changes.push(FileChange {
            file: String::from_utf8_lossy(path).into_owned(),
            status,
            additions: 0,
            deletions: 0,
            patch: None,
        });
    }
    for change in &mut changes {
        let Some(numbers) = fields.next_if(|f| f.contains(&b'\t')) else {
            break;
        };
        let mut numbers = numbers.split(|b| *b == b'\t').map(|n| {
            let text = std::str::from_utf8(n).unwrap_or_default();
            // `-` of a binary file.
            text.parse().unwrap_or(0)
        });
        change.additions = numbers.next().unwrap_or(0);
        change.deletions = numbers.next().unwrap_or(0);
    }
    // An empty field divides numbers and patch.
    let rest: Vec<&[u8]> = fields.skip_while(|f| f.is_empty()).collect();
    let text = rest.join(&0);
    let starts: Vec<usize> = line_starts(&text)
        .filter(|at| text[*at..].starts_with(HEADER))
        .collect();
    // A merge that is not done, or output that was cut off: what belongs to what is not sure.
    if starts.len() != sections.iter().sum::<usize>() {
        return changes;
    }
    let mut next = 0;
    for (change, count) in changes.iter_mut().zip(sections) {
        let end = starts.get(next + count).copied().unwrap_or(text.len());
        let section = &text[starts[next]..end];
        change.patch = Some(String::from_utf8_lossy(section).into_owned());
        next += count;
    }
    changes
}

fn line_starts(text: &[u8]) -> impl Iterator<Item = usize> {
    let after = text.iter().enumerate().filter(|(_, b)| **b == b'\n');
    std::iter::once(0).chain(after.map(|(at, _)| at + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_numbers_and_patches_belong_together() {
        let output =
            b":100644 100644 b 0 M\0bin\0:120000 100644 c 0 T\0ln\0:000000 100644 0 0 A\0s\tp\0\
            -\t-\tbin\x001\t1\tln\x002\t0\ts\tp\0\0\
            diff --git a/bin b/bin\nBinary files differ\n\
            diff --git a/ln b/ln\n-x\ndiff --git a/ln b/ln\n+file\n\
            diff --git \"a/s\\tp\" \"b/s\\tp\"\n+diff --git a/no b/no\n+b\n";
        let changes = parse(output);
        let short: Vec<_> = changes
            .iter()
            .map(|c| (c.file.as_str(), c.status, c.additions, c.deletions))
            .collect();
        assert_eq!(
            short,
            [
                ("bin", FileStatus::Modified, 0, 0),
                ("ln", FileStatus::Modified, 1, 1),
                ("s\tp", FileStatus::Added, 2, 0)
            ]
        );
        let patch = |n: usize| changes[n].patch.as_deref().unwrap();
        assert!(patch(0).ends_with("differ\n") && !patch(0).contains("ln"));
        assert!(patch(1).contains("-x") && patch(1).ends_with("+file\n"));
        assert!(patch(2).ends_with("+diff --git a/no b/no\n+b\n"));
    }

    #[test]
    fn what_was_cut_off_has_no_patch() {
        let cut =
            parse(b":1 1 b 0 M\0a\0:1 1 b 0 M\0b\x001\t1\ta\x001\t1\tb\0\0diff --git a/a b/a\n");
        assert_eq!(cut.len(), 2);
        assert!(cut.iter().all(|c| c.patch.is_none() && c.additions == 1));
        assert!(parse(b"").is_empty());
        assert_eq!(parse(b":1 1 b 0 M\0a").len(), 1);
    }
}
