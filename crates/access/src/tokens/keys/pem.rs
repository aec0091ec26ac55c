//! Key files of an operator: PEM with one or more public keys.

use aws_lc_rs::signature::RsaParameters;
use rustls_pki_types::pem::{self, PemObject as _, SectionKind};

use super::{
    KEYS_BYTES_MAX, KEYS_MAX, Key, KeyFault, KeyKind, KeySet, KeysFault, ParsedKeys, Skipped,
};

/// Reads every `PUBLIC KEY` of a PEM file. Such keys have no `kid` and come into question for every token.
///
/// # Errors
/// [`KeysFault`] if it is no PEM, breaks a bound, or has no usable key.
pub fn parse_pem(text: &[u8]) -> Result<ParsedKeys, KeysFault> {
    if text.len() > KEYS_BYTES_MAX {
        return Err(KeysFault::TooLong(text.len()));
    }
    let mut keys = Vec::new();
    let mut skipped = Vec::new();
    for (index, section) in <(SectionKind, Vec<u8>)>::pem_slice_iter(text).enumerate() {
        if index == KEYS_MAX {
            return Err(KeysFault::TooMany(index + 1));
        }
        match section
            .map_err(pem_fault)
            .map(|(kind, der)| key(kind, &der))?
        {
            Ok(key) => keys.push(key),
            Err(why) => skipped.push(Skipped {
                index,
                id: None,
                why,
            }),
        }
    }
    if keys.is_empty() {
        return Err(KeysFault::NoUsableKey(skipped));
    }
    Ok(ParsedKeys {
        keys: KeySet { keys },
        skipped,
    })
}

fn key(section: SectionKind, der: &[u8]) -> Result<Key, KeyFault> {
    match section {
        SectionKind::PublicKey => public(der),
        SectionKind::Certificate => Err(KeyFault::Pem(
            "a certificate; `openssl x509 -pubkey -noout -in FILE` writes its key",
        )),
        SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey => {
            Err(KeyFault::Pem(
                "a private key, which has no place here; `openssl pkey -pubout -in FILE` writes the public one",
            ))
        }
        _ => Err(KeyFault::Pem("a section that is no PUBLIC KEY")),
    }
}

/// Finds out what a SubjectPublicKeyInfo holds.
fn public(der: &[u8]) -> Result<Key, KeyFault> {
    let kinds = [
        KeyKind::P256,
        KeyKind::P384,
        KeyKind::P521,
        KeyKind::Ed25519,
        KeyKind::Rsa,
    ];
    // A bare point is no SubjectPublicKeyInfo, though the library would take it for one kind.
    if der.first() != Some(&0x30) {
        return Err(KeyFault::Pem("no key that is supported"));
    }
    let key = kinds
        .into_iter()
        .find_map(|kind| Key::public(None, kind, None, der).ok())
        .ok_or(KeyFault::Pem(
            "no key that is supported: RSA, P-256, P-384, P-521 and Ed25519 are",
        ))?;
    if key.kind() == KeyKind::Rsa {
        let bits = rsa_bits(der).ok_or(KeyFault::Rejected(KeyKind::Rsa))?;
        if !(2048..=8192).contains(&bits) {
            return Err(KeyFault::RsaBits(bits));
        }
    }
    Ok(key)
}

/// The size of an RSA key. Its RSAPublicKey stands behind an algorithm identifier of one form, in front of
/// which the lengths take one or two bytes.
fn rsa_bits(der: &[u8]) -> Option<usize> {
    [24, 22].into_iter().find_map(|at| {
        let bits = RsaParameters::public_modulus_len(der.get(at..)?).ok()?;
        usize::try_from(bits).ok()
    })
}

fn pem_fault(error: pem::Error) -> KeysFault {
    KeysFault::Pem(match error {
        pem::Error::MissingSectionEnd { .. } => "a section has no end".to_owned(),
        pem::Error::IllegalSectionStart { .. } => "a section begins with a wrong line".to_owned(),
        pem::Error::Base64Decode(_) => "a section is no base64".to_owned(),
        _ => "it cannot be read".to_owned(),
    })
}
