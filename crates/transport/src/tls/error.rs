//! Why a TLS connection ended, in words for a log.

use std::fmt;

use rustls::{CertificateError, Error, PeerIncompatible};

use super::identity::Unreadable;
use crate::looks::Looks;

/// Why a connection cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsError {
    /// The first bytes are none of TLS.
    NotTls(Looks),
    /// The peer's certificate does not do.
    Certificate(CertificateFault),
    /// The peer wants a certificate that we have not shown, or refuses the one that we have; its alert.
    CertificateRefused(Box<str>),
    /// The peer shares no version, cipher or protocol with us; its alert.
    Incompatible(Box<str>),
    /// The peer did not like something else and said so; its alert.
    Alert(Box<str>),
    /// Nothing that both sides can encrypt with.
    NoSharedCipher,
    /// No version that both sides speak.
    NoSharedVersion,
    /// No protocol (ALPN) that both sides speak.
    NoSharedProtocol,
    /// The peer broke the protocol, or a byte was changed on its way.
    Misbehaved(Box<str>),
    /// Nothing that both sides can encrypt with, where pre-shared keys are used.
    NoKey,
    /// A pre-shared key of an identity that is not known; the peer is not told that it was this.
    UnknownIdentity(Box<str>),
    /// A pre-shared key that is not that of its identity.
    WrongKey(Box<str>),
    /// The server does not take the pre-shared key of a client, or its identity; its alert.
    KeyRefused(Box<str>),
    /// The server has shown a certificate instead of using the pre-shared key of a client.
    KeyIgnored,
    /// A handshake that is longer than any honest one.
    TooLong,
    /// Something that can only be sent after the handshake, or before the end.
    NotOpen,
}

/// What is wrong with the peer's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CertificateFault {
    /// There is none.
    Missing,
    /// It, or one above it, is no longer valid.
    Expired,
    /// It, or one above it, is not valid yet: is the clock right?
    NotYetValid,
    /// It is in a revocation list.
    Revoked,
    /// No CA that is trusted here has signed it.
    UnknownCa,
    /// No revocation list is that of its CA.
    NoRevocationList,
    /// The revocation list of its CA should have been renewed.
    RevocationListExpired,
    /// A signature is wrong.
    BadSignature,
    /// It is for something else than this, as its extended key usage says.
    WrongPurpose,
    /// It is not for the host that was asked for; the names in it.
    WrongHost(Vec<String>),
    /// Signed in a way, or with a key, that is not supported: RSA below 2048 bits, SHA-1, DSA.
    UnsupportedSignature,
    /// Version 1 or 2 of X.509, made without extensions, in the place of a CA that is not trusted itself.
    OldVersion,
    /// It is a CA's, and not itself among those that are trusted.
    IsCa,
    /// Anything else.
    Other(Box<str>),
}

impl From<Error> for TlsError {
    fn from(error: Error) -> Self {
        match error {
            Error::NoCertificatesPresented => Self::Certificate(CertificateFault::Missing),
            Error::InvalidCertificate(error) => Self::Certificate(error.into()),
            Error::AlertReceived(alert) if is_about_certificate(alert) => {
                Self::CertificateRefused(alert_words(alert).into())
            }
            Error::AlertReceived(alert) if is_about_agreement(alert) => {
                Self::Incompatible(alert_words(alert).into())
            }
            Error::AlertReceived(alert) => Self::Alert(alert_words(alert).into()),
            Error::PeerIncompatible(
                PeerIncompatible::NoCipherSuitesInCommon
                | PeerIncompatible::NoKxGroupsInCommon
                | PeerIncompatible::NoSignatureSchemesInCommon
                | PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon,
            ) => Self::NoSharedCipher,
            Error::PeerIncompatible(
                PeerIncompatible::ServerDoesNotSupportTls12Or13
                | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
                // Clients of 1.1 and older do not send it, and it is looked at first.
                | PeerIncompatible::SignatureAlgorithmsExtensionRequired
                | PeerIncompatible::SupportedVersionsExtensionRequired
                | PeerIncompatible::Tls12NotOffered
                | PeerIncompatible::Tls12NotOfferedOrEnabled,
            ) => Self::NoSharedVersion,
            Error::NoApplicationProtocol => Self::NoSharedProtocol,
            // No certificate whose key the client can verify.
            Error::General(words) if words.contains("no server certificate chain resolved") => {
                Self::NoSharedCipher
            }
            other => Self::Misbehaved(other.to_string().into()),
        }
    }
}

impl From<Unreadable> for CertificateFault {
    fn from(error: Unreadable) -> Self {
        Self::Other(error.0.into())
    }
}

impl From<CertificateError> for CertificateFault {
    fn from(error: CertificateError) -> Self {
        #[expect(deprecated, reason = "a custom verifier may still make it")]
        match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Self::NotYetValid
            }
            CertificateError::Revoked => Self::Revoked,
            CertificateError::UnknownIssuer => Self::UnknownCa,
            CertificateError::UnknownRevocationStatus => Self::NoRevocationList,
            CertificateError::ExpiredRevocationList
            | CertificateError::ExpiredRevocationListContext { .. } => Self::RevocationListExpired,
            CertificateError::BadSignature => Self::BadSignature,
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                Self::WrongPurpose
            }
            CertificateError::NotValidForName => Self::WrongHost(Vec::new()),
            CertificateError::NotValidForNameContext { presented, .. } => {
                Self::WrongHost(presented)
            }
            CertificateError::UnsupportedSignatureAlgorithm
            | CertificateError::UnsupportedSignatureAlgorithmContext { .. }
            | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
                Self::UnsupportedSignature
            }
            // The library's words for faults that it has no kind for.
            CertificateError::Other(other) => match other.to_string() {
                words if words.contains("UnsupportedCertVersion") => Self::OldVersion,
                words if words.contains("CaUsedAsEndEntity") => Self::IsCa,
                words => Self::Other(words.into()),
            },
            other => Self::Other(other.to_string().into()),
        }
    }
}

fn is_about_certificate(alert: rustls::AlertDescription) -> bool {
    use rustls::AlertDescription as Alert;
    matches!(
        alert,
        Alert::UnknownCA
            | Alert::BadCertificate
            | Alert::CertificateExpired
            | Alert::CertificateRevoked
            | Alert::CertificateUnknown
            | Alert::UnsupportedCertificate
            | Alert::CertificateRequired
            | Alert::AccessDenied
    )
}

fn is_about_agreement(alert: rustls::AlertDescription) -> bool {
    use rustls::AlertDescription as Alert;
    matches!(
        alert,
        Alert::HandshakeFailure
            | Alert::ProtocolVersion
            | Alert::InsufficientSecurity
            | Alert::NoApplicationProtocol
    )
}

/// What the peer means, with what to look at.
fn alert_words(alert: rustls::AlertDescription) -> &'static str {
    use rustls::AlertDescription as Alert;
    match alert {
        Alert::UnknownCA => "unknown CA: the peer does not trust our certificate",
        Alert::BadCertificate => "bad certificate: the peer refuses our certificate",
        Alert::CertificateExpired => "certificate expired: ours, or the peer's clock is wrong",
        Alert::CertificateRevoked => "our certificate is revoked",
        Alert::CertificateUnknown => "certificate unknown: the peer refuses our certificate",
        Alert::UnsupportedCertificate => "unsupported certificate: the peer cannot use ours",
        Alert::CertificateRequired => "the peer requires a certificate",
        Alert::AccessDenied => "access denied",
        Alert::HandshakeFailure => "handshake failure: no shared cipher, or a certificate missing",
        Alert::ProtocolVersion => "no shared TLS version",
        Alert::InsufficientSecurity => "the peer wants stronger ciphers",
        Alert::NoApplicationProtocol => "no shared application protocol (ALPN)",
        Alert::UnrecognisedName => "the peer does not know the host name that was asked for",
        Alert::DecryptError => "the peer cannot verify a signature of ours",
        Alert::DecodeError => "the peer cannot decode a message of ours",
        Alert::BadRecordMac => "bad record MAC",
        Alert::UserCanceled => "cancelled",
        Alert::InternalError => "internal error of the peer",
        Alert::UnexpectedMessage => "unexpected message",
        Alert::IllegalParameter => "illegal parameter",
        Alert::UnknownPSKIdentity => "unknown PSK identity",
        _ => "an alert without a meaning here",
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotTls(looks) => write!(f, "not TLS: {looks}"),
            Self::Certificate(CertificateFault::Missing) => {
                f.write_str("the peer did not provide a certificate")
            }
            Self::Certificate(fault) => write!(f, "the peer's certificate: {fault}"),
            Self::CertificateRefused(words) | Self::Incompatible(words) | Self::Alert(words) => {
                write!(f, "TLS alert: {words}")
            }
            Self::NoSharedCipher => f.write_str("no shared cipher"),
            Self::NoSharedVersion => f.write_str("no shared TLS version"),
            Self::NoSharedProtocol => f.write_str("no shared application protocol (ALPN)"),
            Self::Misbehaved(why) => write!(f, "TLS: {why}"),
            Self::NoKey => f.write_str(
                "no cipher with a pre-shared key that both have: does the client use one?",
            ),
            Self::UnknownIdentity(identity) => write!(
                f,
                "pre-shared key: no identity '{}' is known",
                identity.escape_debug()
            ),
            Self::WrongKey(identity) => write!(
                f,
                "pre-shared key: not that of identity '{}'",
                identity.escape_debug()
            ),
            Self::KeyRefused(alert) => {
                write!(
                    f,
                    "the peer does not take the pre-shared key of this identity ({alert})"
                )
            }
            Self::KeyIgnored => {
                f.write_str("the peer shows a certificate and does not use the pre-shared key")
            }
            Self::TooLong => f.write_str("the TLS handshake is too long"),
            Self::NotOpen => f.write_str("the TLS connection is not open"),
        }
    }
}

impl std::error::Error for TlsError {}

impl fmt::Display for CertificateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("none"),
            Self::Expired => f.write_str("expired"),
            Self::NotYetValid => f.write_str("not valid yet"),
            Self::Revoked => f.write_str("revoked"),
            Self::UnknownCa => f.write_str("unknown CA"),
            Self::NoRevocationList => f.write_str("no revocation list of its CA"),
            Self::RevocationListExpired => f.write_str("the revocation list of its CA has expired"),
            Self::BadSignature => f.write_str("bad signature"),
            Self::WrongPurpose => f.write_str("its extended key usage is not for this"),
            Self::WrongHost(names) if names.is_empty() => f.write_str("it is for no host"),
            Self::WrongHost(names) => {
                write!(
                    f,
                    "it is for other hosts: {}",
                    names.join(", ").escape_debug()
                )
            }
            Self::UnsupportedSignature => f.write_str(
                "unsupported signature or key (RSA below 2048 bits, SHA-1 and DSA are refused)",
            ),
            Self::OldVersion => f.write_str(
                "X.509 version 1 does not do here; make it again with extensions \
                 (openssl x509 -req … -extfile)",
            ),
            Self::IsCa => f.write_str(
                "it is that of a CA, which stands for no client or server unless it is trusted itself",
            ),
            Self::Other(why) => f.write_str(why),
        }
    }
}
