//! Certificates for tests, and a clock that stands still.

use std::sync::Arc;
use std::time::Duration;

use midge_transport::tls::{
    ClientTls, ClientTlsOptions, PemFile, ServerCertificate, ServerTls, ServerTlsOptions,
    TicketKeys, TimeProvider, TlsConfigError,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    DnValue, ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::pki_types::UnixTime;

/// The middle of 2030, when all tests take place.
pub(crate) const NOW: u64 = 1_909_000_000;

#[derive(Debug)]
pub(crate) struct At(pub(crate) u64);

impl TimeProvider for At {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(self.0)))
    }
}

/// A certificate with its key, as text.
pub(crate) struct Identity {
    pub(crate) chain: String,
    pub(crate) key: String,
}

impl Identity {
    pub(crate) fn files(&self) -> ServerCertificate<'_> {
        ServerCertificate {
            chain: file("server.pem", &self.chain),
            key: file("server.key", &self.key),
        }
    }
}

pub(crate) fn file<'a>(name: &'a str, text: &'a str) -> PemFile<'a> {
    PemFile {
        name,
        text: text.as_bytes(),
    }
}

/// A CA, whose certificates are valid from 2020 to 2040.
pub(crate) struct Ca {
    pub(crate) issuer: CertifiedIssuer<'static, KeyPair>,
}

fn ca_params(name: &str) -> CertificateParams {
    let mut params = params(name, &[]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

pub(crate) fn params(name: &str, hosts: &[&str]) -> CertificateParams {
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut params = CertificateParams::new(hosts).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    // As OpenSSL encodes it.
    let country = DnValue::PrintableString("DE".try_into().unwrap());
    params.distinguished_name.push(DnType::CountryName, country);
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2040, 1, 1);
    params
}

impl Ca {
    pub(crate) fn new(name: &str) -> Self {
        let issuer = CertifiedIssuer::self_signed(ca_params(name), KeyPair::generate().unwrap());
        Self {
            issuer: issuer.unwrap(),
        }
    }

    /// A CA that this one has signed.
    pub(crate) fn below(&self, name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::signed_by(ca_params(name), key, &self.issuer);
        Self {
            issuer: issuer.unwrap(),
        }
    }

    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    pub(crate) fn sign(&self, params: &CertificateParams) -> Identity {
        let key = KeyPair::generate().unwrap();
        Identity {
            chain: params.signed_by(&key, &self.issuer).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }

    /// A server for these hosts.
    pub(crate) fn server(&self, hosts: &[&str]) -> Identity {
        self.sign(&params("server", hosts))
    }

    pub(crate) fn client(&self, name: &str, serial: u64) -> Identity {
        let mut params = params(name, &[]);
        params.serial_number = Some(serial.into());
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(&params)
    }

    /// A list of revoked serial numbers that is to be renewed in this year.
    pub(crate) fn revokes(&self, serials: &[u64], next_year: i32) -> String {
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(next_year, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}

pub(crate) fn server_options<'a>(
    certificates: &'a [ServerCertificate<'a>],
) -> ServerTlsOptions<'a> {
    let tickets = Arc::new(TicketKeys::new(&[[9; 32]], 3600));
    ServerTlsOptions::new(certificates, tickets, Arc::new(At(NOW)))
}

/// A server for `localhost`, changed by `change`.
pub(crate) fn server_with(
    ca: &Ca,
    change: impl FnOnce(&mut ServerTlsOptions<'_>),
) -> Result<ServerTls, TlsConfigError> {
    let identity = ca.server(&["localhost"]);
    let certificates = [identity.files()];
    let mut options = server_options(&certificates);
    change(&mut options);
    ServerTls::new(&options)
}

pub(crate) fn server(ca: &Ca) -> ServerTls {
    server_with(ca, |_| {}).unwrap()
}

/// A client that trusts `ca`.
pub(crate) fn client_options<'a>(cas: &'a [PemFile<'a>]) -> ClientTlsOptions<'a> {
    ClientTlsOptions::new(cas, Arc::new(At(NOW)))
}

pub(crate) fn client(ca: &Ca) -> ClientTls {
    let pem = ca.pem();
    ClientTls::new(&client_options(&[file("ca.pem", &pem)])).unwrap()
}
