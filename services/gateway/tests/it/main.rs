//! The gateway against a whole stack: what it refuses, what it forwards, what it streams and what it cuts.

#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

mod behind;
mod bodies;
mod endings;
mod forwarding;
mod place;
mod records;
mod refusals;
mod sessions;
mod streams;
mod surroundings;
mod unused;
mod upstreams;
