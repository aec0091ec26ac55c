//! Tickets by which clients resume their sessions: what the server would have to remember, sealed and
//! given to the client.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::hmac;
use rustls::server::ProducesTickets;

const NAME_BYTES: usize = 16;
const NONCE_BYTES: usize = 12;

/// A ticket holds the client's certificates; longer ones are not even tried.
const TICKET_BYTES_MAX: usize = 16 * 1024;

/// The keys that tickets are sealed with, made from seeds.
///
/// A server that keeps its seeds over a restart can resume sessions from before. Whoever learns a seed
/// can read recorded TLS 1.2 sessions that were resumed with it, so seeds are secret, and are to be
/// changed and destroyed: say every twelve hours, with the last one kept for as long again.
#[derive(Default)]
pub struct TicketKeys {
    keys: RwLock<Arc<[TicketKey]>>,
    lifetime_secs: u32,
}

struct TicketKey {
    name: [u8; NAME_BYTES],
    key: RandomizedNonceKey,
}

impl TicketKeys {
    /// Keys from random `seeds`, the newest first: it seals, and all open. Without any, no session is
    /// resumed. Clients are told to keep tickets for `lifetime_secs`; tickets live until their seed is
    /// dropped.
    pub fn new(seeds: &[[u8; 32]], lifetime_secs: u32) -> Self {
        Self {
            keys: RwLock::new(keys(seeds)),
            lifetime_secs,
        }
    }

    /// Replaces the seeds, for all servers that use these keys.
    pub fn replace(&self, seeds: &[[u8; 32]]) {
        let keys = keys(seeds);
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    fn current(&self) -> Arc<[TicketKey]> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn keys(seeds: &[[u8; 32]]) -> Arc<[TicketKey]> {
    seeds
        .iter()
        .filter_map(|seed| {
            let seed = hmac::Key::new(hmac::HMAC_SHA256, seed);
            let derive = |what: &[u8]| hmac::sign(&seed, what);
            let name = derive(b"midge tls ticket name");
            let key = derive(b"midge tls ticket key");
            Some(TicketKey {
                name: *name.as_ref().first_chunk()?,
                key: RandomizedNonceKey::new(&AES_256_GCM, key.as_ref()).ok()?,
            })
        })
        .collect()
}

/// Seals tickets for one server. They can be opened only where clients are verified in the same way,
/// since a resumed session is not verified again.
pub(super) struct Ticketer {
    pub(super) keys: Arc<TicketKeys>,
    pub(super) binding: [u8; 32],
}

impl ProducesTickets for Ticketer {
    fn enabled(&self) -> bool {
        !self.keys.current().is_empty()
    }

    fn lifetime(&self) -> u32 {
        self.keys.lifetime_secs
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let keys = self.keys.current();
        let newest = keys.first()?;
        let mut sealed = plain.to_vec();
        let nonce = newest
            .key
            .seal_in_place_append_tag(Aad::from(self.binding), &mut sealed)
            .ok()?;
        let mut ticket = Vec::with_capacity(NAME_BYTES + NONCE_BYTES + sealed.len());
        ticket.extend_from_slice(&newest.name);
        ticket.extend_from_slice(nonce.as_ref());
        ticket.extend_from_slice(&sealed);
        (ticket.len() <= TICKET_BYTES_MAX).then_some(ticket)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        if ticket.len() > TICKET_BYTES_MAX {
            return None;
        }
        let (name, rest) = ticket.split_first_chunk::<NAME_BYTES>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_BYTES>()?;
        let keys = self.keys.current();
        let key = keys.iter().find(|key| key.name == *name)?;
        let mut plain = sealed.to_vec();
        let length = key
            .key
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(self.binding),
                &mut plain,
            )
            .ok()?
            .len();
        plain.truncate(length);
        Some(plain)
    }
}

impl fmt::Debug for Ticketer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticketer")
    }
}

impl fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketKeys")
    }
}

#[cfg(test)]
mod tests;
