use super::*;

const PBKDF2_OF_HASHLIB: &str = "$7$101$MDEyMzQ1Njc4OWFi$EO/lLlkeUgIiBaS8G8UK0ZMP1u508TA7Tl+AdJ1cEsmlbGyEPAERErpfq84j1kepISs0UzmcdL4ucgZ2uodxfQ==";
const SHA512_OF_HASHLIB: &str = "$6$MDEyMzQ1Njc4OWFi$qEXipeLbgxRlwd06QHfY5WITkUZg0jLg9SZbXzq3ifXjfj+v3GbJGrSfC5PAg3UNCS+UFfbhUIZX4bmIAs330w==";
const ARGON2_OF_CFFI: &str = "$argon2id$v=19$m=1024,t=1,p=1$1d8hU/8FFWpPg4uQuyxJcFtqI+Vpma6rRCTH+J4qpzKybuaWpF0Y95aKtbY5jfDqhweQB+zTaGX/otZaW2lFYg$9SiQ7cIPnbBUWgCEeznTg1Mn3wmZowvRtu7bcpuMk6ceThaW4/OA/a/SV7S6dkh7Te9ReLNHHL1qX51yGopnKQ";

#[test]
fn a_new_hash_verifies_its_password_and_no_other() {
    let hash = PasswordHash::new(b"secret", [7; 12], 1000);
    assert!(hash.verify(b"secret"));
    assert!(!hash.verify(b"Secret"));
    assert!(!hash.verify(b""));
}

#[test]
fn each_text_form_is_read_and_written_back() {
    let hash = PasswordHash::new(b"secret", [7; 12], 5);
    for text in [
        hash.encode(),
        PBKDF2_OF_HASHLIB.to_owned(),
        format!(
            "$6${}${}",
            STANDARD.encode([1; 12]),
            STANDARD.encode([2; 64])
        ),
        format!(
            "$argon2id$v=19$m=64,t=1,p=1${}${}",
            STANDARD_NO_PAD.encode([1; 64]),
            STANDARD_NO_PAD.encode([2; 64])
        ),
    ] {
        let hash = PasswordHash::parse(&text).unwrap();
        assert_eq!(hash.encode(), text);
    }
}

#[test]
fn pbkdf2_is_that_of_rfc_8018_with_sha_512() {
    // Computed with Python's hashlib.pbkdf2_hmac('sha512', b'secret', b'0123456789ab', 101, 64).
    let hash = PasswordHash::new(b"secret", *b"0123456789ab", 101);
    assert_eq!(hash.encode(), PBKDF2_OF_HASHLIB);
}

#[test]
fn sha_512_is_of_the_password_and_then_the_salt() {
    // Computed with Python's hashlib.sha512(b'secret' + b'0123456789ab').
    let hash = PasswordHash::parse(SHA512_OF_HASHLIB).unwrap();
    assert!(hash.verify(b"secret"));
    assert!(!hash.verify(b"secreT"));
}

#[test]
fn argon2id_verifies_a_hash_of_another_implementation() {
    // Computed with argon2-cffi: PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1,
    // hash_len=64, salt_len=64).hash('secret').
    let hash = PasswordHash::parse(ARGON2_OF_CFFI).unwrap();
    assert!(hash.verify(b"secret"));
    assert!(!hash.verify(b"secreT"));
}

#[test]
fn a_hash_that_asks_for_too_much_work_or_is_cut_is_refused() {
    let salt = STANDARD.encode([1; 12]);
    let hash = STANDARD.encode([2; 64]);
    let bare = STANDARD_NO_PAD.encode([2; 64]);
    for text in [
        String::new(),
        "$".into(),
        "secret".into(),
        format!("$5${salt}${hash}"),
        format!("$7$0${salt}${hash}"),
        format!("$7$-1${salt}${hash}"),
        format!("$7$10000001${salt}${hash}"),
        format!("$7$99999999999999999999${salt}${hash}"),
        format!("$7$101${salt}"),
        format!("$7$101${salt}${hash}$more"),
        format!("$7$101${}${hash}", STANDARD.encode([1; 13])),
        format!("$7$101${salt}${}", STANDARD.encode([1; 63])),
        format!("$7$101$#${hash}"),
        format!("$argon2id$v=19$m=2000000,t=1,p=1${bare}${bare}"),
        format!("$argon2id$v=19$m=64,t=65,p=1${bare}${bare}"),
        format!("$argon2id$v=19$m=64,t=0,p=1${bare}${bare}"),
        format!("$argon2id$v=19$m=64,t=1,p=17${bare}${bare}"),
        format!("$argon2id$v=19$m=4,t=1,p=1${bare}${bare}"),
        format!("$argon2id$v=16$m=64,t=1,p=1${bare}${bare}"),
        format!("$argon2id$v=19$m=64,t=1,p=1,x=1${bare}${bare}"),
        format!("$argon2id$v=19$m=64,t=1,p=1$ab${bare}"),
    ] {
        assert_eq!(PasswordHash::parse(&text), None, "{text}");
    }
}

#[test]
fn a_decoy_costs_the_same_and_no_password_fits_it() {
    let hash = PasswordHash::new(b"secret", [7; 12], 5);
    let decoy = hash.decoy();
    assert_eq!(decoy.kind, hash.kind);
    assert_ne!(decoy, hash);
    assert!(!decoy.verify(b"secret"));
}

#[test]
fn mosquitto_2_0_gets_its_three_members_where_it_can_read_them() {
    let hash = PasswordHash::new(b"secret", [7; 12], 5);
    let (password, salt, iterations) = hash.members().unwrap();
    assert_eq!(
        PasswordHash::from_members(&password, &salt, iterations),
        Some(hash)
    );
    let long_salt = format!(
        "$7$5${}${}",
        STANDARD.encode([1; 64]),
        STANDARD.encode([2; 64])
    );
    assert_eq!(PasswordHash::parse(&long_salt).unwrap().members(), None);
}
