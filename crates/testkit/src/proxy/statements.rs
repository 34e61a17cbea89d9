//! What a client asks PostgreSQL, read off its side of the connection (the frontend/backend protocol, version 3).

use std::collections::HashMap;

/// `SSLRequest`: what stands where a version does.
const TLS_REQUEST: &[u8] = &80_877_103_u32.to_be_bytes();

/// Follows one connection. What is not PostgreSQL's protocol is never understood, and never a failure.
#[derive(Debug, Default)]
pub(super) struct Ear {
    pending: Vec<u8>,
    /// The client's `application_name`, once it has said so.
    application: Option<String>,
    prepared: HashMap<Vec<u8>, String>,
}

impl Ear {
    /// The statements that these bytes complete: whose they are, and their text.
    pub(super) fn hear(&mut self, bytes: &[u8]) -> Vec<(String, String)> {
        self.pending.extend_from_slice(bytes);
        let mut executed = Vec::new();
        while let Some(message) = self.next() {
            executed.extend(self.understand(&message));
        }
        executed
    }

    /// The next whole message: its kind (none for the first) and what it says.
    fn next(&mut self) -> Option<(Option<u8>, Vec<u8>)> {
        // The first message of a connection has no kind.
        let start = usize::from(self.application.is_some());
        let length = self.pending.get(start..start + 4)?.try_into().ok()?;
        let end = start + usize::try_from(u32::from_be_bytes(length)).ok()?;
        let body = self.pending.get(start + 4..end)?.to_vec();
        let kind = (start == 1).then(|| self.pending.first().copied()).flatten();
        self.pending.drain(..end);
        Some((kind, body))
    }

    fn understand(&mut self, (kind, body): &(Option<u8>, Vec<u8>)) -> Option<(String, String)> {
        let Some(application) = self.application.clone() else {
            // Whoever would like TLS asks for it first, and goes on as if it had not when there is none.
            self.application = (body != TLS_REQUEST).then(|| application_name(body));
            return None;
        };
        let mut texts = body.split(|byte| *byte == 0);
        let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
        match kind {
            // Query
            Some(b'Q') => Some((application, text(texts.next()))),
            // Parse: a name for the statement, its text
            Some(b'P') => {
                let name = texts.next().unwrap_or_default().to_vec();
                self.prepared.insert(name, text(texts.next()));
                None
            }
            // Bind: a name for the portal, that of the statement; nobody binds what is not executed
            Some(b'B') => {
                let name = texts.nth(1).unwrap_or_default();
                Some((application, self.prepared.get(name)?.clone()))
            }
            _ => None,
        }
    }
}

/// The value of `application_name` in a start-up message: a version, then pairs of texts.
fn application_name(body: &[u8]) -> String {
    let mut texts = body.get(4..).unwrap_or_default().split(|byte| *byte == 0);
    let found = texts
        .by_ref()
        .find(|text| *text == b"application_name")
        .and_then(|_| texts.next());
    String::from_utf8_lossy(found.unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: Option<u8>, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).expect("a short message");
        kind.into_iter()
            .chain(length.to_be_bytes())
            .chain(body.iter().copied())
            .collect()
    }

    #[test]
    fn each_execution_is_heard_once_however_the_bytes_arrive() {
        let said = [
            message(None, TLS_REQUEST),
            message(None, b"\0\x03\0\0user\0u\0application_name\0me\0\0"),
            message(Some(b'p'), b"secret\0"),
            message(Some(b'Q'), b"BEGIN\0"),
            message(Some(b'P'), b"s1\0SELECT 1\0\0\0"),
            message(Some(b'B'), b"\0s1\0\0\0"),
            message(Some(b'E'), b"\0\0\0\0\0"),
            message(Some(b'B'), b"\0s1\0\0\0"),
            message(Some(b'S'), b""),
        ]
        .concat();
        let expected = ["BEGIN", "SELECT 1", "SELECT 1"].map(|text| ("me".to_owned(), text.to_owned()));
        assert_eq!(Ear::default().hear(&said), expected);
        let mut ear = Ear::default();
        let heard: Vec<_> = said.iter().flat_map(|byte| ear.hear(&[*byte])).collect();
        assert_eq!(heard, expected);
    }
}
