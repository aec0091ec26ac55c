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
    fails(options().ca_file(path("none.pem")), "none.pem");
    fails(options().ca_directory(path("nowhere")), "nowhere");
    fails(
        options().ca_directory(directory.path()),
        "no file with a CA",
    );
    fs::write(path("empty.pem"), "").unwrap();
    fails(
        options().ca_file(path("empty.pem")),
        "empty.pem: no certificate",
    );
    fails(options().ca_pem("-----BEGIN CERTIFICATE-----\n"), "the CA");
    let any = || options().danger_accept_any_certificate();
    let empty = path("empty.pem");
    fails(any().certificate_files(&empty, &empty), "no certificate");
    fails(any().ciphers("NO-SUCH-CIPHER"), "NO-SUCH-CIPHER");
    fails(any().key_log_file(path("no/such/file")), "keys");
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
