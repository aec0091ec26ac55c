//! The server's side of TLS, as a listener's options describe it.

use std::sync::Arc;

use ::aws_lc_rs::digest;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::version::{TLS12, TLS13};
use rustls::{Error, InconsistentKeys, RootCertStore, ServerConfig, SupportedProtocolVersion};
use x509_cert::certificate::Raw;
use x509_cert::crl::CertificateList;
use x509_cert::der::Decode;

use super::ciphers::{self, Unavailable};
use super::files::{Entry, FileProblem, PemFile, TlsConfigError};
use super::identity::CertificateInfo;
use super::keylog::{KeyLines, KeyLogger};
use super::sni::{Certificates, Named};
use super::tickets::{TicketKeys, Ticketer};
use super::verify::ClientVerifier;
use super::version1::Issuers;

/// What a record can carry, and its header, which the library counts as a part of it.
const RECORD_BYTES_MAX: usize = 16 * 1024;
const RECORD_HEADER_BYTES: usize = 5;

/// Names of CAs that clients are told, at most: a browser chooses a certificate by them, and with
/// hundreds they would be most of the handshake.
const HINTS_MAX: usize = 32;

/// What a listener's TLS is made of.
pub struct ServerTlsOptions<'a> {
    /// The certificates, at least one. The first is for clients that name no host, or an unknown one.
    pub certificates: &'a [ServerCertificate<'a>],
    /// Whether clients show certificates (`require_certificate`).
    pub client_certificates: ClientCertificates,
    /// Those who sign clients' certificates (`cafile`, and each file of `capath`).
    pub client_cas: &'a [PemFile<'a>],
    /// Revoked clients (`crlfile`). With any, a client's CA needs a list that has not expired.
    pub revocation_lists: &'a [PemFile<'a>],
    /// Takes clients' certificates and revocation lists without regard to their dates
    /// (`disable_client_cert_date_checks`).
    pub ignore_client_dates: bool,
    /// The oldest version that clients may use (`tls_version`).
    pub oldest_version: TlsVersion,
    /// The ciphers of TLS 1.2 in OpenSSL's language; `None` for all that there are.
    pub ciphers: Option<&'a str>,
    /// The ciphers of TLS 1.3 (`ciphers_tls1.3`).
    pub ciphers_tls13: Option<&'a str>,
    /// The protocols that clients may choose from by ALPN. Where there are none, what clients say is
    /// not looked at.
    pub protocols: &'a [&'a str],
    /// What a record carries, at most: for devices with little memory, which would ask for it by an
    /// extension (RFC 6066) that this TLS does not know. From 32 to 16,384; `None` for the latter.
    pub record_bytes_max: Option<usize>,
    /// What tickets are sealed with; to be shared by all listeners and kept over reloads.
    pub tickets: Arc<TicketKeys>,
    /// Gets the secrets of all connections.
    pub key_logger: Option<KeyLogger>,
    /// The wall clock, for the dates in certificates.
    pub time: Arc<dyn TimeProvider>,
}

/// A certificate with its key.
#[derive(Clone, Copy, Debug)]
pub struct ServerCertificate<'a> {
    /// The server's certificate, followed by those between it and the CA (`certfile`).
    pub chain: PemFile<'a>,
    /// Its private key (`keyfile`).
    pub key: PemFile<'a>,
}

/// Whether clients show certificates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientCertificates {
    /// They are not asked.
    #[default]
    NotAsked,
    /// They are asked and may have none; one that they have must be good.
    Optional,
    /// They must.
    Required,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// 1.2 (RFC 5246).
    #[default]
    V12,
    /// 1.3 (RFC 8446).
    V13,
}

impl TlsVersion {
    pub(super) fn and_newer(self) -> &'static [&'static SupportedProtocolVersion] {
        self.to(Self::V13)
    }

    /// This version up to `newest`, or this one alone.
    pub(super) fn to(self, newest: Self) -> &'static [&'static SupportedProtocolVersion] {
        static ALL: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];
        static ONLY_12: [&SupportedProtocolVersion; 1] = [&TLS12];
        static ONLY_13: [&SupportedProtocolVersion; 1] = [&TLS13];
        match (self, newest) {
            (Self::V12, Self::V13) => &ALL,
            (Self::V12, Self::V12) => &ONLY_12,
            (Self::V13, _) => &ONLY_13,
        }
    }
}

/// What does not last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expires {
    /// The file that it is in.
    pub file: Box<str>,
    /// What it is.
    pub item: ExpiringItem,
    /// Whose it is, as a distinguished name.
    pub subject: String,
    /// Seconds since 1970 after which it is no longer good.
    pub at: u64,
}

/// A kind of thing that does not last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpiringItem {
    /// The server's certificate or one above it.
    Certificate,
    /// A CA that signs clients' certificates.
    ClientCa,
    /// A revocation list, with the time at which the next one is due.
    RevocationList,
}

/// A listener's TLS, ready for connections.
pub struct ServerTls {
    pub(super) engine: Engine,
    expires: Vec<Expires>,
    unavailable: Unavailable,
}

/// What the connections of a listener are made from.
pub(super) enum Engine {
    Certificates {
        config: Arc<ServerConfig>,
        /// Resumed sessions are checked for certificates that have expired since.
        checks_dates: bool,
    },
    #[cfg(feature = "tls-psk")]
    Keys(super::psk::PskServer),
}

impl ServerTls {
    /// Reads and checks everything.
    ///
    /// # Errors
    /// What the operator has to mend, with the file, line or name concerned.
    pub fn new(options: &ServerTlsOptions<'_>) -> Result<Self, TlsConfigError> {
        let mut expires = Vec::new();
        let (provider, unavailable) = provider(
            options.ciphers,
            options.ciphers_tls13,
            options.oldest_version,
        )?;
        // The library gathers its entropy when it is first asked for some, which takes 30 ms: here, and not
        // in the middle of the first handshake.
        let gathered = provider.secure_random.fill(&mut [0; 32]);
        gathered.map_err(|_| TlsConfigError::Library("there is no entropy".into()))?;
        let provider = Arc::new(provider);
        let verifier = client_verifier(options, &provider, &mut expires)?;
        let mut all = Vec::new();
        for certificate in options.certificates {
            all.push(certificate.load(&provider, &mut expires)?);
        }
        if all.is_empty() {
            return Err(TlsConfigError::Library(
                "no server certificate is set".into(),
            ));
        }
        let time = Arc::clone(&options.time);
        let mut config = ServerConfig::builder_with_details(provider, time)
            .with_protocol_versions(options.oldest_version.and_newer())
            .map_err(library)?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(Certificates { all }));
        config.alpn_protocols = options
            .protocols
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        // Who writes a list down means its order.
        config.ignore_client_order = options.ciphers.is_some() || options.ciphers_tls13.is_some();
        config.max_fragment_size = options
            .record_bytes_max
            .map(|bytes| bytes.clamp(32, RECORD_BYTES_MAX) + RECORD_HEADER_BYTES);
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = Arc::new(Ticketer {
            keys: Arc::clone(&options.tickets),
            binding: options.binding(),
        });
        // An MQTT client has one connection, and gets a new ticket with each.
        config.send_tls13_tickets = 1;
        if let Some(logger) = &options.key_logger {
            config.key_log = Arc::new(KeyLines(Arc::clone(logger)));
        }
        Ok(Self {
            engine: Engine::Certificates {
                config: Arc::new(config),
                checks_dates: !options.ignore_client_dates,
            },
            expires,
            unavailable,
        })
    }

    /// TLS with pre-shared keys in the place of certificates. [`Tls::identity`](super::Tls::identity) tells
    /// whose key a client has.
    ///
    /// # Errors
    /// Ciphers that OpenSSL does not know, or a hint that is too long.
    #[cfg(feature = "tls-psk")]
    pub fn with_keys(options: super::PskOptions<'_>) -> Result<Self, TlsConfigError> {
        Ok(Self {
            engine: Engine::Keys(super::psk::PskServer::new(options)?),
            expires: Vec::new(),
            unavailable: Unavailable::new(),
        })
    }

    /// Whether clients have pre-shared keys, and so show in the handshake who they are.
    pub const fn uses_keys(&self) -> bool {
        !matches!(self.engine, Engine::Certificates { .. })
    }

    /// Everything in the files that expires.
    pub fn expires(&self) -> &[Expires] {
        &self.expires
    }

    /// Ciphers in the lists that OpenSSL has and this TLS has not.
    pub fn unavailable_ciphers(&self) -> &[String] {
        &self.unavailable
    }
}

impl<'a> ServerTlsOptions<'a> {
    /// What Mosquitto does where nothing else is said.
    pub const fn new(
        certificates: &'a [ServerCertificate<'a>],
        tickets: Arc<TicketKeys>,
        time: Arc<dyn TimeProvider>,
    ) -> Self {
        Self {
            certificates,
            client_certificates: ClientCertificates::NotAsked,
            client_cas: &[],
            revocation_lists: &[],
            ignore_client_dates: false,
            oldest_version: TlsVersion::V12,
            ciphers: None,
            ciphers_tls13: None,
            protocols: &[],
            record_bytes_max: None,
            tickets,
            key_logger: None,
            time,
        }
    }

    /// A digest of how clients are verified, for tickets to be good here and nowhere else.
    fn binding(&self) -> [u8; 32] {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(&[
            self.client_certificates as u8,
            u8::from(self.ignore_client_dates),
        ]);
        for files in [self.client_cas, self.revocation_lists] {
            context.update(&files.len().to_be_bytes());
            for file in files {
                context.update(&file.text.len().to_be_bytes());
                context.update(file.text);
            }
        }
        let mut binding = [0; 32];
        for (place, byte) in binding.iter_mut().zip(context.finish().as_ref()) {
            *place = *byte;
        }
        binding
    }
}

/// The ciphers of both lists, as a provider of cryptography.
pub(super) fn provider(
    tls12: Option<&str>,
    tls13: Option<&str>,
    oldest: TlsVersion,
) -> Result<(CryptoProvider, Unavailable), TlsConfigError> {
    let (mut cipher_suites, mut unavailable) = match tls13 {
        Some(list) => ciphers::tls13(list)?,
        None => (ciphers::all_tls13(), Unavailable::new()),
    };
    if let Some(list) = tls13.filter(|_| cipher_suites.is_empty()) {
        return Err(TlsConfigError::NoCipherLeft(list.into()));
    }
    let (suites, more) = match tls12 {
        Some(list) => ciphers::tls12(list)?,
        None => (ciphers::all_tls12(), Unavailable::new()),
    };
    if let Some(list) = tls12.filter(|_| suites.is_empty() && oldest == TlsVersion::V12) {
        return Err(TlsConfigError::NoCipherLeft(list.into()));
    }
    cipher_suites.extend(suites);
    unavailable.extend(more);
    let provider = CryptoProvider {
        cipher_suites,
        ..aws_lc_rs::default_provider()
    };
    Ok((provider, unavailable))
}

/// The anchors in `files`, in the form of the library and as they are.
pub(super) fn anchors(
    files: &[PemFile<'_>],
    mut seen: impl FnMut(&PemFile<'_>, CertificateInfo),
) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), TlsConfigError> {
    let mut anchors = RootCertStore::empty();
    let mut certificates = Vec::new();
    for file in files {
        for Entry { line, value } in file.certificates()? {
            if let Ok(info) = CertificateInfo::read(&value) {
                seen(file, info);
            }
            certificates.push(value.clone());
            anchors.add(value).map_err(|error| {
                let why = error.to_string().into();
                file.error(Some(line), FileProblem::Certificate(why))
            })?;
        }
    }
    Ok((anchors, certificates))
}

fn client_verifier(
    options: &ServerTlsOptions<'_>,
    provider: &Arc<CryptoProvider>,
    expires: &mut Vec<Expires>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsConfigError> {
    // Faulty files are found even where nobody needs them yet.
    let (anchors, certificates) = anchors(options.client_cas, |file, info| {
        expires.push(Expires {
            file: file.name.into(),
            item: ExpiringItem::ClientCa,
            subject: info.subject,
            at: info.not_after,
        });
    })?;
    let anchors = Arc::new(anchors);
    if options.client_certificates == ClientCertificates::NotAsked {
        return Ok(WebPkiClientVerifier::no_client_auth());
    }
    if anchors.is_empty() {
        return Err(TlsConfigError::NoClientCa);
    }
    let builder =
        || WebPkiClientVerifier::builder_with_provider(Arc::clone(&anchors), Arc::clone(provider));
    let mut lists = Vec::new();
    for file in options.revocation_lists {
        for Entry { line, value } in file.revocation_lists()? {
            // One at a time, to tell which is wrong.
            builder()
                .with_crls([value.clone()])
                .build()
                .map_err(|error| {
                    let why = error.to_string().into();
                    file.error(Some(line), FileProblem::RevocationList(why))
                })?;
            expires.extend(revocation_list_expires(file, &value));
            lists.push(value);
        }
    }
    let algorithms = provider.signature_verification_algorithms;
    let issuers = Issuers::new(certificates, &lists, algorithms);
    let has_lists = !lists.is_empty();
    // As Mosquitto asks OpenSSL: the client's own certificate is looked for, not its CA's.
    let mut builder = builder()
        .with_crls(lists)
        .only_check_end_entity_revocation();
    if !options.ignore_client_dates {
        builder = builder.enforce_revocation_expiration();
    }
    if options.client_certificates == ClientCertificates::Optional {
        builder = builder.allow_unauthenticated();
    }
    if anchors.len() > HINTS_MAX {
        builder = builder.clear_root_hint_subjects();
    }
    let inner = builder
        .build()
        .map_err(|error| TlsConfigError::Library(error.to_string().into()))?;
    Ok(Arc::new(ClientVerifier {
        inner,
        issuers,
        algorithms,
        ignores_dates: options.ignore_client_dates,
        has_lists,
    }))
}

fn revocation_list_expires(
    file: &PemFile<'_>,
    list: &CertificateRevocationListDer<'_>,
) -> Option<Expires> {
    let list = CertificateList::<Raw>::from_der(list).ok()?;
    Some(Expires {
        file: file.name.into(),
        item: ExpiringItem::RevocationList,
        subject: super::distinguished::rfc2253(&list.tbs_cert_list.issuer),
        at: list.tbs_cert_list.next_update?.to_unix_duration().as_secs(),
    })
}

impl ServerCertificate<'_> {
    fn load(
        &self,
        provider: &CryptoProvider,
        expires: &mut Vec<Expires>,
    ) -> Result<Named, TlsConfigError> {
        let chain = self.chain.certificates()?;
        let mut hosts = Vec::new();
        for (index, entry) in chain.iter().enumerate() {
            let info = CertificateInfo::read(&entry.value).map_err(|error| {
                let why = error.0.into();
                self.chain
                    .error(Some(entry.line), FileProblem::Certificate(why))
            })?;
            if index == 0 {
                hosts = info.host_names();
            }
            expires.push(Expires {
                file: self.chain.name.into(),
                item: ExpiringItem::Certificate,
                subject: info.subject,
                at: info.not_after,
            });
        }
        let chain = chain.into_iter().map(|entry| entry.value).collect();
        let key = certified_key(chain, &self.chain, &self.key, provider)?;
        Ok(Named {
            hosts,
            key: Arc::new(key),
        })
    }
}

/// A chain with its key, which must fit.
pub(super) fn certified_key(
    chain: Vec<CertificateDer<'static>>,
    chain_file: &PemFile<'_>,
    key_file: &PemFile<'_>,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsConfigError> {
    let Entry { line, value } = key_file.key()?;
    let key = provider
        .key_provider
        .load_private_key(value)
        .map_err(|error| {
            let why = error.to_string().into();
            key_file.error(Some(line), FileProblem::Key(why))
        })?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            Err(key_file.error(Some(line), FileProblem::KeyMismatch(chain_file.name.into())))
        }
        // A certificate that the library cannot look into may still be sent: version 1 of X.509.
        Ok(()) | Err(_) => Ok(certified),
    }
}

pub(super) fn library(error: Error) -> TlsConfigError {
    TlsConfigError::Library(error.to_string().into())
}
