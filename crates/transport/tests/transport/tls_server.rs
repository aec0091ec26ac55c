//! Our server, clients of rustls.

use std::sync::{Arc, Mutex};

use midge_transport::Looks;
use midge_transport::tls::{
    CertificateFault, ClientCertificates, ExpiringItem, FileProblem, ServerTls, ServerTlsOptions,
    TicketKeys, Tls, TlsConfigError, TlsError, TlsVersion,
};
use rcgen::{DnType, DnValue, ExtendedKeyUsagePurpose, KeyPair, PKCS_ED25519, date_time_ymd};
use rustls::client::Resumption;
use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, ClientConfig, Connection, SupportedProtocolVersion};

use super::pki::{
    At, Ca, Identity, NOW, client, file, params, server, server_options, server_with,
};
use super::tls_peer::{Talk, assert_greeted, config, connect, greet, talk};

const BOTH: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// What comes of a client with this configuration at this server.
fn visit(server: &ServerTls, config: ClientConfig) -> (Tls, Connection, Talk) {
    visit_again(server, &Arc::new(config))
}

fn visit_again(server: &ServerTls, config: &Arc<ClientConfig>) -> (Tls, Connection, Talk) {
    let mut ours = Tls::accept(server).unwrap();
    let mut peer = connect(config, "localhost");
    let talk = greet(&mut ours, &mut peer, &mut Vec::new());
    (ours, peer, talk)
}

#[test]
fn both_versions_carry_bytes_and_say_what_was_agreed_on() {
    let ca = Ca::new("CA");
    let server = server(&ca);
    for (version, name, cipher) in [
        (&TLS12, "TLSv1.2", "ECDHE-ECDSA-AES256-GCM-SHA384"),
        (&TLS13, "TLSv1.3", "TLS_AES_256_GCM_SHA384"),
    ] {
        let (ours, _, talk) = visit(&server, config(&ca, None, &[version]));
        assert_greeted(&talk);
        let info = ours.info().unwrap();
        assert_eq!((info.version, info.cipher), (name, cipher));
        assert!(!info.resumed && info.protocol.is_none());
        assert!(ours.peer_certificate().is_none());
    }
}

#[test]
fn the_oldest_version_is_a_minimum() {
    let ca = Ca::new("CA");
    let server = server_with(&ca, |options| {
        options.oldest_version = TlsVersion::V13;
    });
    let server = server.unwrap();
    let (_, _, talk) = visit(&server, config(&ca, None, &BOTH));
    assert_greeted(&talk);
    let (_, _, talk) = visit(&server, config(&ca, None, &[&TLS12]));
    assert_eq!(talk.error, Some(TlsError::NoSharedVersion));
    let alert = rustls::Error::AlertReceived(AlertDescription::ProtocolVersion);
    assert_eq!(talk.peer_error, Some(alert));
}

#[test]
fn a_list_of_ciphers_is_obeyed_in_its_order() {
    let ca = Ca::new("CA");
    let server = server_with(&ca, |options| {
        options.ciphers = Some("ECDHE-ECDSA-AES128-GCM-SHA256:AES128-SHA:@SECLEVEL=1");
        options.ciphers_tls13 = Some("TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256");
    });
    let server = server.unwrap();
    assert_eq!(server.unavailable_ciphers(), ["AES128-SHA"]);
    for (version, cipher) in [
        (&TLS12, "ECDHE-ECDSA-AES128-GCM-SHA256"),
        (&TLS13, "TLS_CHACHA20_POLY1305_SHA256"),
    ] {
        let (ours, _, talk) = visit(&server, config(&ca, None, &[version]));
        assert_greeted(&talk);
        assert_eq!(ours.info().unwrap().cipher, cipher);
    }
}

#[test]
fn ciphers_that_nobody_has_in_common_are_named_as_the_reason() {
    let ca = Ca::new("CA");
    // The key is not RSA.
    let server = server_with(&ca, |options| {
        options.ciphers = Some("ECDHE-RSA-AES128-GCM-SHA256");
    });
    let (_, _, talk) = visit(&server.unwrap(), config(&ca, None, &[&TLS12]));
    assert_eq!(talk.error, Some(TlsError::NoSharedCipher));
}

#[test]
fn unknown_ciphers_and_lists_of_none_are_refused_by_name() {
    let ca = Ca::new("CA");
    for (tls12, tls13, expected) in [
        (
            Some("ECDHE-RSA-AES256-GCM-SHA348"),
            None,
            TlsConfigError::UnknownCipher("ECDHE-RSA-AES256-GCM-SHA348".into()),
        ),
        (
            Some("AES128-SHA:RC4"),
            None,
            TlsConfigError::NoCipherLeft("AES128-SHA:RC4".into()),
        ),
        (
            None,
            Some("TLS_AES_256_GCM"),
            TlsConfigError::UnknownCipher("TLS_AES_256_GCM".into()),
        ),
        (
            None,
            Some("TLS_AES_128_CCM_SHA256"),
            TlsConfigError::NoCipherLeft("TLS_AES_128_CCM_SHA256".into()),
        ),
    ] {
        let server = server_with(&ca, |options| {
            options.ciphers = tls12;
            options.ciphers_tls13 = tls13;
        });
        assert_eq!(server.err(), Some(expected));
    }
}

/// A server that asks for certificates.
fn asking(
    ca: &Ca,
    clients: ClientCertificates,
    lists: &[&str],
    ignore_dates: bool,
) -> Result<ServerTls, TlsConfigError> {
    let pem = ca.pem();
    let cas = [file("ca.pem", &pem)];
    let lists: Vec<_> = lists.iter().map(|list| file("crl.pem", list)).collect();
    let identity = ca.server(&["localhost"]);
    let certificates = [identity.files()];
    ServerTls::new(&ServerTlsOptions {
        client_certificates: clients,
        client_cas: &cas,
        revocation_lists: &lists,
        ignore_client_dates: ignore_dates,
        ..server_options(&certificates)
    })
}

fn fault(server: &ServerTls, ca: &Ca, identity: Option<&Identity>) -> Option<CertificateFault> {
    let mut faults = BOTH.map(|version| {
        let (_, _, talk) = visit(server, config(ca, identity, &[version]));
        match talk.error {
            Some(TlsError::Certificate(fault)) => {
                assert!(talk.peer_error.is_some(), "the peer is told");
                Some(fault)
            }
            None => {
                assert_greeted(&talk);
                None
            }
            Some(error) => panic!("{error}"),
        }
    });
    assert_eq!(faults[0], faults[1], "in both versions");
    faults[0].take()
}

#[test]
fn a_certificate_that_is_required_must_be_there_and_good() {
    let ca = Ca::new("CA");
    let other = Ca::new("other CA");
    let server = asking(&ca, ClientCertificates::Required, &[], false).unwrap();
    assert_eq!(fault(&server, &ca, Some(&ca.client("device", 1))), None);
    assert_eq!(fault(&server, &ca, None), Some(CertificateFault::Missing));
    let stranger = other.client("device", 1);
    let unknown = Some(CertificateFault::UnknownCa);
    assert_eq!(fault(&server, &ca, Some(&stranger)), unknown);
    let mut old = params("device", &[]);
    old.not_after = date_time_ymd(2025, 1, 1);
    let expired = Some(CertificateFault::Expired);
    assert_eq!(fault(&server, &ca, Some(&ca.sign(&old))), expired);
    let mut young = params("device", &[]);
    young.not_before = date_time_ymd(2035, 1, 1);
    let not_yet = Some(CertificateFault::NotYetValid);
    assert_eq!(fault(&server, &ca, Some(&ca.sign(&young))), not_yet);
    let mut purpose = params("device", &[]);
    purpose.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let wrong = Some(CertificateFault::WrongPurpose);
    assert_eq!(fault(&server, &ca, Some(&ca.sign(&purpose))), wrong);
}

#[test]
fn a_certificate_that_is_optional_may_be_missing_but_not_bad() {
    let ca = Ca::new("CA");
    let server = asking(&ca, ClientCertificates::Optional, &[], false).unwrap();
    assert_eq!(fault(&server, &ca, None), None);
    assert_eq!(fault(&server, &ca, Some(&ca.client("device", 1))), None);
    let stranger = Ca::new("other CA").client("device", 1);
    let unknown = Some(CertificateFault::UnknownCa);
    assert_eq!(fault(&server, &ca, Some(&stranger)), unknown);
}

#[test]
fn a_client_that_is_its_own_ca_is_known_byte_for_byte() {
    let ca = Ca::new("device");
    let server = asking(&ca, ClientCertificates::Required, &[], false).unwrap();
    let own = Identity {
        chain: ca.pem(),
        key: ca.issuer.key().serialize_pem(),
    };
    assert_eq!(fault(&server, &ca, Some(&own)), None);
    let other = Ca::new("device");
    let own = Identity {
        chain: other.pem(),
        key: other.issuer.key().serialize_pem(),
    };
    let is_ca = Some(CertificateFault::IsCa);
    assert_eq!(fault(&server, &ca, Some(&own)), is_ca);
}

#[test]
fn a_chain_over_several_cas_is_followed() {
    let root = Ca::new("root");
    let middle = root.below("middle");
    let server = asking(&root, ClientCertificates::Required, &[], false).unwrap();
    let mut device = middle.client("device", 1);
    let unknown = Some(CertificateFault::UnknownCa);
    assert_eq!(fault(&server, &root, Some(&device)), unknown);
    device.chain += &middle.pem();
    assert_eq!(fault(&server, &root, Some(&device)), None);
}

#[test]
fn revoked_clients_are_refused_and_lists_must_be_there_and_fresh() {
    let ca = Ca::new("CA");
    let required = ClientCertificates::Required;
    let list = ca.revokes(&[7], 2035);
    let server = asking(&ca, required, &[&list], false).unwrap();
    let revoked = ca.client("lost device", 7);
    let good = ca.client("device", 8);
    let is_revoked = Some(CertificateFault::Revoked);
    assert_eq!(fault(&server, &ca, Some(&revoked)), is_revoked);
    assert_eq!(fault(&server, &ca, Some(&good)), None);

    let stale = ca.revokes(&[7], 2025);
    let server = asking(&ca, required, &[&stale], false).unwrap();
    let expired = Some(CertificateFault::RevocationListExpired);
    assert_eq!(fault(&server, &ca, Some(&good)), expired);
    let server = asking(&ca, required, &[&stale], true).unwrap();
    assert_eq!(fault(&server, &ca, Some(&good)), None);
    assert_eq!(fault(&server, &ca, Some(&revoked)), is_revoked);

    let others = Ca::new("other CA").revokes(&[7], 2035);
    let server = asking(&ca, required, &[&others], false).unwrap();
    let none = Some(CertificateFault::NoRevocationList);
    assert_eq!(fault(&server, &ca, Some(&good)), none);
    let server = asking(&ca, required, &[&others, &list], false).unwrap();
    assert_eq!(fault(&server, &ca, Some(&good)), None);
}

#[test]
fn dates_can_be_ignored_and_nothing_else() {
    let ca = Ca::new("CA");
    let server = asking(&ca, ClientCertificates::Required, &[], true).unwrap();
    let mut old = params("device", &[]);
    old.not_after = date_time_ymd(2025, 1, 1);
    assert_eq!(fault(&server, &ca, Some(&ca.sign(&old))), None);
    let mut young = params("device", &[]);
    young.not_before = date_time_ymd(2035, 1, 1);
    assert_eq!(fault(&server, &ca, Some(&ca.sign(&young))), None);
    let stranger = Ca::new("other CA").sign(&old);
    let unknown = Some(CertificateFault::UnknownCa);
    assert_eq!(fault(&server, &ca, Some(&stranger)), unknown);
    old.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let wrong = Some(CertificateFault::WrongPurpose);
    assert_eq!(fault(&server, &ca, Some(&ca.sign(&old))), wrong);
}

#[test]
fn the_clients_name_is_read_from_its_certificate() {
    let ca = Ca::new("CA");
    let server = asking(&ca, ClientCertificates::Required, &[], false).unwrap();
    let mut names = params("Prüfstand, 7 #a", &["device.example"]);
    names.distinguished_name.push(
        DnType::OrganizationName,
        DnValue::Utf8String(" Example+ ".into()),
    );
    names.serial_number = Some(258_u64.into());
    let identity = ca.sign(&names);
    let (ours, _, talk) = visit(&server, config(&ca, Some(&identity), &BOTH));
    assert_greeted(&talk);
    let info = ours.peer_certificate().unwrap().unwrap();
    assert_eq!(info.common_name.as_deref(), Some("Prüfstand, 7 #a"));
    assert_eq!(
        info.subject,
        "O=\\ Example\\+\\ ,CN=Pr\\C3\\BCfstand\\, 7 #a,C=DE"
    );
    assert_eq!(info.issuer, "CN=CA,C=DE");
    assert_eq!(info.alternative_names[0].to_string(), "device.example");
    assert_eq!(info.serial, "0102");
    assert_eq!(
        (info.not_before, info.not_after),
        (1_577_836_800, 2_208_988_800)
    );
    assert_eq!(ours.peer_chain().count(), 1);
}

/// Visits twice with one client, the second time at `second`.
fn resumes(
    first: &ServerTls,
    second: &ServerTls,
    ca: &Ca,
    identity: Option<&Identity>,
) -> [bool; 2] {
    BOTH.map(|version| {
        let mut config = config(ca, identity, &[version]);
        config.resumption = Resumption::in_memory_sessions(4);
        let config = Arc::new(config);
        let (ours, _, talk) = visit_again(first, &config);
        assert_greeted(&talk);
        assert!(!ours.info().unwrap().resumed);
        let (ours, _, talk) = visit_again(second, &config);
        assert_greeted(&talk);
        if identity.is_some() {
            assert!(ours.peer_certificate().is_some(), "the name is known again");
        }
        ours.info().unwrap().resumed
    })
}

#[test]
fn sessions_resume_after_a_restart_with_the_same_seed() {
    let ca = Ca::new("CA");
    let with_seeds = |seeds: &[[u8; 32]]| {
        let tickets = Arc::new(TicketKeys::new(seeds, 3600));
        server_with(&ca, |options| options.tickets = tickets).unwrap()
    };
    let before = with_seeds(&[[1; 32]]);
    assert_eq!(resumes(&before, &before, &ca, None), [true; 2]);
    assert_eq!(
        resumes(&before, &with_seeds(&[[1; 32]]), &ca, None),
        [true; 2]
    );
    let rotated = with_seeds(&[[2; 32], [1; 32]]);
    assert_eq!(resumes(&before, &rotated, &ca, None), [true; 2]);
    assert_eq!(
        resumes(&before, &with_seeds(&[[2; 32]]), &ca, None),
        [false; 2]
    );
    assert_eq!(resumes(&before, &with_seeds(&[]), &ca, None), [false; 2]);
}

#[test]
fn a_ticket_does_not_outlive_a_change_of_who_is_trusted() {
    let ca = Ca::new("CA");
    let identity = ca.client("device", 7);
    let required = ClientCertificates::Required;
    let list = ca.revokes(&[1], 2035);
    let before = asking(&ca, required, &[&list], false).unwrap();
    assert_eq!(resumes(&before, &before, &ca, Some(&identity)), [true; 2]);
    let list = ca.revokes(&[1, 2], 2035);
    let after = asking(&ca, required, &[&list], false).unwrap();
    assert_eq!(resumes(&before, &after, &ca, Some(&identity)), [false; 2]);
    // A ticket from a listener without certificates opens no door at one with them.
    let open = asking(&ca, ClientCertificates::NotAsked, &[], false).unwrap();
    assert_eq!(resumes(&open, &before, &ca, Some(&identity)), [false; 2]);
}

#[test]
fn a_certificate_that_expired_since_is_refused_when_resumed() {
    let ca = Ca::new("CA");
    let pem = ca.pem();
    let cas = [file("ca.pem", &pem)];
    let mut soon = params("device", &[]);
    soon.not_after = date_time_ymd(2031, 1, 1);
    let identity = ca.sign(&soon);
    let server_identity = ca.server(&["localhost"]);
    let certificates = [server_identity.files()];
    let at = |time| {
        ServerTls::new(&ServerTlsOptions {
            client_certificates: ClientCertificates::Required,
            client_cas: &cas,
            time: Arc::new(At(time)),
            ..server_options(&certificates)
        })
        .unwrap()
    };
    for version in BOTH {
        let mut config = config(&ca, Some(&identity), &[version]);
        config.resumption = Resumption::in_memory_sessions(4);
        let config = Arc::new(config);
        let (_, _, talk) = visit_again(&at(NOW), &config);
        assert_greeted(&talk);
        let (ours, _, talk) = visit_again(&at(NOW + 2 * 365 * 86_400), &config);
        let expired = TlsError::Certificate(CertificateFault::Expired);
        assert_eq!(talk.error, Some(expired));
        assert!(!ours.is_open());
        assert!(talk.ours.is_empty(), "what it said is not passed on");
    }
}

#[test]
fn the_certificate_is_chosen_by_the_name_that_is_asked_for() {
    let ca = Ca::new("CA");
    let first = ca.server(&["first.example"]);
    let second = ca.server(&["second.example", "*.wild.example"]);
    let special = ca.server(&["special.wild.example"]);
    let certificates = [first.files(), second.files(), special.files()];
    let server = ServerTls::new(&server_options(&certificates)).unwrap();
    let client = Arc::new(config(&ca, None, &BOTH));
    for (host, expected) in [
        ("first.example", &first),
        ("second.example", &second),
        ("SECOND.example", &second),
        ("a.wild.example", &second),
        ("special.wild.example", &special),
        ("a.b.wild.example", &first),
        ("unknown.example", &first),
        ("192.0.2.1", &first),
    ] {
        let mut ours = Tls::accept(&server).unwrap();
        let mut peer = connect(&client, host);
        let _ = talk(&mut ours, &mut peer, &mut Vec::new());
        let mut shown = String::new();
        // A client that was shown another host's certificate has stopped, but has seen it.
        if let Some(chain) = peer.peer_certificates() {
            shown = chain[0]
                .as_ref()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
        }
        let names = |identity: &Identity| {
            use rustls::pki_types::pem::PemObject;
            let der = rustls::pki_types::CertificateDer::from_pem_slice(identity.chain.as_bytes());
            let der = der.unwrap();
            der.as_ref()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
        };
        if expected.chain != first.chain || host == "first.example" {
            assert_eq!(shown, names(expected), "{host}");
        } else {
            assert_eq!(shown, "", "{host} is in none of them");
        }
    }
}

#[test]
fn the_protocol_is_chosen_where_there_is_a_choice() {
    let ca = Ca::new("CA");
    let choosing = server_with(&ca, |options| {
        options.protocols = &["mqtt", "http/1.1"];
    });
    let choosing = choosing.unwrap();
    let plain = server(&ca);
    let offering = |names: &[&str]| {
        let mut config = config(&ca, None, &BOTH);
        config.alpn_protocols = names.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    };
    let (ours, _, talk) = visit(&choosing, offering(&["h2", "mqtt"]));
    assert_greeted(&talk);
    assert_eq!(
        ours.info().unwrap().protocol.as_deref(),
        Some(b"mqtt".as_slice())
    );
    let (_, _, talk) = visit(&choosing, offering(&["h2"]));
    assert_eq!(talk.error, Some(TlsError::NoSharedProtocol));
    let (_, _, talk) = visit(&choosing, offering(&[]));
    assert_greeted(&talk);
    let (ours, _, talk) = visit(&plain, offering(&["h2"]));
    assert_greeted(&talk);
    assert_eq!(ours.info().unwrap().protocol, None);
}

#[test]
fn what_is_not_tls_is_named() {
    let ca = Ca::new("CA");
    let server = server(&ca);
    for (bytes, looks) in [
        (b"\x10\x12\x00\x04MQTT".as_slice(), Looks::Mqtt),
        (b"GET / HTTP/1.1\r\n", Looks::Http),
        (b"PROXY TCP4 ", Looks::Proxy),
        (b"\0\0\0", Looks::Unknown),
    ] {
        let mut ours = Tls::accept(&server).unwrap();
        let mut reply = Vec::new();
        let mut bytes = bytes.to_vec();
        let error = ours
            .receive(&mut bytes, &mut Vec::new(), &mut reply)
            .unwrap_err();
        assert_eq!(error, TlsError::NotTls(looks));
        assert!(reply.is_empty());
        let again = ours.receive(&mut [0x16, 3, 1], &mut Vec::new(), &mut reply);
        assert_eq!(again, Err(TlsError::NotOpen));
    }
}

#[test]
fn a_client_that_does_not_trust_us_tells_us() {
    let ca = Ca::new("CA");
    let server = server(&ca);
    let (_, _, talk) = visit(&server, config(&Ca::new("other CA"), None, &BOTH));
    let error = talk.error.unwrap().to_string();
    assert!(error.contains("unknown CA"), "{error}");
}

#[test]
fn an_endless_handshake_is_refused_at_its_bound() {
    let ca = Ca::new("CA");
    let mut ours = Tls::accept(&server(&ca)).unwrap();
    // A client hello that says it has 65,000 bytes, in records of 16 KiB.
    let mut record = vec![0x16, 3, 1, 0x40, 0];
    record.resize(5 + 0x4000, 0);
    let mut first = record.clone();
    first[5..9].copy_from_slice(&[1, 0, 0xFD, 0xE8]);
    let mut result = ours.receive(&mut first, &mut Vec::new(), &mut Vec::new());
    let mut records = 1;
    while result.is_ok() {
        let mut next = record.clone();
        result = ours.receive(&mut next, &mut Vec::new(), &mut Vec::new());
        records += 1;
    }
    assert!(records <= 3, "{records}: {result:?}");
}

#[test]
fn a_changed_byte_ends_the_connection() {
    let ca = Ca::new("CA");
    let server = server(&ca);
    let client = Arc::new(config(&ca, None, &BOTH));
    let mut ours = Tls::accept(&server).unwrap();
    let mut peer = connect(&client, "localhost");
    talk(&mut ours, &mut peer, &mut Vec::new());
    let mut wire = Vec::new();
    std::io::Write::write_all(&mut peer.writer(), b"good").unwrap();
    peer.write_tls(&mut wire).unwrap();
    std::io::Write::write_all(&mut peer.writer(), b"evil").unwrap();
    peer.write_tls(&mut wire).unwrap();
    *wire.last_mut().unwrap() ^= 1;
    let (mut plain, mut reply) = (Vec::new(), Vec::new());
    let error = ours.receive(&mut wire, &mut plain, &mut reply).unwrap_err();
    assert!(matches!(error, TlsError::Misbehaved(_)), "{error}");
    assert_eq!(plain, b"good");
    assert!(!reply.is_empty(), "an alert");
    assert_eq!(ours.send(b"x", &mut reply), Err(TlsError::NotOpen));
}

#[test]
fn what_comes_with_the_end_of_the_handshake_is_lost_if_the_connection_breaks_at_once() {
    let ca = Ca::new("CA");
    let server = server(&ca);
    let client = Arc::new(config(&ca, None, &[&TLS13]));
    let mut ours = Tls::accept(&server).unwrap();
    let mut peer = connect(&client, "localhost");
    let (mut wire, mut plain, mut reply) = (Vec::new(), Vec::new(), Vec::new());
    peer.write_tls(&mut wire).unwrap();
    ours.receive(&mut wire, &mut plain, &mut reply).unwrap();
    peer.read_tls(&mut reply.as_slice()).unwrap();
    peer.process_new_packets().unwrap();
    std::io::Write::write_all(&mut peer.writer(), b"hello").unwrap();
    wire.clear();
    while peer.wants_write() {
        peer.write_tls(&mut wire).unwrap();
    }
    wire.extend_from_slice(&[0x17, 3, 3, 0, 20]);
    wire.extend_from_slice(&[0; 20]);
    assert!(ours.receive(&mut wire, &mut plain, &mut reply).is_err());
    assert!(plain.is_empty());
}

#[test]
fn both_ends_say_goodbye() {
    let ca = Ca::new("CA");
    let server = server(&ca);
    let (mut ours, mut peer, _) = visit(&server, config(&ca, None, &BOTH));
    peer.send_close_notify();
    assert!(!ours.peer_has_closed());
    let mut wire = Vec::new();
    talk(&mut ours, &mut peer, &mut wire);
    assert!(ours.peer_has_closed() && ours.is_open());
    ours.send(b"last words", &mut wire).unwrap();
    ours.close(&mut wire);
    ours.close(&mut wire);
    assert_eq!(ours.send(b"more", &mut wire), Err(TlsError::NotOpen));
    let talk = talk(&mut ours, &mut peer, &mut wire);
    assert_eq!(talk.theirs, b"last words");
    assert_eq!((talk.error, talk.peer_error), (None, None));
    let mut after = b"whatever follows".to_vec();
    let mut plain = Vec::new();
    assert_eq!(
        ours.receive(&mut after, &mut plain, &mut Vec::new()),
        Ok(())
    );
    assert!(plain.is_empty());
}

#[test]
fn bytes_can_be_sent_between_the_halves_of_a_record() {
    let ca = Ca::new("CA");
    let server = server(&ca);
    for version in BOTH {
        let (mut ours, mut peer, _) = visit(&server, config(&ca, None, &[version]));
        std::io::Write::write_all(&mut peer.writer(), &[b'm'; 1000]).unwrap();
        let mut bytes = Vec::new();
        peer.write_tls(&mut bytes).unwrap();
        let (mut plain, mut wire) = (Vec::new(), Vec::new());
        let (first, second) = bytes.split_at_mut(3);
        let (second, third) = second.split_at_mut(500);
        for part in [first, second, third] {
            ours.receive(part, &mut plain, &mut wire).unwrap();
            ours.send(b"now ", &mut wire).unwrap();
        }
        assert_eq!(plain, [b'm'; 1000]);
        assert_eq!(
            talk(&mut ours, &mut peer, &mut wire).theirs,
            b"now now now "
        );
    }
}

#[test]
fn records_are_as_short_as_wanted() {
    let ca = Ca::new("CA");
    for (wanted, longest) in [
        (None, 16_384),
        (Some(512), 512),
        (Some(1), 32),
        (Some(99_999), 16_384),
    ] {
        let server = server_with(&ca, |options| options.record_bytes_max = wanted).unwrap();
        for version in BOTH {
            let (mut ours, mut peer, _) = visit(&server, config(&ca, None, &[version]));
            let message = vec![7; 40_000];
            let mut wire = Vec::new();
            ours.send(&message, &mut wire).unwrap();
            let mut rest = wire.as_slice();
            let mut records = 0;
            while let [_, _, _, high, low, after @ ..] = rest {
                rest = &after[usize::from(u16::from_be_bytes([*high, *low]))..];
                records += 1;
            }
            assert_eq!(records, message.len().div_ceil(longest));
            assert_eq!(talk(&mut ours, &mut peer, &mut wire).theirs, message);
        }
    }
}

#[test]
fn nothing_is_sent_before_the_handshake_is_over() {
    let ca = Ca::new("CA");
    let mut ours = Tls::accept(&server(&ca)).unwrap();
    let mut wire = Vec::new();
    assert_eq!(ours.send(b"x", &mut wire), Err(TlsError::NotOpen));
    ours.close(&mut wire);
    assert!(wire.is_empty() && ours.info().is_none());
}

#[test]
fn everything_that_expires_is_listed() {
    let root = Ca::new("root");
    let middle = root.below("middle");
    let mut identity = middle.server(&["localhost"]);
    identity.chain += &middle.pem();
    let (pem, list) = (root.pem(), root.revokes(&[], 2031));
    let certificates = [identity.files()];
    let (cas, lists) = ([file("ca.pem", &pem)], [file("crl.pem", &list)]);
    let server = ServerTls::new(&ServerTlsOptions {
        client_certificates: ClientCertificates::Required,
        client_cas: &cas,
        revocation_lists: &lists,
        ..server_options(&certificates)
    });
    let server = server.unwrap();
    let seen: Vec<_> = server
        .expires()
        .iter()
        .map(|expires| {
            (
                expires.item,
                &*expires.file,
                expires.subject.as_str(),
                expires.at,
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            (
                ExpiringItem::ClientCa,
                "ca.pem",
                "CN=root,C=DE",
                2_208_988_800
            ),
            (
                ExpiringItem::RevocationList,
                "crl.pem",
                "CN=root,C=DE",
                1_924_992_000
            ),
            (
                ExpiringItem::Certificate,
                "server.pem",
                "CN=server,C=DE",
                2_208_988_800
            ),
            (
                ExpiringItem::Certificate,
                "server.pem",
                "CN=middle,C=DE",
                2_208_988_800
            ),
        ]
    );
}

#[test]
fn secrets_are_logged_where_somebody_wants_them() {
    let ca = Ca::new("CA");
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&lines);
    let server = server_with(&ca, |options| {
        options.key_logger = Some(Arc::new(move |line| {
            sink.lock().unwrap().push(line.to_owned());
        }));
    });
    let server = server.unwrap();
    let (_, _, talk) = visit(&server, config(&ca, None, &[&TLS12]));
    assert_greeted(&talk);
    let seen = lines.lock().unwrap().clone();
    assert_eq!(seen.len(), 1);
    let parts: Vec<&str> = seen[0].split(' ').collect();
    assert_eq!(parts[0], "CLIENT_RANDOM");
    assert_eq!((parts[1].len(), parts[2].len()), (64, 96));
}

#[test]
fn keys_of_all_kinds_are_taken_and_others_named() {
    let ca = Ca::new("CA");
    let ed25519 = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let params = params("server", &["localhost"]);
    let identity = Identity {
        chain: params.signed_by(&ed25519, &ca.issuer).unwrap().pem(),
        key: ed25519.serialize_pem(),
    };
    let certificates = [identity.files()];
    let server = ServerTls::new(&server_options(&certificates)).unwrap();
    let (_, _, talk) = visit(&server, config(&ca, None, &BOTH));
    assert_greeted(&talk);
}

#[test]
fn a_key_of_another_certificate_is_refused_with_both_names() {
    let ca = Ca::new("CA");
    let mut identity = ca.server(&["localhost"]);
    identity.key = ca.server(&["localhost"]).key;
    let certificates = [identity.files()];
    let error = ServerTls::new(&server_options(&certificates)).err();
    let Some(TlsConfigError::File { file, problem, .. }) = error else {
        panic!("{error:?}");
    };
    assert_eq!(&*file, "server.key");
    assert_eq!(problem, FileProblem::KeyMismatch("server.pem".into()));
}

#[test]
fn certificates_cannot_be_required_without_a_ca() {
    let ca = Ca::new("CA");
    let server = server_with(&ca, |options| {
        options.client_certificates = ClientCertificates::Required;
    });
    assert_eq!(server.err(), Some(TlsConfigError::NoClientCa));
}

#[test]
fn our_own_client_is_a_client_as_well() {
    let ca = Ca::new("CA");
    let server = server(&ca);
    let mut wire = Vec::new();
    let mut client = Tls::connect(&client(&ca), "localhost", &mut wire).unwrap();
    let mut ours = Tls::accept(&server).unwrap();
    let (mut plain, mut reply) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        ours.receive(&mut wire, &mut plain, &mut reply).unwrap();
        wire.clear();
        client.receive(&mut reply, &mut plain, &mut wire).unwrap();
        reply.clear();
    }
    assert!(client.is_open() && ours.is_open());
}
