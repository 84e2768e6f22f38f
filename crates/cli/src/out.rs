//! The one place that writes to the terminal.

use std::io::{self, IsTerminal as _, Write as _};

/// Writes to standard output. Whoever reads it may have left, which is no fault.
pub(crate) fn print(text: &str) {
    let mut out = io::stdout().lock();
    let end = if text.ends_with('\n') { "" } else { "\n" };
    let _ = write!(out, "{text}{end}").and_then(|()| out.flush());
}

/// Writes a sentence for the person to standard error.
pub(crate) fn error(sentence: &str) {
    let _ = writeln!(io::stderr().lock(), "sessiond: {sentence}");
}

/// Writes all of these bytes to standard output.
///
/// # Errors
/// When nobody takes them: a cut export must not look like a whole one.
pub(crate) fn bytes(bytes: &[u8]) -> io::Result<()> {
    io::stdout().lock().write_all(bytes)
}

/// Whether a person reads standard output.
pub(crate) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}
