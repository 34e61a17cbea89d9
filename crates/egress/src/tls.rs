//! TLS as a client: rustls over ring, trusting what the machine trusts.

use crate::body::BoxError;
use hyper_rustls::ConfigBuilderExt;
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;

/// A configuration without ALPN. On a machine without certificates every HTTPS connection will fail, and the log says
/// so now.
pub(crate) fn config() -> Result<ClientConfig, BoxError> {
    let versions = || {
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
    };
    match versions()?.with_native_roots() {
        Ok(builder) => Ok(builder.with_no_client_auth()),
        Err(error) => {
            tracing::warn!(%error, "no root certificates on this machine: HTTPS destinations will be refused");
            Ok(versions()?
                .with_root_certificates(RootCertStore::empty())
                .with_no_client_auth())
        }
    }
}
