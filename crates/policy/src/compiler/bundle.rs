//! Takes `policy.wasm` out of the bundle that `opa build` writes: a gzipped POSIX tar of a few plain files.

use flate2::read::GzDecoder;
use std::io::{Error, ErrorKind, Read, Result};

/// No module of ours comes near; a bundle beyond it is not one.
const MAX_BUNDLE_BYTES: u64 = 64 << 20;
const BLOCK: usize = 512;

/// The compiled policy in `archive`.
pub(super) fn policy_wasm(archive: &[u8]) -> Result<Vec<u8>> {
    let mut tar = Vec::new();
    GzDecoder::new(archive)
        .take(MAX_BUNDLE_BYTES)
        .read_to_end(&mut tar)?;
    let mut rest = tar.as_slice();
    while let Some((header, body)) = rest.split_at_checked(BLOCK) {
        let name = text(header, 0, 100).trim_start_matches('/');
        if name.is_empty() {
            break;
        }
        let size =
            usize::from_str_radix(text(header, 124, 12).trim(), 8).map_err(|_| malformed("a file's size"))?;
        let content = body.get(..size).ok_or_else(|| malformed("a file cut short"))?;
        if name == "policy.wasm" {
            return Ok(content.to_vec());
        }
        rest = body
            .get(size.next_multiple_of(BLOCK)..)
            .ok_or_else(|| malformed("a block cut short"))?;
    }
    Err(malformed("no policy.wasm"))
}

/// A NUL-terminated field of a tar header (POSIX.1-1988 ustar).
fn text(header: &[u8], start: usize, len: usize) -> &str {
    let field = header.get(start..start + len).unwrap_or_default();
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(len);
    field
        .get(..end)
        .and_then(|bytes| std::str::from_utf8(bytes).ok())
        .unwrap_or_default()
}

fn malformed(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, format!("opa's bundle has {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_is_an_error_and_never_a_panic() {
        for archive in [
            &b""[..],
            b"\x1f\x8b",
            b"not gzip at all",
            &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 3, 0],
        ] {
            assert!(policy_wasm(archive).is_err());
        }
    }
}
