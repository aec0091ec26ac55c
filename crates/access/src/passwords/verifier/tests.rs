use super::super::{ITERATIONS_MAX, MEMORY_KIB_MAX, PASSES_MAX};
use super::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hash_of(verifier: &Verifier) -> &[u8] {
    match &verifier.secret {
        Secret::Hash(hash) => hash,
        Secret::Scram(_) => panic!("a hash"),
    }
}

/// The vectors for PBKDF2-HMAC-SHA-512 that are passed around with those of RFC 6070.
#[test]
fn pbkdf2_with_sha512_gives_the_published_hashes() {
    for (iterations, expected) in [
        (
            1,
            "867f70cf1ade02cff3752599a3a53dc4af34c7a669815ae5d513554e1c8cf252\
             c02d470a285a0501bad999bfe943c08f050235d7d68b1da55e63f73b60a57fce",
        ),
        (
            2,
            "e1d9c16aa681708a45f5c7c4e215ceb66e011a2e9f0040713f18aefdb866d53c\
             f76cab2868a39b9f7840edce4fef5a82be67335c77a6068e04112754f27ccf4e",
        ),
        (
            4096,
            "d197b1b33db0143e018b12f3d1d1479e6cdebdcc97c5c0f87f6902e072f457b5\
             143f30602641b3d55cd335988cb36b84376060ecd532e039b742a239434af2d5",
        ),
    ] {
        let hashing = Hashing::Sha512Pbkdf2 { iterations };
        let verifier = Verifier::create(hashing, b"password", b"salt").unwrap();
        assert_eq!(hex(hash_of(&verifier)), expected);
    }
}

/// From the tests of the reference implementation of Argon2.
#[test]
fn argon2id_gives_the_published_hashes() {
    for (text, password) in [
        (
            "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
            "password",
        ),
        (
            "$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc",
            "password",
        ),
    ] {
        let verifier = Verifier::parse(text).unwrap();
        assert!(verifier.verify(password.as_bytes()), "{text}");
        assert!(!verifier.verify(b"Password"), "{text}");
        assert_eq!(verifier.to_string(), text);
    }
}

#[test]
fn every_form_is_written_as_it_is_read() {
    for hashing in [
        Hashing::Sha512,
        Hashing::Sha512Pbkdf2 { iterations: 3 },
        Hashing::Argon2id {
            memory_kib: 16,
            passes: 2,
            lanes: 2,
        },
        Hashing::ScramSha256 { iterations: 4 },
        Hashing::ScramSha512 { iterations: 5 },
    ] {
        let salt = vec![0xA5; hashing.salt_len()];
        let verifier = Verifier::create(hashing, b"secret", &salt).unwrap();
        let text = verifier.to_string();
        let read = Verifier::parse(&text).unwrap();
        assert!(read == verifier && read.hashing() == hashing, "{text}");
        assert!(read.verify(b"secret") && !read.verify(b"Secret"), "{text}");
        assert_eq!(
            Hashing::from_name(hashing.name()).unwrap().name(),
            hashing.name()
        );
    }
}

#[test]
fn base64_is_read_with_and_without_padding() {
    let verifier = Verifier::create(Hashing::Sha512, b"x", b"0123456789a").unwrap();
    let text = verifier.to_string();
    assert!(text.contains('='), "{text}");
    assert!(Verifier::parse(&text.replace('=', "")).unwrap() == verifier);
}

#[track_caller]
fn check_refused(text: &str, part: &str) {
    let error = Verifier::parse(text).unwrap_err().to_string();
    assert!(error.contains(part), "{text}: {error}");
}

#[test]
fn damaged_hashes_say_what_is_wrong() {
    let hash = "A".repeat(86);
    check_refused("", "does not begin with");
    check_refused("secret", "does not begin with");
    check_refused("$", "no hash type $$");
    check_refused("$5$abc$def", "crypt(3)");
    check_refused("$6$", "the salt is missing");
    check_refused("$6$c2FsdA==", "the hash is missing");
    check_refused("$6$c2FsdA==$", "the hash is missing");
    check_refused("$6$c2FsdA==$AAAA", "a hash of 3 bytes");
    check_refused("$6$c2Fs!A==$AAAA", "the salt is no base64");
    check_refused(&format!("$6$c2FsdA==${hash}$"), "a $ too many");
    check_refused(&format!("$6${}${hash}", "A".repeat(1_368)), "not 1026");
    for iterations in [
        "",
        "0",
        "-1",
        "+1",
        "1e3",
        "10000001",
        "99999999999999999999",
    ] {
        check_refused(&format!("$7${iterations}$c2FsdA==${hash}"), "10000000");
    }
    check_refused("$argon2id$v=16$m=8,t=1,p=1$c29tZXNhbHQ$AAAA", "version 19");
    check_refused("$argon2id$v=19$t=1,m=8,p=1$c29tZXNhbHQ$AAAA", "the form");
    check_refused("$argon2id$v=19$m=8,t=1$c29tZXNhbHQ$AAAA", "the form");
    check_refused(
        "$argon2id$v=19$m=8,t=1,p=1,keyid=x$c29tZXNhbHQ$AAAA",
        "key id",
    );
    check_refused("$argon2id$v=19$m=7,t=1,p=1$c29tZXNhbHQ$AAAA", "m is from 8");
    check_refused(
        "$argon2id$v=19$m=4294967295,t=1,p=1$c29tZXNhbHQ$AAAA",
        "m is from",
    );
    check_refused("$argon2id$v=19$m=8,t=0,p=1$c29tZXNhbHQ$AAAA", "t is from");
    check_refused("$argon2id$v=19$m=8,t=1,p=0$c29tZXNhbHQ$AAAA", "p is from");
    check_refused(
        "$argon2id$v=19$m=8,t=1,p=4294967295$c29tZXNhbHQ$AAAA",
        "p is from",
    );
    check_refused("$argon2id$v=19$m=8,t=1,p=1$c29tZXNh$AAAA", "from 8 to 1024");
    check_refused(
        "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$AAAA",
        "a hash of 3 bytes",
    );
    check_refused("$scram-sha-256$4096$c2FsdA==$AAAA$AAAA", "32 bytes each");
    check_refused(
        "$scram-sha-256$4096$c2FsdA==$AAAA",
        "the server key is missing",
    );
}

#[test]
fn settings_beyond_the_limits_make_no_hash() {
    for hashing in [
        Hashing::Sha512Pbkdf2 { iterations: 0 },
        Hashing::Sha512Pbkdf2 {
            iterations: ITERATIONS_MAX + 1,
        },
        Hashing::ScramSha256 { iterations: 0 },
        Hashing::Argon2id {
            memory_kib: MEMORY_KIB_MAX + 1,
            passes: 1,
            lanes: 1,
        },
        Hashing::Argon2id {
            memory_kib: 8,
            passes: PASSES_MAX + 1,
            lanes: 1,
        },
        Hashing::Argon2id {
            memory_kib: 8,
            passes: 1,
            lanes: 256,
        },
    ] {
        assert!(Verifier::create(hashing, b"x", b"0123456789abcdef").is_err());
    }
    assert!(Verifier::create(Hashing::Sha512, b"x", b"").is_err());
    assert!(Verifier::from_hash(Hashing::Sha512, b"salt", &[0; 63]).is_err());
    assert!(Verifier::from_hash(Hashing::Sha512, b"salt", &[0; 64]).is_ok());
}

#[test]
fn a_password_of_64_kib_is_hashed_whole() {
    let mut password = vec![b'x'; 65_535];
    for hashing in [
        Hashing::Sha512,
        Hashing::Sha512Pbkdf2 { iterations: 2 },
        Hashing::Argon2id {
            memory_kib: 8,
            passes: 1,
            lanes: 1,
        },
    ] {
        let verifier = Verifier::create(hashing, &password, b"0123456789ab").unwrap();
        assert!(verifier.verify(&password));
        password[65_534] = b'y';
        assert!(!verifier.verify(&password));
        password[65_534] = b'x';
    }
}

#[test]
fn a_nul_does_not_end_a_password() {
    let verifier = Verifier::create(Hashing::Sha512, b"a\0b", b"0123456789ab").unwrap();
    assert!(verifier.verify(b"a\0b"));
    assert!(!verifier.verify(b"a\0c") && !verifier.verify(b"a"));
}
