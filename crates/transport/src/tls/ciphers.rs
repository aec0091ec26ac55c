//! Cipher lists in OpenSSL's language, for the ciphers that there are.
//!
//! What OpenSSL knows and is not here (anything without forward secrecy or authenticated encryption) is
//! left out and reported; what nobody knows is an error, since it is a misspelling.

use rustls::SupportedCipherSuite;
use rustls::crypto::aws_lc_rs::cipher_suite as suite;

use super::files::TlsConfigError;

/// Ciphers in a list that OpenSSL has and this TLS has not. Nothing depends on them, but who wrote them
/// down may want to know.
pub type Unavailable = Vec<String>;

/// A cipher of TLS 1.2 with what lists say about it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Cipher {
    suite: SupportedCipherSuite,
    openssl: &'static str,
    iana: &'static str,
    /// The words that it is chosen by, beside those for all.
    words: &'static [&'static str],
    strength: u16,
}

/// In the order that is preferred.
const TLS12: [Cipher; 6] = [
    Cipher {
        suite: suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        openssl: "ECDHE-ECDSA-AES256-GCM-SHA384",
        iana: "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        words: &[
            "aECDSA",
            "ECDSA",
            "AES",
            "AESGCM",
            "AES256",
            "FIPS",
            "SUITEB128",
            "SUITEB192",
        ],
        strength: 256,
    },
    Cipher {
        suite: suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        openssl: "ECDHE-RSA-AES256-GCM-SHA384",
        iana: "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        words: &["aRSA", "AES", "AESGCM", "AES256", "FIPS"],
        strength: 256,
    },
    Cipher {
        suite: suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        openssl: "ECDHE-ECDSA-CHACHA20-POLY1305",
        iana: "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        words: &["aECDSA", "ECDSA", "CHACHA20"],
        strength: 256,
    },
    Cipher {
        suite: suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        openssl: "ECDHE-RSA-CHACHA20-POLY1305",
        iana: "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        words: &["aRSA", "CHACHA20"],
        strength: 256,
    },
    Cipher {
        suite: suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        openssl: "ECDHE-ECDSA-AES128-GCM-SHA256",
        iana: "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        words: &[
            "aECDSA",
            "ECDSA",
            "AES",
            "AESGCM",
            "AES128",
            "FIPS",
            "SUITEB128",
            "SUITEB128ONLY",
        ],
        strength: 128,
    },
    Cipher {
        suite: suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        openssl: "ECDHE-RSA-AES128-GCM-SHA256",
        iana: "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        words: &["aRSA", "AES", "AESGCM", "AES128", "FIPS"],
        strength: 128,
    },
];

/// Words for all ciphers of TLS 1.2 that there are.
const ALL: [&str; 8] = [
    "ALL", "DEFAULT", "HIGH", "ECDHE", "EECDH", "kECDHE", "kEECDH", "TLSv1.2",
];

/// Words of OpenSSL for ciphers that there are none of.
const NONE: [&str; 74] = [
    "3DES",
    "ADH",
    "AECDH",
    "AESCCM",
    "AESCCM8",
    "ARIA",
    "ARIA128",
    "ARIA256",
    "ARIAGCM",
    "CAMELLIA",
    "CAMELLIA128",
    "CAMELLIA256",
    "CBC",
    "COMPLEMENTOFALL",
    "COMPLEMENTOFDEFAULT",
    "DES",
    "DH",
    "DHE",
    "DSS",
    "ECDH",
    "EDH",
    "EXP",
    "EXPORT",
    "EXPORT40",
    "EXPORT56",
    "GOST94",
    "GOST89MAC",
    "IDEA",
    "KRB5",
    "LOW",
    "MD5",
    "MEDIUM",
    "NULL",
    "PSK",
    "RC2",
    "RC4",
    "RSA",
    "SEED",
    "SHA",
    "SHA1",
    "SHA256",
    "SHA384",
    "SRP",
    "SSLv2",
    "SSLv3",
    "TLSv1",
    "TLSv1.0",
    "TLSv1.1",
    "TLSv1.3",
    "aDH",
    "aDSS",
    "aECDH",
    "aGOST",
    "aGOST01",
    "aNULL",
    "aPSK",
    "aSRP",
    "eNULL",
    "kDH",
    "kDHE",
    "kDHEPSK",
    "kDHd",
    "kDHr",
    "kECDH",
    "kECDHEPSK",
    "kECDHe",
    "kECDHr",
    "kEDH",
    "kGOST",
    "kPSK",
    "kRSA",
    "kRSAPSK",
    "kSRP",
    "SUITEB",
];

/// What OpenSSL's names of ciphers are made of.
const PARTS: [&str; 47] = [
    "128",
    "256",
    "3DES",
    "ADH",
    "AECDH",
    "AES",
    "AES128",
    "AES256",
    "ARIA128",
    "ARIA256",
    "CAMELLIA128",
    "CAMELLIA256",
    "CBC",
    "CBC3",
    "CCM",
    "CCM8",
    "CHACHA20",
    "DES",
    "DH",
    "DHE",
    "DSS",
    "ECDH",
    "ECDHE",
    "ECDSA",
    "EDH",
    "EXP",
    "EXP1024",
    "GCM",
    "GOST2001",
    "GOST2012",
    "GOST89",
    "GOST8912",
    "GOST94",
    "IDEA",
    "KRB5",
    "MD5",
    "NULL",
    "POLY1305",
    "PSK",
    "RC2",
    "RC4",
    "RSA",
    "SEED",
    "SHA",
    "SHA256",
    "SHA384",
    "SRP",
];

/// The ciphers of TLS 1.3 with their names, in the order that is preferred.
const TLS13: [(SupportedCipherSuite, &str); 3] = [
    (suite::TLS13_AES_256_GCM_SHA384, "TLS_AES_256_GCM_SHA384"),
    (suite::TLS13_AES_128_GCM_SHA256, "TLS_AES_128_GCM_SHA256"),
    (
        suite::TLS13_CHACHA20_POLY1305_SHA256,
        "TLS_CHACHA20_POLY1305_SHA256",
    ),
];

/// Ciphers of TLS 1.3 that OpenSSL has.
const TLS13_UNAVAILABLE: [&str; 4] = [
    "TLS_AES_128_CCM_SHA256",
    "TLS_AES_128_CCM_8_SHA256",
    "TLS_SHA256_SHA256",
    "TLS_SHA384_SHA384",
];

/// The ciphers of TLS 1.2 in a list: names and words, parted by `:`, `,` or spaces, with `!` (never),
/// `-` (not now), `+` (last), `@STRENGTH`, and words joined by `+`.
pub(super) fn tls12(
    list: &str,
) -> Result<(Vec<SupportedCipherSuite>, Unavailable), TlsConfigError> {
    let mut chosen: Vec<Cipher> = Vec::new();
    let mut barred: Vec<Cipher> = Vec::new();
    let mut unavailable = Unavailable::new();
    for item in items(list) {
        if let Some(command) = item.strip_prefix('@') {
            match command {
                "STRENGTH" => chosen.sort_by_key(|cipher| std::cmp::Reverse(cipher.strength)),
                // Every cipher here passes every level.
                _ if command.starts_with("SECLEVEL=") => {}
                _ => return Err(TlsConfigError::UnknownCipher(item.into())),
            }
            continue;
        }
        let (sign, name) = match item.split_at_checked(1) {
            Some((sign @ ("!" | "-" | "+"), name)) => (sign, name),
            _ => ("", item),
        };
        let named = match lookup(name) {
            Lookup::Ciphers(named) => named,
            Lookup::Unavailable => {
                if sign.is_empty() {
                    unavailable.push(name.to_owned());
                }
                continue;
            }
            Lookup::Unknown => return Err(TlsConfigError::UnknownCipher(name.into())),
        };
        match sign {
            "!" => {
                chosen.retain(|cipher| !named.contains(cipher));
                barred.extend(named);
            }
            "-" => chosen.retain(|cipher| !named.contains(cipher)),
            "+" => chosen.sort_by_key(|cipher| named.contains(cipher)),
            _ => {
                for cipher in named {
                    if !chosen.contains(&cipher) && !barred.contains(&cipher) {
                        chosen.push(cipher);
                    }
                }
            }
        }
    }
    Ok((
        chosen.iter().map(|cipher| cipher.suite).collect(),
        unavailable,
    ))
}

/// The ciphers of TLS 1.3 in a list of names.
pub(super) fn tls13(
    list: &str,
) -> Result<(Vec<SupportedCipherSuite>, Unavailable), TlsConfigError> {
    let mut chosen = Vec::new();
    let mut unavailable = Unavailable::new();
    for name in items(list) {
        match TLS13.iter().find(|(_, known)| *known == name) {
            Some((suite, _)) if chosen.contains(suite) => {}
            Some((suite, _)) => chosen.push(*suite),
            None if TLS13_UNAVAILABLE.contains(&name) => unavailable.push(name.to_owned()),
            None => return Err(TlsConfigError::UnknownCipher(name.into())),
        }
    }
    Ok((chosen, unavailable))
}

pub(super) fn all_tls12() -> Vec<SupportedCipherSuite> {
    TLS12.iter().map(|cipher| cipher.suite).collect()
}

pub(super) fn all_tls13() -> Vec<SupportedCipherSuite> {
    TLS13.iter().map(|(suite, _)| *suite).collect()
}

/// OpenSSL's name.
pub(super) fn name(suite: SupportedCipherSuite) -> &'static str {
    let tls12 = TLS12.iter().find(|cipher| cipher.suite == suite);
    let tls13 = || TLS13.iter().find(|(known, _)| *known == suite);
    tls12
        .map(|cipher| cipher.openssl)
        .or_else(|| tls13().map(|(_, name)| *name))
        .unwrap_or("unknown")
}

fn items(list: &str) -> impl Iterator<Item = &str> {
    list.split([':', ',', ';', ' '])
        .filter(|item| !item.is_empty())
}

enum Lookup {
    Ciphers(Vec<Cipher>),
    /// OpenSSL knows it.
    Unavailable,
    Unknown,
}

fn lookup(name: &str) -> Lookup {
    if let Some(cipher) = TLS12
        .iter()
        .find(|cipher| cipher.openssl == name || cipher.iana == name)
    {
        return Lookup::Ciphers(vec![*cipher]);
    }
    let mut ciphers = TLS12.to_vec();
    let mut known = true;
    for word in name.split('+') {
        let all = ALL.contains(&word);
        ciphers.retain(|cipher| all || cipher.words.contains(&word));
        let some = TLS12.iter().any(|cipher| cipher.words.contains(&word));
        known &= all || some || NONE.contains(&word);
    }
    if known {
        // A word may well match nothing; that is no loss to speak of.
        return Lookup::Ciphers(ciphers);
    }
    let mut parts = name.split('-');
    let is_iana = name.starts_with("TLS_") && name.contains("_WITH_");
    if is_iana || parts.all(|part| PARTS.contains(&part)) {
        Lookup::Unavailable
    } else {
        Lookup::Unknown
    }
}

#[cfg(test)]
mod tests;
