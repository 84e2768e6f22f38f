//! The schema pages of a database, taken from a fresh one of the same history: a damaged file
//! whose first pages are lost can be read again with them, because tables that were made by
//! the same statements lie at the same places.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use rusqlite::Connection;
use sessiond_store_sql::{Dialect, MIGRATIONS};

use crate::regrow::PAGE;

/// Kinds of b-tree pages, first byte after the file header on page one.
const INTERIOR_TABLE: u8 = 5;

/// Overwrites the schema pages of `damaged` with those of a fresh database, which is made
/// beside `near` for the purpose.
pub(crate) fn replace_schema_pages(damaged: &Path, near: &Path) -> io::Result<()> {
    let model = near.with_extension("template");
    let _ = std::fs::remove_file(&model);
    let made = make_model(&model);
    let result = made
        .map_err(io::Error::other)
        .and_then(|()| transplant(&model, damaged));
    let _ = std::fs::remove_file(&model);
    result
}

fn make_model(path: &Path) -> rusqlite::Result<()> {
    let db = Connection::open(path)?;
    let tx = db.unchecked_transaction()?;
    for step in MIGRATIONS {
        tx.execute_batch(&Dialect::SQLITE.render(step.sql))?;
    }
    tx.commit()
}

fn transplant(model: &Path, damaged: &Path) -> io::Result<()> {
    let mut from = File::open(model)?;
    let mut to = OpenOptions::new().read(true).write(true).open(damaged)?;
    let pages = u32::try_from(to.metadata()?.len() / PAGE as u64).unwrap_or(u32::MAX);
    let mut first = read_page(&mut from, 1)?;
    for child in children(&first, 100) {
        let page = read_page(&mut from, child)?;
        write_page(&mut to, child, &page)?;
    }
    // The file header: size in pages, no free pages, and no log (the rows are read once).
    first[28..32].copy_from_slice(&pages.to_be_bytes());
    first[32..40].fill(0);
    write_page(&mut to, 1, &first)?;
    to.sync_all()
}

/// The children of an interior page whose header begins at `start`.
fn children(page: &[u8], start: usize) -> Vec<u32> {
    if page[start] != INTERIOR_TABLE {
        return Vec::new();
    }
    let cells = usize::from(u16::from_be_bytes([page[start + 3], page[start + 4]]));
    let number =
        |at: usize| u32::from_be_bytes([page[at], page[at + 1], page[at + 2], page[at + 3]]);
    let mut found = vec![number(start + 8)];
    for cell in 0..cells {
        let at = start + 12 + 2 * cell;
        let offset = usize::from(u16::from_be_bytes([page[at], page[at + 1]]));
        if offset + 4 <= PAGE {
            found.push(number(offset));
        }
    }
    found
}

fn read_page(file: &mut File, number: u32) -> io::Result<Vec<u8>> {
    let mut page = vec![0; PAGE];
    file.seek(SeekFrom::Start((u64::from(number) - 1) * PAGE as u64))?;
    file.read_exact(&mut page)?;
    Ok(page)
}

fn write_page(file: &mut File, number: u32, page: &[u8]) -> io::Result<()> {
    file.seek(SeekFrom::Start((u64::from(number) - 1) * PAGE as u64))?;
    file.write_all(page)
}
