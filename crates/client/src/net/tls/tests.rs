use super::*;

fn fails(options: TlsOptions, text: &str) {
    let error = TlsState::new(options).ready().err().expect("it fails");
    assert!(error.to_string().contains(text), "{error}");
}

#[test]
fn faults_in_files_are_told_with_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let options = TlsOptions::new;
    let (none, empty) = (path("none.pem"), path("empty.pem"));
    fails(options().ca_file(&none), "ca_file: cannot read ");
    fails(options().ca_file(&none), "none.pem: No such file");
    fails(
        options().ca_directory(path("nowhere")),
        "ca_directory: cannot read ",
    );
    fails(
        options().ca_directory(directory.path()),
        "has no file with a CA",
    );
    fs::write(&empty, "").unwrap();
    let named = |option: &str, what: &str| format!("{option}: {}: no {what}", empty.display());
    fails(options().ca_file(&empty), &named("ca_file", "certificate"));
    fails(options().ca_pem("-----BEGIN CERTIFICATE-----\n"), "the CA");
    let any = || options().danger_accept_any_certificate();
    fails(
        any().certificate_files(&empty, &empty),
        &named("certificate_file", "certificate"),
    );
    let certificate = path("certificate.pem");
    let made = rcgen::generate_simple_self_signed(["one".to_owned()]).unwrap();
    fs::write(&certificate, made.cert.pem()).unwrap();
    fails(
        any().certificate_files(&certificate, &empty),
        &named("key_file", "private key"),
    );
    fails(
        any().certificate_files(&certificate, &certificate),
        "key_file: ",
    );
    fails(
        any().certificate_files(&certificate, &none),
        "key_file: cannot read ",
    );
    fails(any().ciphers("NO-SUCH-CIPHER"), "NO-SUCH-CIPHER");
    fails(
        any().key_log_file(path("no/such/file")),
        "key_log_file: cannot write to ",
    );
    let mut key_only = any();
    assert_eq!(key_only.set("key_file", "key.pem"), Ok(true));
    fails(key_only, "without a certificate");
}

#[test]
fn a_file_that_changed_is_read_again_and_a_broken_one_is_not_used() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ca.pem");
    let ca = |name: &str| {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        made.cert.pem()
    };
    let write = |text: &str, age: u64| {
        fs::write(&path, text).unwrap();
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(age))
            .unwrap();
    };
    write(&ca("one"), 1);
    let state = TlsState::new(TlsOptions::new().ca_file(&path));
    let first = state.ready().unwrap();
    assert!(Arc::ptr_eq(&first, &state.ready().unwrap()));
    write("half a fi", 2);
    assert!(Arc::ptr_eq(&first, &state.ready().unwrap()));
    write(&ca("two"), 3);
    let second = state.ready().unwrap();
    assert!(!Arc::ptr_eq(&first, &second));
    assert!(Arc::ptr_eq(&second, &state.ready().unwrap()));
}
