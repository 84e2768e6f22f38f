//! A wave: commits of a group, one for each session, whose questions are asked at once, and whose
//! statements are sent at once. What the wave holds back is sent before any other statement that
//! might depend on it.

use std::collections::{HashMap, VecDeque};

use sessiond_model::Commit;
use sessiond_store_sql::ahead::{self, Lookup};
use sessiond_store_sql::{Arg, Row, Value, without_nul};
use tokio_postgres::types::ToSql;

/// Columns of rows to be inserted or updated by one statement.
#[derive(Debug)]
pub(crate) enum Column {
    Int(Vec<Option<i64>>),
    Real(Vec<Option<f64>>),
    Text(Vec<Option<String>>),
}

impl Column {
    pub(crate) fn as_sql(&self) -> &(dyn ToSql + Sync) {
        match self {
            Self::Int(column) => column,
            Self::Real(column) => column,
            Self::Text(column) => column,
        }
    }

    fn push(&mut self, arg: Arg<'_>) {
        match (self, arg) {
            (Self::Int(column), Arg::Int(value)) => column.push(Some(value)),
            (Self::Real(column), Arg::Real(value)) => column.push(Some(value)),
            (Self::Text(column), Arg::Text(value)) => column.push(Some(without_nul(value))),
            (Self::Int(column), _) => column.push(None),
            (Self::Real(column), _) => column.push(None),
            (Self::Text(column), _) => column.push(None),
        }
    }
}

/// Rows that wait for each other, and the statement that takes all of them.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) sql: &'static str,
    kinds: &'static str,
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: usize,
}

impl Batch {
    /// `kinds` has one letter for each column: `i`nteger, `r`eal, `t`ext.
    fn new(sql: &'static str, kinds: &'static str) -> Self {
        let mut batch = Self {
            sql,
            kinds,
            columns: Vec::new(),
            rows: 0,
        };
        batch.take();
        batch
    }

    fn push<'a>(&mut self, row: impl IntoIterator<Item = Arg<'a>>) {
        for (column, arg) in self.columns.iter_mut().zip(row) {
            column.push(arg);
        }
        self.rows += 1;
    }

    fn take(&mut self) -> Vec<Column> {
        self.rows = 0;
        let empty = self.kinds.chars().map(|kind| match kind {
            'i' => Column::Int(Vec::new()),
            'r' => Column::Real(Vec::new()),
            _ => Column::Text(Vec::new()),
        });
        std::mem::replace(&mut self.columns, empty.collect())
    }
}

const MESSAGES: &str = "INSERT INTO message (mid, sid, position, id, created_seq, seq, sum, info) \
     OVERRIDING SYSTEM VALUE SELECT u.mid, u.sid, u.position, u.id, u.seq, u.seq, u.sum, u.info \
     FROM unnest(CAST($1 AS BIGINT[]), CAST($2 AS BIGINT[]), CAST($3 AS BIGINT[]), \
     CAST($4 AS TEXT[]), CAST($5 AS BIGINT[]), CAST($6 AS BIGINT[]), CAST($7 AS TEXT[])) \
     AS u (mid, sid, position, id, seq, sum, info)";
const PARTS: &str = "INSERT INTO part (pid, mid, id, seq, sum, body, bid) \
     OVERRIDING SYSTEM VALUE SELECT * \
     FROM unnest(CAST($1 AS BIGINT[]), CAST($2 AS BIGINT[]), CAST($3 AS TEXT[]), \
     CAST($4 AS BIGINT[]), CAST($5 AS BIGINT[]), CAST($6 AS TEXT[]), CAST($7 AS BIGINT[]))";
const EVENTS: &str = "INSERT INTO event (seq, sid, session_seq, kind, entity, at, payload) \
     SELECT * FROM unnest(CAST($1 AS BIGINT[]), CAST($2 AS BIGINT[]), CAST($3 AS BIGINT[]), \
     CAST($4 AS BIGINT[]), CAST($5 AS BIGINT[]), CAST($6 AS BIGINT[]), CAST($7 AS TEXT[]))";
const HEADS: &str = "UPDATE session s SET epoch = u.epoch, last_seq = u.last_seq, \
     last_position = u.last_position, id_floor = u.id_floor, last_message_at = u.last_message_at, \
     row_seq = u.row_seq, status_seq = u.status_seq, cost = u.cost, tokens = u.tokens, \
     revision = u.revision, updated_at = COALESCE(u.updated_at, s.updated_at) \
     FROM unnest(CAST($1 AS BIGINT[]), CAST($2 AS BIGINT[]), CAST($3 AS BIGINT[]), \
     CAST($4 AS BIGINT[]), CAST($5 AS BIGINT[]), CAST($6 AS BIGINT[]), CAST($7 AS BIGINT[]), \
     CAST($8 AS BIGINT[]), CAST($9 AS DOUBLE PRECISION[]), CAST($10 AS TEXT[]), \
     CAST($11 AS BIGINT[]), CAST($12 AS BIGINT[])) \
     AS u (sid, epoch, last_seq, last_position, id_floor, last_message_at, row_seq, status_seq, \
     cost, tokens, revision, updated_at) WHERE s.sid = u.sid";

/// What is known ahead of the commits of a wave, and what they have not sent yet.
#[derive(Debug)]
pub(crate) struct Wave {
    /// Answers, each for whoever asks first.
    answers: HashMap<(&'static str, String), Vec<Vec<Value>>>,
    /// Keys for messages and for parts.
    pub(crate) messages: VecDeque<i64>,
    pub(crate) parts: VecDeque<i64>,
    /// The newest event, and sessions that came, not told to the store yet.
    pub(crate) clock: i64,
    came: i64,
    moved: bool,
    /// In the order in which they are sent.
    batches: [Batch; 4],
}

/// What a wave sends.
pub(crate) struct Held {
    pub(crate) batches: Vec<(&'static str, Vec<Column>)>,
    /// Newest event and sessions that came.
    pub(crate) clock: Option<(i64, i64)>,
}

impl Wave {
    pub(crate) fn new(clock: i64) -> Self {
        Self {
            answers: HashMap::new(),
            messages: VecDeque::new(),
            parts: VecDeque::new(),
            clock,
            came: 0,
            moved: false,
            batches: [
                Batch::new(MESSAGES, "iiitiit"),
                Batch::new(PARTS, "iitiiti"),
                Batch::new(EVENTS, "iiiiiit"),
                Batch::new(HEADS, "iiiiiiiirtii"),
            ],
        }
    }

    /// Notes the answer to a look-up of many: rows that begin with the id. Ids without a row are
    /// answered, too.
    pub(crate) fn note(&mut self, lookup: Lookup, ids: &[&str], rows: Vec<Vec<Value>>) {
        for id in ids {
            self.answers
                .insert((lookup.one, (*id).to_owned()), Vec::new());
        }
        for mut row in rows {
            if row.is_empty() {
                continue;
            }
            if let Value::Text(id) = row.remove(0) {
                self.answers.entry((lookup.one, id)).or_default().push(row);
            }
        }
    }

    /// The answer to a question, when it is known.
    pub(crate) fn answer(&mut self, sql: &'static str, args: &[Arg<'_>]) -> Option<Vec<Row>> {
        if sql == ahead::CLOCK {
            let row = vec![Value::Int(self.clock), Value::Int(0)];
            return Some(vec![Row::new(row)]);
        }
        let [Arg::Text(id)] = args else {
            return None;
        };
        let rows = self.answers.remove(&(sql, (*id).to_owned()))?;
        let is_head = sql == ahead::HEAD.one;
        let row = |mut row: Vec<Value>| {
            if let (true, Some(clock)) = (is_head, row.first_mut()) {
                *clock = Value::Int(self.clock);
            }
            Row::new(row)
        };
        Some(rows.into_iter().map(row).collect())
    }

    /// Holds a statement back; gives whether it does.
    pub(crate) fn hold(&mut self, sql: &'static str, args: &[Arg<'_>]) -> bool {
        if sql == ahead::CLOCK_SET {
            if let [Arg::Int(clock), Arg::Int(came)] = args {
                self.clock = *clock;
                self.came += came;
                self.moved = true;
            }
            return true;
        }
        if ahead::inserts_events(sql) {
            for event in args.chunks(7) {
                self.batches[2].push(event.iter().copied());
            }
            return true;
        }
        if sql == ahead::SESSION_UPDATE_HEAD || sql == ahead::SESSION_UPDATE_TOUCH {
            let untouched = [Arg::Null];
            let all = args.iter().chain(&untouched);
            self.batches[3].push(all.copied().take(12));
            return true;
        }
        false
    }

    /// Holds an insertion back; gives the key that the row will have.
    pub(crate) fn insert(&mut self, sql: &'static str, args: &[Arg<'_>]) -> Option<i64> {
        let (batch, keys) = if sql == ahead::MESSAGE_INSERT {
            (&mut self.batches[0], &mut self.messages)
        } else if sql == ahead::PART_INSERT {
            (&mut self.batches[1], &mut self.parts)
        } else {
            return None;
        };
        let key = keys.pop_front()?;
        batch.push([Arg::Int(key)].iter().chain(args).copied());
        Some(key)
    }

    /// What is to be sent now.
    pub(crate) fn release(&mut self) -> Held {
        let waiting = self.batches.iter_mut().filter(|batch| batch.rows > 0);
        let batches = waiting.map(|batch| (batch.sql, batch.take())).collect();
        let clock = self.moved.then_some((self.clock, self.came));
        (self.moved, self.came) = (false, 0);
        Held { batches, clock }
    }
}

/// How many of the jobs, from the first, make a wave: no session twice; and by itself what takes
/// rows away, or is no commit.
pub(crate) fn length<'a>(commits: impl Iterator<Item = Option<&'a Commit>>) -> usize {
    let mut seen = std::collections::HashSet::new();
    let mut count = 0;
    for commit in commits {
        let alone = commit.is_none_or(ahead::removes);
        if alone {
            return count.max(1);
        }
        if !commit.is_some_and(|commit| seen.insert(&commit.session_id)) {
            break;
        }
        count += 1;
    }
    count
}
