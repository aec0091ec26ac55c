//! Peers of other people's making, and what carries bytes between them and ours.

use std::io::{Read, Write};
use std::sync::Arc;

use midge_transport::tls::{Tls, TlsError};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ClientConnection, Connection, RootCertStore, SupportedProtocolVersion};

use super::pki::{At, Ca, Identity, NOW};

/// A client of rustls' own.
pub(crate) fn config(
    ca: &Ca,
    identity: Option<&Identity>,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(ca.issuer.der().clone()).unwrap();
    let builder = ClientConfig::builder_with_details(
        Arc::new(aws_lc_rs::default_provider()),
        Arc::new(At(NOW)),
    )
    .with_protocol_versions(versions)
    .unwrap()
    .with_root_certificates(roots);
    match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let chain = CertificateDer::pem_slice_iter(identity.chain.as_bytes());
            let chain = chain.collect::<Result<_, _>>().unwrap();
            let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
            // Unlike the usual way, this one does not look at the certificate itself.
            let key = aws_lc_rs::default_provider()
                .key_provider
                .load_private_key(key);
            let key = CertifiedKey::new(chain, key.unwrap());
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key)))
        }
    }
}

pub(crate) fn connect(config: &Arc<ClientConfig>, host: &'static str) -> Connection {
    let name = ServerName::try_from(host).unwrap();
    Connection::Client(ClientConnection::new(Arc::clone(config), name).unwrap())
}

/// What came of a conversation.
#[derive(Debug, Default)]
pub(crate) struct Talk {
    /// What our side got.
    pub(crate) ours: Vec<u8>,
    /// What the peer got.
    pub(crate) theirs: Vec<u8>,
    /// Why our side gave up.
    pub(crate) error: Option<TlsError>,
    /// Why the peer did.
    pub(crate) peer_error: Option<rustls::Error>,
}

/// Carries bytes to and fro until nobody has any more: `wire` is what we have for the peer.
pub(crate) fn talk(ours: &mut Tls, peer: &mut Connection, wire: &mut Vec<u8>) -> Talk {
    let mut talk = Talk::default();
    loop {
        let mut to_us = Vec::new();
        while peer.wants_write() {
            peer.write_tls(&mut to_us).unwrap();
        }
        if to_us.is_empty() && wire.is_empty() {
            return talk;
        }
        if talk.error.is_none() {
            talk.error = ours.receive(&mut to_us, &mut talk.ours, wire).err();
        }
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            peer.read_tls(&mut rest).unwrap();
            match peer.process_new_packets() {
                Ok(state) => {
                    let mut plain = vec![0; state.plaintext_bytes_to_read()];
                    peer.reader().read_exact(&mut plain).unwrap();
                    talk.theirs.extend(plain);
                }
                Err(error) => {
                    talk.peer_error.get_or_insert(error);
                    rest = &[];
                }
            }
        }
        wire.clear();
    }
}

/// A handshake, and a message each way.
pub(crate) fn greet(ours: &mut Tls, peer: &mut Connection, wire: &mut Vec<u8>) -> Talk {
    let mut first = talk(ours, peer, wire);
    if first.error.is_some() || first.peer_error.is_some() {
        return first;
    }
    assert!(ours.is_open() && !peer.is_handshaking());
    peer.writer().write_all(b"from the peer").unwrap();
    ours.send(b"from us", wire).unwrap();
    let second = talk(ours, peer, wire);
    first.ours.extend(second.ours);
    first.theirs.extend(second.theirs);
    first.error = second.error;
    first.peer_error = second.peer_error;
    first
}

pub(crate) fn assert_greeted(talk: &Talk) {
    assert_eq!(talk.error, None);
    assert_eq!(talk.peer_error, None);
    assert_eq!(talk.ours, b"from the peer");
    assert_eq!(talk.theirs, b"from us");
}
