use super::super::{Client, ScramHash};
use super::*;
use crate::passwords::{DecoyKey, Hashing, Verifier};

const SHA256: Mechanism = Mechanism {
    hash: ScramHash::Sha256,
    plus: false,
};
const PLUS: Mechanism = Mechanism {
    hash: ScramHash::Sha256,
    plus: true,
};

/// Alice and Ödön have keys, Bob has another hash.
fn file() -> PasswordFile {
    let line = |name: &str, hashing, salt: &[u8]| {
        let verifier = Verifier::create(hashing, "pa\u{AD}ss".as_bytes(), salt).unwrap();
        format!("{name}:{verifier}\n")
    };
    let text = [
        line("alice", Hashing::SCRAM_SHA_256, &[1; 16]),
        line("Ödön,=", Hashing::SCRAM_SHA_256, &[2; 16]),
        line("bob", Hashing::Sha512, &[3; 12]),
    ];
    let (file, faults) =
        PasswordFile::parse(text.concat().as_bytes(), DecoyKey::new([9; 32])).unwrap();
    assert!(faults.is_empty(), "{faults}");
    file
}

fn channel(kind: &str, data: &[u8]) -> ChannelBinding {
    ChannelBinding {
        kind: kind.to_owned(),
        data: data.to_vec(),
    }
}

/// A whole login; the error of the server, if it fails.
fn login(
    file: &PasswordFile,
    mechanism: Mechanism,
    user: &str,
    password: &str,
    client_end: Option<&ChannelBinding>,
    server_end: Option<&ChannelBinding>,
) -> Result<String, ServerError> {
    let nonce = [1; NONCE_BYTES];
    let (client, first) = Client::new(mechanism, user, password.as_bytes(), client_end, nonce);
    let (server, second) = Server::answer(mechanism, file, &first, server_end, [2; NONCE_BYTES])
        .map_err(|failure| failure.error)?;
    let (client, third) = client.answer(&second).unwrap();
    let success = server.finish(&third).map_err(|failure| {
        assert_eq!(failure.user_name.as_deref(), Some(user));
        failure.error
    })?;
    client.finish(&success.message).unwrap();
    Ok(success.user_name)
}

#[test]
fn who_knows_the_password_gets_in_and_nobody_else() {
    let file = file();
    let with = |user, password| login(&file, SHA256, user, password, None, None);
    assert_eq!(with("alice", "pass"), Ok("alice".to_owned()));
    assert_eq!(
        with("alice", "pa\u{AD}ss"),
        Ok("alice".to_owned()),
        "both are prepared"
    );
    assert_eq!(with("Ödön,=", "pass"), Ok("Ödön,=".to_owned()));
    assert_eq!(with("alice", "Pass"), Err(ServerError::WrongPassword));
    assert_eq!(with("alice", ""), Err(ServerError::WrongPassword));
    assert_eq!(with("bob", "pass"), Err(ServerError::NoKeys));
    assert_eq!(with("zoe", "pass"), Err(ServerError::UnknownUser));
    // The same user with a password in CONNECT.
    assert!(file.check("alice").run(Some("pa\u{AD}ss".as_bytes())));
    assert!(file.check("alice").run(Some(b"pass")));
}

fn answer(file: &PasswordFile, first: &str) -> Result<String, ServerError> {
    match Server::answer_with(SHA256, file, first.as_bytes(), None, "S") {
        Ok((_, answer)) => Ok(String::from_utf8(answer).unwrap()),
        Err(failure) => Err(failure.error),
    }
}

#[test]
fn an_unknown_user_is_answered_like_a_known_one_and_always_alike() {
    let file = file();
    let mut salts = Vec::new();
    for name in ["alice", "bob", "zoe", "yves"] {
        let first = format!("n,,n={name},r=C");
        let answered = answer(&file, &first).unwrap();
        assert_eq!(answer(&file, &first).as_ref(), Ok(&answered));
        let parts: Vec<_> = answered.split(',').collect();
        assert_eq!((parts[0], parts[2]), ("r=CS", "i=4096"), "{name}");
        let salt = STANDARD
            .decode(parts[1].strip_prefix("s=").unwrap())
            .unwrap();
        assert_eq!(salt.len(), 16, "{name}");
        salts.push(salt);
    }
    salts.sort();
    salts.dedup();
    assert_eq!(salts.len(), 4);
}

#[test]
fn unknown_users_have_salts_and_iterations_of_the_kind_that_the_file_has() {
    let hashing = Hashing::ScramSha512 { iterations: 7_000 };
    let line = format!("a:{}", Verifier::create(hashing, b"x", &[0; 40]).unwrap());
    let (file, _) = PasswordFile::parse(line.as_bytes(), DecoyKey::new([9; 32])).unwrap();
    let mechanism = Mechanism::from_name("SCRAM-SHA-512").unwrap();
    let (_, answer) = Server::answer_with(mechanism, &file, b"n,,n=zoe,r=C", None, "S").unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let parts: Vec<_> = answer.split(',').collect();
    assert_eq!(parts[2], "i=7000");
    assert_eq!(STANDARD.decode(&parts[1][2..]).unwrap().len(), 40);
    // Of the other mechanism nobody has keys, so it is what would be new.
    assert!(
        self::answer(&file, "n,,n=zoe,r=C")
            .unwrap()
            .ends_with(",i=4096")
    );
}

#[test]
fn channel_binding_holds_both_ends_to_one_channel() {
    let file = file();
    let mine = channel("tls-exporter", b"channel");
    let with = |mechanism, client: Option<&ChannelBinding>, server: Option<&ChannelBinding>| {
        login(&file, mechanism, "alice", "pass", client, server).map(|_| ())
    };
    assert_eq!(with(PLUS, Some(&mine), Some(&mine)), Ok(()));
    assert_eq!(
        with(SHA256, None, Some(&mine)),
        Ok(()),
        "a client that cannot"
    );
    let other = channel("tls-exporter", b"another");
    assert_eq!(
        with(PLUS, Some(&mine), Some(&other)),
        Err(ServerError::OtherChannel)
    );
    let kind = channel("tls-unique", b"channel");
    assert_eq!(
        with(PLUS, Some(&mine), Some(&kind)),
        Err(ServerError::NoChannelBinding)
    );
    assert_eq!(
        with(PLUS, Some(&mine), None),
        Err(ServerError::NoChannelBinding)
    );
    assert_eq!(
        with(PLUS, None, Some(&mine)),
        Err(ServerError::NoChannelBinding)
    );
}

#[test]
fn a_client_that_could_have_bound_is_refused_where_the_server_can() {
    let file = file();
    let mine = channel("tls-exporter", b"channel");
    let first = b"y,,n=alice,r=C";
    let failure = Server::answer_with(SHA256, &file, first, Some(&mine), "S").unwrap_err();
    assert_eq!(failure.error, ServerError::Downgrade);
    assert_eq!(failure.user_name.as_deref(), Some("alice"));
    assert!(Server::answer_with(SHA256, &file, first, None, "S").is_ok());
    let bound = b"p=tls-exporter,,n=alice,r=C";
    let failure = Server::answer_with(SHA256, &file, bound, Some(&mine), "S").unwrap_err();
    assert_eq!(failure.error, ServerError::NoChannelBinding);
}

#[test]
fn first_messages_that_are_none_are_refused() {
    let file = file();
    let check =
        |first: &str, error| assert_eq!(answer(&file, first).unwrap_err(), error, "{first}");
    let malformed = ServerError::Malformed;
    check("", malformed("no header"));
    check("n,n=alice,r=C", malformed("authorization identity"));
    check("n,,", malformed("user name"));
    check("x,,n=alice,r=C", malformed("channel binding flag"));
    check("n,,n=,r=C", malformed("user name"));
    check("n,,n=a=b,r=C", malformed("user name"));
    check("n,,r=C,n=alice", malformed("user name"));
    check("n,,n=alice", malformed("nonce"));
    check("n,,n=alice,r=", malformed("nonce"));
    check("n,,n=alice,r=\u{7F}", malformed("nonce"));
    check("n,,n=alice,r=ä", malformed("nonce"));
    check("n,,m=x,n=alice,r=C", ServerError::Extension);
    check("n,a=bob,n=alice,r=C", ServerError::OtherUser);
    check("n,a=,n=alice,r=C", malformed("authorization identity"));
    assert!(answer(&file, "n,a=alice,n=alice,r=C").is_ok());
    assert!(answer(&file, "n,,n=alice,r=C,x=unknown").is_ok());
    let failure = Server::answer_with(SHA256, &file, b"\xFF", None, "S").unwrap_err();
    assert_eq!(failure.error, malformed("UTF-8"));
}

#[test]
fn last_messages_that_are_none_are_refused() {
    let file = file();
    let check = |last: &str, error| {
        let (server, _) = Server::answer_with(SHA256, &file, b"n,,n=alice,r=C", None, "S").unwrap();
        let failure = server.finish(last.as_bytes()).unwrap_err();
        assert_eq!(failure.error, error, "{last}");
    };
    let malformed = ServerError::Malformed;
    let proof = STANDARD.encode([0; 32]);
    check("", malformed("no proof"));
    check("c=biws,r=CS", malformed("no proof"));
    check("r=CS,p=AAAA", malformed("no channel binding"));
    check(&format!("c=biws,p={proof}"), malformed("no nonce"));
    check(
        &format!("c=biws,r=CT,p={proof}"),
        malformed("another nonce"),
    );
    check(&format!("c=eSws,r=CS,p={proof}"), ServerError::OtherChannel);
    check(
        "c=biws,r=CS,p=AAAA",
        malformed("the proof is no base64 of a key"),
    );
    check(
        "c=biws,r=CS,p=!",
        malformed("the proof is no base64 of a key"),
    );
    check(
        &format!("c=biws,r=CS,p={proof}"),
        ServerError::WrongPassword,
    );
    check(
        &format!("c=biws,r=CS,x=y,p={proof}"),
        ServerError::WrongPassword,
    );
}

/// The keys of a decoy are zeros, and whoever knows that could make a proof that fits.
#[test]
fn a_proof_for_a_decoy_does_not_get_in() {
    let file = file();
    let zero = [0; 32];
    let (server, second) = Server::answer_with(SHA256, &file, b"n,,n=zoe,r=C", None, "S").unwrap();
    let second = String::from_utf8(second).unwrap();
    let messages = format!("n=zoe,r=C,{second},c=biws,r=CS");
    let signature = hmac(Hashing::SCRAM_SHA_256, &zero, messages.as_bytes());
    let last = format!("c=biws,r=CS,p={}", STANDARD.encode(signature));
    let failure = server.finish(last.as_bytes()).unwrap_err();
    assert_eq!(failure.error, ServerError::UnknownUser);
}

#[test]
fn nothing_that_is_printed_shows_keys() {
    let file = file();
    let (server, _) = Server::answer_with(SHA256, &file, b"n,,n=alice,r=C", None, "S").unwrap();
    assert_eq!(
        format!("{server:?}"),
        "Server { mechanism: Mechanism { hash: Sha256, plus: false }, user_name: \"alice\", .. }"
    );
}
