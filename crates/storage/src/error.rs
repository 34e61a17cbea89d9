//! What can go wrong at the database, sorted by what a caller can do about it.

use diesel::result::{DatabaseErrorKind, Error as DieselError};

/// The result of every query.
pub type Result<T> = std::result::Result<T, Error>;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why a query has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// PostgreSQL cannot be reached, or did not answer in time: nothing is known to have happened.
    #[error("the database is unavailable")]
    Unavailable(#[source] Source),
    /// A constraint refused the write; its name says what the caller did.
    #[error("the constraint {constraint} refuses this")]
    Conflict {
        /// The constraint or unique index, as the migrations name it.
        constraint: String,
    },
    /// A row that must exist does not.
    #[error("no such {0}")]
    NotFound(&'static str),
    /// A stored value is not what this version can read.
    #[error("a stored {0} cannot be read")]
    Corrupt(&'static str),
    /// What an operator said of the database cannot be done.
    #[error("DATABASE_URL cannot be used")]
    Settings(#[source] Source),
    /// Anything else: a fault of ours.
    #[error("a query failed")]
    Other(#[source] Source),
}

impl Error {
    /// Whether the database could not be asked at all.
    #[must_use]
    pub const fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }

    /// Whether what was to be written is itself the reason: a constraint that it breaks, or a value that PostgreSQL does
    /// not keep (SQLSTATE class 22). Only then will another attempt fare no better. Whatever is not known to be of this
    /// kind is not: a full disk, a standby, a missing table or right, and every text we have not met yet.
    #[must_use]
    pub fn is_about_data(&self) -> bool {
        match self {
            Self::Conflict { constraint } => constraint != UNNAMED,
            Self::Other(source) => matches!(
                source.downcast_ref(),
                Some(DieselError::DatabaseError(kind, info))
                    if matches!(kind, DatabaseErrorKind::NotNullViolation) || is_value(*kind, info.message())
            ),
            Self::Unavailable(_) | Self::NotFound(_) | Self::Corrupt(_) | Self::Settings(_) => false,
        }
    }

    /// The constraint that refused, if one did.
    #[must_use]
    pub fn conflict(&self) -> Option<&str> {
        match self {
            Self::Conflict { constraint } => Some(constraint),
            Self::Unavailable(_)
            | Self::NotFound(_)
            | Self::Corrupt(_)
            | Self::Settings(_)
            | Self::Other(_) => None,
        }
    }
}

/// A refusal that names no constraint, such as that of a row for which there is no partition.
const UNNAMED: &str = "unnamed";

impl From<DieselError> for Error {
    fn from(error: DieselError) -> Self {
        if let DieselError::DatabaseError(kind, info) = &error {
            if is_constraint(*kind) {
                return Self::Conflict {
                    constraint: info.constraint_name().unwrap_or(UNNAMED).to_owned(),
                };
            }
            if is_lost(*kind, info.message()) {
                return Self::Unavailable(error.into());
            }
        }
        if matches!(error, DieselError::BrokenTransactionManager) {
            return Self::Unavailable(error.into());
        }
        if matches!(error, DieselError::NotFound) {
            Self::NotFound("row")
        } else {
            Self::Other(error.into())
        }
    }
}

const fn is_constraint(kind: DatabaseErrorKind) -> bool {
    matches!(
        kind,
        DatabaseErrorKind::UniqueViolation
            | DatabaseErrorKind::ForeignKeyViolation
            | DatabaseErrorKind::CheckViolation
            | DatabaseErrorKind::ExclusionViolation
    )
}

/// What breaks the connection arrives as a kind. SQLSTATE 57P01-57P03, 57014, 55P03 and 53300 arrive as `Unknown`: of
/// PostgreSQL's error, diesel-async (0.9, `pg/error_helper.rs`) passes on the text and the names of table, column and
/// constraint, but neither the code nor itself. A server that translates its messages makes these a fault instead, which
/// refuses as well.
fn is_lost(kind: DatabaseErrorKind, message: &str) -> bool {
    const TRANSIENT: [&str; 9] = [
        "deadlock detected",
        "terminating connection",
        "the database system is",
        "canceling statement due to statement timeout",
        "canceling statement due to lock timeout",
        "canceling statement due to user request",
        "sorry, too many clients",
        "could not extend file",
        "could not write",
    ];
    // A standby that was a primary a moment ago is as good as away for whoever writes.
    matches!(
        kind,
        DatabaseErrorKind::UnableToSendCommand
            | DatabaseErrorKind::ClosedConnection
            | DatabaseErrorKind::ReadOnlyTransaction
    ) || TRANSIENT.iter().any(|text| message.starts_with(text))
}

/// What class 22 says in PostgreSQL's own words, since diesel-async passes on no code (see [`is_lost`]).
fn is_value(kind: DatabaseErrorKind, message: &str) -> bool {
    const BEGINS: [&str; 4] = [
        "invalid byte sequence for encoding",
        "unsupported Unicode escape sequence",
        "value too long for type",
        "invalid input syntax for",
    ];
    const ENDS: [&str; 2] = ["out of range", "overflows numeric format"];
    matches!(kind, DatabaseErrorKind::Unknown)
        && (BEGINS.iter().any(|text| message.starts_with(text))
            || ENDS.iter().any(|text| message.ends_with(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(kind: DatabaseErrorKind, message: &str) -> Error {
        DieselError::DatabaseError(kind, Box::new(message.to_owned())).into()
    }

    #[test]
    fn a_database_that_takes_no_writes_is_unavailable() {
        use DatabaseErrorKind::{ReadOnlyTransaction, Unknown};
        for (kind, message) in [
            (
                ReadOnlyTransaction,
                "cannot execute INSERT in a read-only transaction",
            ),
            (
                Unknown,
                "could not extend file \"base/1\": No space left on device",
            ),
        ] {
            assert!(said(kind, message).is_unavailable(), "{message}");
        }
        assert!(!said(Unknown, "permission denied for table zones").is_unavailable());
    }

    #[test]
    fn only_what_is_known_to_be_about_the_data_is() {
        use DatabaseErrorKind::{CheckViolation, NotNullViolation, ReadOnlyTransaction, Unknown};
        for message in [
            "unsupported Unicode escape sequence",
            "invalid byte sequence for encoding \"UTF8\": 0x00",
            "value too long for type character varying(3)",
            "timestamp out of range",
        ] {
            assert!(said(Unknown, message).is_about_data(), "{message}");
        }
        assert!(said(NotNullViolation, "null value in column").is_about_data());
        for (kind, message) in [
            (
                Unknown,
                "could not extend file \"base/1\": No space left on device",
            ),
            (Unknown, "permission denied for table audit_events"),
            (Unknown, "relation \"audit_events\" does not exist"),
            (Unknown, "la valeur est hors limites"),
            (
                ReadOnlyTransaction,
                "cannot execute INSERT in a read-only transaction",
            ),
            (
                CheckViolation,
                "no partition of relation \"audit_events\" found for row",
            ),
            (Unknown, "the database system is shutting down"),
        ] {
            assert!(!said(kind, message).is_about_data(), "{message}");
        }
        let conflict = Error::Conflict {
            constraint: "audit_heads_zone".to_owned(),
        };
        assert!(conflict.is_about_data() && !Error::Corrupt("epoch").is_about_data());
    }
}
