//! Verifying certificates as Mosquitto's options want it: the library's verifiers, and what they do not
//! do.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use super::client::HostCheck;
use super::identity::CertificateInfo;
use super::version1::{self, Issuers, is_version1};

/// Certificates of a chain whose dates are looked at, at most. A client could send hundreds.
const DATED_MAX: usize = 4;

/// What each verifier says about signatures in handshakes: the library's checks, and those of old certificates.
/// Each has `algorithms`.
macro_rules! signatures {
    () => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            if is_version1(cert) {
                return version1::verify_tls12(&self.algorithms, message, cert, dss);
            }
            verify_tls12_signature(message, cert, dss, &self.algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            if is_version1(cert) {
                return version1::verify_tls13(&self.algorithms, message, cert, dss);
            }
            verify_tls13_signature(message, cert, dss, &self.algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.algorithms.supported_schemes()
        }
    };
}

/// Verifies clients.
#[derive(Debug)]
pub(super) struct ClientVerifier {
    /// Does most of it.
    pub(super) inner: Arc<dyn ClientCertVerifier>,
    /// For what the library does not take and OpenSSL does.
    pub(super) issuers: Issuers,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
    /// Whatever the time is, there must have been one at which the chain was valid.
    pub(super) ignores_dates: bool,
    /// A client's CA needs a revocation list.
    pub(super) has_lists: bool,
}

impl ClientCertVerifier for ClientVerifier {
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if is_version1(end_entity) {
            let now = (!self.ignores_dates).then_some(now);
            self.issuers.verify(end_entity, now, self.has_lists)?;
            return Ok(ClientCertVerified::assertion());
        }
        let mut result = self
            .inner
            .verify_client_cert(end_entity, intermediates, now);
        if let Err(error) = result {
            let now = (!self.ignores_dates).then_some(now);
            let itself = self.issuers.verify_itself(end_entity, now, error);
            result = itself.map(|()| ClientCertVerified::assertion());
        }
        if !self.ignores_dates {
            return result;
        }
        let chain = [end_entity]
            .into_iter()
            .chain(intermediates)
            .take(DATED_MAX);
        for certificate in chain {
            let Ok(info) = CertificateInfo::read(certificate) else {
                continue;
            };
            for time in [info.not_before, info.not_after] {
                if !result.as_ref().is_err_and(is_about_dates) {
                    return result;
                }
                let time = UnixTime::since_unix_epoch(Duration::from_secs(time));
                result = self
                    .inner
                    .verify_client_cert(end_entity, intermediates, time);
            }
        }
        result
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }

    signatures!();
}

fn is_about_dates(error: &Error) -> bool {
    matches!(
        error,
        Error::InvalidCertificate(
            CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. }
        )
    )
}

/// Verifies servers.
#[derive(Debug)]
pub(super) struct ServerVerifier {
    /// Does most of it.
    pub(super) inner: Arc<dyn ServerCertVerifier>,
    /// For what the library does not take and OpenSSL does.
    pub(super) issuers: Issuers,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
    pub(super) check: HostCheck,
    /// A server's CA needs a revocation list.
    pub(super) has_lists: bool,
}

impl ServerVerifier {
    /// Whether the host does where it is not among the alternative names.
    fn allows(&self, end_entity: &CertificateDer<'_>, host: &ServerName<'_>) -> bool {
        match self.check {
            HostCheck::None => return true,
            HostCheck::AlternativeNames => return false,
            HostCheck::CommonName => {}
        }
        let Ok(info) = CertificateInfo::read(end_entity) else {
            return false;
        };
        let name = info
            .common_name
            .filter(|_| info.alternative_names.is_empty());
        name.is_some_and(|name| name.eq_ignore_ascii_case(&host.to_str()))
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if is_version1(end_entity) {
            self.issuers.verify(end_entity, Some(now), self.has_lists)?;
            if !self.allows(end_entity, server_name) {
                return Err(CertificateError::NotValidForName.into());
            }
            return Ok(ServerCertVerified::assertion());
        }
        let result = self.inner.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        let result = result.or_else(|error| {
            self.issuers.verify_itself(end_entity, Some(now), error)?;
            verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
            Ok(ServerCertVerified::assertion())
        });
        // The name is looked at last, so this error says that all else is good.
        match result {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.allows(end_entity, server_name) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    signatures!();
}

/// Lets every server in that holds the key of the certificate that it shows.
#[derive(Debug)]
pub(super) struct AnyServer {
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    signatures!();
}
