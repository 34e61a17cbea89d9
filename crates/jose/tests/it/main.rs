//! Tokens as a stranger would present them: everything here goes through the public API.

#![expect(clippy::unwrap_used, reason = "tests")]

mod foreign_tokens;
mod forge;
mod hostile_tokens;
mod key_sets;
mod sizes;
