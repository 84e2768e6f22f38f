//! The numbers that bound every request, and why they are what they are.

use std::time::Duration;

/// Items on a page that asks for no number: fills a screen, costs little.
pub(crate) const PAGE_DEFAULT: u32 = 100;
/// Most items on a page: one page of 1 KiB messages stays around a megabyte.
pub(crate) const PAGE_MAX: u32 = 1_000;
/// Longest wait for a turn, in seconds: below the idle timeout of usual proxies.
pub(crate) const WAIT_MAX_SECONDS: u32 = 60;
/// Longest title, in characters: a title is one line, not a document.
pub(crate) const TITLE_MAX: usize = 1_000;
/// Largest metadata map, in bytes of JSON: it is part of every listing of its session.
pub(crate) const METADATA_MAX: usize = 64 * 1024;
/// Longest name of an agent, mode, provider, model or variant, in characters.
pub(crate) const NAME_MAX: usize = 256;
/// Most permission rules of a session: every request for permission walks all of them.
pub(crate) const RULES_MAX: usize = 1_000;
/// Longest pattern or kind in a permission rule, in characters: a path's length.
pub(crate) const PATTERN_MAX: usize = 4_096;
/// Most parts of one prompt: a prompt is one transaction.
pub(crate) const PARTS_MAX: usize = 1_000;
/// Longest shell command, and longest arguments of a slash command, in characters: what a system takes
/// as one argument of a program.
pub(crate) const ARGUMENT_MAX: usize = 100_000;
/// Longest text to search titles for, in characters: no longer than a title.
pub(crate) const SEARCH_MAX: usize = TITLE_MAX;
/// Longest remark to an agent with a permission reply, in characters.
pub(crate) const REMARK_MAX: usize = 10_000;
/// Most questions in one answer, and most labels for one of them.
pub(crate) const ANSWERS_MAX: usize = 100;
/// Longest answer to a question, in characters.
pub(crate) const ANSWER_MAX: usize = 10_000;
/// Longest `Idempotency-Key`, in characters: room for several UUIDs.
pub(crate) const KEY_MAX: usize = 255;
/// Latest time accepted from a client: the end of the year 9999, in milliseconds.
pub(crate) const TIME_MAX: i64 = 253_402_300_799_999;
/// Time between two heartbeats of an event stream: below the idle timeout of usual proxies, and
/// often enough for a client to notice a dead connection.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(10);
