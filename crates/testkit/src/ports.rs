//! Ports nobody else has.

use std::collections::HashSet;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{LazyLock, Mutex};

static TAKEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);

/// A free port on loopback that no other test of this process was given.
#[must_use]
pub fn free() -> u16 {
    loop {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a machine has free ports");
        let port = listener
            .local_addr()
            .expect("a bound listener has an address")
            .port();
        if TAKEN.lock().expect("no holder panics").insert(port) {
            return port;
        }
    }
}
