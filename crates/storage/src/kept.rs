//! Statements that a connection prepares once and keeps. Diesel does that by itself for what it knows always to read the
//! same, and asks PostgreSQL to parse and plan anew each time what it does not: SQL written by hand, updates, and inserts
//! with defaults.

use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::QueryResult;

/// A query whose SQL is always the same, or one of a few. A connection keeps each text it has seen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kept<Q>(pub(crate) Q);

impl<Q: QueryFragment<Pg>> QueryFragment<Pg> for Kept<Q> {
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.0.walk_ast(out)
    }

    fn is_safe_to_cache_prepared(&self, _: &Pg) -> QueryResult<bool> {
        Ok(true)
    }
}

impl<Q: Query> Query for Kept<Q> {
    type SqlType = Q::SqlType;
}

/// Known by its text.
impl<Q> QueryId for Kept<Q> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}
