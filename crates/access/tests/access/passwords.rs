//! Files that Debian's mosquitto_passwd 2.0.11 has written.

use midge_access::passwords::{DecoyKey, Hashing, PasswordFile};

const DEBIAN: &[u8] = include_bytes!("fixtures/debian_passwd");

#[test]
fn users_of_mosquitto_passwd_log_in_with_their_passwords_alone() {
    let (file, faults) = PasswordFile::parse(DEBIAN, DecoyKey::new([1; 32])).unwrap();
    assert!(faults.is_empty(), "{faults}");
    let long = "long ".repeat(400);
    let users = [
        ("alice", "correct horse battery staple", Hashing::Sha512),
        ("bob", "", Hashing::Sha512),
        (
            "carol",
            "pässword with ünicode €",
            Hashing::Sha512Pbkdf2 { iterations: 101 },
        ),
        (
            "dave with spaces",
            "x",
            Hashing::Sha512Pbkdf2 { iterations: 2_500 },
        ),
        ("erin", &long, Hashing::Sha512Pbkdf2 { iterations: 101 }),
    ];
    assert_eq!(file.len(), users.len());
    for (name, password, hashing) in users {
        assert_eq!(file.verifier(name).unwrap().hashing(), hashing, "{name}");
        for (_, other, _) in users {
            let is_in = file.check(name).run(Some(other.as_bytes()));
            assert_eq!(is_in, other == password, "{name} with {other:.20}");
        }
    }
}
