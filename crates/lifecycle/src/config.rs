//! Configuration from the environment, checked as a whole (contract §7).

pub mod common;
pub mod env;
pub mod secret;

pub use common::{Common, Mode};
pub use env::{Env, Mistake, Mistakes};
