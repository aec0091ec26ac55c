use rustls::pki_types::pem::PemObject;

use super::*;

/// Made by OpenSSL 3.0, whose words for it (`openssl x509 -nameopt RFC2253`) are expected.
const OPENSSL: &str = include_str!("openssl.pem");

/// Version 1 of X.509, as `openssl x509 -req` makes it without `-extfile`.
const VERSION1: &str = include_str!("version1.pem");

fn info(pem: &str) -> CertificateInfo {
    CertificateInfo::read(&CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap()
}

#[test]
fn a_subject_is_written_as_openssl_writes_it() {
    let info = info(OPENSSL);
    assert_eq!(
        info.subject,
        "CN=\\#dev\\\\ice\\+\\\"7\\\",2.3.4.5=#0C037A7A7A,GN=Giv,SN=Sur,serialNumber=99,DC=example,\
         UID=u7,emailAddress=a@b.example,OU=\\ lead trail\\ ,\
         O=M\\C3\\BCller\\, S\\C3\\B6hne & Co\\; \\<x\\>,ST=Bayern,C=DE"
    );
    assert_eq!(info.issuer, info.subject);
    assert_eq!(info.common_name.as_deref(), Some("#dev\\ice+\"7\""));
    assert_eq!(info.serial, "1E20826D5AE2955D95D56669968D62E757B87C9F");
    assert_eq!(
        (info.not_before, info.not_after),
        (1_795_876_942, 2_111_236_942)
    );
}

#[test]
fn version_1_and_parts_of_several_attributes_are_read() {
    let info = info(VERSION1);
    assert_eq!(info.subject, "C=DE,CN=multi+O=both");
    assert_eq!(info.common_name.as_deref(), Some("multi"));
    assert_eq!(info.host_names(), ["multi"]);
}

#[test]
fn damaged_certificates_are_refused_or_read_but_never_more() {
    let good = CertificateDer::from_pem_slice(OPENSSL.as_bytes()).unwrap();
    for at in 0..good.len() {
        assert!(CertificateInfo::read(&CertificateDer::from(good[..at].to_vec())).is_err());
        for bit in [1, 0x80] {
            let mut bytes = good.to_vec();
            bytes[at] ^= bit;
            let _ = CertificateInfo::read(&CertificateDer::from(bytes));
        }
    }
}
