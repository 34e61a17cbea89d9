//! Checkpoints: a tree's size and root as a signed note (C2SP tlog-checkpoint, signed-note; Ed25519).

use crate::tree::Hash;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{Context, SHA256};
use ring::signature::{ED25519, UnparsedPublicKey};
use std::fmt;
use std::str::FromStr;

/// The signature algorithm's number (C2SP signed-note).
const ED25519_ALGORITHM: u8 = 0x01;
/// What a signature line begins with: an em dash and a space.
const SIGNATURE: &str = "\u{2014} ";
/// Notes of ours are some 300 bytes.
const LONGEST: usize = 16 * 1024;

/// How far a ledger had come, and its root there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which ledger it is, in all the world.
    pub origin: String,
    /// How many events it held.
    pub size: u64,
    /// The root of the tree over them.
    pub root: Hash,
}

/// Why a text is no checkpoint that we know the signer of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Not a note, not a checkpoint, or not a key.
    #[error("malformed")]
    Malformed,
    /// None of the keys has signed it.
    #[error("signed by none of the keys")]
    UnknownSigner,
    /// A line that says it is by one of the keys is not.
    #[error("a signature does not hold")]
    BadSignature,
}

/// The public half of a ledger's key, with the name it signs under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    public: [u8; 32],
}

impl VerifierKey {
    /// The key under this name: neither empty, nor with white space or `+`.
    ///
    /// # Errors
    /// [`NoteError::Malformed`] for another name.
    pub fn new(name: &str, public: [u8; 32]) -> Result<Self, NoteError> {
        let good = !name.is_empty() && !name.contains(|c: char| c == '+' || c.is_whitespace());
        let name = name.to_owned();
        good.then_some(Self { name, public }).ok_or(NoteError::Malformed)
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What tells it from others of its name: the first four bytes of SHA-256(name ‖ 0x0A ‖ 0x01 ‖ key).
    fn id(&self) -> [u8; 4] {
        let mut context = Context::new(&SHA256);
        context.update(self.name.as_bytes());
        context.update(b"\n");
        context.update(&self.typed());
        let digest = context.finish();
        digest.as_ref().first_chunk().copied().unwrap_or_default()
    }

    fn typed(&self) -> Vec<u8> {
        [&[ED25519_ALGORITHM], self.public.as_slice()].concat()
    }
}

/// `<name>+<id, hex>+<algorithm and key, base64>`, as verifiers of notes take it.
impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (id, key) = (hex::encode(self.id()), STANDARD.encode(self.typed()));
        write!(f, "{}+{id}+{key}", self.name)
    }
}

impl FromStr for VerifierKey {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let mut parts = text.splitn(3, '+');
        let mut part = || parts.next().ok_or(NoteError::Malformed);
        let (name, id, key) = (part()?, part()?, part()?);
        let typed = STANDARD.decode(key).map_err(|_| NoteError::Malformed)?;
        let public = match typed.split_first() {
            Some((&ED25519_ALGORITHM, public)) => public.try_into().map_err(|_| NoteError::Malformed)?,
            _ => return Err(NoteError::Malformed),
        };
        let read = Self::new(name, public)?;
        (hex::encode(read.id()) == id)
            .then_some(read)
            .ok_or(NoteError::Malformed)
    }
}

impl Checkpoint {
    /// The text that is signed: origin, size and root, a line each.
    #[must_use]
    pub fn text(&self) -> String {
        let root = STANDARD.encode(self.root);
        format!("{}\n{}\n{root}\n", self.origin, self.size)
    }

    /// The note: the text, and the key's signature of it.
    #[must_use]
    pub fn note(&self, key: &VerifierKey, signature: &[u8; 64]) -> String {
        let signed = STANDARD.encode([key.id().as_slice(), signature].concat());
        format!("{}\n{SIGNATURE}{} {signed}\n", self.text(), key.name)
    }

    /// Reads a note that at least one of the keys has signed. Signatures by others are passed over; one by a key we know
    /// must hold. Lines after the root, which others may add, are part of what is signed and otherwise ignored.
    ///
    /// # Errors
    /// Why it is not believed.
    pub fn open(note: &str, keys: &[VerifierKey]) -> Result<Self, NoteError> {
        let printable = note.chars().all(|c| c == '\n' || c >= ' ');
        if note.len() > LONGEST || !printable || !note.ends_with('\n') {
            return Err(NoteError::Malformed);
        }
        let (before, signatures) = note.rsplit_once("\n\n").ok_or(NoteError::Malformed)?;
        if signatures.is_empty() {
            return Err(NoteError::Malformed);
        }
        let text = format!("{before}\n");
        let mut known = false;
        for line in signatures.lines() {
            let (name, signed) = line
                .strip_prefix(SIGNATURE)
                .and_then(|rest| rest.split_once(' '))
                .ok_or(NoteError::Malformed)?;
            let signed = STANDARD.decode(signed).map_err(|_| NoteError::Malformed)?;
            let (id, signature) = signed.split_first_chunk::<4>().ok_or(NoteError::Malformed)?;
            if let Some(key) = keys.iter().find(|key| key.name == name && key.id() == *id) {
                let public = UnparsedPublicKey::new(&ED25519, key.public);
                let held = public.verify(text.as_bytes(), signature);
                held.map_err(|_| NoteError::BadSignature)?;
                known = true;
            }
        }
        let read = Self::read(&text).ok_or(NoteError::Malformed)?;
        known.then_some(read).ok_or(NoteError::UnknownSigner)
    }

    fn read(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
        let number: u64 = size.parse().ok()?;
        // One way to write a number: no sign, no zeros in front.
        (!origin.is_empty() && number.to_string() == size).then_some(Self {
            origin: origin.to_owned(),
            size: number,
            root: STANDARD.decode(root).ok()?.try_into().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use ring::signature::{Ed25519KeyPair, KeyPair as _};

    fn pair(seed: u8) -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap_or_else(|_| unreachable!("any seed does"))
    }

    fn key(name: &str, seed: u8) -> VerifierKey {
        let public = pair(seed).public_key().as_ref().try_into().unwrap_or_default();
        VerifierKey::new(name, public).unwrap_or_else(|_| unreachable!("a good name"))
    }

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            origin: "example.com/zones/1".to_owned(),
            size: 7,
            root: [3; 32],
        }
    }

    fn note(name: &str, seed: u8) -> String {
        let signature = pair(seed).sign(checkpoint().text().as_bytes());
        let signature = signature
            .as_ref()
            .try_into()
            .unwrap_or_else(|_| unreachable!("64 bytes"));
        checkpoint().note(&key(name, seed), &signature)
    }

    /// The key of the specification's own example (C2SP signed-note, golang.org/x/mod/sumdb/note).
    #[test]
    fn a_verifier_key_is_written_as_others_write_it() {
        let theirs = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
        assert_eq!(
            theirs.parse().map(|key: VerifierKey| key.to_string()).as_deref(),
            Ok(theirs)
        );
        for bad in [
            "",
            "a+b",
            "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
            "PeterNeumann+c74f20a3+AhpcWQcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
            "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq",
            "+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        ] {
            assert_eq!(bad.parse::<VerifierKey>(), Err(NoteError::Malformed), "{bad}");
        }
    }

    /// The note of that example, which is a note but no checkpoint: its signature holds.
    #[test]
    fn a_note_that_others_signed_is_read() {
        let theirs = ["PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW".parse()];
        let theirs: Vec<VerifierKey> = theirs.into_iter().flatten().collect();
        let text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
        let signature =
            "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=";
        let signed = format!("{text}\n\u{2014} PeterNeumann {signature}\n");
        assert_eq!(Checkpoint::open(&signed, &theirs), Err(NoteError::Malformed));
        let changed = signed.replace("answer", "question");
        assert_eq!(Checkpoint::open(&changed, &theirs), Err(NoteError::BadSignature));
    }

    #[test]
    fn a_note_is_opened_by_its_key_and_no_other() {
        let ours = [key("ours", 1)];
        assert_eq!(Checkpoint::open(&note("ours", 1), &ours), Ok(checkpoint()));
        // Another name, or another key under the same one, is nobody we know.
        for other in [note("theirs", 1), note("ours", 2)] {
            assert_eq!(Checkpoint::open(&other, &ours), Err(NoteError::UnknownSigner));
        }
        let both = note("theirs", 2) + note("ours", 1).lines().last().unwrap_or_default() + "\n";
        assert_eq!(Checkpoint::open(&both, &ours), Ok(checkpoint()));
        for (was, is) in [("\n7\n", "\n8\n"), ("zones/1", "zones/2")] {
            let changed = note("ours", 1).replace(was, is);
            assert_eq!(Checkpoint::open(&changed, &ours), Err(NoteError::BadSignature));
        }
    }

    #[test]
    fn what_is_no_checkpoint_is_refused() {
        let ours = [key("ours", 1)];
        let good = note("ours", 1);
        for bad in [
            String::new(),
            "\n\n".to_owned(),
            good.trim_end().to_owned(),
            good.replace("\n\n", "\n"),
            good.replace('\u{2014}', "-"),
            good.replace("7\n", "7\r\n"),
            format!("{good}\n"),
        ] {
            assert_eq!(
                Checkpoint::open(&bad, &ours),
                Err(NoteError::Malformed),
                "{bad:?}"
            );
        }
        for text in ["o\n07\nAA==\n", "o\n+7\n", "\n7\n", "o\n7\nAA==\n", "o"] {
            assert_eq!(Checkpoint::read(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_a_panic_or_believed(text in "\\PC*") {
            prop_assert!(Checkpoint::open(&text, &[key("ours", 1)]).is_err());
            prop_assert!(text.parse::<VerifierKey>().is_err());
        }
    }
}
