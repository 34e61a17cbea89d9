//! Providers that speak OAuth, opened from their rows; asking them is `caracal-provider`'s.

use crate::app::Api;
use crate::error::Failure;
use caracal_domain::zone::Provider;
use caracal_provider::{OauthProvider, Unopened};
use caracal_storage::Conn;
use caracal_storage::providers::ProviderRow;

impl Api {
    /// Opens a provider.
    pub(crate) async fn oauth_provider(
        &self,
        conn: &mut Conn,
        row: &ProviderRow,
    ) -> Result<OauthProvider, Failure> {
        let dek = self.dek(conn, row.zone_id).await?;
        let provider = Provider::from(row.clone());
        Ok(OauthProvider::open(&dek, row.zone_id, &provider)?)
    }
}

impl From<Unopened> for Failure {
    fn from(why: Unopened) -> Self {
        match why {
            Unopened::Sealed(error) => error.into(),
            Unopened::Secrets(_) => Self::Fault("reading a provider's secrets"),
            Unopened::Configuration(_) => Self::Fault("reading a provider's configuration"),
        }
    }
}
