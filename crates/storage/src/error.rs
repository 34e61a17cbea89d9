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

impl From<DieselError> for Error {
    fn from(error: DieselError) -> Self {
        if let DieselError::DatabaseError(kind, info) = &error {
            if is_constraint(*kind) {
                return Self::Conflict {
                    constraint: info.constraint_name().unwrap_or("unnamed").to_owned(),
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
    const TRANSIENT: [&str; 6] = [
        "terminating connection",
        "the database system is",
        "canceling statement due to statement timeout",
        "canceling statement due to lock timeout",
        "canceling statement due to user request",
        "sorry, too many clients",
    ];
    matches!(
        kind,
        DatabaseErrorKind::UnableToSendCommand | DatabaseErrorKind::ClosedConnection
    ) || TRANSIENT.iter().any(|text| message.starts_with(text))
}
