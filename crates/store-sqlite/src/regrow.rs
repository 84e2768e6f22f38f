//! Tables whose inner pages are lost. The rows of a table lie in leaf pages, which its inner
//! pages only point to; when one of those is damaged, the leaves below it are still in the
//! file. They are found by the shape of their rows, and the table gets new inner pages.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use rusqlite::Connection;

/// SQLite's default, which the store keeps.
pub(crate) const PAGE: usize = 4096;
const INTERIOR: u8 = 5;
const LEAF: u8 = 13;
/// Children of one new inner page: as many as fit with the longest keys.
const FAN: usize = 250;

/// A table to look at.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) name: String,
    root: u32,
    columns: Vec<Column>,
}

/// What the values of a column may be.
#[derive(Clone, Copy, Debug)]
struct Column {
    kind: Kind,
    nullable: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// The row's own number: kept outside of the row.
    Key,
    Int,
    Real,
    Text,
}

impl Table {
    /// Reads about a table from a schema.
    pub(crate) fn of(db: &Connection, name: &str) -> rusqlite::Result<Self> {
        let sql = "SELECT rootpage FROM sqlite_schema WHERE type = 'table' AND name = ?1";
        let root = db.query_row(sql, [name], |row| row.get(0))?;
        let sql = "SELECT type, \"notnull\", pk FROM pragma_table_info(?1)";
        let mut info = db.prepare(sql)?;
        let columns = info.query_map([name], |row| {
            let (kind, not_null, key): (String, bool, bool) =
                (row.get(0)?, row.get(1)?, row.get(2)?);
            let kind = match kind.as_str() {
                "INTEGER" if key => Kind::Key,
                "TEXT" => Kind::Text,
                "DOUBLE PRECISION" => Kind::Real,
                _ => Kind::Int,
            };
            Ok(Column {
                kind,
                nullable: !not_null,
            })
        })?;
        Ok(Self {
            name: name.to_owned(),
            root,
            columns: columns.collect::<rusqlite::Result<_>>()?,
        })
    }

    /// Whether a row with these value types may be one of this table.
    fn fits(&self, types: &[u64]) -> bool {
        types.len() == self.columns.len()
            && self.columns.iter().zip(types).all(|(column, &t)| {
                let text = t >= 13 && t % 2 == 1;
                let int = matches!(t, 1..=6 | 8 | 9);
                match column.kind {
                    Kind::Key => t == 0,
                    _ if t == 0 => column.nullable,
                    Kind::Text => text,
                    Kind::Int => int,
                    Kind::Real => int || t == 7,
                }
            })
    }
}

/// A leaf page and the numbers of its first and last row.
#[derive(Clone, Copy, Debug)]
struct Leaf {
    page: u32,
    first: u64,
    last: u64,
}

/// Gives new inner pages to tables that have lost some. Gives the names of tables with a page
/// whose rows are gone.
pub(crate) fn regrow(path: &Path, tables: &[Table]) -> io::Result<Vec<String>> {
    let mut pages = Pages::open(path)?;
    let mut known = vec![false; pages.count as usize + 1];
    for page in pages.free()? {
        mark(&mut known, page);
    }
    let mut found: Vec<(Vec<Leaf>, usize)> = Vec::new();
    for table in tables {
        found.push(walk(&mut pages, table, &mut known)?);
    }
    let mut orphans = Vec::new();
    for number in 2..=pages.count {
        if !known[number as usize] {
            let page = pages.read(number)?;
            orphans.extend(leaf(&page, number).zip(types(&page)));
        }
    }
    let mut lost = Vec::new();
    for (table, (mut leaves, bad)) in tables.iter().zip(found) {
        let strays = orphans.iter().filter(|(_, types)| table.fits(types));
        let strays: Vec<Leaf> = strays.map(|(leaf, _)| *leaf).collect();
        if bad == 0 && strays.is_empty() {
            continue;
        }
        if strays.is_empty() {
            lost.push(table.name.clone());
        }
        leaves.extend(strays);
        leaves.sort_by_key(|leaf| leaf.first);
        grow(&mut pages, table.root, &leaves)?;
    }
    pages.finish()?;
    Ok(lost)
}

fn mark(known: &mut [bool], page: u32) -> bool {
    known
        .get_mut(page as usize)
        .is_some_and(|known| !std::mem::replace(known, true))
}

/// The leaves that a table still reaches, and the number of pages that are no pages of it.
fn walk(pages: &mut Pages, table: &Table, known: &mut [bool]) -> io::Result<(Vec<Leaf>, usize)> {
    let (mut leaves, mut bad) = (Vec::new(), 0);
    let mut left = vec![table.root];
    while let Some(number) = left.pop() {
        if number < 2 || number > pages.count {
            bad += 1;
            continue;
        }
        let page = pages.read(number)?;
        let empty = page[0] == LEAF && page[3..5] == [0, 0];
        let children = (page[0] == INTERIOR).then(|| children(&page)).flatten();
        if let Some(children) = children {
            if mark(known, number) {
                left.extend(children);
            }
        } else if let Some(leaf) = leaf(&page, number)
            && types(&page).is_some_and(|types| table.fits(&types))
        {
            if mark(known, number) {
                leaves.push(leaf);
            }
        } else if empty && number == table.root {
            mark(known, number);
        } else {
            bad += 1;
        }
    }
    Ok((leaves, bad))
}

/// Where the cells of a page begin; `None` when that can't be true.
fn cells(page: &[u8]) -> Option<Vec<usize>> {
    let header = if page[0] == INTERIOR { 12 } else { 8 };
    let count = usize::from(u16::from_be_bytes([page[3], page[4]]));
    let end = header + 2 * count;
    let pointers = page.get(header..end)?;
    let cells = pointers.chunks_exact(2);
    let cells = cells.map(|p| usize::from(u16::from_be_bytes([p[0], p[1]])));
    let cells: Vec<usize> = cells.collect();
    let sane = count > 0 && cells.iter().all(|&cell| cell >= end && cell + 4 <= PAGE);
    sane.then_some(cells)
}

fn number_at(page: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([page[at], page[at + 1], page[at + 2], page[at + 3]])
}

/// The children of an inner page.
pub(crate) fn children(page: &[u8]) -> Option<Vec<u32>> {
    let mut found: Vec<u32> = cells(page)?.iter().map(|&c| number_at(page, c)).collect();
    found.push(number_at(page, 8));
    Some(found)
}

/// A number of SQLite's variable-length form, and its length.
fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0u64;
    for (index, byte) in bytes.iter().take(8).enumerate() {
        value = value << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((value, index + 1));
        }
    }
    let last = bytes.get(8)?;
    Some((value << 8 | u64::from(*last), 9))
}

fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    let mut groups = vec![(value & 0x7f) as u8];
    value >>= 7;
    while value > 0 {
        groups.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.extend(groups.iter().rev());
}

/// The row number of a leaf's cell, and where the row begins.
fn row(page: &[u8], cell: usize) -> Option<(u64, usize)> {
    let (_, size) = varint(page.get(cell..)?)?;
    let (number, more) = varint(page.get(cell + size..)?)?;
    Some((number, cell + size + more))
}

fn leaf(page: &[u8], number: u32) -> Option<Leaf> {
    if page[0] != LEAF {
        return None;
    }
    let cells = cells(page)?;
    let (first, _) = row(page, *cells.first()?)?;
    let (last, _) = row(page, *cells.last()?)?;
    (first <= last).then_some(Leaf {
        page: number,
        first,
        last,
    })
}

/// The value types of a leaf's first row.
fn types(page: &[u8]) -> Option<Vec<u64>> {
    let (_, start) = row(page, *cells(page)?.first()?)?;
    let (length, mut at) = varint(page.get(start..)?)?;
    let header = page.get(start..start.checked_add(usize::try_from(length).ok()?)?)?;
    let mut types = Vec::new();
    while at < header.len() {
        let (kind, size) = varint(&header[at..])?;
        types.push(kind);
        at += size;
    }
    Some(types)
}

/// Writes inner pages over leaves, the topmost one at `root`.
fn grow(pages: &mut Pages, root: u32, leaves: &[Leaf]) -> io::Result<()> {
    match leaves {
        [] => {
            let mut empty = vec![0; PAGE];
            empty[0] = LEAF;
            empty[5] = 0x10;
            return pages.write(root, &empty);
        }
        [only] => {
            let page = pages.read(only.page)?;
            return pages.write(root, &page);
        }
        _ => {}
    }
    let mut level: Vec<(u32, u64)> = leaves.iter().map(|l| (l.page, l.last)).collect();
    // A root that was a leaf itself moves down.
    if let Some(at) = level.iter().position(|(page, _)| *page == root) {
        let page = pages.read(root)?;
        level[at].0 = pages.append(&page)?;
    }
    while level.len() > FAN {
        let parts = level.len().div_ceil(FAN);
        let mut above = Vec::with_capacity(parts);
        for part in level.chunks(level.len().div_ceil(parts)) {
            let last = part.last().map_or(0, |(_, last)| *last);
            above.push((pages.append(&inner(part))?, last));
        }
        level = above;
    }
    pages.write(root, &inner(&level))
}

/// An inner page over children with their last row numbers.
fn inner(children: &[(u32, u64)]) -> Vec<u8> {
    let mut page = vec![0; PAGE];
    let (mut at, mut pointer) = (PAGE, 12);
    if let Some(((last, _), others)) = children.split_last() {
        page[8..12].copy_from_slice(&last.to_be_bytes());
        for (child, key) in others {
            let mut cell = child.to_be_bytes().to_vec();
            put_varint(*key, &mut cell);
            at -= cell.len();
            page[at..at + cell.len()].copy_from_slice(&cell);
            page[pointer..pointer + 2].copy_from_slice(&short(at));
            pointer += 2;
        }
        page[3..5].copy_from_slice(&short(others.len()));
    }
    page[0] = INTERIOR;
    page[5..7].copy_from_slice(&short(at));
    page
}

fn short(value: usize) -> [u8; 2] {
    u16::try_from(value).unwrap_or(0).to_be_bytes()
}

/// The pages of a database file.
struct Pages {
    file: File,
    count: u32,
}

impl Pages {
    fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let count = u32::try_from(file.metadata()?.len() / PAGE as u64).unwrap_or(u32::MAX);
        Ok(Self { file, count })
    }

    fn seek(&mut self, number: u32) -> io::Result<u64> {
        let at = u64::from(number.saturating_sub(1)) * PAGE as u64;
        self.file.seek(SeekFrom::Start(at))
    }

    fn read(&mut self, number: u32) -> io::Result<Vec<u8>> {
        let mut page = vec![0; PAGE];
        self.seek(number)?;
        self.file.read_exact(&mut page)?;
        Ok(page)
    }

    fn write(&mut self, number: u32, page: &[u8]) -> io::Result<()> {
        self.seek(number)?;
        self.file.write_all(page)
    }

    fn append(&mut self, page: &[u8]) -> io::Result<u32> {
        self.count += 1;
        self.write(self.count, page)?;
        Ok(self.count)
    }

    /// The pages that hold nothing: their content is of another time.
    fn free(&mut self) -> io::Result<Vec<u32>> {
        let mut free = Vec::new();
        if self.count == 0 {
            return Ok(free);
        }
        let mut trunk = number_at(&self.read(1)?, 32);
        while trunk > 1 && trunk <= self.count && !free.contains(&trunk) {
            free.push(trunk);
            let page = self.read(trunk)?;
            let leaves = (number_at(&page, 4) as usize).min(PAGE / 4 - 2);
            free.extend((0..leaves).map(|n| number_at(&page, 8 + 4 * n)));
            trunk = number_at(&page, 0);
        }
        Ok(free)
    }

    /// Makes the file header agree with the number of pages.
    fn finish(mut self) -> io::Result<()> {
        let mut first = self.read(1)?;
        first[28..32].copy_from_slice(&self.count.to_be_bytes());
        first.copy_within(24..28, 92);
        self.write(1, &first)?;
        self.file.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_come_back() {
        for value in [0, 1, 127, 128, 300, 16_383, 16_384, 1 << 40] {
            let mut bytes = Vec::new();
            put_varint(value, &mut bytes);
            assert_eq!(varint(&bytes), Some((value, bytes.len())));
        }
    }

    /// Every inner page of a large table is lost, at several levels.
    #[test]
    fn a_table_grows_again_over_its_leaves() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.db");
        let db = Connection::open(&path).unwrap();
        db.execute_batch(
            "CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT NOT NULL, c BIGINT);
             CREATE TABLE u (a INTEGER PRIMARY KEY, b BIGINT NOT NULL, c BIGINT);
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000)
             INSERT INTO t SELECT i * 3, printf('%0900d', i), NULL FROM n;
             INSERT INTO u SELECT a, a, 5 FROM t;",
        )
        .unwrap();
        let tables = ["t", "u"].map(|name| Table::of(&db, name).unwrap());
        drop(db);
        let mut pages = Pages::open(&path).unwrap();
        let mut inner_pages = 0;
        for number in 2..=pages.count {
            let mut page = pages.read(number).unwrap();
            if page[0] == INTERIOR {
                page.fill(0xaa);
                pages.write(number, &page).unwrap();
                inner_pages += 1;
            }
        }
        drop(pages);
        assert!(inner_pages > 3);
        assert_eq!(regrow(&path, &tables).unwrap(), Vec::<String>::new());
        let db = Connection::open(&path).unwrap();
        for table in ["t", "u"] {
            let sql = format!("SELECT count(*), sum(a) FROM {table} NOT INDEXED");
            let sums: (i64, i64) = db
                .query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
                .unwrap();
            assert_eq!(sums, (4_000, 3 * 4_000 * 4_001 / 2));
            let sql = format!("SELECT count(*) FROM {table} WHERE a IN (3, 6000, 12000)");
            let found: i64 = db.query_row(&sql, [], |row| row.get(0)).unwrap();
            assert_eq!(found, 3, "the keys of the new pages are right");
        }
        // Once more changes nothing: all is in its place.
        let before = std::fs::read(&path).unwrap();
        drop(db);
        regrow(&path, &tables).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }
}
