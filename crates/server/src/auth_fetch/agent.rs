//! The HTTP client, set up for requests that hold secrets and for answers that are not to be trusted.

use core::time::Duration;
use std::io;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use super::{FetchError, FetchSettings};

/// Whose certificates are believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Roots {
    /// The certificate authorities of the system.
    #[default]
    System,
    /// Those of a PEM file, by its content.
    Pem(Vec<u8>),
}

/// Builds the client. It follows no redirect, since that would carry secrets and trust elsewhere, and uses
/// no proxy of the environment.
pub(super) fn make(settings: &FetchSettings) -> Result<ureq::Agent, FetchError> {
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(roots(&settings.roots)?)))
        .unversioned_rustls_crypto_provider(Arc::new(aws_lc_rs::default_provider()))
        .build();
    let config = ureq::Agent::config_builder()
        .tls_config(tls)
        .proxy(None)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(concat!("midge/", env!("CARGO_PKG_VERSION")))
        .accept("application/json")
        .timeout_resolve(Some(settings.connect_timeout))
        .timeout_connect(Some(settings.connect_timeout))
        .timeout_global(Some(settings.total_timeout))
        .max_response_header_size(16 * 1024)
        .input_buffer_size(16 * 1024)
        .output_buffer_size(16 * 1024)
        .max_idle_connections(8)
        .max_idle_connections_per_host(settings.threads)
        .max_idle_age(Duration::from_secs(60))
        .build();
    Ok(config.new_agent())
}

fn roots(roots: &Roots) -> Result<Vec<Certificate<'static>>, FetchError> {
    let found: Vec<CertificateDer<'static>> = match roots {
        Roots::System => rustls_native_certs::load_native_certs().certs,
        Roots::Pem(pem) => CertificateDer::pem_slice_iter(pem)
            .collect::<Result<_, _>>()
            .map_err(|error| FetchError::Certificate(format!("the authorities: {error}")))?,
    };
    // Without any, plain requests on this machine still work.
    Ok(found
        .iter()
        .map(|der| Certificate::from_der(der).to_owned())
        .collect())
}

/// Says in words of ours what went wrong.
pub(super) fn describe(error: ureq::Error) -> FetchError {
    match error {
        ureq::Error::Timeout(timeout) => FetchError::TimedOut(match timeout {
            ureq::Timeout::Resolve => "looking up the host",
            ureq::Timeout::Connect => "connecting",
            _ => "answering",
        }),
        ureq::Error::BodyExceedsLimit(_) => FetchError::TooLarge,
        ureq::Error::HostNotFound => FetchError::Failed("the host is not known".to_owned()),
        ureq::Error::Rustls(error) => tls(&error),
        ureq::Error::Io(error) => from_io(&error),
        other => FetchError::Failed(other.to_string()),
    }
}

/// Errors of TLS come wrapped up in errors of reading and writing.
fn from_io(error: &io::Error) -> FetchError {
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(inner) => tls(inner),
        None => FetchError::Failed(error.to_string()),
    }
}

fn tls(error: &rustls::Error) -> FetchError {
    match error {
        rustls::Error::InvalidCertificate(why) => FetchError::Certificate(format!("{why:?}")),
        other => FetchError::Failed(format!("TLS: {other}")),
    }
}
