//! Certificates that OpenSSL takes and the library does not: those of X.509 version 1, which have no
//! extensions, and those of CAs that stand for themselves.
//!
//! `openssl x509 -req` makes them unless it is told otherwise, and so do many instructions for
//! Mosquitto; OpenSSL takes them, the library here does not. One is taken if a CA that is trusted has
//! signed it itself: nothing in it could say that it is a CA, so it never stands for another.
//!
//! `openssl req -x509` makes a certificate that says it is a CA, and many a server at home has such a
//! one for itself. It is taken if it is one of those that are trusted, byte for byte.

use std::collections::HashSet;
use std::time::Duration;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, SignatureVerificationAlgorithm,
    SubjectPublicKeyInfoDer, UnixTime,
};
use rustls::{CertificateError, DigitallySignedStruct, Error, PeerMisbehaved};
use x509_cert::certificate::{CertificateInner, Raw, Version};
use x509_cert::crl::CertificateList;
use x509_cert::der::asn1::{AnyRef, BitStringRef};
use x509_cert::der::{self, Decode, Encode, Reader, SliceReader};

/// Those who may have signed such certificates, and those that they have revoked.
#[derive(Debug)]
pub(super) struct Issuers {
    /// As they were given.
    certificates: Vec<CertificateDer<'static>>,
    cas: Vec<Ca>,
    lists: Vec<RevocationList>,
    algorithms: WebPkiSupportedAlgorithms,
}

#[derive(Debug)]
struct Ca {
    subject: Vec<u8>,
    key: PublicKey,
}

/// A list whose signature has been verified.
#[derive(Debug)]
struct RevocationList {
    issuer: Vec<u8>,
    next_update: Option<u64>,
    serials: HashSet<Vec<u8>>,
}

#[derive(Debug)]
struct PublicKey {
    algorithm: Vec<u8>,
    bits: Vec<u8>,
}

/// Something signed: what, in which way, and the signature.
struct Signed<'a> {
    content: &'a [u8],
    algorithm: &'a [u8],
    signature: &'a [u8],
}

/// Whether a certificate is of version 1, which is the version that is not said.
pub(super) fn is_version1(certificate: &CertificateDer<'_>) -> bool {
    let first_tag = || {
        let mut content = SliceReader::new(Signed::read(certificate)?.content)?;
        content.sequence(|fields| {
            let tag = fields.peek_byte();
            // The rest is of no interest, but has to be read.
            let rest = fields.remaining_len();
            fields.read_slice(rest)?;
            Ok::<_, der::Error>(tag)
        })
    };
    first_tag().is_ok_and(|tag| tag == Some(0x02))
}

impl Issuers {
    /// From certificates and lists that have been read by others: what cannot be read is passed over.
    pub(super) fn new(
        certificates: Vec<CertificateDer<'static>>,
        lists: &[CertificateRevocationListDer<'_>],
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Self {
        let cas = certificates.iter().filter_map(|ca| Ca::read(ca).ok());
        let cas = cas.collect();
        let mut issuers = Self {
            certificates,
            cas,
            lists: Vec::new(),
            algorithms,
        };
        issuers.lists = lists
            .iter()
            .filter_map(|list| RevocationList::read(list, &issuers).ok())
            .collect();
        issuers
    }

    /// Verifies a certificate of version 1: its signature, its dates if there is a time, and that it is
    /// not revoked if there `must_be_listed` a list of its CA.
    pub(super) fn verify(
        &self,
        certificate: &CertificateDer<'_>,
        now: Option<UnixTime>,
        must_be_listed: bool,
    ) -> Result<(), CertificateError> {
        let bad = |_| CertificateError::BadEncoding;
        let parsed = CertificateInner::<Raw>::from_der(certificate).map_err(bad)?;
        let signed = Signed::read(certificate).map_err(bad)?;
        let content = parsed.tbs_certificate();
        if content.version() != Version::V1 || content.extensions().is_some() {
            return Err(CertificateError::BadEncoding);
        }
        let issuer = content.issuer().to_der().map_err(bad)?;
        if !self.has_signed(&issuer, &signed)? {
            return Err(CertificateError::BadSignature);
        }
        check_dates(&parsed, now)?;
        if must_be_listed {
            self.check_revoked(&issuer, content.serial_number().as_bytes(), now)?;
        }
        Ok(())
    }

    /// Verifies a certificate that the library refused with `error`: if that is for being a CA's, and
    /// it is itself trusted, its dates decide.
    pub(super) fn verify_itself(
        &self,
        certificate: &CertificateDer<'_>,
        now: Option<UnixTime>,
        error: Error,
    ) -> Result<(), Error> {
        let is_ca = matches!(&error, Error::InvalidCertificate(CertificateError::Other(other))
            if other.to_string().contains("CaUsedAsEndEntity"));
        if !is_ca
            || !self
                .certificates
                .iter()
                .any(|trusted| trusted == certificate)
        {
            return Err(error);
        }
        let bad = |_| CertificateError::BadEncoding;
        let parsed = CertificateInner::<Raw>::from_der(certificate).map_err(bad)?;
        Ok(check_dates(&parsed, now)?)
    }

    /// Whether one of those with this name has signed it.
    fn has_signed(&self, issuer: &[u8], signed: &Signed<'_>) -> Result<bool, CertificateError> {
        let mut named = self.cas.iter().filter(|ca| ca.subject == issuer).peekable();
        if named.peek().is_none() {
            return Err(CertificateError::UnknownIssuer);
        }
        Ok(named.any(|ca| {
            self.algorithms.all.iter().any(|algorithm| {
                algorithm.signature_alg_id().as_ref() == signed.algorithm
                    && ca
                        .key
                        .verifies(*algorithm, signed.content, signed.signature)
            })
        }))
    }

    fn check_revoked(
        &self,
        issuer: &[u8],
        serial: &[u8],
        now: Option<UnixTime>,
    ) -> Result<(), CertificateError> {
        let mut found = Err(CertificateError::UnknownRevocationStatus);
        for list in self.lists.iter().filter(|list| list.issuer == issuer) {
            if list.serials.contains(serial) {
                return Err(CertificateError::Revoked);
            }
            let is_old = list
                .next_update
                .zip(now)
                .is_some_and(|(next, now)| now.as_secs() > next);
            found = if is_old && found.is_err() {
                Err(CertificateError::ExpiredRevocationList)
            } else {
                Ok(())
            };
        }
        found
    }
}

fn check_dates(
    certificate: &CertificateInner<Raw>,
    now: Option<UnixTime>,
) -> Result<(), CertificateError> {
    let validity = certificate.tbs_certificate().validity();
    let now = now.map(|now| Duration::from_secs(now.as_secs()));
    if now.is_some_and(|now| now > validity.not_after.to_unix_duration()) {
        return Err(CertificateError::Expired);
    }
    if now.is_some_and(|now| now < validity.not_before.to_unix_duration()) {
        return Err(CertificateError::NotValidYet);
    }
    Ok(())
}

impl Ca {
    fn read(certificate: &CertificateDer<'_>) -> der::Result<Self> {
        let certificate = CertificateInner::<Raw>::from_der(certificate)?;
        let content = certificate.tbs_certificate();
        Ok(Self {
            subject: content.subject().to_der()?,
            key: PublicKey::read(&content.subject_public_key_info().to_der()?)?,
        })
    }
}

impl RevocationList {
    fn read(
        list: &CertificateRevocationListDer<'_>,
        issuers: &Issuers,
    ) -> Result<Self, CertificateError> {
        let bad = |_| CertificateError::BadEncoding;
        let parsed = CertificateList::<Raw>::from_der(list).map_err(bad)?;
        let content = parsed.tbs_cert_list;
        let issuer = content.issuer.to_der().map_err(bad)?;
        if !issuers.has_signed(&issuer, &Signed::read(list).map_err(bad)?)? {
            return Err(CertificateError::BadSignature);
        }
        let revoked = content.revoked_certificates.unwrap_or_default();
        Ok(Self {
            issuer,
            next_update: content
                .next_update
                .map(|time| time.to_unix_duration().as_secs()),
            serials: revoked
                .iter()
                .map(|revoked| revoked.serial_number.as_bytes().to_vec())
                .collect(),
        })
    }
}

impl PublicKey {
    /// Reads a SubjectPublicKeyInfo.
    fn read(bytes: &[u8]) -> der::Result<Self> {
        SliceReader::new(bytes)?.sequence(|fields| {
            Ok(Self {
                algorithm: AnyRef::decode(fields)?.value().to_vec(),
                bits: BitStringRef::decode(fields)?.raw_bytes().to_vec(),
            })
        })
    }

    fn verifies(
        &self,
        algorithm: &dyn SignatureVerificationAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        algorithm.public_key_alg_id().as_ref() == self.algorithm
            && algorithm
                .verify_signature(&self.bits, message, signature)
                .is_ok()
    }
}

impl<'a> Signed<'a> {
    /// Reads a certificate or revocation list.
    fn read(bytes: &'a [u8]) -> der::Result<Self> {
        SliceReader::new(bytes)?.sequence(|fields| {
            Ok(Self {
                content: fields.tlv_bytes()?,
                algorithm: AnyRef::decode(fields)?.value(),
                signature: BitStringRef::decode(fields)?.raw_bytes(),
            })
        })
    }
}

/// The public key in a certificate, as it is encoded.
fn key_of(certificate: &CertificateDer<'_>) -> der::Result<Vec<u8>> {
    let certificate = CertificateInner::<Raw>::from_der(certificate)?;
    certificate
        .tbs_certificate()
        .subject_public_key_info()
        .to_der()
}

/// Verifies that who has the certificate's key has signed a handshake of TLS 1.2.
pub(super) fn verify_tls12(
    algorithms: &WebPkiSupportedAlgorithms,
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    let bad = |_| Error::from(CertificateError::BadEncoding);
    let key = key_of(certificate).map_err(bad)?;
    let key = PublicKey::read(&key).map_err(bad)?;
    let scheme = algorithms
        .mapping
        .iter()
        .find(|(scheme, _)| *scheme == signed.scheme);
    let Some((_, fitting)) = scheme else {
        return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
    };
    if fitting
        .iter()
        .any(|algorithm| key.verifies(*algorithm, message, signed.signature()))
    {
        Ok(HandshakeSignatureValid::assertion())
    } else {
        Err(CertificateError::BadSignature.into())
    }
}

/// The same in TLS 1.3.
pub(super) fn verify_tls13(
    algorithms: &WebPkiSupportedAlgorithms,
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    let key = key_of(certificate).map_err(|_| Error::from(CertificateError::BadEncoding))?;
    let key = SubjectPublicKeyInfoDer::from(key);
    verify_tls13_signature_with_raw_key(message, &key, signed, algorithms)
}
