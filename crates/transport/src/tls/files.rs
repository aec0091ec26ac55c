//! Reading certificates, keys and revocation lists from PEM text, and saying what is wrong with it.

use std::fmt;

use rustls::pki_types::pem::{PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

/// The text of a file.
#[derive(Clone, Copy, Debug)]
pub struct PemFile<'a> {
    /// What errors call it: its path.
    pub name: &'a str,
    /// Its content.
    pub text: &'a [u8],
}

/// Why TLS cannot be set up. It is the operator's to mend.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsConfigError {
    /// A file does not have what it should.
    File {
        /// The file.
        file: Box<str>,
        /// Where the entry concerned begins, counted from 1; `None` where it is the whole file.
        line: Option<usize>,
        /// What is wrong.
        problem: FileProblem,
    },
    /// A name in a list of ciphers that neither this nor OpenSSL knows.
    UnknownCipher(Box<str>),
    /// A list of ciphers with none that there is; the list.
    NoCipherLeft(Box<str>),
    /// Client certificates are asked for, but there is no CA to verify them with.
    NoClientCa,
    /// The name of a host that is none.
    HostName(Box<str>),
    /// What the TLS library says.
    Library(Box<str>),
}

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileProblem {
    /// DER, the binary form, where PEM is needed.
    Der,
    /// A file for a certificate without one.
    NoCertificate,
    /// A file for a key without one.
    NoKey,
    /// A file for a revocation list without one.
    NoRevocationList,
    /// A `BEGIN` without its `END`.
    Unterminated(Box<str>),
    /// The text between `BEGIN` and `END` is not base64.
    Base64(Box<str>),
    /// An encrypted private key.
    EncryptedKey,
    /// A kind of key that is not supported, as its `BEGIN` calls it.
    KeyKind(Box<str>),
    /// A key that cannot be used.
    Key(Box<str>),
    /// A certificate that cannot be read.
    Certificate(Box<str>),
    /// A revocation list that cannot be used.
    RevocationList(Box<str>),
    /// The key is not that of the certificate in the other file.
    KeyMismatch(Box<str>),
}

/// An entry of a file, with where it begins.
#[derive(Clone, Debug)]
pub(super) struct Entry<T> {
    pub(super) line: usize,
    pub(super) value: T,
}

/// What is between a `BEGIN` and its `END`, both included.
struct Block<'a> {
    label: &'a str,
    line: usize,
    text: &'a [u8],
}

impl<'a> PemFile<'a> {
    /// All certificates, in order; at least one.
    pub(super) fn certificates(
        &self,
    ) -> Result<Vec<Entry<CertificateDer<'static>>>, TlsConfigError> {
        let mut found = Vec::new();
        for block in self.blocks()? {
            let bytes = match block.label {
                "CERTIFICATE" | "X509 CERTIFICATE" => self.decode(&block)?,
                "TRUSTED CERTIFICATE" => {
                    let why = "an OpenSSL TRUSTED CERTIFICATE; convert it with openssl x509";
                    return Err(self.error(Some(block.line), FileProblem::Certificate(why.into())));
                }
                _ => continue,
            };
            found.push(Entry {
                line: block.line,
                value: CertificateDer::from(bytes),
            });
        }
        if found.is_empty() {
            return Err(self.error(None, FileProblem::NoCertificate));
        }
        Ok(found)
    }

    /// The first private key.
    pub(super) fn key(&self) -> Result<Entry<PrivateKeyDer<'static>>, TlsConfigError> {
        for block in self.blocks()? {
            let line = block.line;
            let is_key = block.label.ends_with("PRIVATE KEY");
            let has = |mark: &[u8]| block.text.windows(mark.len()).any(|part| part == mark);
            if is_key && (block.label.starts_with("ENCRYPTED") || has(b"Proc-Type: 4,ENCRYPTED")) {
                return Err(self.error(Some(line), FileProblem::EncryptedKey));
            }
            match block.label {
                "PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY" => {
                    let value = PrivateKeyDer::from_pem_slice(block.text)
                        .map_err(|error| self.broken(&block, &error))?;
                    return Ok(Entry { line, value });
                }
                label if is_key => {
                    return Err(self.error(Some(line), FileProblem::KeyKind(label.into())));
                }
                _ => {}
            }
        }
        Err(self.error(None, FileProblem::NoKey))
    }

    /// All revocation lists; at least one.
    pub(super) fn revocation_lists(
        &self,
    ) -> Result<Vec<Entry<CertificateRevocationListDer<'static>>>, TlsConfigError> {
        let mut found = Vec::new();
        for block in self.blocks()? {
            if block.label == "X509 CRL" {
                found.push(Entry {
                    line: block.line,
                    value: CertificateRevocationListDer::from(self.decode(&block)?),
                });
            }
        }
        if found.is_empty() {
            return Err(self.error(None, FileProblem::NoRevocationList));
        }
        Ok(found)
    }

    pub(super) fn error(&self, line: Option<usize>, problem: FileProblem) -> TlsConfigError {
        TlsConfigError::File {
            file: self.name.into(),
            line,
            problem,
        }
    }

    fn decode(&self, block: &Block<'_>) -> Result<Vec<u8>, TlsConfigError> {
        <(SectionKind, Vec<u8>)>::from_pem_slice(block.text)
            .map(|(_, bytes)| bytes)
            .map_err(|error| self.broken(block, &error))
    }

    fn broken(&self, block: &Block<'_>, error: &rustls::pki_types::pem::Error) -> TlsConfigError {
        self.error(
            Some(block.line),
            FileProblem::Base64(error.to_string().into()),
        )
    }

    fn blocks(&self) -> Result<Vec<Block<'a>>, TlsConfigError> {
        // A SEQUENCE, and no text.
        if self.text.first() == Some(&0x30) {
            return Err(self.error(None, FileProblem::Der));
        }
        let mut blocks = Vec::new();
        let mut open: Option<(&str, usize, usize)> = None;
        let mut at = 0;
        for (index, line) in self.text.split_inclusive(|byte| *byte == b'\n').enumerate() {
            let end = at + line.len();
            let text = str::from_utf8(line).unwrap_or_default().trim();
            if let Some(label) = marked(text, "-----BEGIN ") {
                if let Some((label, line, _)) = open {
                    return Err(self.error(Some(line), FileProblem::Unterminated(label.into())));
                }
                open = Some((label, index + 1, at));
            } else if marked(text, "-----END ").is_some()
                && let Some((label, line, begin)) = open.take()
            {
                let text = self.text.get(begin..end).unwrap_or_default();
                blocks.push(Block { label, line, text });
            }
            at = end;
        }
        match open {
            Some((label, line, _)) => {
                Err(self.error(Some(line), FileProblem::Unterminated(label.into())))
            }
            None => Ok(blocks),
        }
    }
}

fn marked<'a>(line: &'a str, mark: &str) -> Option<&'a str> {
    line.strip_prefix(mark)?.strip_suffix("-----")
}

impl fmt::Display for TlsConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File {
                file,
                line,
                problem,
            } => {
                write!(f, "{file}")?;
                if let Some(line) = line {
                    write!(f, ", line {line}")?;
                }
                write!(f, ": {}", problem.words(file))
            }
            Self::UnknownCipher(name) => write!(f, "unknown cipher {}", name.escape_debug()),
            Self::NoCipherLeft(list) => write!(
                f,
                "none of the ciphers in {} is available; see the manual for those that are",
                list.escape_debug()
            ),
            Self::NoClientCa => {
                f.write_str("client certificates are required, but no cafile or capath is set")
            }
            Self::HostName(name) => write!(f, "{} is no host name", name.escape_debug()),
            Self::Library(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for TlsConfigError {}

impl FileProblem {
    fn words(&self, file: &str) -> String {
        match self {
            Self::Der => format!(
                "this is DER, PEM is needed: openssl x509 -inform der -in {file} -out {file}.pem"
            ),
            Self::NoCertificate => "no certificate in this file".into(),
            Self::NoKey => "no private key in this file".into(),
            Self::NoRevocationList => "no X509 CRL in this file".into(),
            Self::Unterminated(label) => format!("BEGIN {label} without its END"),
            Self::Base64(why) => format!("bad PEM: {why}"),
            Self::EncryptedKey => format!(
                "the key is encrypted and there is nobody to ask for its password; decrypt it: \
                 openssl pkey -in {file} -out {file}.plain, readable by its owner alone"
            ),
            Self::KeyKind(label) => format!(
                "{label} is not supported; RSA from 2048 bits, ECDSA and Ed25519 keys are, in PKCS#8, \
                 PKCS#1 or SEC1 form"
            ),
            Self::Key(why) => format!("the key cannot be used: {why}"),
            Self::Certificate(why) => format!("bad certificate: {why}"),
            Self::RevocationList(why) => format!("bad revocation list: {why}"),
            Self::KeyMismatch(other) => {
                format!("this is not the key of the certificate in {other}")
            }
        }
    }
}

#[cfg(test)]
mod tests;
