//! What a certificate says about its owner.

use std::fmt;
use std::net::IpAddr;

use rustls::pki_types::CertificateDer;
use x509_cert::certificate::{CertificateInner, Raw};
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use super::distinguished;

/// What a certificate says. Whether it is true is for the CA that signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateInfo {
    /// The subject as Mosquitto writes it (`use_subject_as_username`): `CN=device,O=Example,C=DE`.
    pub subject: String,
    /// The first common name in the subject (`use_identity_as_username`). It may hold any characters,
    /// also zero.
    pub common_name: Option<String>,
    /// The subject alternative names, in order.
    pub alternative_names: Vec<AlternativeName>,
    /// The issuer, in the form of the subject.
    pub issuer: String,
    /// The serial number in hexadecimal.
    pub serial: String,
    /// Seconds since 1970 from which the certificate is valid.
    pub not_before: u64,
    /// Seconds since 1970 after which it is not.
    pub not_after: u64,
}

/// A subject alternative name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AlternativeName {
    /// A host name, perhaps with a wildcard.
    Dns(String),
    /// A mail address.
    Email(String),
    /// A URI.
    Uri(String),
    /// An address.
    Ip(IpAddr),
}

/// The certificate cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unreadable(pub(super) String);

impl CertificateInfo {
    pub(super) fn read(certificate: &CertificateDer<'_>) -> Result<Self, Unreadable> {
        let certificate = CertificateInner::<Raw>::from_der(certificate)
            .map_err(|error| Unreadable(error.to_string()))?;
        let content = certificate.tbs_certificate();
        // One that cannot be read is as good as none: the certificate was verified by others.
        let names = content.get_extension::<SubjectAltName>().ok().flatten();
        let names = names.map_or_else(Vec::new, |(_, names)| names.0);
        let validity = content.validity();
        let serial = content.serial_number().as_bytes();
        Ok(Self {
            subject: distinguished::rfc2253(content.subject()),
            common_name: distinguished::common_name(content.subject()),
            alternative_names: names.iter().filter_map(AlternativeName::read).collect(),
            issuer: distinguished::rfc2253(content.issuer()),
            serial: serial.iter().map(|byte| format!("{byte:02X}")).collect(),
            not_before: validity.not_before.to_unix_duration().as_secs(),
            not_after: validity.not_after.to_unix_duration().as_secs(),
        })
    }

    /// The names of hosts: the alternative ones, or where there are none the common name.
    pub(super) fn host_names(&self) -> Vec<String> {
        let names: Vec<String> = self
            .alternative_names
            .iter()
            .filter_map(|name| match name {
                AlternativeName::Dns(name) => Some(name.to_ascii_lowercase()),
                AlternativeName::Email(_) | AlternativeName::Uri(_) | AlternativeName::Ip(_) => {
                    None
                }
            })
            .collect();
        if names.is_empty() {
            let name = self.common_name.as_deref();
            return name.map(str::to_ascii_lowercase).into_iter().collect();
        }
        names
    }
}

impl AlternativeName {
    fn read(name: &GeneralName) -> Option<Self> {
        match name {
            GeneralName::DnsName(name) => Some(Self::Dns(name.as_str().to_owned())),
            GeneralName::Rfc822Name(name) => Some(Self::Email(name.as_str().to_owned())),
            GeneralName::UniformResourceIdentifier(name) => {
                Some(Self::Uri(name.as_str().to_owned()))
            }
            GeneralName::IpAddress(bytes) => {
                let bytes = bytes.as_bytes();
                let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
                let sixteen = || <[u8; 16]>::try_from(bytes).map(IpAddr::from);
                four.or_else(|_| sixteen()).ok().map(Self::Ip)
            }
            _ => None,
        }
    }
}

impl fmt::Display for AlternativeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) | Self::Email(name) | Self::Uri(name) => f.write_str(name),
            Self::Ip(address) => address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests;
