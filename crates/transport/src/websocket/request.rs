//! What a client asks for when it upgrades, and whether it may have it.

use std::fmt;

use super::head::HEADERS_MAX;
use super::key;
use super::refused::Refused;
use super::upgrade::UpgradeOptions;

/// The protocol inside the WebSocket [MQTT5-6.0.0-3].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subprotocol {
    /// `mqtt`: 3.1.1 and 5.0.
    Mqtt,
    /// `mqttv3.1`, as clients of 3.1 call it.
    Mqttv31,
}

impl Subprotocol {
    /// The name in `Sec-WebSocket-Protocol`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mqtt => "mqtt",
            Self::Mqttv31 => "mqttv3.1",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        [Self::Mqtt, Self::Mqttv31]
            .into_iter()
            .find(|known| known.name() == name)
    }
}

/// A request to upgrade that keeps the rules.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// The target as it was sent, with its query: `/mqtt`.
    pub path: Box<str>,
    /// `Host`.
    pub host: Box<str>,
    /// `Origin`: the site that a browser runs the client from. Other clients have none.
    pub origin: Option<Box<str>>,
    /// `Authorization`, a secret: do not log it.
    pub authorization: Option<Box<str>>,
    /// `User-Agent`.
    pub user_agent: Option<Box<str>>,
    /// All values of `X-Forwarded-For`, in order. Anybody can send them: see
    /// [`Request::client_address`].
    pub x_forwarded_for: Option<Box<str>>,
    /// All values of `Forwarded` (RFC 7239), in order.
    pub forwarded: Option<Box<str>>,
    /// The first of the client's subprotocols that there is.
    pub subprotocol: Subprotocol,
    /// The value of `Sec-WebSocket-Accept`.
    pub(super) accept: String,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("path", &self.path)
            .field("host", &self.host)
            .field("origin", &self.origin)
            .field("authorization", &self.authorization.as_ref().map(|_| "…"))
            .field("user_agent", &self.user_agent)
            .field("x_forwarded_for", &self.x_forwarded_for)
            .field("forwarded", &self.forwarded)
            .field("subprotocol", &self.subprotocol)
            .finish_non_exhaustive()
    }
}

impl Request {
    /// Reads a whole head.
    pub(super) fn read(head: &[u8], options: &UpgradeOptions) -> Result<Self, Refused> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(head) {
            Ok(httparse::Status::Complete(_)) => {}
            Ok(httparse::Status::Partial) => return Err(Refused::Malformed("an incomplete head")),
            Err(httparse::Error::TooManyHeaders) => return Err(Refused::TooLong),
            Err(httparse::Error::Version) => return Err(Refused::HttpVersion),
            Err(error) => return Err(Refused::Malformed(words(error))),
        }
        if request.version != Some(1) {
            return Err(Refused::HttpVersion);
        }
        if request.method != Some("GET") {
            return Err(Refused::Method);
        }
        let path = request.path.unwrap_or_default();
        let name = path.split_once('?').map_or(path, |(name, _)| name);
        if options.path.as_deref().is_some_and(|wanted| wanted != name) {
            return Err(Refused::Path(path.into()));
        }
        Fields {
            headers: request.headers,
        }
        .judge(path, options)
    }
}

/// The headers of a request.
struct Fields<'a> {
    headers: &'a [httparse::Header<'a>],
}

impl Fields<'_> {
    fn judge(&self, path: &str, options: &UpgradeOptions) -> Result<Request, Refused> {
        if !self.has_token("Upgrade", "websocket")? {
            return Err(Refused::NotUpgrade);
        }
        if !self.has_token("Connection", "upgrade")? {
            return Err(Refused::Malformed("no Connection: Upgrade"));
        }
        if self.one("Sec-WebSocket-Version")? != Some("13") {
            return Err(Refused::Version);
        }
        let has_body = self.list("Transfer-Encoding")?.is_some()
            || self
                .one("Content-Length")?
                .is_some_and(|length| length != "0");
        if has_body {
            return Err(Refused::Malformed("a body"));
        }
        let Some(host) = self.one("Host")? else {
            return Err(Refused::Malformed("no Host"));
        };
        let Some(key) = self.one("Sec-WebSocket-Key")? else {
            return Err(Refused::Malformed("no Sec-WebSocket-Key"));
        };
        if !key::is_key(key.as_bytes()) {
            return Err(Refused::Malformed("a Sec-WebSocket-Key that is none"));
        }
        let origin = self.one("Origin")?;
        if let Some(origin) = origin.filter(|origin| !options.allows(origin)) {
            return Err(Refused::Origin(origin.into()));
        }
        Ok(Request {
            path: path.into(),
            host: host.into(),
            origin: origin.map(Into::into),
            authorization: self.one("Authorization")?.map(Into::into),
            user_agent: self.one("User-Agent")?.map(Into::into),
            x_forwarded_for: self.list("X-Forwarded-For")?,
            forwarded: self.list("Forwarded")?,
            subprotocol: self.subprotocol()?,
            accept: key::accept(key.as_bytes()),
        })
    }

    /// The first that there is, in the order of the client.
    fn subprotocol(&self) -> Result<Subprotocol, Refused> {
        let offered = self.list("Sec-WebSocket-Protocol")?.unwrap_or_default();
        offered
            .split(',')
            .find_map(|name| Subprotocol::from_name(name.trim()))
            .ok_or(Refused::Subprotocol)
    }

    /// All values of a header.
    fn all(&self, name: &'static str) -> impl Iterator<Item = Result<&str, Refused>> {
        self.headers
            .iter()
            .filter(move |header| header.name.eq_ignore_ascii_case(name))
            .map(move |header| {
                str::from_utf8(header.value)
                    .map(str::trim)
                    .map_err(|_| Refused::Malformed("a header that is not UTF-8"))
            })
    }

    /// The value of a header that may come once.
    fn one(&self, name: &'static str) -> Result<Option<&str>, Refused> {
        let mut values = self.all(name);
        let value = values.next().transpose()?;
        if values.next().is_some() {
            return Err(Refused::Repeated(name));
        }
        Ok(value)
    }

    /// The values of a header that is a list, as one.
    fn list(&self, name: &'static str) -> Result<Option<Box<str>>, Refused> {
        let values: Vec<&str> = self.all(name).collect::<Result<_, _>>()?;
        Ok((!values.is_empty()).then(|| values.join(", ").into()))
    }

    fn has_token(&self, name: &'static str, token: &str) -> Result<bool, Refused> {
        let list = self.list(name)?.unwrap_or_default();
        Ok(list
            .split(',')
            .any(|item| item.trim().eq_ignore_ascii_case(token)))
    }
}

/// What is wrong with a head.
pub(super) const fn words(error: httparse::Error) -> &'static str {
    match error {
        httparse::Error::HeaderName => "a byte that header names do not have",
        httparse::Error::HeaderValue => "a byte that header values do not have",
        httparse::Error::NewLine => "a wrong line end",
        httparse::Error::Status => "a wrong status",
        httparse::Error::Token => "a byte that tokens do not have",
        httparse::Error::TooManyHeaders => "too many headers",
        httparse::Error::Version => "a wrong HTTP version",
    }
}
