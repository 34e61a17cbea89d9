//! Errors as log fields.

use std::error::Error;

/// The error in the form in which a log line tells its whole chain.
pub(crate) fn cause<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    error
}
