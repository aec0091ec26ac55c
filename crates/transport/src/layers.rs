//! The layers of one connection, stacked: PROXY header, TLS, WebSocket, whichever of them there are.

use std::fmt;
use std::mem;
use std::sync::Arc;

use crate::proxy::{ProxyError, ProxyHeader, ProxyReader, ProxyVersion};
use crate::tls::{ClientTls, ServerTls, Tls, TlsConfigError, TlsError};
use crate::websocket::{
    CloseCode, End, Handshake, HandshakeError, HandshakeRequest, Refused, Request, Upgrade,
    UpgradeOptions, WebSocket,
};

/// What a listener wants of its connections.
#[derive(Clone, Default)]
pub struct ServerLayers {
    /// The version of the PROXY header that comes first, and the bytes that it may have.
    pub proxy: Option<(ProxyVersion, usize)>,
    /// TLS.
    pub tls: Option<Arc<ServerTls>>,
    /// WebSocket.
    pub websocket: Option<Arc<UpgradeOptions>>,
}

/// What a client wants of its server.
#[derive(Default)]
pub struct ClientLayers<'a> {
    /// TLS, and the name or address of the server.
    pub tls: Option<(&'a ClientTls, &'a str)>,
    /// WebSocket.
    pub websocket: Option<ClientWebSocket<'a>>,
}

/// What a client says to upgrade, and the randomness for it.
#[derive(Clone, Copy, Debug)]
pub struct ClientWebSocket<'a> {
    /// The request.
    pub request: HandshakeRequest<'a>,
    /// The key of the request: random.
    pub key: [u8; 16],
    /// What masking keys are made from: random, and another for each connection.
    pub mask_seed: [u8; 16],
}

/// The layers of a connection, of either role. It may move between threads.
///
/// Between two calls they hold what has arrived incomplete, which is bounded, and nothing else.
/// Whatever a call appends to be sent has to go out before anything that a later call appends; as long
/// as it does not, do not read on, or a peer that asks for answers and does not take them makes it grow.
pub struct Layers {
    proxy: Option<Box<ProxyReader>>,
    tls: Option<Tls>,
    inner: Inner,
}

/// What is inside TLS, or on the wire.
enum Inner {
    Plain,
    /// A server that waits for the request.
    Upgrade(Upgrade),
    /// A client that has to wait with its request until TLS is open.
    Request(Box<Waiting>),
    /// A client that waits for the answer.
    Answer(Box<Waiting>),
    WebSocket(WebSocket),
}

struct Waiting {
    request: Vec<u8>,
    handshake: Handshake,
    mask_seed: [u8; 16],
}

/// What [`Layers::receive`] found.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Unwrapped<'a> {
    /// What the peer has said inside of all layers; in the caller's buffers.
    pub plain: &'a [u8],
    /// What the proxy says, once.
    pub proxied: Option<Box<ProxyHeader>>,
    /// The TLS handshake is over with this call: [`Layers::tls`] tells more.
    pub tls_opened: bool,
    /// The request to upgrade, once; it has been accepted.
    pub upgraded: Option<Box<Request>>,
    /// Set when nothing follows. Deal with the rest first, send what there is to be sent, and close.
    pub ended: Option<LayersEnd>,
}

/// Why nothing more comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LayersEnd {
    /// There is no PROXY header, or a bad one. The peer is told nothing.
    Proxy(ProxyError),
    /// TLS cannot go on.
    Tls(TlsError),
    /// The peer has closed TLS as it should.
    TlsClosed,
    /// A request that is no upgrade, or not a good one.
    Refused(Refused),
    /// An answer that is no upgrade.
    Handshake(HandshakeError),
    /// The WebSocket connection is closed, or broken.
    WebSocket(End),
}

/// Why a client cannot begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LayersError {
    /// TLS.
    Tls(TlsConfigError),
    /// WebSocket.
    WebSocket(HandshakeError),
}

impl Layers {
    /// A server's end of a new connection; `None` where there is no layer at all.
    ///
    /// # Errors
    /// If the TLS library refuses its configuration, which [`ServerTls::new`] has checked.
    pub fn accept(wanted: &ServerLayers) -> Result<Option<Self>, TlsError> {
        let layers = Self {
            proxy: wanted
                .proxy
                .map(|(version, bytes_max)| Box::new(ProxyReader::new(version, bytes_max))),
            tls: wanted.tls.as_deref().map(Tls::accept).transpose()?,
            inner: match &wanted.websocket {
                Some(options) => Inner::Upgrade(Upgrade::new(Arc::clone(options))),
                None => Inner::Plain,
            },
        };
        Ok((!layers.is_transparent()).then_some(layers))
    }

    /// A client's end of a new connection; `None` where there is no layer at all. What it has to say
    /// first is appended to `wire`.
    ///
    /// # Errors
    /// If the host, path or a header cannot be used.
    pub fn connect(
        wanted: &ClientLayers<'_>,
        wire: &mut Vec<u8>,
    ) -> Result<Option<Self>, LayersError> {
        let mut inner = Inner::Plain;
        let mut request = Vec::new();
        if let Some(websocket) = &wanted.websocket {
            let handshake = Handshake::request(&websocket.request, websocket.key, &mut request)
                .map_err(LayersError::WebSocket)?;
            inner = Inner::Request(Box::new(Waiting {
                request,
                handshake,
                mask_seed: websocket.mask_seed,
            }));
        }
        let tls = match wanted.tls {
            Some((tls, host)) => Some(Tls::connect(tls, host, wire).map_err(LayersError::Tls)?),
            None => None,
        };
        let mut layers = Self {
            proxy: None,
            tls,
            inner,
        };
        if layers.tls.is_none() {
            layers.send_request(wire);
        }
        Ok((!layers.is_transparent()).then_some(layers))
    }

    /// Takes what was read from the wire. All of `wire` is consumed, and overwritten; `scratch` is
    /// cleared and may be used. What is to be sent in answer is appended to `reply`.
    pub fn receive<'a>(
        &mut self,
        wire: &'a mut [u8],
        scratch: &'a mut Vec<u8>,
        reply: &mut Vec<u8>,
    ) -> Unwrapped<'a> {
        let mut found = Unwrapped::default();
        let mut bytes = wire;
        if let Some(reader) = &mut self.proxy {
            match reader.receive(bytes) {
                Ok(None) => return found,
                Ok(Some((header, length))) => {
                    self.proxy = None;
                    found.proxied = Some(Box::new(header));
                    bytes = bytes.get_mut(length..).unwrap_or_default();
                }
                Err(error) => {
                    found.ended = Some(LayersEnd::Proxy(error));
                    return found;
                }
            }
        }
        let Some(tls) = &mut self.tls else {
            unwrap(&mut self.inner, bytes, reply, &mut found);
            return found;
        };
        scratch.clear();
        let was_open = tls.is_open();
        let received = tls.receive(bytes, scratch, reply);
        found.tls_opened = !was_open && tls.is_open();
        if found.tls_opened {
            self.send_request(reply);
        }
        let mut answer = Vec::new();
        unwrap(&mut self.inner, scratch, &mut answer, &mut found);
        let Some(tls) = &mut self.tls else {
            return found;
        };
        if !answer.is_empty() && tls.is_open() {
            // What cannot be sent is as good as lost with the connection.
            let _ = tls.send(&answer, reply);
        }
        if let Err(error) = received {
            found.ended = Some(LayersEnd::Tls(error));
        } else if tls.peer_has_closed() {
            found.ended.get_or_insert(LayersEnd::TlsClosed);
        }
        found
    }

    /// Appends `plain` to `wire`, wrapped in all layers; `scratch` is cleared and may be used.
    ///
    /// # Errors
    /// [`TlsError::NotOpen`] while [`Self::is_open`] is not true; nothing is appended then.
    pub fn send(
        &mut self,
        plain: &[u8],
        scratch: &mut Vec<u8>,
        wire: &mut Vec<u8>,
    ) -> Result<(), TlsError> {
        if !self.is_open() {
            return Err(TlsError::NotOpen);
        }
        match (&mut self.inner, &mut self.tls) {
            (Inner::WebSocket(socket), Some(tls)) => {
                scratch.clear();
                socket.send(plain, scratch);
                tls.send(scratch, wire)?;
            }
            (Inner::WebSocket(socket), None) => socket.send(plain, wire),
            (_, Some(tls)) => tls.send(plain, wire)?,
            (_, None) => wire.extend_from_slice(plain),
        }
        Ok(())
    }

    /// Appends what each layer says at the end, once. The connection is to be closed when it has gone.
    pub fn close(&mut self, code: CloseCode, wire: &mut Vec<u8>) {
        let mut last = Vec::new();
        if let Inner::WebSocket(socket) = &mut self.inner {
            socket.close(code, &mut last);
        }
        match &mut self.tls {
            Some(tls) => {
                if tls.is_open() {
                    let _ = tls.send(&last, wire);
                }
                tls.close(wire);
            }
            None => wire.append(&mut last),
        }
    }

    /// Whether all layers are open and bytes can be sent.
    pub fn is_open(&self) -> bool {
        self.proxy.is_none()
            && self.tls.as_ref().is_none_or(Tls::is_open)
            && matches!(self.inner, Inner::Plain | Inner::WebSocket(_))
    }

    /// Whether nothing is left to do, ever: only a PROXY header was expected, and it has come.
    pub const fn is_transparent(&self) -> bool {
        self.proxy.is_none() && self.tls.is_none() && matches!(self.inner, Inner::Plain)
    }

    /// The TLS connection, for what was agreed on and who the peer is.
    pub const fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    /// Whether the bytes are in WebSocket frames.
    pub const fn is_websocket(&self) -> bool {
        matches!(self.inner, Inner::WebSocket(_))
    }

    /// Sends the request that had to wait, if there is one.
    fn send_request(&mut self, wire: &mut Vec<u8>) {
        self.inner = match mem::replace(&mut self.inner, Inner::Plain) {
            Inner::Request(mut waiting) => {
                let request = mem::take(&mut waiting.request);
                match &mut self.tls {
                    Some(tls) => {
                        let _ = tls.send(&request, wire);
                    }
                    None => wire.extend_from_slice(&request),
                }
                Inner::Answer(waiting)
            }
            other => other,
        };
    }
}

/// Takes what came out of TLS, or from the wire.
fn unwrap<'a>(
    inner: &mut Inner,
    bytes: &'a mut [u8],
    reply: &mut Vec<u8>,
    found: &mut Unwrapped<'a>,
) {
    let consumed = match inner {
        Inner::Plain => {
            found.plain = bytes;
            return;
        }
        Inner::WebSocket(_) => 0,
        Inner::Request(_) => return,
        Inner::Upgrade(upgrade) => match upgrade.receive(bytes) {
            Ok(None) => return,
            Ok(Some(accepted)) => {
                accepted.answer(reply);
                *inner = Inner::WebSocket(WebSocket::server());
                found.upgraded = Some(Box::new(accepted.request));
                accepted.consumed
            }
            Err(refused) => {
                refused.answer(reply);
                found.ended = Some(LayersEnd::Refused(refused));
                return;
            }
        },
        Inner::Answer(waiting) => match waiting.handshake.receive(bytes) {
            Ok(None) => return,
            Ok(Some(consumed)) => {
                *inner = Inner::WebSocket(WebSocket::client(waiting.mask_seed));
                consumed
            }
            Err(error) => {
                found.ended = Some(LayersEnd::Handshake(error));
                return;
            }
        },
    };
    let bytes = bytes.get_mut(consumed..).unwrap_or_default();
    if let Inner::WebSocket(socket) = inner {
        let received = socket.receive(bytes, reply);
        found.plain = bytes.get(received.plain).unwrap_or_default();
        found.ended = received.end.map(LayersEnd::WebSocket);
    }
}

impl fmt::Debug for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layers")
            .field("proxy", &self.proxy.is_some())
            .field("tls", &self.tls)
            .field("websocket", &self.is_websocket())
            .finish()
    }
}

impl fmt::Display for LayersEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Proxy(error) => error.fmt(f),
            Self::Tls(error) => error.fmt(f),
            Self::TlsClosed => f.write_str("TLS closed"),
            Self::Refused(refused) => refused.fmt(f),
            Self::Handshake(error) => error.fmt(f),
            Self::WebSocket(End::Closed(close)) => write!(f, "WebSocket {close}"),
            Self::WebSocket(End::Violation(violation)) => violation.fmt(f),
        }
    }
}

impl fmt::Display for LayersError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tls(error) => error.fmt(f),
            Self::WebSocket(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for LayersError {}
