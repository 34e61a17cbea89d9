//! The path of a governed call, in the one spelling that is matched, recorded and forwarded.

use caracal_domain::Refusal;
use percent_encoding::percent_decode;
use std::fmt;

/// How many layers of percent-encoding are looked through for dot segments; deeper nesting is itself suspicious.
const MAX_LAYERS: usize = 8;

/// A path without dot segments in any encoding, normalised by RFC 3986 §6.2.2: unreserved characters are decoded,
/// the digits of every other escape are upper case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SafePath(String);

impl SafePath {
    /// Takes the path of a request as it came.
    ///
    /// # Errors
    /// [`Refusal::UnsafePath`] for a dot segment, however it is written, [`Refusal::MalformedRequest`] for a broken
    /// escape or a control character.
    pub fn parse(raw: &str) -> Result<Self, Refusal> {
        let raw = if raw.is_empty() { "/" } else { raw };
        if !raw.starts_with('/') {
            return Err(Refusal::MalformedRequest);
        }
        let normalised = normalise(raw).ok_or(Refusal::MalformedRequest)?;
        refuse_dot_segments(raw.as_bytes())?;
        Ok(Self(normalised))
    }

    /// The normalised text; begins with `/`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What lies between the slashes.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').skip(1)
    }
}

impl fmt::Display for SafePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Decodes what needs no escape and spells the rest alike; `None` for a broken escape.
#[must_use]
pub fn normalise(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        let (digits, tail) = after.split_at_checked(2)?;
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let byte = u8::from_str_radix(digits, 16).ok()?;
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push_str(&digits.to_ascii_uppercase());
        }
        rest = tail;
    }
    out.push_str(rest);
    Some(out)
}

/// Upstreams decode once, twice or not at all, take `\` for `/`, cut parameters off at `;` and trim blanks: whatever
/// any of them could read as a dot segment is one.
fn refuse_dot_segments(raw: &[u8]) -> Result<(), Refusal> {
    let mut layer = raw.to_vec();
    for _ in 0..MAX_LAYERS {
        if layer.split(|b| matches!(b, b'/' | b'\\')).any(is_dot_segment) {
            return Err(Refusal::UnsafePath);
        }
        // C0 and C1 begin only overlong UTF-8, which lenient decoders take for ASCII: %C0%AE is a dot to them.
        if layer
            .iter()
            .any(|b| b.is_ascii_control() || matches!(b, 0xC0 | 0xC1))
        {
            return Err(Refusal::MalformedRequest);
        }
        let inner: Vec<u8> = percent_decode(&layer).collect();
        if inner == layer {
            return Ok(());
        }
        layer = inner;
    }
    Err(Refusal::UnsafePath)
}

fn is_dot_segment(segment: &[u8]) -> bool {
    let name = segment
        .split(|b| *b == b';')
        .next()
        .unwrap_or_default()
        .trim_ascii();
    matches!(name, b"." | b"..")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn dot_segments_are_refused_in_every_disguise() {
        for raw in [
            "/..",
            "/.",
            "/a/../b",
            "/a/./b",
            "/a/..",
            "/%2e%2e/a",
            "/%2E./a",
            "/.%2e",
            "/a%2f..%2fb",
            "/a/..%2fb",
            "/a%2F%2E%2E",
            "/a\\..\\b",
            "/a%5c..%5cb",
            "/%252e%252e/a",
            "/%25252e%25252e",
            "/a/..;x=1/b",
            "/a/.;/b",
            "/a/..%3bx/b",
            "/a/..%20/b",
        ] {
            assert_eq!(SafePath::parse(raw), Err(Refusal::UnsafePath), "{raw}");
        }
    }

    #[test]
    fn what_is_broken_is_refused() {
        for raw in [
            "a",
            "/%",
            "/%2",
            "/%zz",
            "/a%00b",
            "/%0d%0aX: y",
            "/%c0%ae%c0%ae/a",
            "/%250a",
        ] {
            assert_eq!(SafePath::parse(raw), Err(Refusal::MalformedRequest), "{raw}");
        }
    }

    #[test]
    fn everything_else_is_normalised() {
        for (raw, normalised) in [
            ("", "/"),
            ("/", "/"),
            ("/a/b/", "/a/b/"),
            ("/%61%2db", "/a-b"),
            ("/a%2fb", "/a%2Fb"),
            ("/caf%c3%a9", "/caf%C3%A9"),
            ("/...", "/..."),
            ("/.well-known/x", "/.well-known/x"),
            ("/a..b/c.", "/a..b/c."),
            ("/a%252fb", "/a%252fb"),
        ] {
            assert_eq!(
                SafePath::parse(raw).map(|path| path.to_string()),
                Ok(normalised.to_owned()),
                "{raw}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_safe_path_stays_the_same_and_decodes_to_no_dot_segment(raw in "/[a-z./%25eEfF\\\\;]{0,24}") {
            if let Ok(path) = SafePath::parse(&raw) {
                prop_assert_eq!(SafePath::parse(path.as_str()), Ok(path.clone()));
                let mut text = path.to_string();
                for _ in 0..4 {
                    prop_assert!(text.split(['/', '\\']).all(|segment| segment != "." && segment != ".."));
                    text = percent_encoding::percent_decode_str(&text).decode_utf8_lossy().into_owned();
                }
            }
        }

        #[test]
        fn no_path_panics(raw in "\\PC*") {
            let _ = SafePath::parse(&raw);
        }
    }
}
