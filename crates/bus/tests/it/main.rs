//! The bus against real NATS servers, one per test.
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod consuming;
mod following;
mod nats;
mod publishing;
mod recording;
mod strangers;
