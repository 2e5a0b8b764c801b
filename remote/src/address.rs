//! Which addresses are public, and a resolver that lets only those through.
//!
//! The connection goes to exactly the addresses that were checked, so a name that resolves to something else a moment later
//! gains nothing.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use crate::options::AddressPolicy;

/// IPv4 networks that are not on the public internet (IANA special-purpose registry), as address and prefix length.
const PRIVATE_V4: [([u8; 4], u32); 16] = [
    ([0, 0, 0, 0], 8),       // this network
    ([10, 0, 0, 0], 8),      // private
    ([100, 64, 0, 0], 10),   // carrier-grade NAT
    ([127, 0, 0, 0], 8),     // loopback
    ([169, 254, 0, 0], 16),  // link-local, and the metadata services of clouds
    ([172, 16, 0, 0], 12),   // private
    ([192, 0, 0, 0], 24),    // protocol assignments
    ([192, 0, 2, 0], 24),    // documentation
    ([192, 31, 196, 0], 24), // AS112
    ([192, 88, 99, 0], 24),  // 6to4 relays
    ([192, 168, 0, 0], 16),  // private
    ([198, 18, 0, 0], 15),   // benchmarks
    ([198, 51, 100, 0], 24), // documentation
    ([203, 0, 113, 0], 24),  // documentation
    ([224, 0, 0, 0], 4),     // multicast
    ([240, 0, 0, 0], 4),     // reserved, broadcast
];

/// Networks within 2000::/3 that are not on the public internet, as the first two groups and prefix length.
const PRIVATE_V6: [([u16; 2], u32); 3] = [
    ([0x2001, 0], 23),     // protocol assignments: Teredo, ORCHID, benchmarks
    ([0x2001, 0xdb8], 32), // documentation
    ([0x3fff, 0], 20),     // documentation
];

/// Whether `address` is one of the public internet. IPv4 within IPv6 (mapped, 6to4, NAT64) is judged as IPv4.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let bits = u32::from(address);
    !PRIVATE_V4.iter().any(|(net, length)| (bits ^ u32::from(Ipv4Addr::from(*net))) >> (32 - length) == 0)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let v4 = |high: u16, low: u16| is_public_v4(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => v4(high, low),
        [0x2002, high, low, ..] => v4(high, low),
        [first, second, ..] => {
            let bits = u32::from(first) << 16 | u32::from(second);
            let inside = |net: [u16; 2], length: u32| {
                (bits ^ (u32::from(net[0]) << 16 | u32::from(net[1]))) >> (32 - length) == 0
            };
            inside([0x2000, 0], 3) && !PRIVATE_V6.iter().any(|(net, length)| inside(*net, *length))
        }
    }
}

/// Whether `host` is a number that the system's resolver takes for an IPv4 address although it is not written as one:
/// `127.1`, `0x7f.0.0.1`, `2130706433`.
pub fn is_odd_literal(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let last = host.rsplit('.').next().unwrap_or_default();
    let hex = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    let number = match hex {
        Some(digits) => digits.bytes().all(|b| b.is_ascii_hexdigit()),
        None => !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit()),
    };
    number && host.parse::<Ipv4Addr>().is_err()
}

/// Why an address is not connected to; travels through the HTTP library.
#[derive(Debug)]
pub(crate) struct AddressRefused(String);

impl fmt::Display for AddressRefused {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for AddressRefused {}

/// The system's resolver, with its answers checked.
#[derive(Debug)]
pub(crate) struct CheckedResolver {
    policy: AddressPolicy,
    inner: DefaultResolver,
}

impl CheckedResolver {
    pub fn new(policy: AddressPolicy) -> Self {
        Self { policy, inner: DefaultResolver::default() }
    }
}

impl Resolver for CheckedResolver {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let refused = |text: String| Err(ureq::Error::Other(Box::new(AddressRefused(text))));
        let host = uri.host().unwrap_or_default();
        if self.policy == AddressPolicy::PublicOnly && is_odd_literal(host) {
            return refused(format!("{host} is an address in a spelling that is not taken"));
        }
        let found = self.inner.resolve(uri, config, timeout)?;
        if self.policy == AddressPolicy::PublicOnly && !found.iter().all(|found| is_public(found.ip())) {
            // Not at which: a stranger must not learn the names of this network.
            return refused(format!("{host} is not on the public internet"));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_public_internet_are_public() {
        let rows = [
            ("0.0.0.0", false, "this host"),
            ("9.255.255.255", true, "before 10/8"),
            ("10.0.0.0", false, "private"),
            ("10.255.255.255", false, "private, last"),
            ("11.0.0.0", true, "after 10/8"),
            ("100.63.255.255", true, "before carrier-grade NAT"),
            ("100.64.0.0", false, "carrier-grade NAT"),
            ("100.127.255.255", false, "carrier-grade NAT, last"),
            ("100.128.0.0", true, "after carrier-grade NAT"),
            ("127.0.0.1", false, "loopback"),
            ("127.255.255.254", false, "loopback, not only .1"),
            ("169.254.169.254", false, "metadata service"),
            ("172.15.255.255", true, "before 172.16/12"),
            ("172.16.0.1", false, "private"),
            ("172.31.255.255", false, "private, last"),
            ("172.32.0.0", true, "after 172.16/12"),
            ("192.0.0.8", false, "protocol assignments"),
            ("192.0.2.1", false, "documentation"),
            ("192.88.99.1", false, "6to4 relay"),
            ("192.168.1.1", false, "private"),
            ("198.18.0.1", false, "benchmarks"),
            ("198.19.255.255", false, "benchmarks, last"),
            ("198.51.100.7", false, "documentation"),
            ("203.0.113.7", false, "documentation"),
            ("223.255.255.255", true, "last unicast"),
            ("224.0.0.1", false, "multicast"),
            ("255.255.255.255", false, "broadcast"),
            ("8.8.8.8", true, "public"),
            ("::", false, "unspecified"),
            ("::1", false, "loopback"),
            ("::127.0.0.1", false, "compatible, deprecated"),
            ("::ffff:127.0.0.1", false, "mapped loopback"),
            ("::ffff:10.1.2.3", false, "mapped private"),
            ("::ffff:8.8.8.8", true, "mapped public"),
            ("64:ff9b::7f00:1", false, "NAT64 of loopback"),
            ("64:ff9b::a9fe:a9fe", false, "NAT64 of the metadata service"),
            ("64:ff9b::808:808", true, "NAT64 of a public address"),
            ("64:ff9b:1::808:808", false, "NAT64 of a local operator"),
            ("100::1", false, "discard"),
            ("2001::1", false, "Teredo"),
            ("2001:2::1", false, "benchmarks"),
            ("2001:20::1", false, "ORCHID"),
            ("2001:db8::1", false, "documentation"),
            ("2001:4860:4860::8888", true, "public"),
            ("2002:7f00:1::1", false, "6to4 of loopback"),
            ("2002:c0a8:101::1", false, "6to4 of private"),
            ("2002:808:808::1", true, "6to4 of a public address"),
            ("2606:4700::1111", true, "public"),
            ("3fff:fff::1", false, "documentation"),
            ("3fff:1000::1", true, "after documentation"),
            ("4000::1", false, "unassigned"),
            ("5f00::1", false, "segment routing"),
            ("fc00::1", false, "unique local"),
            ("fd12::1", false, "unique local"),
            ("fe80::1", false, "link-local"),
            ("fec0::1", false, "site-local"),
            ("ff02::1", false, "multicast"),
        ];
        for (address, want, why) in rows {
            assert_eq!(is_public(address.parse().unwrap()), want, "{address}: {why}");
        }
    }

    #[test]
    fn numbers_that_resolvers_take_for_addresses_are_odd() {
        let rows = [
            ("127.0.0.1", false),
            ("127.1", true),
            ("127.0.1", true),
            ("2130706433", true),
            ("0x7f000001", true),
            ("0x7f.0.0.1", true),
            ("0x7F.0.0.0X1", true),
            ("0177.0.0.1", true),
            ("127.0.0.01", true),
            ("0x", true),
            ("1.2.3.4.", false),
            ("127.1.", true),
            ("example.com", false),
            ("1.example", false),
            ("0x7f.example", false),
            ("localhost", false),
            ("[::1]", false),
            ("", false),
        ];
        for (host, want) in rows {
            assert_eq!(is_odd_literal(host), want, "{host}");
        }
    }
}
