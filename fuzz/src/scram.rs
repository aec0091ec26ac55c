//! Whatever a SCRAM peer says, it does not get in without the password.
//!
//! An input is the mechanism and whether there is a channel, in one byte, then two messages with a NUL between
//! them.

use midge_access::passwords::{DecoyKey, PasswordFile};
use midge_access::scram::{ChannelBinding, Client, ITERATIONS_LEAST, Mechanism, Server};

/// Users with a key for each hash function, whose password nobody knows, and one without.
const FILE: &[u8] = b"alice:$scram-sha-256$1$AAAA$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=$\
    AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n\
    bob:$6$MDEyMzQ1Njc4OWFi$fsu4UYhX8SMkFgv4xcEPMcenTliOnUyME+88Er755ZrFPQPOyvpVf7FztBEQztIspDHVmu\
    LGAP+zTG4PjlBc7g==\n";

/// Lets a server and a client hear the two messages of `input`.
///
/// # Panics
/// When SCRAM breaks a promise.
pub fn check(input: &[u8]) {
    let Some((&how, messages)) = input.split_first() else {
        return;
    };
    let Some(mechanism) = Mechanism::ALL.get(usize::from(how & 3)) else {
        return;
    };
    let channel = ChannelBinding {
        kind: "tls-exporter".to_owned(),
        data: b"channel".to_vec(),
    };
    let channel = (how & 4 != 0).then_some(&channel);
    let mut messages = messages.splitn(2, |byte| *byte == 0);
    let first = messages.next().unwrap_or_default();
    let last = messages.next().unwrap_or_default();
    let Ok((file, _)) = PasswordFile::parse(FILE, DecoyKey::new([5; 32])) else {
        return;
    };
    if let Ok((server, answer)) = Server::answer(*mechanism, &file, first, channel, [1; 18]) {
        assert!(answer.starts_with(b"r=") && answer.is_ascii());
        let end = server.finish(last);
        assert!(end.is_err(), "nobody knows the password");
    }
    check_client(*mechanism, channel, first, last);
}

fn check_client(
    mechanism: Mechanism,
    channel: Option<&ChannelBinding>,
    answer: &[u8],
    last: &[u8],
) {
    let (client, _) = Client::new(mechanism, "alice", b"x", channel, [1; 18]);
    // More than the least would only take longer.
    let asks = String::from_utf8_lossy(answer).into_owned();
    let iterations = asks.rsplit("i=").next().and_then(|count| {
        let digits = count.split(',').next().unwrap_or_default();
        digits.parse::<u32>().ok()
    });
    if iterations.is_some_and(|count| count > ITERATIONS_LEAST) || asks.matches("i=").count() > 1 {
        return;
    }
    if let Ok((answered, _)) = client.answer(answer) {
        assert!(answered.finish(last).is_err(), "the server knows no keys");
    }
}
