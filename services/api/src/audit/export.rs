//! The ledger as one file: CSV (RFC 4180) or a JSON object a line, written page by page while it is read, so that a
//! million events take no more memory than a thousand.

use super::{CHUNK, DetailedView, detailed, key};
use crate::app::Api;
use crate::error::Failure;
use crate::paging::{List, Paged};
use actix_web::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION};
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use caracal_domain::id::ZoneId;
use caracal_storage::Page;
use caracal_storage::audit::{self, AuditFilter, AuditRow};
use caracal_web::ApiError;
use futures::stream;
use serde::Deserialize;
use serde_json::Value;

const COLUMNS: [&str; 20] = [
    "seq",
    "id",
    "zone_id",
    "event_type",
    "request_id",
    "decision",
    "evaluation_status",
    "reason",
    "application_id",
    "session_id",
    "agent_session_id",
    "resource",
    "policy_set_id",
    "policy_set_version_id",
    "manifest_sha",
    "determining_policies_json",
    "diagnostics_json",
    "metadata_json",
    "occurred_at",
    "ingested_at",
];

/// How the events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// A header line, then a line an event.
    Csv,
    /// A JSON object a line.
    Ndjson,
}

impl Format {
    const fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8",
            Self::Ndjson => "application/x-ndjson",
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
        }
    }

    fn head(self) -> String {
        match self {
            Self::Csv => COLUMNS.join(",") + "\r\n",
            Self::Ndjson => String::new(),
        }
    }

    fn line(self, event: &DetailedView) -> String {
        let value = serde_json::to_value(event).unwrap_or_default();
        match self {
            Self::Csv => csv_line(&value),
            Self::Ndjson => value.to_string() + "\n",
        }
    }
}

/// Answers with every event that passes the filter or, with a limit, with that page and the address of the next.
pub(super) async fn answer(
    api: Data<Api>,
    http: &HttpRequest,
    list: List,
    filter: AuditFilter,
    page: Page,
    format: Format,
    limited: bool,
) -> Result<HttpResponse, ApiError> {
    let zone = list
        .zone
        .ok_or(Failure::Fault("exporting the ledger of no zone"))?;
    let file = format!("attachment; filename=\"audit-{zone}.{}\"", format.name());
    let mut answer = HttpResponse::Ok();
    answer
        .content_type(format.media_type())
        .insert_header((CONTENT_DISPOSITION, file))
        .insert_header((CACHE_CONTROL, "no-store"));
    if limited {
        let (rows, page) = api.page_of_events(zone, &filter, page).await?;
        let Paged { rows, next } = list.cut(rows, &page, key);
        if let Some(cursor) = next {
            answer.insert_header(Paged::<()>::link(http, &cursor));
        }
        return Ok(answer.body(format.head() + &lines(rows, format)));
    }
    // Read before anything is answered: what fails here still has a status.
    let page = Page {
        limit: CHUNK,
        after: page.after,
    };
    let rows = read(&api, zone, &filter, &page).await?;
    let export = Export {
        api,
        zone,
        filter,
        format,
        next: Some((page, rows)),
        head: Some(format.head()),
    };
    Ok(answer.streaming(stream::try_unfold(export, Export::advance)))
}

/// An export under way. It holds no connection while the caller reads.
struct Export {
    api: Data<Api>,
    zone: ZoneId,
    filter: AuditFilter,
    format: Format,
    next: Option<(Page, Vec<AuditRow>)>,
    head: Option<String>,
}

impl Export {
    async fn advance(mut self) -> Result<Option<(Bytes, Self)>, ApiError> {
        let Some((page, rows)) = self.next.take() else {
            return Ok(None);
        };
        let last = rows.last().map(key);
        let full = i64::try_from(rows.len()).unwrap_or(i64::MAX) >= page.limit;
        let text = self.head.take().unwrap_or_default() + &lines(rows, self.format);
        if let Some(after) = last.filter(|_| full) {
            let page = Page {
                after: Some(after),
                ..page
            };
            let rows = read(&self.api, self.zone, &self.filter, &page).await?;
            self.next = Some((page, rows));
        }
        Ok(Some((Bytes::from(text), self)))
    }
}

async fn read(api: &Api, zone: ZoneId, filter: &AuditFilter, page: &Page) -> Result<Vec<AuditRow>, ApiError> {
    Ok(api
        .read(zone, async |conn| audit::list(conn, zone, filter, page).await)
        .await?)
}

fn lines(rows: Vec<AuditRow>, format: Format) -> String {
    rows.into_iter().map(|row| format.line(&detailed(row))).collect()
}

/// The event's own columns; what the filters know by name is taken from its metadata.
fn csv_line(event: &Value) -> String {
    let metadata = event.get("metadata_json");
    let cells: Vec<String> = COLUMNS
        .iter()
        .map(|column| {
            let found = event
                .get(column)
                .or_else(|| metadata.and_then(|known| known.get(column)));
            match found {
                None | Some(Value::Null) => String::new(),
                Some(Value::String(text)) => cell(text),
                Some(other) => cell(&other.to_string()),
            }
        })
        .collect();
    cells.join(",") + "\r\n"
}

/// One cell. A text that a spreadsheet would run as a formula gets an apostrophe in front (OWASP, "CSV Injection").
fn cell(text: &str) -> String {
    let runs = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']);
    let safe = if runs { format!("'{text}") } else { text.to_owned() };
    if safe.contains(['"', ',', '\r', '\n']) || runs || safe.starts_with(' ') {
        format!("\"{}\"", safe.replace('"', "\"\""))
    } else {
        safe
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn cells_are_quoted_where_they_must_be_and_never_run() {
        for (text, written) in [
            ("plain", "plain"),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("two\r\nlines", "\"two\r\nlines\""),
            ("=cmd|' /C calc'!A0", "\"'=cmd|' /C calc'!A0\""),
            ("+1", "\"'+1\""),
            ("-1", "\"'-1\""),
            ("@SUM(A1)", "\"'@SUM(A1)\""),
            ("\t=1", "\"'\t=1\""),
            ("", ""),
        ] {
            assert_eq!(cell(text), written);
        }
    }

    #[test]
    fn a_line_has_a_cell_for_each_column_and_finds_names_in_the_metadata() {
        let line = csv_line(&json!({"seq": 7, "reason": null, "metadata_json": {"resource": "=r"}}));
        assert!(line.ends_with("\r\n"));
        assert!(line.starts_with("7,,") && line.contains("\"'=r\""), "{line}");
        assert!(line.contains("\"{\"\"resource\"\":\"\"=r\"\"}\""), "{line}");
    }
}
