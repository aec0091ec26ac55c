//! The client's address as the proxies in front of the broker tell it.

use std::net::{IpAddr, SocketAddr};

use super::request::Request;

/// Which header the proxies write. The other one is anybody's, so it is not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For: client, proxy, proxy`.
    XForwardedFor,
    /// `Forwarded: for=client, for=proxy` (RFC 7239).
    Forwarded,
}

impl Request {
    /// The address of the client behind the proxies that `trusted` knows.
    ///
    /// `peer` is the other end of the connection. Each trusted proxy says whom it had before it, the
    /// last one at the right; the first that is not trusted is the client, whatever it claims about
    /// others. Where a proxy hides or garbles an address, the answer is that proxy.
    pub fn client_address(
        &self,
        header: ForwardedHeader,
        peer: IpAddr,
        trusted: impl Fn(IpAddr) -> bool,
    ) -> IpAddr {
        let list = match header {
            ForwardedHeader::XForwardedFor => &self.x_forwarded_for,
            ForwardedHeader::Forwarded => &self.forwarded,
        };
        let mut client = peer.to_canonical();
        // Commas part elements even within quotes: addresses have none, and a quote that the client
        // opens must not swallow what a proxy appends.
        for element in list.as_deref().unwrap_or_default().rsplit(',') {
            if !trusted(client) {
                break;
            }
            let node = match header {
                ForwardedHeader::XForwardedFor => Some(element.trim()),
                ForwardedHeader::Forwarded => parameter_for(element),
            };
            let Some(address) = node.and_then(address) else {
                break;
            };
            client = address;
        }
        client
    }
}

/// The value of `for` in an element of `Forwarded`.
fn parameter_for(element: &str) -> Option<&str> {
    let value = element.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("for")
            .then(|| value.trim())
    })?;
    Some(
        value
            .strip_prefix('"')
            .and_then(|value| value.strip_suffix('"'))
            .unwrap_or(value),
    )
}

/// An address with or without a port.
fn address(node: &str) -> Option<IpAddr> {
    let bare = node
        .strip_prefix('[')
        .and_then(|node| node.strip_suffix(']'));
    let address = bare.unwrap_or(node).parse().ok();
    let with_port = || node.parse().ok().map(|address: SocketAddr| address.ip());
    address
        .or_else(with_port)
        .map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests;
