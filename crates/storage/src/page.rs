//! Keyset paging: a page starts after the last row of the one before, so no row is skipped or shown twice.

use caracal_domain::Timestamp;
use uuid::Uuid;

/// Which page of a list. Configuration ascends by (`created_at`, `id`); sessions and events descend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Page {
    /// The most rows wanted; ask for one more than is shown to know whether there is a next page.
    pub limit: i64,
    /// The last row of the page before.
    pub after: Option<(Timestamp, Uuid)>,
}

impl Page {
    /// The first `limit` rows.
    #[must_use]
    pub const fn first(limit: i64) -> Self {
        Self { limit, after: None }
    }
}

/// Narrows a boxed query of a table with (`created_at`, `id`) to the rows of one ascending page.
macro_rules! ascending {
    ($query:expr, $table:ident, $page:expr) => {{
        let page: &crate::page::Page = $page;
        let mut query = $query
            .order(($table::created_at.asc(), $table::id.asc()))
            .limit(page.limit);
        if let Some((at, id)) = page.after {
            let later = $table::created_at
                .gt(at)
                .or($table::created_at.eq(at).and($table::id.gt(id)));
            // Implied by the line above; lets the index find where the page starts.
            query = query.filter($table::created_at.ge(at)).filter(later);
        }
        query
    }};
}

/// Narrows a boxed query of a table with a time and an id column to the rows of one page, newest first.
macro_rules! descending {
    ($query:expr, $at:expr, $id:expr, $page:expr) => {{
        let page: &crate::page::Page = $page;
        let mut query = $query.order(($at.desc(), $id.desc())).limit(page.limit);
        if let Some((at, id)) = page.after {
            query = query
                .filter($at.le(at))
                .filter($at.lt(at).or($at.eq(at).and($id.lt(id))));
        }
        query
    }};
}

pub(crate) use {ascending, descending};
