//! Certificates of X.509 version 1, as OpenSSL 3.0 makes them by the instructions in Mosquitto's manual:
//! `openssl x509 -req -CA ca.pem -CAkey ca.key`. All are valid in 2030 but the one called old.

use std::sync::Arc;

use midge_transport::tls::{
    CertificateFault, ClientCertificates, ClientTls, ClientTlsOptions, HostCheck, PemFile,
    ServerTls, ServerTlsOptions, Tls, TlsError,
};
use rustls::SupportedProtocolVersion;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{Connection, ServerConfig, ServerConnection};

use super::pki::{At, Ca, Identity, NOW, client_options, file, server_options};
use super::tls_peer::{assert_greeted, config, connect, greet};

const CA: &str = include_str!("version1/ca.pem");
const REVOKED: &str = include_str!("version1/crl.pem");

macro_rules! identity {
    ($name:literal) => {
        Identity {
            chain: include_str!(concat!("version1/", $name, ".pem")).to_owned(),
            key: include_str!(concat!("version1/", $name, ".key")).to_owned(),
        }
    };
}

/// What our server finds wrong with a client, in both versions of TLS.
fn fault(
    cas: &[PemFile<'_>],
    lists: &[PemFile<'_>],
    ignore_client_dates: bool,
    identity: &Identity,
) -> Option<CertificateFault> {
    let ours = Ca::new("CA");
    let server_identity = ours.server(&["localhost"]);
    let certificates = [server_identity.files()];
    let server = ServerTls::new(&ServerTlsOptions {
        client_certificates: ClientCertificates::Required,
        client_cas: cas,
        revocation_lists: lists,
        ignore_client_dates,
        ..server_options(&certificates)
    });
    let server = server.unwrap();
    let versions: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];
    let mut faults = versions.map(|version| {
        let config = Arc::new(config(&ours, Some(identity), &[version]));
        let mut tls = Tls::accept(&server).unwrap();
        let mut peer = connect(&config, "localhost");
        let talk = greet(&mut tls, &mut peer, &mut Vec::new());
        match talk.error {
            Some(TlsError::Certificate(fault)) => Some(fault),
            None => {
                assert_greeted(&talk);
                assert!(tls.peer_certificate().unwrap().is_ok());
                None
            }
            Some(error) => panic!("{error}"),
        }
    });
    assert_eq!(faults[0], faults[1], "in both versions");
    faults[0].take()
}

#[test]
fn clients_whose_ca_is_trusted_are_let_in() {
    let cas = [file("ca.pem", CA)];
    assert_eq!(fault(&cas, &[], false, &identity!("device")), None);
    assert_eq!(fault(&cas, &[], false, &identity!("ec")), None);
}

#[test]
fn clients_of_other_cas_are_not() {
    let other = Ca::new("CA").pem();
    let unknown = Some(CertificateFault::UnknownCa);
    assert_eq!(
        fault(&[file("o", &other)], &[], false, &identity!("device")),
        unknown
    );
    // One of the same name has not signed it.
    let impostor = Ca::new("Tutorial CA").pem();
    let bad = Some(CertificateFault::BadSignature);
    assert_eq!(
        fault(&[file("o", &impostor)], &[], false, &identity!("device")),
        bad
    );
}

#[test]
fn a_changed_certificate_is_refused() {
    let cas = [file("ca.pem", CA)];
    let mut changed = identity!("device");
    let der = CertificateDer::from_pem_slice(changed.chain.as_bytes()).unwrap();
    let mut bytes = der.to_vec();
    let at = bytes.windows(6).position(|part| part == b"device").unwrap();
    bytes[at] = b'D';
    changed.chain = pem(&bytes);
    let bad = Some(CertificateFault::BadSignature);
    assert_eq!(fault(&cas, &[], false, &changed), bad);
}

fn pem(bytes: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(bytes);
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}

#[test]
fn dates_and_revocation_lists_count() {
    let cas = [file("ca.pem", CA)];
    let lists = [file("crl.pem", REVOKED)];
    let expired = Some(CertificateFault::Expired);
    assert_eq!(fault(&cas, &[], false, &identity!("old")), expired);
    assert_eq!(fault(&cas, &[], true, &identity!("old")), None);
    let revoked = Some(CertificateFault::Revoked);
    assert_eq!(fault(&cas, &lists, false, &identity!("lost")), revoked);
    assert_eq!(fault(&cas, &lists, true, &identity!("lost")), revoked);
    assert_eq!(fault(&cas, &lists, false, &identity!("device")), None);
    let other = Ca::new("CA").revokes(&[], 2035);
    let none = Some(CertificateFault::NoRevocationList);
    assert_eq!(
        fault(
            &cas,
            &[file("crl.pem", &other)],
            false,
            &identity!("device")
        ),
        none
    );
}

/// What our client finds wrong with a server of version 1.
fn server_fault(host_check: HostCheck, host: &str) -> Option<CertificateFault> {
    let identity = identity!("broker");
    let provider = aws_lc_rs::default_provider();
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
    let key = provider.key_provider.load_private_key(key).unwrap();
    let chain = vec![CertificateDer::from_pem_slice(identity.chain.as_bytes()).unwrap()];
    let resolver = SingleCertAndKey::from(CertifiedKey::new(chain, key));
    let config = ServerConfig::builder_with_details(Arc::new(provider), Arc::new(At(NOW)))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(WebPkiClientVerifier::no_client_auth())
        .with_cert_resolver(Arc::new(resolver));
    let cas = [file("ca.pem", CA)];
    let client = ClientTls::new(&ClientTlsOptions {
        host_check,
        ..client_options(&cas)
    });
    let mut wire = Vec::new();
    let mut ours = Tls::connect(&client.unwrap(), host, &mut wire).unwrap();
    let mut peer = Connection::Server(ServerConnection::new(Arc::new(config)).unwrap());
    let talk = greet(&mut ours, &mut peer, &mut wire);
    match talk.error {
        Some(TlsError::Certificate(fault)) => Some(fault),
        None => {
            assert_greeted(&talk);
            None
        }
        Some(error) => panic!("{error}"),
    }
}

#[test]
fn a_server_is_known_by_its_common_name_where_that_counts() {
    assert_eq!(server_fault(HostCheck::CommonName, "broker.example"), None);
    assert_eq!(server_fault(HostCheck::None, "other.example"), None);
    let wrong = server_fault(HostCheck::CommonName, "other.example");
    assert!(
        matches!(wrong, Some(CertificateFault::WrongHost(_))),
        "{wrong:?}"
    );
    let strict = server_fault(HostCheck::AlternativeNames, "broker.example");
    assert!(
        matches!(strict, Some(CertificateFault::WrongHost(_))),
        "{strict:?}"
    );
}

#[test]
fn our_server_may_have_one_itself() {
    let identity = identity!("broker");
    let certificates = [identity.files()];
    assert!(ServerTls::new(&server_options(&certificates)).is_ok());
}
