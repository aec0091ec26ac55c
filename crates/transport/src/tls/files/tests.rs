use super::*;

fn pem(text: &str) -> PemFile<'_> {
    PemFile {
        name: "a.pem",
        text: text.as_bytes(),
    }
}

fn problem<T: fmt::Debug>(result: Result<T, TlsConfigError>) -> (Option<usize>, FileProblem) {
    match result.unwrap_err() {
        TlsConfigError::File {
            file,
            line,
            problem,
        } => {
            assert_eq!(&*file, "a.pem");
            (line, problem)
        }
        other => panic!("{other}"),
    }
}

fn block(label: &str, body: &str) -> String {
    format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
}

#[test]
fn entries_are_found_among_other_things_with_their_lines() {
    let text = format!(
        "a comment\r\n{}Bag Attributes\n{}{}",
        block("CERTIFICATE", "AAEC"),
        block("PRIVATE KEY", "AAEC"),
        block("CERTIFICATE", "AwQF").replace('\n', "\r\n"),
    );
    let found = pem(&text).certificates().unwrap();
    let found: Vec<_> = found
        .iter()
        .map(|entry| (entry.line, entry.value.to_vec()))
        .collect();
    assert_eq!(found, [(2, vec![0, 1, 2]), (9, vec![3, 4, 5])]);
    assert_eq!(pem(&text).key().unwrap().line, 6);
    let lists = block("X509 CRL", "AAEC");
    assert_eq!(pem(&lists).revocation_lists().unwrap().len(), 1);
}

#[test]
fn what_is_missing_is_said_of_the_whole_file() {
    let other = block("DH PARAMETERS", "AAEC");
    for text in ["", "not PEM at all", &other] {
        let none = (None, FileProblem::NoCertificate);
        assert_eq!(problem(pem(text).certificates()), none);
        assert_eq!(problem(pem(text).key()), (None, FileProblem::NoKey));
        let none = (None, FileProblem::NoRevocationList);
        assert_eq!(problem(pem(text).revocation_lists()), none);
    }
}

#[test]
fn what_is_broken_is_named_with_its_line() {
    let text = format!("\n\n{}", block("CERTIFICATE", "A*B"));
    let (line, why) = problem(pem(&text).certificates());
    assert_eq!(line, Some(3));
    assert!(matches!(why, FileProblem::Base64(_)));
    let unterminated = FileProblem::Unterminated("CERTIFICATE".into());
    for text in [
        "\n-----BEGIN CERTIFICATE-----\nAAEC\n".to_owned(),
        format!(
            "\n-----BEGIN CERTIFICATE-----\nAAEC\n{}",
            block("CERTIFICATE", "AAEC")
        ),
    ] {
        let found = problem(pem(&text).certificates());
        assert_eq!(found, (Some(2), unterminated.clone()));
    }
    let trusted = block("TRUSTED CERTIFICATE", "AAEC");
    let (line, why) = problem(pem(&trusted).certificates());
    assert_eq!(line, Some(1));
    assert!(matches!(why, FileProblem::Certificate(_)));
}

#[test]
fn an_encrypted_key_is_refused_with_the_command_that_helps() {
    let old = block(
        "RSA PRIVATE KEY",
        "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,AE2ADA03\n\nAAEC",
    );
    for text in [block("ENCRYPTED PRIVATE KEY", "AAEC"), old] {
        let error = pem(&text).key().unwrap_err();
        assert!(
            error.to_string().contains("openssl pkey -in a.pem"),
            "{error}"
        );
        assert_eq!(
            problem::<()>(Err(error)),
            (Some(1), FileProblem::EncryptedKey)
        );
    }
}

#[test]
fn a_key_of_a_kind_that_is_not_supported_is_named() {
    for label in ["DSA PRIVATE KEY", "OPENSSH PRIVATE KEY"] {
        let text = block(label, "AAEC");
        let kind = FileProblem::KeyKind(label.into());
        assert_eq!(problem(pem(&text).key()), (Some(1), kind));
    }
}

#[test]
fn parameters_in_front_of_a_key_are_passed_over() {
    let text = block("EC PARAMETERS", "BggqhkjOPQMBBw==") + &block("EC PRIVATE KEY", "AAEC");
    assert_eq!(pem(&text).key().unwrap().line, 4);
}

#[test]
fn der_is_recognised() {
    let file = PemFile {
        name: "a.pem",
        text: &[0x30, 0x82, 1, 2],
    };
    assert_eq!(problem(file.certificates()), (None, FileProblem::Der));
    assert_eq!(problem(file.key()), (None, FileProblem::Der));
}
