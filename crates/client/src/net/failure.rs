//! Why TLS or WebSocket could not be had, or went away.

use std::fmt;

/// What went wrong with TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsFailure {
    /// The kind of it.
    pub kind: TlsFailureKind,
    /// The host whose certificate was expected.
    pub host: String,
    /// In other words, with what was found.
    pub(crate) details: String,
}

/// Kinds of failures of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TlsFailureKind {
    /// What answers does not speak TLS, or closes instead of answering.
    NotTls,
    /// The broker's certificate has expired.
    Expired,
    /// The broker's certificate is not valid yet.
    NotYetValid,
    /// No CA that is trusted here has signed the broker's certificate.
    UnknownCa,
    /// The broker's certificate is for other hosts.
    WrongHost,
    /// The broker's certificate is revoked.
    Revoked,
    /// Something else is wrong with the broker's certificate.
    BadCertificate,
    /// The broker wants a client certificate, or refuses the one that it was shown.
    ClientCertificate,
    /// The broker does not take the pre-shared key, or its identity.
    PreSharedKey,
    /// There is no version, cipher or application protocol that both sides know.
    Incompatible,
    /// The broker, or somebody on the way, broke the protocol.
    Protocol,
}

impl TlsFailure {
    /// Whether another attempt with the same options is bound to end the same way. Certificates of
    /// brokers can be renewed, so a faulty one is none of these.
    pub(crate) const fn is_permanent(&self) -> bool {
        matches!(
            self.kind,
            TlsFailureKind::ClientCertificate
                | TlsFailureKind::PreSharedKey
                | TlsFailureKind::Incompatible
        )
    }
}

impl fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            host,
            details,
        } = self;
        match kind {
            TlsFailureKind::NotTls => {
                write!(
                    f,
                    "{host} does not speak TLS here: {details}; another port may be the port for TLS"
                )
            }
            TlsFailureKind::Expired => write!(
                f,
                "the certificate of {host} has expired; it has to be renewed there, unless the clock \
                 here is wrong"
            ),
            TlsFailureKind::NotYetValid => write!(
                f,
                "the certificate of {host} is not valid yet, unless the clock here is wrong"
            ),
            TlsFailureKind::UnknownCa => write!(
                f,
                "no CA that is trusted here has signed the certificate of {host}; if that is meant to \
                 be so, name the file of its CA (ca_file)"
            ),
            TlsFailureKind::WrongHost => write!(
                f,
                "the certificate of {host} does not name it: {details}; connect by a name that is in \
                 it, or set the name to expect (server_name)"
            ),
            TlsFailureKind::Revoked => write!(f, "the certificate of {host} is revoked"),
            TlsFailureKind::BadCertificate => {
                write!(f, "the certificate of {host} cannot be accepted: {details}")
            }
            TlsFailureKind::ClientCertificate => write!(
                f,
                "{host} does not accept us by our certificate: {details}; check the client's \
                 certificate and key"
            ),
            TlsFailureKind::PreSharedKey => {
                write!(f, "no TLS with {host} by the pre-shared key: {details}")
            }
            TlsFailureKind::Incompatible => write!(f, "no TLS with {host}: {details}"),
            TlsFailureKind::Protocol => write!(f, "TLS with {host} failed: {details}"),
        }
    }
}

/// What went wrong with WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WebSocketFailure {
    /// The HTTP status, where the server refused with one.
    pub status: Option<u16>,
    /// The code of the close frame, where the server ended the connection with one.
    pub close_code: Option<u16>,
    /// In other words.
    pub(crate) details: String,
}

impl WebSocketFailure {
    /// Whether another attempt with the same options is bound to end the same way: the server wants
    /// other credentials. Everything else passes when a server behind a proxy is replaced.
    pub(crate) const fn is_permanent(&self) -> bool {
        matches!(self.status, Some(401 | 403))
    }
}

impl fmt::Display for WebSocketFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.details)?;
        f.write_str(match self.status {
            Some(401 | 403) => "; check the headers of the request (websocket_header)",
            Some(404) => "; check the path in the URL",
            Some(301..=308) => "; use that URL",
            _ => "",
        })
    }
}

#[cfg(any(feature = "tls", feature = "websocket"))]
pub(super) use wrapping::{closed_in_handshake, of_begin, of_end};

#[cfg(any(feature = "tls", feature = "websocket"))]
mod wrapping {
    use midge_transport::websocket::{End, HandshakeError};
    use midge_transport::{Layers, LayersEnd, LayersError};

    use super::WebSocketFailure;
    #[cfg(feature = "tls")]
    use super::{TlsFailure, TlsFailureKind};
    use crate::error::{ConnectionError, OptionsError};

    /// Why the layers cannot even begin: the host, path or a header cannot be used.
    pub(in crate::net) fn of_begin(error: &LayersError) -> ConnectionError {
        OptionsError(error.to_string()).into()
    }

    /// Why nothing more comes; `None` for a good end.
    pub(in crate::net) fn of_end(end: LayersEnd, host: &str) -> Option<ConnectionError> {
        let details = end.to_string();
        let websocket = |status, close_code| {
            Some(ConnectionError::WebSocket(WebSocketFailure {
                status,
                close_code,
                details: details.clone(),
            }))
        };
        match end {
            LayersEnd::TlsClosed => None,
            LayersEnd::Handshake(HandshakeError::Status { status, .. }) => {
                websocket(Some(status), None)
            }
            LayersEnd::WebSocket(End::Closed(close)) => {
                match close.code.map(|code| code.number()) {
                    None | Some(1000) => None,
                    Some(code) => websocket(None, Some(code)),
                }
            }
            LayersEnd::Handshake(_)
            | LayersEnd::WebSocket(End::Violation(_))
            | LayersEnd::Refused(_)
            | LayersEnd::Proxy(_) => websocket(None, None),
            #[cfg(feature = "tls")]
            LayersEnd::Tls(error) => Some(of_tls(&error, host)),
            #[cfg(not(feature = "tls"))]
            LayersEnd::Tls(_) => {
                let _ = host;
                None
            }
        }
    }

    pub(in crate::net) fn closed_in_handshake(layers: &Layers, host: &str) -> ConnectionError {
        #[cfg(feature = "tls")]
        if layers.tls().is_some_and(|tls| !tls.is_open()) {
            return ConnectionError::Tls(TlsFailure {
                kind: TlsFailureKind::NotTls,
                host: host.to_owned(),
                details: "it closed the connection instead of answering".to_owned(),
            });
        }
        let _ = (layers, host);
        ConnectionError::WebSocket(WebSocketFailure {
            status: None,
            close_code: None,
            details: "the server closed the connection instead of answering; is it the port for \
                      WebSocket?"
                .to_owned(),
        })
    }

    #[cfg(feature = "tls")]
    fn of_tls(error: &midge_transport::tls::TlsError, host: &str) -> ConnectionError {
        use midge_transport::tls::{CertificateFault, TlsError};

        let (kind, details) = match error {
            TlsError::NotTls(looks) => (TlsFailureKind::NotTls, looks.to_string()),
            TlsError::Certificate(fault) => {
                let kind = match fault {
                    CertificateFault::Expired => TlsFailureKind::Expired,
                    CertificateFault::NotYetValid => TlsFailureKind::NotYetValid,
                    // A CA that was made anew under the same name is another one too.
                    CertificateFault::UnknownCa | CertificateFault::BadSignature => {
                        TlsFailureKind::UnknownCa
                    }
                    CertificateFault::WrongHost(_) => TlsFailureKind::WrongHost,
                    CertificateFault::Revoked => TlsFailureKind::Revoked,
                    _ => TlsFailureKind::BadCertificate,
                };
                (kind, fault.to_string())
            }
            TlsError::CertificateRefused(words) => {
                (TlsFailureKind::ClientCertificate, words.to_string())
            }
            TlsError::KeyRefused(_) | TlsError::KeyIgnored => {
                (TlsFailureKind::PreSharedKey, error.to_string())
            }
            TlsError::NoSharedCipher | TlsError::NoSharedVersion | TlsError::NoSharedProtocol => {
                (TlsFailureKind::Incompatible, error.to_string())
            }
            TlsError::Incompatible(words) => (TlsFailureKind::Incompatible, words.to_string()),
            other => (TlsFailureKind::Protocol, other.to_string()),
        };
        ConnectionError::Tls(TlsFailure {
            kind,
            host: host.to_owned(),
            details,
        })
    }
}
