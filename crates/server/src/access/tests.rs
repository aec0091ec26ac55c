use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use midge_access::lockout;
use midge_access::passwords::{Hashing, Verifier};
use midge_access::scram::{Client, Mechanism};
use midge_broker::{
    ConnId, Effects, Identity, ListenerSettings as Listener, LocalTables, Login, LoginAnswer,
    Method, Origin, Says, Settings, Shard, SharedTables, Shown, Step, Time,
};
use midge_codec::{ReasonCode, Version};
use midge_reactor::{Bounds, Clock, Mailbox, Poller};
use midge_transport::tls::{CertificateFault, TlsError};
use tempfile::TempDir;

use super::attempt::{Refused, Who};
use super::failures::{Failures, Held, HeldAnswer};
use super::guard::Guard;
use super::scram::Dialogues;
use crate::config::ListenerSettings;
use crate::log::Logger;
use crate::mail::WorkerMail;

/// Names of connections, as a shard gives them.
fn connections<const COUNT: usize>() -> [ConnId; COUNT] {
    let mut shard = Shard::new(0, 1, Arc::new(Settings::default()), 1, Time(0));
    let mut shared = SharedTables::new(1);
    let mut tables = LocalTables::new(&mut shared);
    let mut effects = Effects::default();
    let mut step = Step {
        now: Time(0),
        tables: &mut tables,
        effects: &mut effects,
    };
    std::array::from_fn(|token| {
        let origin = Origin {
            listener: Arc::new(Listener::default()),
            address: None,
        };
        shard.open(&mut step, token, origin)
    })
}

fn address() -> SocketAddr {
    "192.0.2.7:4711".parse().unwrap()
}

fn login(conn: ConnId, says: Says) -> Login {
    Login {
        conn,
        listener: Arc::new(Listener::default()),
        address: Some(address()),
        client_id: "sensor".into(),
        client_id_is_assigned: false,
        version: Version::V5,
        says,
        shown: Shown::default(),
    }
}

fn connect(user_name: &str, password: &str) -> Says {
    Says::Connect {
        user_name: Some(user_name.into()),
        password: Some(password.as_bytes().into()),
        method: None,
    }
}

fn who(conn: ConnId) -> Who {
    Who::of(0, &login(conn, connect("alice", "x")))
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn named(text: &str) -> Mechanism {
    Mechanism::from_name(text).unwrap()
}

/// A guard of one listener, with a password file in which alice has keys for SCRAM and bob has none.
struct Rig {
    guard: Guard,
    _folder: TempDir,
}

impl Rig {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("passwords");
        let line = |name: &str, hashing: Hashing| {
            let verifier = Verifier::create(hashing, b"pencil", &[7; 16]).unwrap();
            format!("{name}:{verifier}\n")
        };
        let text = line("alice", Hashing::ScramSha256 { iterations: 4096 })
            + &line("bob", Hashing::Sha512Pbkdf2 { iterations: 1 });
        fs::write(&path, text).unwrap();
        let rig = Self {
            guard: Guard::new(Logger::disabled(), Clock::start(), [7; 32]),
            _folder: folder,
        };
        rig.listen(Some(path), false);
        rig.guard.set_lockout(lockout::Settings {
            delay: Duration::ZERO,
            failures_max: 3,
            ..lockout::Settings::default()
        });
        rig
    }

    fn listen(&self, password_file: Option<PathBuf>, use_username_as_clientid: bool) {
        let settings = ListenerSettings {
            password_file,
            use_username_as_clientid,
            ..ListenerSettings::default()
        };
        self.guard.set_listeners(&[(0, settings)]).unwrap();
    }

    fn judge(&self, conn: ConnId, says: Says) -> Option<LoginAnswer> {
        self.guard.judge(0, login(conn, says))
    }

    /// Goes through a dialogue to its last answer.
    fn scram(
        &self,
        conn: ConnId,
        mechanism: &str,
        user_name: &str,
        password: &[u8],
        begin: impl FnOnce(Method) -> Says,
    ) -> LoginAnswer {
        let (client, first) = Client::new(named(mechanism), user_name, password, None, [9; 18]);
        let method = |data: Vec<u8>| Method {
            name: mechanism.into(),
            data: Some(data.into()),
        };
        let answer = self.judge(conn, begin(method(first))).unwrap();
        let LoginAnswer::Challenged(challenge) = answer else {
            return answer;
        };
        assert_eq!(&*challenge.name, mechanism);
        let (client, last) = client.answer(&challenge.data.unwrap()).unwrap();
        let answer = self.judge(conn, Says::Auth(method(last))).unwrap();
        if let LoginAnswer::Accepted(identity) = &answer {
            let end = identity.method.as_ref().unwrap();
            assert_eq!(&*end.name, mechanism);
            client.finish(end.data.as_deref().unwrap()).unwrap();
        }
        answer
    }
}

fn enhanced(method: Method) -> Says {
    Says::Connect {
        user_name: None,
        password: None,
        method: Some(method),
    }
}

fn accepted(answer: LoginAnswer) -> Box<Identity> {
    let LoginAnswer::Accepted(identity) = answer else {
        panic!("{answer:?}");
    };
    identity
}

fn refused(answer: LoginAnswer) -> (ReasonCode, String) {
    let LoginAnswer::Refused(reason, why) = answer else {
        panic!("{answer:?}");
    };
    (reason, why)
}

#[test]
fn a_user_with_keys_logs_in_by_scram_and_again() {
    let rig = Rig::new();
    let [conn] = connections();
    let first = accepted(rig.scram(conn, "SCRAM-SHA-256", "alice", b"pencil", enhanced));
    assert_eq!(first.user_name.as_deref(), Some("alice"));
    let again = accepted(rig.scram(conn, "SCRAM-SHA-256", "alice", b"pencil", Says::Again));
    assert_eq!(again.user_name.as_deref(), Some("alice"));
}

#[test]
fn who_lacks_the_password_or_keys_is_refused_by_scram_in_the_same_way() {
    let rig = Rig::new();
    let [conn] = connections();
    for (mechanism, name, why) in [
        ("SCRAM-SHA-256", "alice", "SCRAM-SHA-256: wrong password"),
        ("SCRAM-SHA-256", "nobody", "SCRAM-SHA-256: unknown user"),
    ] {
        let (reason, text) = refused(rig.scram(conn, mechanism, name, b"pen", enhanced));
        assert_eq!(reason, ReasonCode::NOT_AUTHORIZED);
        assert_eq!(text, why);
    }
    let (reason, text) = refused(rig.scram(conn, "SCRAM-SHA-256", "bob", b"pencil", enhanced));
    assert_eq!(reason, ReasonCode::NOT_AUTHORIZED);
    assert!(text.contains("no SCRAM keys"), "{text}");
    // That was the third in vain.
    let (_, text) = refused(rig.scram(conn, "SCRAM-SHA-256", "alice", b"pencil", enhanced));
    assert!(text.contains("address 192.0.2.7 is banned"), "{text}");
}

#[test]
fn mqtt5_4_12_0_1_a_method_that_is_not_offered_is_a_bad_one() {
    let rig = Rig::new();
    let [conn] = connections();
    for name in ["SCRAM-SHA-256-PLUS", "OAUTHBEARER", "GS2-KRB5", ""] {
        let method = Method {
            name: name.into(),
            data: Some((*b"n,,n=alice,r=x").into()),
        };
        let (reason, _) = refused(rig.judge(conn, enhanced(method)).unwrap());
        assert_eq!(reason, ReasonCode::BAD_AUTHENTICATION_METHOD, "{name}");
    }
}

#[test]
fn where_certificates_say_who_comes_nothing_else_does() {
    let rig = Rig::new();
    let [conn] = connections();
    let settings = ListenerSettings {
        password_file: Some(rig._folder.path().join("passwords")),
        use_identity_as_username: true,
        ..ListenerSettings::default()
    };
    rig.guard.set_listeners(&[(0, settings)]).unwrap();
    let answer = rig.scram(conn, "SCRAM-SHA-256", "alice", b"pencil", enhanced);
    assert_eq!(refused(answer).0, ReasonCode::BAD_AUTHENTICATION_METHOD);
    assert!(
        refused(rig.judge(conn, connect("bob", "pencil")).unwrap())
            .1
            .contains("certificate")
    );
}

#[test]
fn auth_without_a_dialogue_is_refused() {
    let rig = Rig::new();
    let [conn, other] = connections();
    let last = |data: &[u8]| {
        Says::Auth(Method {
            name: "SCRAM-SHA-256".into(),
            data: Some(data.into()),
        })
    };
    let (_, why) = refused(rig.judge(conn, last(b"c=biws,r=x,p=eA==")).unwrap());
    assert!(why.contains("no authentication is under way"), "{why}");
    // The end of one dialogue is not the end of another one's.
    accepted(rig.scram(conn, "SCRAM-SHA-256", "alice", b"pencil", enhanced));
    let (_, why) = refused(rig.judge(other, last(b"c=biws,r=x,p=eA==")).unwrap());
    assert!(why.contains("no authentication is under way"), "{why}");
}

#[test]
fn a_client_whose_id_is_its_user_name_stays_that_user() {
    let rig = Rig::new();
    let [conn] = connections();
    rig.listen(Some(rig._folder.path().join("passwords")), true);
    let first = accepted(rig.scram(conn, "SCRAM-SHA-256", "alice", b"pencil", enhanced));
    assert_eq!(first.client_id.as_deref(), Some("alice"));
    // It is called `sensor` there.
    let answer = rig.scram(conn, "SCRAM-SHA-256", "alice", b"pencil", Says::Again);
    assert!(refused(answer).1.contains("another user"));
}

#[test]
fn a_dialogue_ends_with_its_time_and_with_its_answer() {
    let [conn] = connections();
    let verifier = Verifier::create(Hashing::ScramSha256 { iterations: 4096 }, b"x", &[7; 16]);
    let text = format!("alice:{}\n", verifier.unwrap());
    let key = midge_access::passwords::DecoyKey::new([1; 32]);
    let (file, _) = midge_access::passwords::PasswordFile::parse(text.as_bytes(), key).unwrap();
    let dialogues = Dialogues::default();
    let mechanism = named("SCRAM-SHA-256");
    for (end, expected) in [(29, true), (30, false)] {
        let (client, first) = Client::new(mechanism, "alice", b"x", None, [9; 18]);
        let challenge = dialogues
            .begin(secs(0), &mut who(conn), &file, mechanism, &first, [3; 18])
            .unwrap();
        let (_, last) = client.answer(&challenge.data.unwrap()).unwrap();
        let method = Method {
            name: challenge.name,
            data: Some(last.into()),
        };
        let shown = dialogues.finish(secs(end), &mut who(conn), &method);
        assert_eq!(shown.is_ok(), expected);
        let twice = dialogues.finish(secs(end), &mut who(conn), &method);
        assert!(twice.is_err_and(|refused| refused.why.contains("under way")));
    }
    let (_, first) = Client::new(mechanism, "alice", b"x", None, [9; 18]);
    dialogues
        .begin(secs(0), &mut who(conn), &file, mechanism, &first, [3; 18])
        .unwrap();
    dialogues.sweep(secs(29));
    assert_eq!(dialogues.len(), 1);
    dialogues.sweep(secs(30));
    assert_eq!(dialogues.len(), 0);
}

#[test]
fn dialogues_are_bounded_and_the_oldest_gives_way() {
    let [conn] = connections();
    let rig = Rig::new();
    let (_, first) = Client::new(named("SCRAM-SHA-256"), "alice", b"pencil", None, [9; 18]);
    let method = |data: &[u8]| Method {
        name: "SCRAM-SHA-256".into(),
        data: Some(data.into()),
    };
    let many = u16::try_from(super::scram::DIALOGUES_MAX).unwrap();
    for worker in 0..=many {
        let says = enhanced(method(&first));
        let answer = rig.guard.judge(worker, login(conn, says));
        assert!(matches!(answer, Some(LoginAnswer::Challenged(_))));
    }
    let last = |worker| {
        let says = Says::Auth(method(b"c=biws,r=x,p=eA=="));
        refused(rig.guard.judge(worker, login(conn, says)).unwrap()).1
    };
    assert!(last(0).contains("no authentication is under way"));
    assert!(last(1).contains("another nonce"));
    assert!(last(many).contains("another nonce"));
    let long = format!("n,,n=alice,r={}", "x".repeat(2_048));
    let answer = rig.judge(conn, enhanced(method(long.as_bytes()))).unwrap();
    assert!(refused(answer).1.contains("more than 2048 bytes"));
}

#[test]
fn a_ban_is_lifted_by_exempting_its_address() {
    let [conn] = connections();
    let failures = Failures::new();
    let who = who(conn);
    for password in 0..10 {
        let wrong = wrong(&password.to_string());
        failures.failed(secs(1), &who, &wrong, &Logger::disabled());
    }
    assert!(failures.check(secs(2), &who).is_some());
    failures.set(lockout::Settings {
        exempt: vec!["192.0.2.7".parse().unwrap()],
        ..lockout::Settings::default()
    });
    assert!(failures.check(secs(2), &who).is_none());
}

#[test]
fn a_banned_address_is_refused_before_anything_is_checked_until_the_ban_ends() {
    let rig = Rig::new();
    let [conn] = connections();
    // Passwords are checked elsewhere: there is no answer yet.
    assert!(rig.judge(conn, connect("bob", "pencil")).is_none());
    for _ in 0..3 {
        refused(rig.scram(conn, "SCRAM-SHA-256", "mallory", b"1", enhanced));
    }
    let (reason, _) = refused(rig.judge(conn, connect("bob", "pencil")).unwrap());
    assert_eq!(reason, ReasonCode::NOT_AUTHORIZED);
}

#[test]
fn guesses_in_a_handshake_count_and_what_cannot_be_guessed_does_not() {
    let rig = Rig::new();
    let conns = connections::<4>();
    let origin = Origin {
        listener: Arc::new(Listener::default()),
        address: Some(address()),
    };
    let fails = |conn: ConnId, error: &TlsError| rig.guard.note_handshake(0, conn, &origin, error);
    let ban = || rig.guard.ban_of(address().ip());
    for conn in conns {
        fails(conn, &TlsError::Certificate(CertificateFault::Expired));
        fails(conn, &TlsError::Certificate(CertificateFault::UnknownCa));
        fails(conn, &TlsError::Certificate(CertificateFault::Missing));
        fails(conn, &TlsError::Misbehaved("garbage".into()));
        fails(conn, &TlsError::NoKey);
        // The same again is no other guess.
        fails(conn, &TlsError::UnknownIdentity("mallory".into()));
    }
    assert_eq!(ban(), None);
    fails(conns[0], &TlsError::WrongKey("alice".into()));
    assert_eq!(ban(), None);
    fails(conns[1], &TlsError::WrongKey("alice".into()));
    let words = ban().unwrap();
    assert!(
        words.starts_with("address 192.0.2.7 is banned for "),
        "{words}"
    );
    // A user of that name has nothing to do with it.
    let elsewhere = Some("198.51.100.1".parse().unwrap());
    assert_eq!(
        rig.guard.0.failures.ban(secs(1), elsewhere, Some("alice")),
        None
    );
}

fn wrong(password: &str) -> Refused {
    Refused::guess("password_file", "wrong password", password.as_bytes())
}

#[test]
fn failures_are_counted_delayed_and_banned_by_the_clock_of_the_caller() {
    let [conn] = connections();
    let failures = Failures::new();
    failures.set(lockout::Settings {
        failures_max: 3,
        ban: secs(60),
        ..lockout::Settings::default()
    });
    let logger = Logger::disabled();
    let who = who(conn);
    let delays = ["1", "1", "2", "3"].map(|password| {
        failures
            .failed(secs(1), &who, &wrong(password), &logger)
            .as_millis()
    });
    assert_eq!(delays, [250, 500, 1000, 2000]);
    let banned = failures.check(secs(60), &who).unwrap();
    assert_eq!(banned.why, "address 192.0.2.7 is banned for 2 s more");
    assert!(failures.check(secs(61), &who).is_none());
}

#[test]
fn a_refusal_that_is_not_the_clients_fault_counts_for_nothing() {
    let [conn] = connections();
    let failures = Failures::new();
    let who = who(conn);
    let refused = Refused::new("token", "no keys");
    for _ in 0..1000 {
        let delay = failures.failed(secs(1), &who, &refused, &Logger::disabled());
        assert!(delay.is_zero());
    }
    assert!(failures.check(secs(1), &who).is_none());
}

#[test]
fn the_line_of_a_failed_login_names_the_address_before_what_the_client_chose() {
    let [conn] = connections();
    let mut who = who(conn);
    who.user_name = Some("x', address 198.51.100.1\nLogin failed:".into());
    let line = super::failures::line(&who, &wrong("1"), 4);
    assert_eq!(
        line,
        "Login failed: address 192.0.2.7, failures 4, listener 1883, user 'x', address \
         198.51.100.1\\nLogin failed:', client 'sensor', method password_file: wrong password."
    );
}

#[test]
fn a_line_shows_the_beginning_of_a_long_name() {
    let [conn] = connections();
    let mut who = who(conn);
    who.user_name = Some("ä".repeat(65_000).into());
    let line = super::failures::line(&who, &wrong("1"), 1);
    assert!(
        line.contains(&format!("'{}...'", "ä".repeat(100))),
        "{line}"
    );
}

#[test]
fn answers_that_are_held_back_come_in_the_order_of_their_times_and_are_bounded() {
    let [first, second] = connections();
    let held = Held::default();
    let answer = |conn| HeldAnswer {
        worker: 0,
        conn,
        answer: wrong("1").answer(),
    };
    held.hold(secs(2), answer(second)).unwrap();
    held.hold(secs(1), answer(first)).unwrap();
    assert_eq!(held.next(), Some(secs(1)));
    assert!(held.due(Duration::from_millis(999)).is_empty());
    let due: Vec<ConnId> = held.due(secs(1)).iter().map(|held| held.conn).collect();
    assert_eq!(due, [first]);
    assert_eq!(held.due(secs(5)).len(), 1);
    for _ in 0..super::failures::HELD_MAX {
        held.hold(secs(1), answer(first)).unwrap();
    }
    assert!(held.hold(secs(1), answer(first)).is_err());
}

#[test]
fn a_login_that_has_waited_for_too_long_is_not_checked() {
    let rig = Rig::new();
    rig.guard.set_patience(Duration::ZERO);
    let poller = Poller::new(1).unwrap();
    let bounds = Bounds {
        messages: 10,
        bytes: 1 << 20,
    };
    let mailbox = Mailbox::new(bounds, poller.waker());
    let [conn] = connections();
    assert!(rig.judge(conn, connect("bob", "pencil")).is_none());
    let threads = rig.guard.start(vec![mailbox.sender(None)]).unwrap();
    let deadline = Instant::now() + secs(20);
    let mut mail = Vec::new();
    while mail.is_empty() {
        assert!(Instant::now() < deadline, "no answer");
        mailbox.take(&mut mail).unwrap();
        std::thread::yield_now();
    }
    let Some(WorkerMail::LoggedIn { answer, .. }) = mail.pop() else {
        panic!("another mail");
    };
    assert_eq!(refused(answer).0, ReasonCode::SERVER_BUSY);
    drop(threads);
}

#[test]
fn a_password_that_was_right_is_not_hashed_again_until_its_line_changes() {
    use crate::mail::{MAILBOX, WorkerMail};
    use midge_reactor::{Mailbox, Poller};

    let rig = Rig::new();
    let poller = Poller::new(4).unwrap();
    let mailbox = Mailbox::<WorkerMail>::new(MAILBOX, poller.waker());
    let _threads = rig.guard.start(vec![mailbox.sender(None)]).unwrap();
    let [conn] = connections();
    let answer = |password: &str| {
        if let Some(answer) = rig.judge(conn, connect("bob", password)) {
            return (true, matches!(answer, LoginAnswer::Accepted(_)));
        }
        let mut mail = Vec::new();
        let begun = Instant::now();
        while mail.is_empty() {
            assert!(begun.elapsed() < secs(20));
            std::thread::yield_now();
            mailbox.take(&mut mail).unwrap();
        }
        match mail.pop() {
            Some(WorkerMail::LoggedIn { answer, .. }) => {
                (false, matches!(answer, LoginAnswer::Accepted(_)))
            }
            _ => panic!("another answer"),
        }
    };
    // Nothing is remembered without a time for it.
    assert_eq!(answer("pencil"), (false, true));
    assert_eq!(answer("pencil"), (false, true));
    rig.guard.set_cache(secs(3_600));
    assert_eq!(answer("pencil"), (false, true));
    assert_eq!(answer("pencil"), (true, true));
    assert_eq!(answer("pencils"), (false, false));
    assert_eq!(answer("pencil"), (true, true));
    // The files are read again, and may say something else.
    rig.guard.review_all();
    let mut mail = Vec::new();
    mailbox.take(&mut mail).unwrap();
    assert_eq!(answer("pencil"), (false, true));
}
