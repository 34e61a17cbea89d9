//! What an IP address is, as far as reaching it goes (contract §5, "SSRF").

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How far an address may be reached. The order is from harmless to never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// Anyone's.
    Public,
    /// This machine or a private network: only when private upstreams are allowed.
    Private,
    /// Link-local, metadata, multicast, unspecified and reserved: never, whatever the settings.
    Never,
}

/// Metadata services that do not live at a link-local address: AWS over IPv6, Google over IPv6, Alibaba, Oracle, Azure.
const METADATA: [IpAddr; 5] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
];

/// What `address` is. An IPv6 form of an IPv4 address is at least as bad as the IPv4 address within.
#[must_use]
pub fn reach(address: IpAddr) -> Reach {
    if METADATA.contains(&address) {
        return Reach::Never;
    }
    match address {
        IpAddr::V4(v4) => reach_v4(v4),
        IpAddr::V6(v6) => embedded(v6)
            .map(|v4| reach(IpAddr::V4(v4)))
            .fold(reach_v6(v6), Reach::max),
    }
}

fn reach_v4(address: Ipv4Addr) -> Reach {
    match address.octets() {
        // "This network", link-local, multicast, reserved and broadcast.
        [0 | 224..=255, ..] | [169, 254, ..] => Reach::Never,
        // Private, shared (RFC 6598), loopback, IETF assignments, documentation, benchmarking.
        [10 | 127, ..]
        | [100, 64..=127, ..]
        | [172, 16..=31, ..]
        | [192, 168, ..]
        | [192, 0, 0 | 2, _]
        | [198, 18 | 19, ..]
        | [198, 51, 100, _]
        | [203, 0, 113, _] => Reach::Private,
        _ => Reach::Public,
    }
}

fn reach_v6(address: Ipv6Addr) -> Reach {
    match address.segments() {
        // Unspecified, link-local, multicast.
        [0, 0, 0, 0, 0, 0, 0, 0] | [0xfe80..=0xfebf | 0xff00..=0xffff, ..] => Reach::Never,
        // Mapped and well-known NAT64 prefixes say nothing by themselves: what is embedded decides.
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => Reach::Public,
        // The rest of ::/8 (loopback, IPv4-compatible), local NAT64, discard-only, documentation, unique and site local.
        [0..=0xff | 0xfc00..=0xfdff | 0xfec0..=0xfeff, ..]
        | [0x100, 0, 0, 0, ..]
        | [0x2001, 0xdb8, ..]
        | [0x3fff, 0..=0xfff, ..] => Reach::Private,
        _ => Reach::Public,
    }
}

/// Every IPv4 address that some translator or tunnel may read out of `address`.
fn embedded(address: Ipv6Addr) -> impl Iterator<Item = Ipv4Addr> {
    let last = |[.., a, b]: [u16; 8]| v4(a, b);
    let found = match address.segments() {
        // Loopback and unspecified are judged as IPv6.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => [None, None],
        // Local NAT64 64:ff9b:1::/48: a /96 below it, or the /48 layout of RFC 6052 §2.2.
        all @ [0x64, 0xff9b, 1, a, b, c, ..] => [Some(last(all)), Some(v4(a, (b << 8) | (c >> 8)))],
        // 6to4 (RFC 3056) and Teredo (RFC 4380), whose client address is stored inverted.
        [0x2002, a, b, ..] => [Some(v4(a, b)), None],
        [0x2001, 0, a, b, _, _, c, d] => [Some(v4(a, b)), Some(v4(!c, !d))],
        // IPv4-compatible ::/96, mapped, translated (RFC 2765), NAT64 64:ff9b::/96, ISATAP (RFC 5214).
        all @ ([0, 0, 0, 0, 0, 0 | 0xffff, ..]
        | [0, 0, 0, 0, 0xffff, 0, ..]
        | [0x64, 0xff9b, 0, 0, 0, 0, ..]
        | [_, _, _, _, 0 | 0x200, 0x5efe, ..]) => [Some(last(all)), None],
        _ => [None, None],
    };
    found.into_iter().flatten()
}

fn v4(high: u16, low: u16) -> Ipv4Addr {
    let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
    Ipv4Addr::new(a, b, c, d)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(text: &str) -> Reach {
        reach(text.parse().unwrap())
    }

    #[test]
    fn known_addresses() {
        for never in [
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "169.254.0.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "fe80::1",
            "febf::1",
            "ff02::1",
            "fd00:ec2::254",
            "fd20:ce::254",
            "100.100.100.200",
            "::ffff:169.254.169.254",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::169.254.169.254",
            "::169.254.169.254",
            "2002:a9fe:a9fe::1",
            "::ffff:0.0.0.0",
            "::ffff:224.0.0.1",
            "64:ff9b::0.0.0.0",
            "2001:0:a9fe:a9fe::1",
            "2001:db8::5efe:169.254.169.254",
            "64:ff9b:1:a9fe:a9:fe00::",
        ] {
            assert_eq!(of(never), Reach::Never, "{never}");
        }
        for private in [
            "127.0.0.1",
            "127.255.255.254",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "198.18.0.1",
            "192.0.2.1",
            "::1",
            "fc00::1",
            "fdff::1",
            "fec0::1",
            "2001:db8::1",
            "::ffff:127.0.0.1",
            "64:ff9b::10.0.0.1",
            "2002:7f00:1::",
            "::127.0.0.1",
        ] {
            assert_eq!(of(private), Reach::Private, "{private}");
        }
        for public in [
            "1.1.1.1",
            "172.32.0.1",
            "172.15.0.1",
            "11.0.0.1",
            "100.128.0.1",
            "2606:4700::1111",
            "::ffff:1.1.1.1",
            "64:ff9b::8.8.8.8",
        ] {
            assert_eq!(of(public), Reach::Public, "{public}");
        }
    }

    proptest! {
        #[test]
        fn no_ipv6_spelling_is_safer_than_the_ipv4_address(bits: u32) {
            let v4 = Ipv4Addr::from(bits);
            let [a, b, c, d] = v4.octets().map(u16::from);
            let (high, low) = ((a << 8) | b, (c << 8) | d);
            let plain = reach(IpAddr::V4(v4));
            for spelling in [
                v4.to_ipv6_mapped(),
                Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
                Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, high, low),
                Ipv6Addr::new(0x64, 0xff9b, 1, high, c, d << 8, 0, 0),
                Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
                Ipv6Addr::new(0x2001, 0, 0x0808, 0x0808, 0, 0, !high, !low),
                Ipv6Addr::new(0x2606, 0, 0, 0, 0, 0x5efe, high, low),
            ] {
                prop_assert!(reach(IpAddr::V6(spelling)) >= plain, "{} as {}", v4, spelling);
            }
        }

        #[test]
        fn the_mapped_and_nat64_forms_are_judged_as_the_address(bits: u32) {
            let v4 = Ipv4Addr::from(bits);
            prop_assert_eq!(reach(IpAddr::V6(v4.to_ipv6_mapped())), reach(IpAddr::V4(v4)));
        }

        #[test]
        fn what_the_standard_library_calls_special_is_never_public(bits: u128, bits4: u32) {
            let (v4, v6) = (Ipv4Addr::from(bits4), Ipv6Addr::from(bits));
            let special4 = v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_broadcast()
                || v4.is_multicast() || v4.is_unspecified() || v4.is_documentation();
            prop_assert!(!special4 || reach(IpAddr::V4(v4)) > Reach::Public);
            let special6 = v6.is_loopback() || v6.is_multicast() || v6.is_unspecified()
                || v6.is_unique_local() || v6.is_unicast_link_local();
            prop_assert!(!special6 || reach(IpAddr::V6(v6)) > Reach::Public);
        }
    }
}
