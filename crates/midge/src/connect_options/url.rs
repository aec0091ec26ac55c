//! `-L`, and the URL of a proxy.

use super::ConnectOptions;
use crate::options::UsageError;

/// Takes `scheme://[user[:password]@]host[:port][/topic]` and gives the topic.
///
/// As the Mosquitto tools have it, user and password stand as they are, not percent-encoded, and
/// WebSocket has the ports of MQTT.
pub(super) fn take(options: &mut ConnectOptions, url: &str) -> Result<Option<String>, UsageError> {
    const SCHEMES: [(&str, u16, bool, bool); 4] = [
        ("mqtt://", 1883, false, false),
        ("mqtts://", 8883, true, false),
        ("ws://", 1883, false, true),
        ("wss://", 8883, true, true),
    ];
    let lower = url.to_ascii_lowercase();
    let Some((scheme, port, tls, websocket)) = SCHEMES
        .into_iter()
        .find(|(scheme, ..)| lower.starts_with(scheme))
    else {
        return Err(
            "Unsupported URL scheme. It has to be mqtt://, mqtts://, ws:// or wss://.".into(),
        );
    };
    let rest = url.get(scheme.len()..).unwrap_or_default();
    let (server, name) = match rest.split_once('/') {
        Some((server, topic)) => (server, Some(topic)),
        None => (rest, None),
    };
    let host = match server.rsplit_once('@') {
        None => server,
        Some((credentials, host)) => {
            let (user_name, password) = match credentials.split_once(':') {
                Some((user_name, password)) => (user_name, Some(password)),
                None => (credentials, None),
            };
            options.user_name = Some(user_name.to_owned());
            if let Some(password) = password {
                options.password = Some(password.as_bytes().to_vec());
            }
            host
        }
    };
    let (host, given) = split_port(host)?;
    host.clone_into(&mut options.host);
    options.port = Some(given.unwrap_or(port));
    if tls {
        options.tls.use_system_authorities();
    }
    options.websocket |= websocket;
    Ok(name.filter(|name| !name.is_empty()).map(str::to_owned))
}

/// The topic of a URL where one has to be.
pub(crate) fn needed(name: Option<String>) -> Result<String, UsageError> {
    name.ok_or_else(|| "Invalid URL for -L argument specified - topic missing.".into())
}

/// Host and port; an IPv6 address in brackets.
fn split_port(server: &str) -> Result<(&str, Option<u16>), UsageError> {
    let (host, port) = if let Some(rest) = server.strip_prefix('[')
        && let Some((host, rest)) = rest.split_once(']')
    {
        (host, rest.strip_prefix(':'))
    } else {
        match server.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (server, None),
        }
    };
    let port = port
        .map(|port| {
            let number = port.parse().ok().filter(|port| *port > 0);
            number.ok_or_else(|| UsageError(format!("Invalid port given: {port}")))
        })
        .transpose()?;
    Ok((host, port))
}

/// Checks the URL of a proxy and gives it in the form that connections want.
pub(super) fn proxy(url: &str) -> Result<String, UsageError> {
    for (given, wanted) in [
        ("socks5h://", "socks5://"),
        ("socks5://", "socks5://"),
        ("http://", "http://"),
    ] {
        if let Some(rest) = url.strip_prefix(given) {
            if rest.is_empty() {
                return Err("Invalid proxy.".into());
            }
            return Ok(format!("{wanted}{rest}"));
        }
    }
    Err(UsageError(format!(
        "Unsupported proxy protocol: {url}. It has to be socks5h:// or http://."
    )))
}
