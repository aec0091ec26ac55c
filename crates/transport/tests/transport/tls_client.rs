//! Our client, servers of rustls.

use std::sync::Arc;

use midge_transport::tls::{
    CertificateFault, ClientTls, ClientTlsOptions, HostCheck, ServerCertificate, Tls,
    TlsConfigError, TlsError,
};
use rcgen::{BasicConstraints, IsCa, KeyPair, date_time_ymd};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{Connection, RootCertStore, ServerConfig, ServerConnection};

use super::pki::{At, Ca, Identity, NOW, client_options, file, params};
use super::tls_peer::{Talk, assert_greeted, greet};

/// A server of rustls' own; it asks for certificates of `clients`.
fn peer(identity: &Identity, clients: Option<&Ca>) -> ServerConfig {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = match clients {
        None => WebPkiClientVerifier::no_client_auth(),
        Some(ca) => {
            let mut roots = RootCertStore::empty();
            roots.add(ca.issuer.der().clone()).unwrap();
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()
                .unwrap()
        }
    };
    let chain = CertificateDer::pem_slice_iter(identity.chain.as_bytes());
    let chain = chain.collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
    ServerConfig::builder_with_details(provider, Arc::new(At(NOW)))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .unwrap()
}

fn visit(client: &ClientTls, host: &str, config: ServerConfig) -> (Tls, Connection, Talk) {
    let mut wire = Vec::new();
    let mut ours = Tls::connect(client, host, &mut wire).unwrap();
    let server = ServerConnection::new(Arc::new(config)).unwrap();
    let mut peer = Connection::Server(server);
    let talk = greet(&mut ours, &mut peer, &mut wire);
    (ours, peer, talk)
}

fn client(ca: &Ca, change: impl FnOnce(&mut ClientTlsOptions<'_>)) -> ClientTls {
    let pem = ca.pem();
    let cas = [file("ca.pem", &pem)];
    let mut options = client_options(&cas);
    change(&mut options);
    ClientTls::new(&options).unwrap()
}

fn fault(client: &ClientTls, host: &str, identity: &Identity) -> Option<CertificateFault> {
    let (_, _, talk) = visit(client, host, peer(identity, None));
    match talk.error.clone() {
        Some(TlsError::Certificate(fault)) => {
            assert!(talk.peer_error.is_some(), "the peer is told");
            Some(fault)
        }
        other => {
            assert_eq!(other, None);
            assert_greeted(&talk);
            None
        }
    }
}

#[test]
fn a_good_server_is_talked_to_by_name_and_by_address() {
    let ca = Ca::new("CA");
    let client = client(&ca, |_| {});
    let identity = ca.server(&["broker.example", "192.0.2.1", "2001:db8::1"]);
    for host in [
        "broker.example",
        "192.0.2.1",
        "2001:db8::1",
        "[2001:db8::1]",
    ] {
        assert_eq!(fault(&client, host, &identity), None, "{host}");
    }
    let mut wire = Vec::new();
    let bad = Tls::connect(&client, "no host", &mut wire).err();
    assert_eq!(bad, Some(TlsConfigError::HostName("no host".into())));
}

#[test]
fn a_bad_server_is_refused_with_the_reason() {
    let ca = Ca::new("CA");
    let client = client(&ca, |_| {});
    let other = Ca::new("other CA").server(&["broker.example"]);
    let unknown = Some(CertificateFault::UnknownCa);
    assert_eq!(fault(&client, "broker.example", &other), unknown);
    let elsewhere = ca.server(&["other.example"]);
    let Some(CertificateFault::WrongHost(names)) = fault(&client, "broker.example", &elsewhere)
    else {
        panic!("another host's certificate");
    };
    assert!(names[0].contains("other.example"), "{names:?}");
    let mut old = params("server", &["broker.example"]);
    old.not_after = date_time_ymd(2025, 1, 1);
    let expired = Some(CertificateFault::Expired);
    assert_eq!(fault(&client, "broker.example", &ca.sign(&old)), expired);
}

#[test]
fn revoked_servers_are_refused() {
    let ca = Ca::new("CA");
    let list = ca.revokes(&[7], 2035);
    let pem = ca.pem();
    let (cas, lists) = ([file("ca.pem", &pem)], [file("crl.pem", &list)]);
    let client = ClientTls::new(&ClientTlsOptions {
        revocation_lists: &lists,
        ..client_options(&cas)
    });
    let mut lost = params("server", &["localhost"]);
    lost.serial_number = Some(7_u64.into());
    let revoked = Some(CertificateFault::Revoked);
    assert_eq!(
        fault(&client.unwrap(), "localhost", &ca.sign(&lost)),
        revoked
    );
}

#[test]
fn insecure_means_another_name_and_nothing_else() {
    let ca = Ca::new("CA");
    let insecure = client(&ca, |options| options.host_check = HostCheck::None);
    let elsewhere = ca.server(&["other.example"]);
    assert_eq!(fault(&insecure, "broker.example", &elsewhere), None);
    let other = Ca::new("other CA").server(&["broker.example"]);
    let unknown = Some(CertificateFault::UnknownCa);
    assert_eq!(fault(&insecure, "broker.example", &other), unknown);
    let mut old = params("server", &["other.example"]);
    old.not_after = date_time_ymd(2025, 1, 1);
    let expired = Some(CertificateFault::Expired);
    assert_eq!(fault(&insecure, "broker.example", &ca.sign(&old)), expired);
}

#[test]
fn a_common_name_counts_where_wanted_and_alone() {
    let ca = Ca::new("CA");
    let named = ca.sign(&params("broker.example", &[]));
    let strict = client(&ca, |_| {});
    let refused = fault(&strict, "broker.example", &named);
    assert!(matches!(refused, Some(CertificateFault::WrongHost(_))));
    let lenient = client(&ca, |options| options.host_check = HostCheck::CommonName);
    assert_eq!(fault(&lenient, "broker.example", &named), None);
    assert!(fault(&lenient, "other.example", &named).is_some());
    let both = ca.sign(&params("broker.example", &["other.example"]));
    assert!(fault(&lenient, "broker.example", &both).is_some());
    assert_eq!(fault(&lenient, "other.example", &both), None);
}

/// What `openssl req -x509` makes: a CA that is a server.
fn signed_by_itself(not_after: i32) -> (Identity, String) {
    let mut own = params("broker.example", &["broker.example"]);
    own.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    own.not_after = date_time_ymd(not_after, 1, 1);
    let key = KeyPair::generate().unwrap();
    let chain = own.self_signed(&key).unwrap().pem();
    let identity = Identity {
        chain: chain.clone(),
        key: key.serialize_pem(),
    };
    (identity, chain)
}

#[test]
fn a_server_that_is_its_own_ca_is_known_byte_for_byte() {
    let (identity, pem) = signed_by_itself(2040);
    let client = ClientTls::new(&client_options(&[file("broker.pem", &pem)])).unwrap();
    assert_eq!(fault(&client, "broker.example", &identity), None);
    let wrong = fault(&client, "other.example", &identity);
    assert!(
        matches!(wrong, Some(CertificateFault::WrongHost(_))),
        "{wrong:?}"
    );
    let (other, _) = signed_by_itself(2040);
    let is_ca = Some(CertificateFault::IsCa);
    assert_eq!(fault(&client, "broker.example", &other), is_ca);
    let (old, pem) = signed_by_itself(2025);
    let client = ClientTls::new(&client_options(&[file("broker.pem", &pem)])).unwrap();
    let expired = Some(CertificateFault::Expired);
    assert_eq!(fault(&client, "broker.example", &old), expired);
}

#[test]
fn a_client_shows_its_certificate() {
    let ca = Ca::new("CA");
    let identity = ca.client("device", 3);
    let with = client(&ca, |_| {});
    let pem = ca.pem();
    let cas = [file("ca.pem", &pem)];
    let shown = ClientTls::new(&ClientTlsOptions {
        certificate: Some(ServerCertificate {
            chain: file("device.pem", &identity.chain),
            key: file("device.key", &identity.key),
        }),
        ..client_options(&cas)
    });
    let config = || peer(&ca.server(&["localhost"]), Some(&ca));
    let (_, _, talk) = visit(&shown.unwrap(), "localhost", config());
    assert_greeted(&talk);
    let (_, _, talk) = visit(&with, "localhost", config());
    let error = talk.error.unwrap().to_string();
    assert!(error.contains("requires a certificate"), "{error}");
}

#[test]
fn sessions_are_resumed_and_protocols_offered() {
    let ca = Ca::new("CA");
    let client = client(&ca, |options| options.protocols = &["mqtt"]);
    let mut config = peer(&ca.server(&["localhost"]), None);
    config.alpn_protocols = vec![b"mqtt".to_vec()];
    for resumed in [false, true] {
        let (ours, _, talk) = visit(&client, "localhost", config.clone());
        assert_greeted(&talk);
        let info = ours.info().unwrap();
        assert_eq!(info.resumed, resumed);
        assert_eq!(info.protocol.as_deref(), Some(b"mqtt".as_slice()));
    }
}

#[test]
fn a_server_that_speaks_no_tls_is_named() {
    let ca = Ca::new("CA");
    let client = client(&ca, |_| {});
    let mut ours = Tls::connect(&client, "localhost", &mut Vec::new()).unwrap();
    let mut answer = b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec();
    let error = ours.receive(&mut answer, &mut Vec::new(), &mut Vec::new());
    assert!(matches!(error, Err(TlsError::NotTls(_))), "{error:?}");
}

#[test]
fn the_platforms_cas_are_trusted_and_what_is_none_is_passed_over() {
    let ca = Ca::new("CA");
    let platform = [b"none".to_vec(), ca.issuer.der().to_vec()];
    let client = ClientTls::new(&ClientTlsOptions {
        platform_cas: &platform,
        ..client_options(&[])
    });
    assert_eq!(
        fault(&client.unwrap(), "localhost", &ca.server(&["localhost"])),
        None
    );
}

#[test]
fn a_client_needs_somebody_to_trust() {
    assert!(ClientTls::new(&client_options(&[])).is_err());
}
