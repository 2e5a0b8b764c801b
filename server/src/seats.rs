//! How many connections one client may have, so that nobody takes all of them.
//!
//! A client is an IPv4 address or an IPv6 /64, since whoever has one address of such a network has all. Connections of
//! trusted proxies have no limit of their own; there, each request under way counts for the client that the proxy names.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Low bits of an IPv6 address that its owner chooses.
const IPV6_HOST_BITS: u32 = 64;

/// The seats that are taken. Clones share them. Holds no more rows than there are connections and requests on them.
#[derive(Clone, Debug)]
pub struct Seats {
    max: usize,
    /// Leaf lock.
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// One of a client's seats, until it is dropped.
#[derive(Debug)]
pub struct Seat {
    seats: Seats,
    client: IpAddr,
}

impl Seats {
    /// `max` for each client.
    pub fn new(max: usize) -> Self {
        Self { max, taken: Arc::default() }
    }

    /// A seat for the client at `address`; `None` where it has as many as it may.
    pub fn take(&self, address: IpAddr) -> Option<Seat> {
        let client = client(address);
        let mut taken = self.lock();
        let count = taken.get(&client).copied().unwrap_or(0);
        if count >= self.max {
            return None;
        }
        taken.insert(client, count + 1);
        Some(Seat { seats: self.clone(), client })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.lock();
        match taken.get_mut(&self.client) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(taken.remove(&self.client)),
        }
    }
}

fn client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() >> IPV6_HOST_BITS << IPV6_HOST_BITS).into()
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::Seats;

    #[test]
    fn each_client_has_so_many_seats_and_gets_them_back() {
        let at = |text: &str| text.parse::<IpAddr>().expect("an address");
        let seats = Seats::new(2);
        let first = seats.take(at("192.0.2.1")).expect("a seat");
        let second = seats.take(at("::ffff:192.0.2.1")).expect("a seat: IPv4 in IPv6 is the same client");
        assert!(seats.take(at("192.0.2.1")).is_none(), "one past it");
        let other = seats.take(at("192.0.2.2")).expect("another client");
        let net: Vec<_> =
            ["2001:db8::1", "2001:db8::ffff"].map(|text| seats.take(at(text)).expect("a seat")).into();
        assert!(seats.take(at("2001:db8::2:0:0:1")).is_none(), "the same /64");
        let next = seats.take(at("2001:db8:0:1::1")).expect("the next /64");
        drop(first);
        let again = seats.take(at("192.0.2.1")).expect("the seat that was given back");
        drop((second, other, net, next, again));
        assert_eq!(seats.lock().len(), 0, "nothing is kept of who has left");
    }
}
