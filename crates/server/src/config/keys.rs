//! The settings by name: one table for the file and for the environment.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

/// How a setting is written in an environment variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Flag,
    Number,
    /// Separated by commas.
    List,
}

/// Every setting, apart from the tables of [`NAMED`].
const KEYS: &[(&str, Kind)] = &[
    ("listen", Kind::Text),
    ("data_dir", Kind::Text),
    ("store", Kind::Text),
    ("directory", Kind::Text),
    ("auth", Kind::Flag),
    ("token", Kind::Text),
    ("allowed_hosts", Kind::List),
    ("allowed_origins", Kind::List),
    ("public_url", Kind::Text),
    ("default_agent", Kind::Text),
    ("trash_days", Kind::Number),
    ("limits.turn_timeout", Kind::Text),
    ("limits.agent_idle", Kind::Text),
    ("limits.queue", Kind::Number),
    ("limits.context_bytes", Kind::Number),
    ("limits.request_size", Kind::Text),
    ("limits.request_timeout", Kind::Text),
    ("limits.idle_timeout", Kind::Text),
    ("limits.write_timeout", Kind::Text),
    ("limits.connections", Kind::Number),
    ("limits.requests", Kind::Number),
    ("snapshots.enabled", Kind::Flag),
    ("snapshots.file_size", Kind::Text),
    ("snapshots.project_size", Kind::Text),
    ("snapshots.deadline", Kind::Text),
    ("share.enabled", Kind::Flag),
    ("share.base_url", Kind::Text),
    ("cluster.node", Kind::Text),
    ("cluster.advertise_url", Kind::Text),
    ("cluster.token", Kind::Text),
    ("cluster.lease", Kind::Text),
    ("cluster.roots", Kind::List),
    ("log.level", Kind::Text),
    ("log.format", Kind::Text),
];

const AGENT_KEYS: &[&str] = &[
    "command",
    "args",
    "env",
    "cwd",
    "default_mode",
    "default_model",
    "title",
];

const COMMAND_KEYS: &[&str] = &["template", "description", "agent", "model"];

/// Tables by name, as in `[agents.NAME]`, and the keys of each.
const NAMED: [(&str, &[&str]); 2] = [("agents", AGENT_KEYS), ("commands", COMMAND_KEYS)];

/// A key of the file that means nothing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unknown {
    pub(super) key: String,
    pub(super) nearest: Option<String>,
    pub(super) at: Range<usize>,
}

/// The first key in the file that means nothing.
pub(super) fn find_unknown(file: &DeTable<'_>) -> Option<Unknown> {
    check(file, "", &|path| {
        KEYS.iter()
            .any(|(key, _)| *key == path || is_table_of(path, key))
            || NAMED.iter().any(|(table, _)| *table == path)
    })
    .or_else(|| {
        NAMED
            .iter()
            .find_map(|(table, keys)| find_unknown_named(file, table, keys))
    })
}

fn find_unknown_named(file: &DeTable<'_>, table: &str, keys: &[&str]) -> Option<Unknown> {
    let tables = file.get(table)?.get_ref().as_table()?;
    tables.iter().find_map(|(name, entry)| {
        let prefix = format!("{table}.{}.", name.get_ref());
        check(entry.get_ref().as_table()?, &prefix, &|path| {
            path.strip_prefix(&prefix)
                .is_some_and(|key| keys.contains(&key))
        })
    })
}

fn is_table_of(path: &str, key: &str) -> bool {
    key.strip_prefix(path)
        .is_some_and(|rest| rest.starts_with('.'))
}

fn check(table: &DeTable<'_>, prefix: &str, known: &dyn Fn(&str) -> bool) -> Option<Unknown> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries.into_iter().find_map(|(key, value)| {
        let path = format!("{prefix}{}", key.get_ref());
        if !known(&path) {
            return Some(Unknown {
                nearest: nearest(&path),
                key: path,
                at: key.span(),
            });
        }
        match value.get_ref() {
            DeValue::Table(inner) if KEYS.iter().any(|(k, _)| is_table_of(&path, k)) => {
                check(inner, &format!("{path}."), known)
            }
            _ => None,
        }
    })
}

/// The known key most like `path`: the same name in another table, else a similar one.
fn nearest(path: &str) -> Option<String> {
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    let name = last(path);
    let named = NAMED.iter().find_map(|(table, keys)| {
        let rest = path.strip_prefix(table)?.strip_prefix('.')?;
        let (entry, _) = rest.rsplit_once('.')?;
        Some((format!("{table}.{entry}."), *keys))
    });
    let candidates: Vec<String> = match named {
        Some((prefix, keys)) => keys.iter().map(|k| format!("{prefix}{k}")).collect(),
        None => KEYS
            .iter()
            .map(|(k, _)| (*k).to_owned())
            .chain(["limits", "share", "snapshots", "cluster", "log"].map(str::to_owned))
            .chain(NAMED.map(|(table, _)| table.to_owned()))
            .collect(),
    };
    let likeness = |key: &String| {
        strsim::normalized_damerau_levenshtein(path, key)
            .max(strsim::normalized_damerau_levenshtein(&name, &last(key)))
    };
    candidates
        .into_iter()
        .map(|key| (likeness(&key), key))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(score, _)| *score >= 0.5)
        .map(|(_, key)| key)
}

/// A setting taken from the environment, as the file would have it.
#[derive(Debug)]
pub(super) struct EnvSetting {
    pub(super) name: String,
    pub(super) value: Result<toml::Table, String>,
}

/// The settings in the environment, looked up with `var`.
pub(super) fn from_env(var: &dyn Fn(&str) -> Option<String>) -> Vec<EnvSetting> {
    KEYS.iter()
        .filter_map(|(path, kind)| {
            let name = env_name(path);
            let value = parse(*kind, &var(&name)?).map(|v| nest(path, v));
            Some(EnvSetting { name, value })
        })
        .collect()
}

/// `limits.queue` → `SESSIOND_LIMITS_QUEUE`.
fn env_name(path: &str) -> String {
    format!("SESSIOND_{}", path.to_ascii_uppercase().replace('.', "_"))
}

fn parse(kind: Kind, text: &str) -> Result<toml::Value, String> {
    match kind {
        Kind::Text => Ok(text.into()),
        Kind::Number => text
            .trim()
            .parse::<i64>()
            .map(Into::into)
            .map_err(|_| format!("`{text}` is not a whole number")),
        Kind::Flag => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok(true.into()),
            "false" | "0" | "no" | "off" => Ok(false.into()),
            _ => Err(format!("`{text}` is neither `true` nor `false`")),
        },
        Kind::List => Ok(text
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(toml::Value::from)
            .collect::<Vec<_>>()
            .into()),
    }
}

fn nest(path: &str, value: toml::Value) -> toml::Table {
    path.rsplit('.')
        .fold(value, |inner, key| {
            toml::Value::Table(toml::Table::from_iter([(key.to_owned(), inner)]))
        })
        .try_into()
        .unwrap_or_default()
}
