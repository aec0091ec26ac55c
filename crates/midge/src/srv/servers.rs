//! Which name servers there are.

use std::fs::File;
use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};

const FILE: &str = "/etc/resolv.conf";
/// More of the file is not read.
const FILE_BYTES_MAX: u64 = 64 * 1024;
/// As many as the system's own look-up asks.
const SERVERS_MAX: usize = 3;
const PORT: u16 = 53;

/// Those of this machine; without any, one on this machine.
pub(super) fn of_system() -> Vec<SocketAddr> {
    let mut text = Vec::new();
    if let Ok(file) = File::open(FILE) {
        // What was read before an error counts.
        let _ = file.take(FILE_BYTES_MAX).read_to_end(&mut text);
    }
    let mut servers = of_text(&String::from_utf8_lossy(&text));
    if servers.is_empty() {
        servers.push((Ipv4Addr::LOCALHOST, PORT).into());
    }
    servers
}

/// The first of the lines `nameserver ADDRESS`. Others are passed over, as the system does.
pub(super) fn of_text(text: &str) -> Vec<SocketAddr> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            if words.next() != Some("nameserver") {
                return None;
            }
            server(words.next()?)
        })
        .take(SERVERS_MAX)
        .collect()
}

/// A name server: an address, of IPv6 also with a number behind `%`, or an address with a port.
pub(crate) fn server(text: &str) -> Option<SocketAddr> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some((address, PORT).into());
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(address).filter(|address| address.port() > 0);
    }
    format!("[{text}]:{PORT}")
        .parse::<SocketAddrV6>()
        .ok()
        .map(SocketAddr::from)
}
