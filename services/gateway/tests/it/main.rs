//! The gateway against a whole stack: what it refuses, what it forwards, what it streams and what it cuts.

#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

mod behind;
mod bodies;
mod endings;
mod forwarding;
mod place;
mod refusals;
mod streams;
mod surroundings;
mod upstreams;
