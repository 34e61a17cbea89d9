//! What is sealed of a user's connection: its tokens, as one JSON object under the zone's DEK, for the connection's row.

use crate::Unopened;
use caracal_domain::id::{ConnectionId, ZoneId};
use caracal_domain::upstream_oauth::TokenAnswer;
use caracal_domain::zone::Sealed;
use caracal_jose::{Dek, Purpose};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

/// A connection's tokens. Wiped when dropped; has no `Debug`.
#[derive(Serialize, Deserialize)]
pub struct Tokens {
    /// What calls are made with.
    pub access_token: String,
    /// What renews it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
}

impl Drop for Tokens {
    fn drop(&mut self) {
        self.access_token.zeroize();
        self.refresh_token.zeroize();
    }
}

impl From<&TokenAnswer> for Tokens {
    fn from(answer: &TokenAnswer) -> Self {
        Self {
            access_token: (*answer.access_token).clone(),
            refresh_token: answer.refresh_token.as_ref().map(|token| (**token).clone()),
        }
    }
}

impl Tokens {
    /// What a renewal brought. A server that sends no other refresh token lets the old one stand (RFC 6749 §6).
    #[must_use]
    pub fn renewed(&self, answer: &TokenAnswer) -> Self {
        let mut tokens = Self::from(answer);
        if tokens.refresh_token.is_none() {
            tokens.refresh_token.clone_from(&self.refresh_token);
        }
        tokens
    }

    /// Seals them for a connection.
    ///
    /// # Errors
    /// [`Unopened`]: the key cannot be used.
    pub fn seal(&self, dek: &Dek, zone: ZoneId, connection: ConnectionId) -> Result<Sealed, Unopened> {
        let text = Zeroizing::new(serde_json::to_vec(self).map_err(Unopened::Secrets)?);
        Ok(dek.seal(zone, Purpose::ConnectionToken, connection.into(), &text)?)
    }

    /// Opens what [`Tokens::seal`] made for the same connection.
    ///
    /// # Errors
    /// [`Unopened`].
    pub fn open(
        dek: &Dek,
        zone: ZoneId,
        connection: ConnectionId,
        sealed: &Sealed,
    ) -> Result<Self, Unopened> {
        let text = dek.open(zone, Purpose::ConnectionToken, connection.into(), sealed)?;
        serde_json::from_slice(&text).map_err(Unopened::Secrets)
    }
}
