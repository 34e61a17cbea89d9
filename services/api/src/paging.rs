//! Keyset paging: `limit`, `cursor`, and the cursor of the next page (contract §1, "Lists").

use crate::error::Refusal;
use actix_web::http::header::{HeaderName, LINK};
use actix_web::{HttpRequest, HttpResponse};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use caracal_domain::Timestamp;
use caracal_domain::id::ZoneId;
use caracal_storage::Page;
use caracal_web::ApiError;
use chrono::{DateTime, Datelike};
use serde::{Deserialize, Serialize};
use url::form_urlencoded;
use uuid::Uuid;

const MOST: i64 = 1000;

/// A list of something, perhaps of one zone: a cursor of one is no cursor of another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct List {
    /// What it lists.
    pub(crate) name: &'static str,
    /// Of which zone.
    pub(crate) zone: Option<ZoneId>,
    /// Of which object of the zone, where it is the list of one.
    pub(crate) of: Option<Uuid>,
    /// How many rows without `limit`.
    pub(crate) default: i64,
}

/// The parameters of a list without filters.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    /// How many, at most.
    #[param(minimum = 1, maximum = 1000, default = 200)]
    limit: Option<i64>,
    /// Where the page before ended.
    cursor: Option<String>,
}

/// The parameters of a list whose objects have something that no two live ones share.
macro_rules! by_key {
    ($($(#[doc = $what:literal])+ $query:ident: $key:ident;)+) => {$(
        $(#[doc = $what])+
        #[derive(Debug, Deserialize, utoipa::IntoParams)]
        #[into_params(parameter_in = Query)]
        #[serde(deny_unknown_fields)]
        pub(crate) struct $query {
            /// The one with exactly this, if it is there.
            pub(crate) $key: Option<String>,
            /// How many, at most.
            #[param(minimum = 1, maximum = 1000, default = 200)]
            limit: Option<i64>,
            /// Where the page before ended.
            cursor: Option<String>,
        }

        impl $query {
            /// The page that is asked for.
            pub(crate) fn page(&self, list: List) -> Result<Page, ApiError> {
                list.page(self.limit, self.cursor.as_deref())
            }
        }
    )+};
}

by_key! {
    /// Of zones.
    SlugQuery: slug;
    /// Of what goes by a name.
    NameQuery: name;
    /// Of what goes by an identifier.
    IdentifierQuery: identifier;
}

/// A page as sessions and audit answer it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Rows<V> {
    rows: Vec<V>,
    next_cursor: Option<String>,
}

/// A page of rows and where the next begins.
#[derive(Debug)]
pub(crate) struct Paged<R> {
    pub(crate) rows: Vec<R>,
    pub(crate) next: Option<String>,
}

impl List {
    /// A configuration list of a zone.
    pub(crate) const fn of(name: &'static str, zone: ZoneId) -> Self {
        Self {
            name,
            zone: Some(zone),
            of: None,
            default: 200,
        }
    }

    /// The same of what belongs to one object of the zone.
    pub(crate) fn below(name: &'static str, zone: ZoneId, object: impl Into<Uuid>) -> Self {
        Self {
            of: Some(object.into()),
            ..Self::of(name, zone)
        }
    }

    /// The page that the parameters ask for, with one row more than will be shown.
    pub(crate) fn page(self, limit: Option<i64>, cursor: Option<&str>) -> Result<Page, ApiError> {
        let limit = limit.unwrap_or(self.default);
        if !(1..=MOST).contains(&limit) {
            return Err(ApiError::invalid_query("limit must be from 1 to 1000"));
        }
        let after = cursor
            .map(|text| self.read(text).ok_or(Refusal::InvalidCursor))
            .transpose()?;
        Ok(Page {
            limit: limit + 1,
            after,
        })
    }

    /// The same from plain parameters.
    pub(crate) fn plain(self, query: &ListQuery) -> Result<Page, ApiError> {
        self.page(query.limit, query.cursor.as_deref())
    }

    /// Cuts the extra row off, and tells where to go on if there was one.
    pub(crate) fn cut<R>(
        self,
        mut rows: Vec<R>,
        page: &Page,
        key: impl Fn(&R) -> (Timestamp, Uuid),
    ) -> Paged<R> {
        let shown = usize::try_from(page.limit - 1).unwrap_or(usize::MAX);
        let more = rows.len() > shown;
        rows.truncate(shown);
        let next = rows.last().filter(|_| more).map(|last| self.write(key(last)));
        Paged { rows, next }
    }

    fn write(self, (at, id): (Timestamp, Uuid)) -> String {
        URL_SAFE_NO_PAD.encode(format!(
            "1|{}|{}|{}|{id}",
            self.name,
            self.whose(),
            at.timestamp_micros()
        ))
    }

    fn whose(self) -> Uuid {
        self.of
            .unwrap_or_else(|| self.zone.map_or(Uuid::nil(), Uuid::from))
    }

    fn read(self, cursor: &str) -> Option<(Timestamp, Uuid)> {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
        let mut parts = text.split('|');
        let mut next = || parts.next();
        let (version, name, whose, micros, id) = (next()?, next()?, next()?, next()?, next()?);
        if version != "1" || name != self.name || whose != self.whose().to_string() || next().is_some() {
            return None;
        }
        // No row is of another time, and the database knows none of most others.
        let at = DateTime::from_timestamp_micros(micros.parse().ok()?)?;
        (1970..=9999)
            .contains(&at.year())
            .then_some((at, id.parse().ok()?))
    }
}

impl<R> Paged<R> {
    /// A bare array; the next page's address in `Link` (RFC 8288).
    pub(crate) fn array<'a, V: Serialize>(
        &'a self,
        request: &HttpRequest,
        view: impl Fn(&'a R) -> V,
    ) -> HttpResponse {
        let mut answer = HttpResponse::Ok();
        if let Some(cursor) = &self.next {
            answer.insert_header(Self::link(request, cursor));
        }
        answer.json(self.rows.iter().map(view).collect::<Vec<_>>())
    }

    /// The header that names the next page (RFC 8288).
    pub(crate) fn link(request: &HttpRequest, cursor: &str) -> (HeaderName, String) {
        (LINK, format!("<{}>; rel=\"next\"", next_address(request, cursor)))
    }

    /// `{rows, next_cursor}`, as sessions and audit have it.
    pub(crate) fn object<V: Serialize>(self, view: impl Fn(R) -> V) -> HttpResponse {
        let rows = self.rows.into_iter().map(view).collect();
        let next_cursor = self.next;
        HttpResponse::Ok().json(Rows { rows, next_cursor })
    }
}

fn next_address(request: &HttpRequest, cursor: &str) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    let kept = form_urlencoded::parse(request.query_string().as_bytes()).filter(|(name, _)| name != "cursor");
    query.extend_pairs(kept).append_pair("cursor", cursor);
    format!("{}?{}", request.path(), query.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(name: &'static str, zone: u128) -> List {
        List::of(name, ZoneId::from(Uuid::from_u128(zone)))
    }

    #[test]
    fn a_cursor_is_good_for_its_own_list_only() {
        let key = (
            DateTime::from_timestamp_micros(1_790_000_000_123_456).expect("a time"),
            Uuid::from_u128(7),
        );
        let cursor = list("resources", 1).write(key);
        assert_eq!(list("resources", 1).read(&cursor), Some(key));
        assert_eq!(list("resources", 2).read(&cursor), None);
        assert_eq!(list("providers", 1).read(&cursor), None);
        for bad in [
            "",
            "!",
            "AAAA",
            &cursor[..cursor.len() - 2],
            &format!("{cursor}AA"),
        ] {
            assert_eq!(list("resources", 1).read(bad), None, "{bad}");
        }
        let of = |object: u128| {
            List::below(
                "versions",
                ZoneId::from(Uuid::from_u128(1)),
                Uuid::from_u128(object),
            )
        };
        let cursor = of(2).write(key);
        assert_eq!((of(2).read(&cursor), of(3).read(&cursor)), (Some(key), None));
        for micros in [
            "-1",
            "-62135596800000001",
            "253402300800000000",
            "8210266876799999999",
            "9223372036854775807",
        ] {
            let zone = Uuid::from_u128(1);
            let cursor = URL_SAFE_NO_PAD.encode(format!("1|resources|{zone}|{micros}|{zone}"));
            assert_eq!(list("resources", 1).read(&cursor), None, "{micros}");
        }
    }

    #[test]
    fn one_row_more_tells_of_a_next_page() {
        let key = |n: &u128| {
            (
                DateTime::from_timestamp_micros(0).expect("a time"),
                Uuid::from_u128(*n),
            )
        };
        let page = list("x", 1).page(Some(2), None).expect("a page");
        assert!(list("x", 1).cut(vec![1, 2], &page, key).next.is_none());
        let paged = list("x", 1).cut(vec![1, 2, 3], &page, key);
        assert_eq!((paged.rows.len(), paged.next.is_some()), (2, true));
        for limit in [0, -1, 1001, i64::MAX] {
            assert!(list("x", 1).page(Some(limit), None).is_err());
        }
    }
}
