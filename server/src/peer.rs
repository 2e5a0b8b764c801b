//! Who is at the other end of a connection, also behind a proxy.
//!
//! `X-Forwarded-For` is believed where the connection comes from a trusted address, and only as far as trusted addresses
//! wrote it: read from its end, the first address that is not trusted is the client.

use std::net::IpAddr;
use std::str::FromStr;

use axum::http::HeaderMap;

/// The address of the client, as an extension of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

/// A range of addresses: `10.0.0.0/8`, `::1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix_bits: u8,
}

/// What is not an address or a range of them.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0:?} is no address and no network such as 10.0.0.0/8")]
pub struct BadNetwork(String);

impl FromStr for Network {
    type Err = BadNetwork;

    fn from_str(text: &str) -> Result<Self, BadNetwork> {
        let bad = || BadNetwork(text.to_owned());
        let (address, bits) =
            text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| bad())?;
        let bits_max = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits = bits.map_or(Ok(bits_max), str::parse).map_err(|_| bad())?;
        if prefix_bits > bits_max {
            return Err(bad());
        }
        Ok(Self { address, prefix_bits })
    }
}

impl Network {
    fn holds(&self, other: IpAddr) -> bool {
        match (self.address, other.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differ = u32::from(own) ^ u32::from(other);
                differ.checked_shr(32 - u32::from(self.prefix_bits)).unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differ = u128::from(own) ^ u128::from(other);
                differ.checked_shr(128 - u32::from(self.prefix_bits)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

/// Whether what comes over a connection from `socket` is believed.
pub fn is_trusted(socket: IpAddr, trusted: &[Network]) -> bool {
    trusted.iter().any(|network| network.holds(socket))
}

/// The client of a request that came over a connection from `socket`.
pub fn client(socket: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> Peer {
    let is_trusted = |address: IpAddr| is_trusted(address, trusted);
    let mut client = socket;
    let fields = headers.get_all("x-forwarded-for").into_iter().rev();
    let hops = fields.flat_map(|field| field.to_str().unwrap_or("?").rsplit(','));
    for hop in hops {
        if !is_trusted(client) {
            break;
        }
        // A hop that is no address ends what can be believed.
        let Ok(address) = hop.trim().parse() else { break };
        client = address;
    }
    Peer(client.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::{Network, Peer, client};
    use axum::http::{HeaderMap, HeaderValue};

    #[test]
    fn only_what_trusted_addresses_wrote_is_believed() {
        let trusted: Vec<Network> =
            ["10.0.0.0/8", "::1"].map(|text| text.parse().expect("a network")).to_vec();
        let cases: &[(&str, &[&str], &str, &str)] = &[
            ("192.0.2.1", &["203.0.113.9"], "192.0.2.1", "a stranger's header is not read"),
            ("10.1.2.3", &[], "10.1.2.3", "no header"),
            ("10.1.2.3", &["203.0.113.9"], "203.0.113.9", "one proxy"),
            ("10.1.2.3", &["203.0.113.9, 10.9.9.9"], "203.0.113.9", "two proxies"),
            (
                "10.1.2.3",
                &["198.51.100.1, 203.0.113.9"],
                "203.0.113.9",
                "what the client wrote itself is not read",
            ),
            ("10.1.2.3", &["198.51.100.1", "203.0.113.9"], "203.0.113.9", "fields are one list"),
            ("::ffff:10.1.2.3", &["203.0.113.9"], "203.0.113.9", "IPv4 in IPv6"),
            ("::1", &["unknown"], "::1", "no address"),
            ("10.1.2.3", &["203.0.113.9, unknown"], "10.1.2.3", "what stands before no address is not read"),
        ];
        for (socket, fields, want, why) in cases {
            let mut headers = HeaderMap::new();
            for field in *fields {
                headers.append("x-forwarded-for", HeaderValue::from_static(field));
            }
            let got = client(socket.parse().expect("an address"), &headers, &trusted);
            assert_eq!(got, Peer(want.parse().expect("an address")), "{why}");
        }
    }

    #[test]
    fn networks_are_read_with_care() {
        let everything: Network = "0.0.0.0/0".parse().expect("a network");
        assert!(everything.holds("255.1.2.3".parse().expect("an address")));
        let one: Network = "2001:db8::7/128".parse().expect("a network");
        assert!(!one.holds("2001:db8::6".parse().expect("an address")));
        for bad in ["", "10.0.0.0/33", "::/129", "10.0.0.0/-1", "host/8", "10.0.0/8"] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }
}
