//! Verifying clients' certificates, with or without their dates, and servers' with or without a name.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use super::client::HostCheck;
use super::identity::CertificateInfo;

/// Certificates of a chain whose dates are looked at, at most. A client could send hundreds.
const DATED_MAX: usize = 4;

/// Verifies clients as another verifier does, but for the dates: whatever the time is, there must have
/// been one at which the chain was valid.
#[derive(Debug)]
pub(super) struct AnyDate(pub(super) Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for AnyDate {
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let mut result = self.0.verify_client_cert(end_entity, intermediates, now);
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
                let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(time));
                result = self.0.verify_client_cert(end_entity, intermediates, time);
            }
        }
        result
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.0.client_auth_mandatory()
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
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

/// Verifies servers as another verifier does, but is content with another name.
#[derive(Debug)]
pub(super) struct OtherName {
    pub(super) inner: Arc<dyn ServerCertVerifier>,
    pub(super) check: HostCheck,
}

impl OtherName {
    /// Whether a certificate without alternative names has the host as its common name.
    fn is_common_name(end_entity: &CertificateDer<'_>, host: &ServerName<'_>) -> bool {
        let Ok(info) = CertificateInfo::read(end_entity) else {
            return false;
        };
        let name = info
            .common_name
            .filter(|_| info.alternative_names.is_empty());
        name.is_some_and(|name| name.eq_ignore_ascii_case(&host.to_str()))
    }
}

impl ServerCertVerifier for OtherName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // The name is looked at last, so this error says that all else is good.
        match self.inner.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        ) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.check == HostCheck::None
                || Self::is_common_name(end_entity, server_name) =>
            {
                Ok(ServerCertVerified::assertion())
            }
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
