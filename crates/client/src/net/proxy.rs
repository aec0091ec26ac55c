//! Through a proxy: SOCKS5 (RFC 1928, RFC 1929) and HTTP CONNECT (RFC 9110 section 9.3.6).

use std::io;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::server::{Proxy, ProxyKind, Server};
use crate::error::ConnectionError;

/// The longest answer of an HTTP proxy.
const ANSWER_MAX: usize = 16 * 1024;

/// Has `proxy`, at the other end of `stream`, connect to `server`. Afterwards the stream is the server's.
pub(super) async fn pass<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    proxy: &Proxy,
    server: &Server,
) -> Result<(), ConnectionError> {
    let passed = match proxy.kind {
        ProxyKind::Socks5 => socks5(stream, proxy, server).await,
        ProxyKind::Http => http(stream, proxy, server).await,
    };
    passed.map_err(|fault| match fault {
        Fault::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            ConnectionError::Proxy("it closed the connection".to_owned())
        }
        Fault::Io(error) => ConnectionError::io(error),
        Fault::Refused(why) => ConnectionError::Proxy(why),
    })
}

enum Fault {
    Io(io::Error),
    Refused(String),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn refused<T>(why: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Refused(why.into()))
}

const SOCKS_VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const USER_NAME_AND_PASSWORD: u8 = 2;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

async fn socks5<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    proxy: &Proxy,
    server: &Server,
) -> Result<(), Fault> {
    let user_name = proxy.credentials.user_name.as_deref();
    let greeting: &[u8] = match user_name {
        None => &[SOCKS_VERSION, 1, NO_AUTHENTICATION],
        Some(_) => &[SOCKS_VERSION, 2, NO_AUTHENTICATION, USER_NAME_AND_PASSWORD],
    };
    stream.write_all(greeting).await?;
    let mut choice = [0; 2];
    stream.read_exact(&mut choice).await?;
    match (choice, user_name) {
        ([SOCKS_VERSION, NO_AUTHENTICATION], _) => {}
        ([SOCKS_VERSION, USER_NAME_AND_PASSWORD], Some(user_name)) => {
            let password = proxy.credentials.password.as_deref().unwrap_or_default();
            log_in(stream, user_name.as_bytes(), password).await?;
        }
        ([SOCKS_VERSION, _], None) => {
            return refused("it wants a user name and password in the proxy's URL");
        }
        ([SOCKS_VERSION, _], Some(_)) => return refused("it takes no user name and password"),
        _ => return refused("it does not speak SOCKS5"),
    }
    let mut request = vec![SOCKS_VERSION, CONNECT, 0];
    match server.host.parse() {
        Ok(IpAddr::V4(address)) => {
            request.push(IPV4);
            request.extend_from_slice(&address.octets());
        }
        Ok(IpAddr::V6(address)) => {
            request.push(IPV6);
            request.extend_from_slice(&address.octets());
        }
        Err(_) => {
            request.push(NAME);
            push_short(&mut request, server.host.as_bytes(), "host name")?;
        }
    }
    request.extend_from_slice(&server.port.to_be_bytes());
    stream.write_all(&request).await?;
    let mut reply = [0; 4];
    stream.read_exact(&mut reply).await?;
    let [version, code, _, kind] = reply;
    if version != SOCKS_VERSION {
        return refused("it does not speak SOCKS5");
    }
    if code != 0 {
        return refused(socks_reply(code));
    }
    // The address that it uses, which says nothing to us.
    let length = match kind {
        IPV4 => 4,
        IPV6 => 16,
        NAME => usize::from(stream.read_u8().await?),
        _ => return refused("its answer is no SOCKS5 reply"),
    };
    let mut address = vec![0; length + 2];
    stream.read_exact(&mut address).await?;
    Ok(())
}

async fn log_in<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    user_name: &[u8],
    password: &[u8],
) -> Result<(), Fault> {
    let mut request = vec![1];
    push_short(&mut request, user_name, "user name")?;
    push_short(&mut request, password, "password")?;
    stream.write_all(&request).await?;
    let mut reply = [0; 2];
    stream.read_exact(&mut reply).await?;
    match reply {
        [_, 0] => Ok(()),
        _ => refused("it refuses the user name and password"),
    }
}

/// Appends a field behind its one byte length.
fn push_short(request: &mut Vec<u8>, field: &[u8], what: &str) -> Result<(), Fault> {
    let Ok(length) = u8::try_from(field.len()) else {
        return refused(format!("the {what} is longer than the 255 bytes of SOCKS5"));
    };
    request.push(length);
    request.extend_from_slice(field);
    Ok(())
}

const fn socks_reply(code: u8) -> &'static str {
    match code {
        1 => "it failed",
        2 => "its rules forbid this connection",
        3 => "the network is unreachable",
        4 => "the broker's host is unreachable",
        5 => "the broker refuses the connection",
        6 => "the time to live expired",
        7 => "it does not connect for others",
        8 => "it does not know this kind of address",
        _ => "it failed for a reason that SOCKS5 does not know",
    }
}

async fn http<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    proxy: &Proxy,
    server: &Server,
) -> Result<(), Fault> {
    let mut request = format!("CONNECT {server} HTTP/1.1\r\nHost: {server}\r\n");
    if let Some(user_name) = &proxy.credentials.user_name {
        let mut pair = user_name.clone().into_bytes();
        pair.push(b':');
        pair.extend_from_slice(proxy.credentials.password.as_deref().unwrap_or_default());
        request.push_str("Proxy-Authorization: Basic ");
        request.push_str(&STANDARD.encode(pair));
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await?;
    // Byte for byte: what follows the answer is the broker's.
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() >= ANSWER_MAX {
            return refused("its answer is too long");
        }
        answer.push(stream.read_u8().await?);
    }
    let answer = String::from_utf8_lossy(&answer);
    let line = answer.lines().next().unwrap_or_default();
    let mut words = line.split_ascii_whitespace();
    if !words.next().is_some_and(|word| word.starts_with("HTTP/1.")) {
        return refused("it does not speak HTTP");
    }
    match words.next() {
        Some(code) if code.starts_with('2') => Ok(()),
        Some("407") => refused("it wants another user name and password in the proxy's URL"),
        _ => refused(format!("it answers {:?}", line.get(..line.len().min(100)))),
    }
}

#[cfg(test)]
mod tests;
