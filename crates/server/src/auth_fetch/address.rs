//! Which addresses may be asked.

use core::fmt;
use core::net::IpAddr;

use ureq::http::Uri;

/// Where requests may go without TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlainHttp {
    /// To `localhost` and loopback addresses.
    LoopbackOnly,
    /// Anywhere: whoever is on the way can read passwords and make up keys.
    Anywhere,
}

/// Why an address may not be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddressFault {
    /// Not an address of the form `https://host/path`.
    Form(String),
    /// A user name or password in it, which would be in every log.
    Credentials,
    /// http to another machine.
    Plain(String),
}

impl fmt::Display for AddressFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form(url) => write!(f, "{url:?} is no address of https or http"),
            Self::Credentials => f.write_str("an address must not hold a user name or password"),
            Self::Plain(url) => write!(
                f,
                "{url:?} is not protected by TLS, which only loopback addresses may do without"
            ),
        }
    }
}

impl core::error::Error for AddressFault {}

/// Says whether `url` may be asked, for an option's check as well.
///
/// # Errors
/// [`AddressFault`]
pub fn check_address(url: &str, plain_http: PlainHttp) -> Result<(), AddressFault> {
    let shown = || url.chars().take(200).collect::<String>();
    let uri: Uri = url.parse().map_err(|_| AddressFault::Form(shown()))?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(AddressFault::Form(shown()));
    };
    if authority.as_str().contains('@') {
        return Err(AddressFault::Credentials);
    }
    if authority.host().is_empty() {
        return Err(AddressFault::Form(shown()));
    }
    match scheme {
        "https" => Ok(()),
        "http" if plain_http == PlainHttp::Anywhere || is_loopback(authority.host()) => Ok(()),
        "http" => Err(AddressFault::Plain(shown())),
        _ => Err(AddressFault::Form(shown())),
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || bare
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_is_needed_except_on_this_machine() {
        for (url, expected) in [
            ("https://id.example.com/keys", true),
            ("https://id.example.com:8443", true),
            ("http://127.0.0.1:8080/login", true),
            ("http://127.1.2.3/", true),
            ("http://[::1]:80/", true),
            ("http://LocalHost/", true),
            ("http://id.example.com/", false),
            ("http://127.0.0.1.evil.example/", false),
            ("http://localhost.evil.example/", false),
            ("http://10.0.0.1/", false),
            ("http://0.0.0.0/", false),
        ] {
            let found = check_address(url, PlainHttp::LoopbackOnly);
            assert_eq!(found.is_ok(), expected, "{url}: {found:?}");
            assert_eq!(check_address(url, PlainHttp::Anywhere), Ok(()), "{url}");
        }
    }

    #[test]
    fn what_is_no_address_of_http_is_refused() {
        for url in [
            "",
            "id.example.com",
            "/keys",
            "ftp://a/",
            "file:///etc/x",
            "https://",
            "http:a",
        ] {
            let found = check_address(url, PlainHttp::Anywhere);
            assert!(
                matches!(found, Err(AddressFault::Form(_))),
                "{url}: {found:?}"
            );
        }
        let found = check_address("https://user:pass@a/", PlainHttp::Anywhere);
        assert_eq!(found, Err(AddressFault::Credentials));
        // The host is behind the at sign.
        let found = check_address("http://127.0.0.1@evil.example/", PlainHttp::LoopbackOnly);
        assert_eq!(found, Err(AddressFault::Credentials));
    }
}
