use super::*;

#[test]
fn mosquitto_2_0_gets_its_three_members_where_it_can_read_them() {
    let verifier = new_verifier("secret", [7; 12], 5);
    let (password, salt, iterations) = members(&verifier).unwrap();
    assert_eq!((iterations, salt.as_str()), (5, "BwcHBwcHBwcHBwcH"));
    assert_eq!(from_members(&password, &salt, 5).unwrap(), verifier);
    let long_salt = Verifier::create(Hashing::SHA512_PBKDF2, b"secret", &[7; 64]).unwrap();
    assert_eq!(members(&long_salt), None);
    let argon2 = Hashing::Argon2id {
        memory_kib: 8,
        passes: 1,
        lanes: 1,
    };
    assert_eq!(
        members(&Verifier::create(argon2, b"secret", &[7; 16]).unwrap()),
        None
    );
}

#[test]
fn members_that_are_no_hash_are_refused() {
    let (password, salt, _) = members(&new_verifier("secret", [7; 12], 5)).unwrap();
    for (password, salt, iterations) in [
        (password.as_str(), salt.as_str(), 0),
        (&password, &salt, -1),
        (&password, &salt, i32::MAX),
        (&password, "#", 5),
        ("x", &salt, 5),
        (&password, "", 5),
        ("", &salt, 5),
        (&format!("{password}$x"), &salt, 5),
        (&password, "a$b", 5),
    ] {
        assert!(
            from_members(password, salt, iterations).is_err(),
            "{password} {salt} {iterations}"
        );
    }
}

#[test]
fn iterations_out_of_range_are_brought_into_it() {
    let hashing = new_verifier("secret", [7; 12], 0).hashing();
    assert_eq!(hashing, Hashing::Sha512Pbkdf2 { iterations: 1 });
}
