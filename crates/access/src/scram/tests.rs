use super::*;
use crate::passwords::{DecoyKey, PasswordFile, Verifier};

#[test]
fn mechanisms_are_found_by_their_names() {
    for mechanism in Mechanism::ALL {
        assert_eq!(Mechanism::from_name(mechanism.name()), Some(mechanism));
    }
    assert_eq!(Mechanism::from_name("SCRAM-SHA-1"), None);
    assert_eq!(Mechanism::from_name("scram-sha-256"), None);
}

#[test]
fn names_with_commas_and_equal_signs_come_back() {
    for name in ["a", "a,b=c", "=2C", ",", "=", "ä€"] {
        assert_eq!(unescaped(&escaped(name)).as_deref(), Some(name));
    }
    for text in ["", "=", "a=", "a=2", "a=2c", "=3d"] {
        assert_eq!(unescaped(text), None, "{text}");
    }
}

/// RFC 4013, section 3, and what it does not allow.
#[test]
fn names_and_passwords_are_prepared() {
    let check = |text: &str, expected: &str| {
        assert_eq!(&*prepared(text.as_bytes()), expected.as_bytes(), "{text:?}");
    };
    check("I\u{AD}X", "IX");
    check("user", "user");
    check("USER", "USER");
    check("\u{AA}", "a");
    check("\u{2168}", "IX");
    check("a\u{7}", "a\u{7}");
    assert_eq!(&*prepared(b"\xFF"), b"\xFF");
}

fn exchange(mechanism: &str, line: &str, nonces: [&str; 2], expected: [&str; 4]) {
    let mechanism = Mechanism::from_name(mechanism).unwrap();
    let (file, faults) = PasswordFile::parse(line.as_bytes(), DecoyKey::new([0; 32])).unwrap();
    assert!(faults.is_empty(), "{faults}");
    let [client_nonce, server_nonce] = nonces;
    let (client, first) =
        Client::with_nonce(mechanism, "user", b"pencil", None, client_nonce.to_owned());
    let (server, second) =
        Server::answer_with(mechanism, &file, &first, None, server_nonce).unwrap();
    let (client, third) = client.answer(&second).unwrap();
    let success = server.finish(&third).unwrap();
    assert_eq!(success.user_name, "user");
    assert_eq!(client.finish(&success.message), Ok(()));
    let messages = [first, second, third, success.message];
    assert_eq!(
        messages.map(|message| String::from_utf8(message).unwrap()),
        expected
    );
}

/// RFC 7677, section 3. The keys are those of the password in the same section.
#[test]
fn the_exchange_of_rfc_7677_is_spoken_by_both_sides() {
    exchange(
        "SCRAM-SHA-256",
        "user:$scram-sha-256$4096$W22ZaJ0SNY7soEsUEjb6gQ==$\
         WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=$wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
        ["rOprNGfwEbeRWgbNEkqO", "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"],
        [
            "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
             p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
            "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
        ],
    );
}

/// Not from a standard; the tests of several other implementations have it.
#[test]
fn the_exchange_that_others_test_sha_512_with_is_spoken_by_both_sides() {
    let salt = STANDARD
        .decode("Yin2FuHTt/M0kJWb0t9OI32n2VmOGi3m+JfjOvuDF88=")
        .unwrap();
    let verifier = Verifier::create(Hashing::SCRAM_SHA_512, b"pencil", &salt).unwrap();
    exchange(
        "SCRAM-SHA-512",
        &format!("user:{verifier}"),
        [
            "rOprNGfwEbeRWgbNEkqO",
            "02431b08-2f89-4bad-a4e6-80c0564ec865",
        ],
        [
            "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
            "r=rOprNGfwEbeRWgbNEkqO02431b08-2f89-4bad-a4e6-80c0564ec865,\
             s=Yin2FuHTt/M0kJWb0t9OI32n2VmOGi3m+JfjOvuDF88=,i=4096",
            "c=biws,r=rOprNGfwEbeRWgbNEkqO02431b08-2f89-4bad-a4e6-80c0564ec865,\
             p=Hc5yec3NmCD7t+kFRw4/3yD6/F3SQHc7AVYschRja+Bc3sbdjlA0eH1OjJc0DD4ghn1tnXN5/Wr6qm9xmaHt4A==",
            "v=BQuhnKHqYDwQWS5jAw4sZed+C9KFUALsbrq81bB0mh+bcUUbbMPNNmBIupnS2AmyyDnG5CTBQtkjJ9kyY4kzmw==",
        ],
    );
}
