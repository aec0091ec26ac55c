use super::*;

#[test]
fn files_of_a_capath_are_named_by_hashes() {
    for name in ["1a2b3c4d.0", "ABCDEF01.12"] {
        assert!(is_hash_name(name), "{name}");
    }
    for name in [
        "ca.pem",
        "1a2b3c4d",
        "1a2b3c4d.",
        "1a2b3c4d.r0",
        "1a2b3c4.0",
        "1a2b3c4g.0",
    ] {
        assert!(!is_hash_name(name), "{name}");
    }
}

#[test]
fn names_that_mqtt_does_not_have_are_no_user_names() {
    assert!(is_user_name("device 7"));
    assert!(!is_user_name(""));
    assert!(!is_user_name("device\0admin"));
    assert!(!is_user_name("device\n"));
    assert!(!is_user_name(&"x".repeat(USER_NAME_BYTES_MAX + 1)));
}

#[test]
fn a_capath_without_certificates_is_told_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("ca.pem"), "x").unwrap();
    let mut loaded = Loaded {
        wrapping: None,
        stamps: Vec::new(),
        expires: Vec::new(),
        warnings: Vec::new(),
    };
    let error = loaded
        .read_directory(folder.path(), &mut Vec::new())
        .unwrap_err();
    assert!(error.contains("openssl rehash"), "{error}");
}
