//! Work beside a request, on the request's own thread.

use tracing::Instrument;

/// Runs `work` beside the request it belongs to. It may hold what belongs to the request's thread, such as its body, and it
/// must end by itself when the request does.
#[expect(clippy::disallowed_methods, reason = "the one place that starts such a task")]
pub(crate) fn beside_request<F: Future<Output = ()> + 'static>(work: F) {
    actix_web::rt::spawn(work.in_current_span());
}
