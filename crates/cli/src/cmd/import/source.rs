use std::path::{Path, PathBuf};

use serde_json::Value;
use sessiond_port::{Database, EachMessage, ExportFile, Listed, Outlined, SourceError};

use super::database;
use super::report::Report;
use crate::args::ImportOpencode;

/// Where sessions come from.
pub(super) enum Source {
    Database(Box<Database>),
    File(Box<ExportFile>),
}

/// A session of a source, but for its messages.
pub(super) struct Whole {
    pub(super) info: Value,
    pub(super) project: Option<Value>,
    pub(super) todos: Vec<Value>,
    pub(super) outline: Vec<Outlined>,
}

impl Source {
    pub(super) fn open(args: &ImportOpencode) -> Result<Self, SourceError> {
        match &args.file {
            Some(path) => ExportFile::open(path).map(|f| Self::File(Box::new(f))),
            None => Database::open(&database(args)?).map(|d| Self::Database(Box::new(d))),
        }
    }

    /// The sessions that are meant, parents before their children.
    pub(super) fn sessions(
        &self,
        args: &ImportOpencode,
        report: &mut Report,
    ) -> Result<Vec<Listed>, Box<dyn std::error::Error>> {
        let mut listed = match self {
            Self::Database(db) => {
                let (listed, bad) = db.sessions()?;
                for e in bad {
                    report.fault(&e.what, &e.reason);
                }
                listed
            }
            Self::File(file) => vec![of_file(&file.info)],
        };
        if let Some(directory) = &args.directory {
            let wanted = [directory.clone(), absolute(directory)];
            listed.retain(|s| {
                let at = Path::new(&s.directory);
                wanted.iter().any(|wanted| at.starts_with(wanted))
            });
        }
        if let Some(id) = &args.session {
            listed = with_children(listed, id);
            if listed.is_empty() {
                return Err(format!("there is no session {id} in it").into());
            }
        }
        Ok(listed)
    }

    pub(super) fn whole(&self, id: &str) -> Result<Whole, SourceError> {
        match self {
            Self::Database(db) => Ok(Whole {
                info: db.info(id)?,
                project: db.project(id),
                todos: db.todos(id),
                outline: db.outline(id)?,
            }),
            Self::File(file) => Ok(Whole {
                info: file.info.clone(),
                project: None,
                todos: file.todos.clone(),
                outline: file.outline.clone(),
            }),
        }
    }

    /// The messages of a session from `first` on.
    pub(super) fn messages(
        &self,
        id: &str,
        outline: &[Outlined],
        first: usize,
        each: &mut EachMessage<'_>,
    ) -> Result<(), SourceError> {
        match self {
            Self::Database(db) => {
                db.messages(id, outline, first, each);
                Ok(())
            }
            Self::File(file) => file.messages(first, each),
        }
    }
}

fn absolute(path: &Path) -> PathBuf {
    path.canonicalize()
        .or_else(|_| std::path::absolute(path))
        .unwrap_or_else(|_| path.to_owned())
}

fn of_file(info: &Value) -> Listed {
    let text = |key: &str| info.get(key).and_then(Value::as_str).map(str::to_owned);
    Listed {
        id: text("id").unwrap_or_default(),
        parent: text("parentID"),
        directory: text("directory").unwrap_or_default(),
        title: text("title").unwrap_or_default(),
    }
}

/// A session and all below it; the list has parents before their children.
fn with_children(listed: Vec<Listed>, id: &str) -> Vec<Listed> {
    let mut found: Vec<Listed> = Vec::new();
    for session in listed {
        let parent = session.parent.as_deref();
        if session.id == id || found.iter().any(|f| Some(f.id.as_str()) == parent) {
            found.push(session);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_comes_with_its_sub_tasks() {
        let one = |id: &str, parent: Option<&str>| Listed {
            id: id.into(),
            parent: parent.map(str::to_owned),
            directory: "/p".into(),
            title: id.into(),
        };
        let listed = vec![
            one("a", None),
            one("b", None),
            one("c", Some("a")),
            one("d", Some("c")),
            one("e", Some("b")),
        ];
        let ids = |id| {
            let found = with_children(listed.clone(), id).into_iter();
            found.map(|s| s.id).collect::<Vec<_>>()
        };
        assert_eq!(ids("a"), ["a", "c", "d"]);
        assert_eq!(ids("c"), ["c", "d"]);
        assert!(ids("x").is_empty());
    }
}
