//! Lists of repositories: a page in any order, of all or of those that a search finds.
//!
//! Every order has an index that starts with the namespace, so that a page costs what it shows and what it skips.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params_from_iter};

use super::repos::{COLUMNS, RepoRow, row_of};
use super::search::{self, Candidates};
use super::{Listed, Result, Window};
use crate::store::RepoId;

/// What a list is ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// When it was made.
    CreatedAt,
    /// When anything last changed.
    UpdatedAt,
    /// When it was last pushed to; those that never were count as 1970.
    LastPushAt,
    /// Its folded name.
    Name,
}

impl Sort {
    /// The column or expression, in terms of `repos r`.
    const fn column(self) -> &'static str {
        match self {
            Self::CreatedAt => "r.n",
            Self::UpdatedAt => "r.updated_at",
            Self::LastPushAt => "COALESCE(r.last_push_at, 0)",
            Self::Name => "r.folded",
        }
    }
}

/// Which way a list runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Least first.
    Asc,
    /// Greatest first.
    Desc,
}

impl Direction {
    /// `ASC` and what is beyond a value in this direction.
    const fn sql(self) -> (&'static str, &'static str) {
        match self {
            Self::Asc => ("ASC", ">"),
            Self::Desc => ("DESC", "<"),
        }
    }

    const fn reversed(self) -> Self {
        match self {
            Self::Asc => Self::Desc,
            Self::Desc => Self::Asc,
        }
    }
}

/// Which repositories of a namespace are wanted.
#[derive(Clone, Debug)]
pub struct RepoPage {
    /// The namespace; a missing one is empty.
    pub namespace: String,
    /// Part of the name, in any case.
    pub search: Option<String>,
    /// The order.
    pub sort: Sort,
    /// The order's direction.
    pub direction: Direction,
    /// Go on behind this repository, as the order has it.
    pub after: Option<RepoId>,
    /// Which part, counted from `after`.
    pub window: Window,
    /// How many there are before the part, as the caller remembers: totals that are not counted start from it.
    pub before: u64,
}

/// `%part%`, with LIKE's own signs escaped.
fn like(part: &str) -> String {
    let mut out = String::from("%");
    for sign in part.to_ascii_lowercase().chars() {
        if matches!(sign, '%' | '_' | '\\') {
            out.push('\\');
        }
        out.push(sign);
    }
    out.push('%');
    out
}

/// Part of a list. The total is exact but for a search that very many names answer: then it counts what was seen so
/// far and one more while there is more, since counting them all would cost more than finding a page of them.
pub(super) fn list(conn: &Connection, page: &RepoPage) -> Result<Listed<RepoRow>> {
    let snapshot = conn.unchecked_transaction()?;
    let mut find = snapshot
        .prepare_cached("SELECT n, repo_count FROM namespaces WHERE folded = ?1 AND deleted_at IS NULL")?;
    let space: Option<(i64, i64)> = find
        .query_row([page.namespace.to_ascii_lowercase()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let anchor = page.after.map(|id| Anchor::find(&snapshot, page.sort, id)).transpose()?;
    let (Some((space, count)), false) = (space, matches!(anchor, Some(None))) else {
        return Ok(Listed { items: Vec::new(), total: 0 });
    };
    let walk = Walk { sort: page.sort, direction: page.direction, anchor: anchor.flatten() };
    let (take, skip) = page.window.sql();
    let (numbers, total) = match &page.search {
        None => (whole(&snapshot, &walk, space, count, (skip, take))?, count),
        Some(part) => found(&snapshot, &walk, (space, count), part, (skip, take), page.before)?,
    };
    let sql = format!("SELECT {COLUMNS} FROM repos r JOIN namespaces s ON s.n = r.namespace WHERE r.n = ?1");
    let mut row = snapshot.prepare_cached(&sql)?;
    let items = numbers.iter().map(|n| row.query_row([n], row_of)?).collect::<Result<_>>()?;
    Ok(Listed { items, total: u64::try_from(total).unwrap_or(0) })
}

/// The page of a list without a search.
fn whole(
    conn: &Connection,
    walk: &Walk,
    space: i64,
    count: i64,
    (skip, take): (i64, i64),
) -> Result<Vec<i64>> {
    let rows = Rows::plain("r.namespace = ?1 AND r.deleted_at IS NULL", vec![space.into()]);
    if walk.anchor.is_some() || skip <= count / 2 {
        return walk.numbers(conn, &rows, skip, take);
    }
    // The far half is nearer from the other end.
    let take = take.min(count.saturating_sub(skip)).max(0);
    let back = Walk { direction: walk.direction.reversed(), ..walk.clone() };
    let mut numbers =
        back.numbers(conn, &rows, count.saturating_sub(skip).saturating_sub(take).max(0), take)?;
    numbers.reverse();
    Ok(numbers)
}

/// The page of what a search finds, and its total.
fn found(
    conn: &Connection,
    walk: &Walk,
    (space, count): (i64, i64),
    part: &str,
    (skip, take): (i64, i64),
    before: u64,
) -> Result<(Vec<i64>, i64)> {
    let values: Vec<Value> = vec![space.into(), like(part).into()];
    let live = "r.deleted_at IS NULL AND r.folded LIKE ?2 ESCAPE '\\'";
    let few = match search::candidates(conn, part, count)? {
        Candidates::All => Some(format!("r.namespace = ?1 AND {live}")),
        // `+ 0` keeps SQLite from walking the namespace beside the candidates.
        Candidates::Few(found) => {
            let found: Vec<String> = found.iter().map(i64::to_string).collect();
            Some(format!("r.namespace + 0 = ?1 AND r.n IN ({}) AND {live}", found.join(",")))
        }
        Candidates::Many => None,
    };
    if let Some(filter) = few {
        let sql = format!("SELECT COUNT(*) FROM repos r WHERE {filter}");
        let total = conn.prepare(&sql)?.query_row(params_from_iter(&values), |row| row.get(0))?;
        let rows = Rows { is_cached: false, ..Rows::plain(&filter, values) };
        return Ok((walk.numbers(conn, &rows, skip, take)?, total));
    }
    // Very many names match: the walk in the wanted order meets a page of them soon.
    let mut rows = Rows::plain(&format!("r.namespace = ?1 AND {live}"), values);
    if let (Sort::CreatedAt, Some(query)) = (walk.sort, search::query(part)) {
        // The trigrams are in the order of creation too, and name no others.
        rows.from = "repos_trigrams t CROSS JOIN repos r ON r.n = t.rowid";
        rows.number = "t.rowid";
        rows.filter = format!("t.repos_trigrams MATCH ?3 AND r.namespace + 0 = ?1 AND {live}");
        rows.values.push(query.into());
    }
    let mut numbers = walk.numbers(conn, &rows, skip, take.saturating_add(1))?;
    let is_more = numbers.len() as i64 > take;
    numbers.truncate(usize::try_from(take).unwrap_or(usize::MAX));
    let before = i64::try_from(before).unwrap_or(i64::MAX);
    Ok((numbers.clone(), before.saturating_add(numbers.len() as i64).saturating_add(i64::from(is_more))))
}

/// The repository that a page follows, and what it is ordered by.
#[derive(Clone)]
struct Anchor {
    key: Value,
    n: i64,
}

impl Anchor {
    fn find(conn: &Connection, sort: Sort, id: RepoId) -> Result<Option<Self>> {
        let sql = format!("SELECT {}, r.n FROM repos r WHERE r.id = ?1", sort.column());
        let mut find = conn.prepare_cached(&sql)?;
        let found = find.query_row([id.to_string()], |row| Ok(Self { key: row.get(0)?, n: row.get(1)? }));
        Ok(found.optional()?)
    }
}

/// Which rows are walked. `r` is `repos`.
struct Rows {
    from: &'static str,
    /// The number that orders and bounds: that of the table that is walked.
    number: &'static str,
    filter: String,
    values: Vec<Value>,
    /// Whether the statement will come again.
    is_cached: bool,
}

impl Rows {
    fn plain(filter: &str, values: Vec<Value>) -> Self {
        Self { from: "repos r", number: "r.n", filter: filter.to_owned(), values, is_cached: true }
    }
}

/// An order, and where in it to start.
#[derive(Clone)]
struct Walk {
    sort: Sort,
    direction: Direction,
    anchor: Option<Anchor>,
}

impl Walk {
    /// The numbers of rows `skip..skip + take`.
    ///
    /// Behind an anchor these are first the rows with the same key, then those with a further one: each is one
    /// range of an index, where both in one condition would be a scan.
    fn numbers(&self, conn: &Connection, rows: &Rows, skip: i64, take: i64) -> Result<Vec<i64>> {
        let (column, number) = (self.sort.column(), rows.number);
        let (way, beyond) = self.direction.sql();
        let by_number = format!("{number} {way}");
        let by_key = format!("{column} {way}, {number} {way}");
        let Some(anchor) = &self.anchor else {
            let order = if self.sort == Sort::CreatedAt { by_number } else { by_key };
            return select(conn, rows, "", &[], &order, (skip, take));
        };
        let at = rows.values.len() + 1;
        if self.sort == Sort::CreatedAt {
            let behind = format!(" AND {number} {beyond} ?{at}");
            return select(conn, rows, &behind, &[anchor.n.into()], &by_number, (skip, take));
        }
        let (key, all) = (anchor.key.clone(), skip.saturating_add(take));
        let mut numbers = Vec::new();
        if self.sort != Sort::Name {
            let same = format!(" AND {column} = ?{at} AND {number} {beyond} ?{}", at + 1);
            numbers = select(conn, rows, &same, &[key.clone(), anchor.n.into()], &by_number, (0, all))?;
        }
        let left = all.saturating_sub(numbers.len() as i64);
        if left > 0 {
            let further = format!(" AND {column} {beyond} ?{at}");
            numbers.extend(select(conn, rows, &further, &[key], &by_key, (0, left))?);
        }
        Ok(numbers.split_off(usize::try_from(skip).unwrap_or(usize::MAX).min(numbers.len())))
    }
}

fn statement(rows: &Rows, behind: &str, order: &str, limit_at: usize) -> String {
    let Rows { from, number, filter, .. } = rows;
    let offset_at = limit_at + 1;
    format!(
        "SELECT {number} FROM {from} WHERE {filter}{behind} ORDER BY {order} LIMIT ?{limit_at} OFFSET ?{offset_at}"
    )
}

fn select(
    conn: &Connection,
    rows: &Rows,
    behind: &str,
    more: &[Value],
    order: &str,
    (skip, take): (i64, i64),
) -> Result<Vec<i64>> {
    let mut values = rows.values.clone();
    values.extend_from_slice(more);
    values.extend([take.into(), skip.into()]);
    let sql = statement(rows, behind, order, values.len() - 1);
    let mut select = conn.prepare_cached(&sql)?;
    let numbers =
        select.query_map(params_from_iter(&values), |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    if !rows.is_cached {
        // It may name thousands of candidates, and will not come again.
        select.discard();
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use rusqlite::types::Value;

    use super::{Direction, Rows, Sort, Walk, statement};

    /// How SQLite would run the statement of a walk.
    fn plan(conn: &rusqlite::Connection, rows: &Rows, behind: &str, order: &str, values: usize) -> String {
        let sql = format!("EXPLAIN QUERY PLAN {}", statement(rows, behind, order, values + 1));
        let mut plan = conn.prepare(&sql).expect("prepared");
        let nulls = vec![Value::Null; values + 2];
        let rows = plan.query_map(rusqlite::params_from_iter(nulls), |row| row.get::<_, String>(3));
        rows.expect("a plan").collect::<Result<Vec<_>, _>>().expect("a plan").join("; ")
    }

    #[test]
    fn every_order_is_that_of_an_index_and_nothing_is_sorted_or_scanned() {
        let folder = tempfile::tempdir().expect("a folder");
        let conn =
            super::super::schema::open_writer(&crate::store::disk::System, &folder.path().join("c.sqlite"))
                .expect("it opens");
        let all = Rows::plain("r.namespace = ?1 AND r.deleted_at IS NULL", vec![Value::Null]);
        let many = "r.namespace = ?1 AND r.deleted_at IS NULL AND r.folded LIKE ?2 ESCAPE '\\'";
        let many = Rows::plain(many, vec![Value::Null; 2]);
        for (sort, index) in [
            (Sort::CreatedAt, "repos_newest"),
            (Sort::UpdatedAt, "repos_updated"),
            (Sort::LastPushAt, "repos_pushed"),
            (Sort::Name, "repos_name"),
        ] {
            for direction in [Direction::Asc, Direction::Desc] {
                let walk = Walk { sort, direction, anchor: None };
                let (way, beyond) = walk.direction.sql();
                let column = sort.column();
                let order = match sort {
                    Sort::CreatedAt => format!("r.n {way}"),
                    _ => format!("{column} {way}, r.n {way}"),
                };
                for rows in [&all, &many] {
                    let at = rows.values.len() + 1;
                    let same = format!(" AND {column} = ?{at} AND r.n {beyond} ?{}", at + 1);
                    let by_number = format!("r.n {way}");
                    let mut plans = vec![
                        plan(&conn, rows, "", &order, at - 1),
                        plan(&conn, rows, &format!(" AND {column} {beyond} ?{at}"), &order, at),
                    ];
                    if !matches!(sort, Sort::CreatedAt | Sort::Name) {
                        plans.push(plan(&conn, rows, &same, &by_number, at + 1));
                    }
                    for plan in plans {
                        let is_good = plan.contains(index) && plan.contains("SEARCH");
                        assert!(is_good && !plan.contains("TEMP B-TREE"), "{sort:?} {direction:?}: {plan}");
                    }
                }
            }
        }
    }
}
