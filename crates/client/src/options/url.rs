//! The URLs of brokers and proxies.

use std::time::Duration;

use midge_codec::Version;

use super::Options;
use crate::credentials::Credentials;
use crate::error::OptionsError;
use crate::net::{Proxy, ProxyKind, Scheme, Server};

/// A URL, taken apart but for its scheme's meaning.
struct Parts<'a> {
    scheme: String,
    user_info: Option<&'a str>,
    authority: &'a str,
    path: &'a str,
    query: Option<&'a str>,
}

fn fault(text: impl Into<String>) -> OptionsError {
    OptionsError(text.into())
}

fn split(url: &str) -> Result<Parts<'_>, OptionsError> {
    // The text of the URL may hold a password, so no error repeats it.
    let (scheme, rest) = url
        .split_once("://")
        .ok_or_else(|| fault("the URL has no scheme; write it as mqtt://host"))?;
    if url.contains(|c: char| c.is_control() || c == ' ') {
        return Err(fault(
            "the URL has a space or a control character; write it percent-encoded",
        ));
    }
    let rest = match rest.split_once('#') {
        Some((rest, _)) if !scheme.eq_ignore_ascii_case("unix") => rest,
        _ => rest,
    };
    let (rest, query) = match rest.split_once('?') {
        Some((rest, query)) => (rest, Some(query)),
        None => (rest, None),
    };
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let (user_info, authority) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    Ok(Parts {
        scheme: scheme.to_ascii_lowercase(),
        user_info,
        authority,
        path,
        query,
    })
}

/// Sets what a broker's URL says.
pub(super) fn apply(url: &str, options: &mut Options) -> Result<(), OptionsError> {
    let parts = split(url)?;
    options.servers = vec![server(&parts)?];
    if let Some(user_info) = parts.user_info {
        options.credentials = credentials(user_info)?;
    }
    for pair in parts.query.unwrap_or_default().split('&') {
        if pair.is_empty() {
            continue;
        }
        let (name, value) = pair
            .split_once('=')
            .ok_or_else(|| fault(format!("the URL's parameter {pair:?} has no value")))?;
        parameter(name, &decode(value)?, options)?;
    }
    Ok(())
}

fn parameter(name: &str, value: &str, options: &mut Options) -> Result<(), OptionsError> {
    let wrong = |expected: &str| {
        fault(format!(
            "the URL's parameter {name} is {value:?}; it has to be {expected}"
        ))
    };
    match name {
        "client_id" => options.client_id = Some(value.to_owned()),
        "version" => {
            options.version = match value {
                "5" | "5.0" => Version::V5,
                "4" | "3.1.1" | "311" => Version::V3_1_1,
                "3" | "3.1" | "31" => Version::V3_1,
                _ => return Err(wrong("5, 3.1.1 or 3.1")),
            };
            options.dialer.version = options.version;
        }
        "keep_alive" => {
            options.keep_alive_secs = value.parse().map_err(|_| wrong("seconds up to 65,535"))?;
        }
        "session_expiry" => {
            let seconds: u32 = value.parse().map_err(|_| wrong("a number of seconds"))?;
            options.session_expiry_secs = Some(seconds);
        }
        "clean_start" => {
            options.clean_start = value.parse().map_err(|_| wrong("true or false"))?;
        }
        "connect_timeout" => {
            let seconds = value.parse().map_err(|_| wrong("a number of seconds"))?;
            options.dialer.timeout = Duration::from_secs(seconds);
        }
        _ if tls_parameter(name, value, options).map_err(wrong)? => {}
        _ => {
            return Err(fault(format!(
                "the URL's parameter {name:?} is unknown; there are client_id, version, keep_alive, \
                 session_expiry, clean_start, connect_timeout, and for TLS ca_file, ca_directory, \
                 certificate_file, key_file, server_name and alpn"
            )));
        }
    }
    Ok(())
}

/// Whether it was one; else what it has to be.
#[cfg(feature = "tls")]
fn tls_parameter(name: &str, value: &str, options: &mut Options) -> Result<bool, &'static str> {
    let mut tls = options.dialer.tls.options.clone();
    let is_set = tls.set(name, value)?;
    if is_set {
        options.dialer = options.dialer.clone().tls(tls);
    }
    Ok(is_set)
}

#[cfg(not(feature = "tls"))]
fn tls_parameter(_: &str, _: &str, _: &mut Options) -> Result<bool, &'static str> {
    Ok(false)
}

/// The address in a URL that says nothing else.
pub(crate) fn server_only(url: &str) -> Result<Server, OptionsError> {
    let parts = split(url)?;
    if parts.user_info.is_some() || parts.query.is_some() {
        return Err(fault(
            "the URL of a further server has no user name and no parameters",
        ));
    }
    server(&parts)
}

fn server(parts: &Parts<'_>) -> Result<Server, OptionsError> {
    let scheme = match parts.scheme.as_str() {
        "mqtt" | "tcp" => Scheme::Mqtt,
        "mqtts" | "ssl" | "tls" => Scheme::Mqtts,
        "ws" => Scheme::Ws,
        "wss" => Scheme::Wss,
        "unix" => Scheme::Unix,
        other => {
            return Err(fault(format!(
                "the URL's scheme {other:?} is unknown; there are mqtt, mqtts, ws, wss and unix"
            )));
        }
    };
    if scheme == Scheme::Unix {
        if !parts.authority.is_empty() || parts.path.is_empty() {
            return Err(fault(
                "a unix socket is written with three slashes, as unix:///run/mqtt.sock",
            ));
        }
        return Ok(Server {
            scheme,
            host: String::new(),
            port: 0,
            path: decode(parts.path)?,
        });
    }
    let (host, port) = host_and_port(parts.authority)?;
    if matches!(scheme, Scheme::Mqtt | Scheme::Mqtts) && !matches!(parts.path, "" | "/") {
        return Err(fault("a path means nothing in an mqtt:// URL"));
    }
    let path = if parts.path.is_empty() {
        "/mqtt"
    } else {
        parts.path
    };
    Ok(Server {
        scheme,
        host,
        port: port.unwrap_or(scheme.port()),
        path: path.to_owned(),
    })
}

/// The address of a proxy.
pub(crate) fn proxy(url: &str) -> Result<Proxy, OptionsError> {
    let parts = split(url)?;
    let (kind, port) = match parts.scheme.as_str() {
        "socks5" | "socks5h" => (ProxyKind::Socks5, 1080),
        "http" => (ProxyKind::Http, 8080),
        other => {
            return Err(fault(format!(
                "the proxy's scheme {other:?} is unknown; there are socks5 and http"
            )));
        }
    };
    let (host, given) = host_and_port(parts.authority)?;
    let credentials = match parts.user_info {
        Some(user_info) => credentials(user_info)?,
        None => Credentials::default(),
    };
    Ok(Proxy {
        kind,
        host,
        port: given.unwrap_or(port),
        credentials,
    })
}

fn credentials(user_info: &str) -> Result<Credentials, OptionsError> {
    let (name, password) = match user_info.split_once(':') {
        Some((name, password)) => (name, Some(password)),
        None => (user_info, None),
    };
    Ok(Credentials {
        user_name: Some(decode(name)?),
        password: password.map(decode_bytes).transpose()?,
    })
}

fn host_and_port(authority: &str) -> Result<(String, Option<u16>), OptionsError> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest
                .split_once(']')
                .ok_or_else(|| fault("the URL's IPv6 address has no closing bracket"))?;
            let port = match rest {
                "" => None,
                _ => Some(
                    rest.strip_prefix(':')
                        .ok_or_else(|| fault("the URL has something odd behind the host"))?,
                ),
            };
            (host, port)
        }
        None => match authority.split_once(':') {
            Some((_, port)) if port.contains(':') => {
                return Err(fault(
                    "an IPv6 address stands in brackets, as in mqtt://[::1]:1883",
                ));
            }
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    if host.is_empty() {
        return Err(fault("the URL has no host"));
    }
    let port = match port {
        None => None,
        Some(text) => match text.parse() {
            Ok(port) if port > 0 => Some(port),
            _ => {
                return Err(fault(format!(
                    "the URL's port {text:?} is none; 1 to 65535"
                )));
            }
        },
    };
    let host = decode(host)?;
    // The name goes into requests to proxies as it is.
    if host.contains(|c: char| c.is_control() || c.is_whitespace() || "/@?#\\".contains(c)) {
        return Err(fault(
            "the URL's host has a character that no host name has",
        ));
    }
    Ok((host, port))
}

fn decode(text: &str) -> Result<String, OptionsError> {
    String::from_utf8(decode_bytes(text)?)
        .map_err(|_| fault("what is percent-encoded in the URL is not UTF-8"))
}

fn decode_bytes(text: &str) -> Result<Vec<u8>, OptionsError> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(bytes.next()), digit(bytes.next())) else {
            return Err(fault("the URL has a % without two hexadecimal digits"));
        };
        let [value, ..] = (high * 16 + low).to_le_bytes();
        decoded.push(value);
    }
    Ok(decoded)
}
