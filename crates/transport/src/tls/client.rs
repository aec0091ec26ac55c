//! The client's side of TLS.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::sign::SingleCertAndKey;
use rustls::time_provider::TimeProvider;

use super::ciphers::Unavailable;
use super::files::{FileProblem, PemFile, TlsConfigError};
use super::keylog::{KeyLines, KeyLogger};
use super::server::{ServerCertificate, TlsVersion, anchors, certified_key, library, provider};
use super::verify::{AnyServer, ServerVerifier};
use super::version1::Issuers;

/// What a client's TLS is made of.
pub struct ClientTlsOptions<'a> {
    /// Those who sign servers' certificates (`--cafile`, each file of `--capath`).
    pub server_cas: &'a [PemFile<'a>],
    /// Others, in DER: those that the platform trusts (`--tls-use-os-certs`). One that cannot be read is
    /// passed over. Of both kinds together there must be one.
    pub platform_cas: &'a [Vec<u8>],
    /// Revoked servers.
    pub revocation_lists: &'a [PemFile<'a>],
    /// The client's own certificate (`--cert`, `--key`).
    pub certificate: Option<ServerCertificate<'a>>,
    /// How the name of the server is looked for in its certificate.
    pub host_check: HostCheck,
    /// Takes any certificate whatever, of anybody: the connection is then safe from those who listen and
    /// not from those who step in between. No CA is needed.
    pub accepts_any_certificate: bool,
    /// The oldest version that the server may use (`--tls-version`).
    pub oldest_version: TlsVersion,
    /// The newest version that the server may use.
    pub newest_version: TlsVersion,
    /// The ciphers of TLS 1.2 in OpenSSL's language (`--ciphers`); `None` for all that there are.
    pub ciphers: Option<&'a str>,
    /// The ciphers of TLS 1.3.
    pub ciphers_tls13: Option<&'a str>,
    /// The protocols that the server may choose from (`--tls-alpn`), the dearest first.
    pub protocols: &'a [&'a str],
    /// Gets the secrets of all connections (`--tls-keylog`).
    pub key_logger: Option<KeyLogger>,
    /// The wall clock, for the dates in certificates.
    pub time: Arc<dyn TimeProvider>,
}

impl<'a> ClientTlsOptions<'a> {
    /// What a careful client does where nothing else is said.
    pub const fn new(server_cas: &'a [PemFile<'a>], time: Arc<dyn TimeProvider>) -> Self {
        Self {
            server_cas,
            platform_cas: &[],
            revocation_lists: &[],
            certificate: None,
            host_check: HostCheck::AlternativeNames,
            accepts_any_certificate: false,
            oldest_version: TlsVersion::V12,
            newest_version: TlsVersion::V13,
            ciphers: None,
            ciphers_tls13: None,
            protocols: &[],
            key_logger: None,
            time,
        }
    }
}

/// How the name of the server is looked for in its certificate. The rest of it is verified in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HostCheck {
    /// Among the alternative names, as RFC 9525 wants it.
    #[default]
    AlternativeNames,
    /// Or, where there are none of these, in the common name: as OpenSSL does, for old certificates.
    CommonName,
    /// Not at all (`--insecure`): any server that the CA has signed can play this one.
    None,
}

/// A client's TLS, ready for connections. Sessions are resumed where the server allows it.
pub struct ClientTls {
    pub(super) engine: ClientEngine,
    unavailable: Unavailable,
}

pub(super) enum ClientEngine {
    Certificates(Arc<ClientConfig>),
    #[cfg(feature = "tls-psk")]
    Key(super::psk::PskClient),
}

impl ClientTls {
    /// Reads and checks everything.
    ///
    /// # Errors
    /// What the user has to mend, with the file, line or name concerned.
    pub fn new(options: &ClientTlsOptions<'_>) -> Result<Self, TlsConfigError> {
        let (provider, unavailable) = provider(
            options.ciphers,
            options.ciphers_tls13,
            options.oldest_version,
        )?;
        let provider = Arc::new(provider);
        let verifier: Arc<dyn ServerCertVerifier> = if options.accepts_any_certificate {
            Arc::new(AnyServer {
                algorithms: provider.signature_verification_algorithms,
            })
        } else {
            Arc::new(verifier(options, &provider)?)
        };
        let time = Arc::clone(&options.time);
        let builder = ClientConfig::builder_with_details(Arc::clone(&provider), time)
            .with_protocol_versions(options.oldest_version.to(options.newest_version))
            .map_err(library)?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match &options.certificate {
            None => builder.with_no_client_auth(),
            Some(certificate) => {
                let chain = certificate.chain.certificates()?;
                let chain = chain.into_iter().map(|entry| entry.value).collect();
                let key = certified_key(chain, &certificate.chain, &certificate.key, &provider)?;
                let resolver: Arc<dyn ResolvesClientCert> = Arc::new(SingleCertAndKey::from(key));
                builder.with_client_cert_resolver(resolver)
            }
        };
        config.alpn_protocols = options
            .protocols
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        if let Some(logger) = &options.key_logger {
            config.key_log = Arc::new(KeyLines(Arc::clone(logger)));
        }
        Ok(Self {
            engine: ClientEngine::Certificates(Arc::new(config)),
            unavailable,
        })
    }

    /// With a pre-shared key in the place of certificates.
    ///
    /// # Errors
    /// Ciphers that do not exist, or cannot use a pre-shared key.
    #[cfg(feature = "tls-psk")]
    pub fn with_key(options: super::PskClientOptions<'_>) -> Result<Self, TlsConfigError> {
        Ok(Self {
            engine: ClientEngine::Key(super::psk::PskClient::new(options)?),
            unavailable: Unavailable::default(),
        })
    }

    /// Ciphers in the lists that OpenSSL has and this TLS has not.
    pub fn unavailable_ciphers(&self) -> &[String] {
        &self.unavailable
    }
}

/// What looks at servers' certificates.
fn verifier(
    options: &ClientTlsOptions<'_>,
    provider: &Arc<CryptoProvider>,
) -> Result<ServerVerifier, TlsConfigError> {
    let (mut anchors, certificates) = anchors(options.server_cas, |_, _| {})?;
    anchors.add_parsable_certificates(
        options
            .platform_cas
            .iter()
            .map(|ca| CertificateDer::from(ca.as_slice())),
    );
    let anchors = Arc::new(anchors);
    if anchors.is_empty() {
        return Err(TlsConfigError::Library(
            "no CA is set to verify the server with".into(),
        ));
    }
    let builder =
        || WebPkiServerVerifier::builder_with_provider(Arc::clone(&anchors), Arc::clone(provider));
    let mut lists = Vec::new();
    for file in options.revocation_lists {
        for entry in file.revocation_lists()? {
            let checked = builder().with_crls([entry.value.clone()]).build();
            checked.map_err(|error| {
                let why = error.to_string().into();
                file.error(Some(entry.line), FileProblem::RevocationList(why))
            })?;
            lists.push(entry.value);
        }
    }
    let algorithms = provider.signature_verification_algorithms;
    let issuers = Issuers::new(certificates, &lists, algorithms);
    let has_lists = !lists.is_empty();
    let inner: Arc<dyn ServerCertVerifier> = builder()
        .with_crls(lists)
        .only_check_end_entity_revocation()
        .enforce_revocation_expiration()
        .build()
        .map_err(|error| TlsConfigError::Library(error.to_string().into()))?;
    Ok(ServerVerifier {
        inner,
        issuers,
        algorithms,
        check: options.host_check,
        has_lists,
    })
}
