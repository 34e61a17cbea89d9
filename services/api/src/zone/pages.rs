//! Pages of zones as they were last answered. A page is answered from here when the database says, in the same request,
//! that its zones and their versions are still those: it is as true as one read anew, and costs a quarter.

use super::{LIST, ZoneView};
use crate::error::Failure;
use crate::paging::Paged;
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse};
use caracal_storage::Page;
use caracal_storage::zones::{Stamps, ZoneRow};
use moka::sync::Cache;
use std::sync::Arc;
use uuid::Uuid;

/// Some 250 pages of the usual size.
const MEMORY_BYTES: u64 = 16 << 20;
/// What a page takes besides its text: an empty one too.
const OVERHEAD_BYTES: usize = 1024;

/// The pages.
#[derive(Debug)]
pub(crate) struct Pages(Cache<Page, Arc<Rendered>>);

/// A page as it is answered.
#[derive(Debug)]
pub(crate) struct Rendered {
    stamps: Stamps,
    body: Bytes,
    next: Option<String>,
}

impl Default for Pages {
    fn default() -> Self {
        let weight = |_: &Page, page: &Arc<Rendered>| {
            u32::try_from(page.body.len() + OVERHEAD_BYTES).unwrap_or(u32::MAX)
        };
        let pages = Cache::builder().weigher(weight).max_capacity(MEMORY_BYTES);
        Self(pages.build())
    }
}

impl Pages {
    /// The page as it was last answered.
    pub(super) fn last(&self, page: &Page) -> Option<Arc<Rendered>> {
        self.0.get(page)
    }

    /// Renders a page, and keeps it in place of the last one.
    pub(super) fn render(&self, page: Page, rows: Vec<ZoneRow>) -> Result<Arc<Rendered>, Failure> {
        let stamps = Stamps::of(&rows);
        let Paged { rows, next } = LIST.cut(rows, &page, |row| (row.created_at, Uuid::from(row.id)));
        let views: Vec<ZoneView<'_>> = rows.iter().map(ZoneView::from).collect();
        let body = serde_json::to_vec(&views).map_err(|_| Failure::Fault("rendering a page of zones"))?;
        let body = Bytes::from(body);
        let rendered = Arc::new(Rendered { stamps, body, next });
        self.0.insert(page, Arc::clone(&rendered));
        Ok(rendered)
    }
}

impl Rendered {
    /// Whether it reads as the page does now.
    pub(super) fn is_current(&self, now: &Stamps) -> bool {
        self.stamps == *now
    }

    /// The answer, without a copy of the page.
    pub(super) fn answer(&self, request: &HttpRequest) -> HttpResponse {
        let mut answer = HttpResponse::Ok();
        if let Some(cursor) = &self.next {
            answer.insert_header(Paged::<ZoneRow>::link(request, cursor));
        }
        answer.content_type("application/json").body(self.body.clone())
    }
}
