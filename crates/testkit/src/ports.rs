//! Ports nobody else has.

use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::sync::{LazyLock, Mutex};

/// Below the ports from which systems draw those of outgoing connections (32768 and up): whoever opens one cannot take a
/// port between the moment it is given out here and the moment it is listened on.
const PORTS: Range<u16> = 16_000..26_000;
/// Where nobody listens but this module. A listener here, kept for as long as the process lives, tells the tests of
/// other processes that the port is given out.
const RESERVATIONS: Ipv4Addr = Ipv4Addr::new(127, 83, 71, 19);

/// A port that was given out, and what keeps it.
type Given = (u16, Option<TcpListener>);

static GIVEN_OUT: LazyLock<Mutex<Vec<Given>>> = LazyLock::new(Mutex::default);

/// A free port on loopback that no other test was given.
#[must_use]
pub fn free() -> u16 {
    let mut given_out = GIVEN_OUT.lock().expect("no holder panics");
    // Processes begin at places of their own, so that they seldom meet.
    let places = u32::from(PORTS.end - PORTS.start);
    let first = std::process::id().wrapping_mul(61) % places;
    let candidates =
        (0..places).map(|step| PORTS.start + u16::try_from((first + step) % places).expect("a port"));
    let found = candidates.skip(given_out.len()).find_map(|port| {
        let reservation = TcpListener::bind((RESERVATIONS, port)).ok()?;
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()?;
        Some((port, reservation))
    });
    let (port, reservation) = found.expect("a machine has free ports");
    given_out.push((port, Some(reservation)));
    port
}

/// Lets a port be listened on at every address of the machine, the reservation's included.
pub fn open_everywhere(port: u16) {
    let mut given_out = GIVEN_OUT.lock().expect("no holder panics");
    for (_, reservation) in given_out.iter_mut().filter(|(given, _)| *given == port) {
        *reservation = None;
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_port_is_given_out_twice_and_each_can_be_listened_on() {
        let ports: Vec<u16> = (0..50).map(|_| super::free()).collect();
        let mut distinct = ports.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), ports.len());
        for port in ports {
            std::net::TcpListener::bind(("127.0.0.1", port)).expect("nobody listens there");
        }
    }
}
