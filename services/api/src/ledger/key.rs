//! The key that signs the checkpoints of all zones.

use crate::app::Api;
use crate::error::Failure;
use crate::sight::Sight;
use caracal_chain::VerifierKey;
use caracal_domain::id::LedgerKeyId;
use caracal_domain::zone::SYSTEM_SLUG;
use caracal_domain::zone::Sealed;
use caracal_jose::{LedgerKey, Purpose};
use caracal_storage::ledger_keys;
use caracal_storage::zones;

/// The key that signs, and all that ever did.
#[derive(Debug)]
pub(crate) struct Signer {
    key: LedgerKey,
    known: Vec<VerifierKey>,
}

impl Signer {
    /// Signs a text, as the first of [`Signer::known`].
    pub(super) fn sign(&self, text: &str) -> Result<[u8; 64], Failure> {
        Ok(self.key.sign(text)?)
    }

    /// Whose signatures count; the key that signs is the first.
    pub(super) fn known(&self) -> &[VerifierKey] {
        &self.known
    }

    /// The same as others read them.
    pub(super) fn published(&self) -> Vec<String> {
        self.known.iter().map(ToString::to_string).collect()
    }
}

impl Api {
    /// The key, read or drawn on first use.
    pub(crate) async fn ledger_signer(&self) -> Result<&Signer, Failure> {
        self.ledger.get_or_try_init(|| self.load_signer()).await
    }

    async fn load_signer(&self) -> Result<Signer, Failure> {
        let mut tx = self.database.begin(Sight::Everything).await?;
        let system = zones::find_by_slug(&mut tx, SYSTEM_SLUG).await?;
        let system = system
            .ok_or(Failure::Busy("The system zone is not there yet."))?
            .id;
        let dek = self.dek(&mut tx, system).await?;
        let mut rows = ledger_keys::list(&mut tx).await?;
        if rows.first().is_none_or(|row| row.retired_at.is_some()) {
            let (id, pkcs8) = (LedgerKeyId::mint(&*self.clock), LedgerKey::generate()?);
            let public = LedgerKey::read(&pkcs8)?.public()?;
            let sealed = dek.seal(system, Purpose::LedgerKey, id.into(), &pkcs8)?;
            // Another replica may be faster: then it is that one's.
            ledger_keys::insert_first(&mut tx, id, &self.ledger_name(), &public, &sealed).await?;
            rows = ledger_keys::list(&mut tx).await?;
        }
        tx.commit().await?;
        let active = rows.first().ok_or(Failure::Fault("no key signs ledgers"))?;
        let sealed = Sealed {
            key_id: active.private_key_id.clone(),
            bytes: active.private_sealed.clone(),
        };
        let key = LedgerKey::read(&dek.open(system, Purpose::LedgerKey, active.id.into(), &sealed)?)?;
        // What is published beside it is what it signs with, whatever the column says.
        let own = verifier_key(&active.name, key.public()?)?;
        let retired = rows.iter().skip(1).map(|row| {
            let public = row.public_key.as_slice().try_into();
            verifier_key(
                &row.name,
                public.map_err(|_| Failure::Fault("a ledger's public key"))?,
            )
        });
        let known = std::iter::once(Ok(own))
            .chain(retired)
            .collect::<Result<_, Failure>>()?;
        Ok(Signer { key, known })
    }

    /// The name of a new key: where this installation is, without a scheme.
    fn ledger_name(&self) -> String {
        let host = self.issuer_url.host_str().unwrap_or("localhost");
        let port = self
            .issuer_url
            .port()
            .map_or(String::new(), |port| format!(":{port}"));
        format!("{host}{port}/caracal-ledger")
    }
}

fn verifier_key(name: &str, public: [u8; 32]) -> Result<VerifierKey, Failure> {
    VerifierKey::new(name, public).map_err(|_| Failure::Fault("the name of a ledger's key"))
}
