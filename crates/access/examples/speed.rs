//! Measures the processor time that decisions, logins and failures take: `cargo run --release -p midge-access --example speed`.

use std::hash::RandomState;
use std::hint::black_box;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::time::Duration;

use midge_access::acl::Rules;
use midge_access::lockout::{Lockout, Settings};
use midge_access::passwords::{Hashing, Verifier};
use midge_access::{Action, Client};
use nix::time::{ClockId, clock_gettime};

fn main() {
    for (what, rules) in [
        ("plain filters", "topic readwrite site/{n}/+/value\n"),
        ("one way through + for each", "topic readwrite +/{n}/#\n"),
        ("patterns", "pattern readwrite site/{n}/%c/value\n"),
        (
            "patterns that begin alike",
            "pattern readwrite site/%c/{n}/value\n",
        ),
    ] {
        for count in [1, 10, 1_000] {
            decide(what, rules, count);
        }
    }
    for hashing in [
        Hashing::Sha512,
        Hashing::SHA512_PBKDF2,
        Hashing::SCRAM_SHA_256,
        Hashing::SCRAM_SHA_512,
        Hashing::ARGON2ID,
    ] {
        verify(hashing);
    }
    failures();
}

/// A topic that the last rule allows, and one that none does.
fn decide(what: &str, rule: &str, count: usize) {
    let mut file = "user bob\n".to_owned();
    for number in 0..count {
        file.push_str(&rule.replace("{n}", &number.to_string()));
    }
    let Ok((rules, _)) = Rules::parse("acl", file.as_bytes()) else {
        return;
    };
    let client = rules.for_client(Client {
        id: "c1",
        user_name: Some("bob"),
    });
    let last = count - 1;
    let met = if rule.contains("%c/{n}") {
        format!("site/c1/{last}/value")
    } else {
        format!("site/{last}/c1/value")
    };
    let times: [f64; 2] = [met.as_str(), "site/none/c1/other"].map(|topic| {
        nanos(200_000, || {
            black_box(client.decide(Action::Publish, black_box(topic)));
        })
    });
    let [met, unmet] = times;
    say(&format!(
        "decide, {count:>5} rules, {what}: {met:.0} ns when the last one allows, {unmet:.0} ns when none does"
    ));
}

fn verify(hashing: Hashing) {
    let Ok(verifier) = Verifier::create(hashing, b"correct horse", b"0123456789abcdef") else {
        return;
    };
    let rounds = u32::try_from(200_000 / hashing.cost().micros.max(1))
        .unwrap_or(1)
        .max(3);
    let nanos = nanos(rounds, || {
        black_box(verifier.verify(black_box(b"correct horse")));
    });
    let (name, micros) = (hashing.name(), hashing.cost().micros);
    say(&format!(
        "verify, {name}: {:.1} µs, stated as {micros} µs",
        nanos / 1_000.0
    ));
}

/// A flood of failures from ever new addresses for ever new users.
fn failures() {
    let mut lockout = Lockout::new(Settings::default(), RandomState::new());
    let mut number = 0_u32;
    let nanos = nanos(400_000, || {
        number += 1;
        let address = Ipv4Addr::from_bits(0x0B00_0000 + number);
        let user = format!("user{number}");
        let now = Duration::from_millis(u64::from(number));
        lockout.failed(now, Some(address.into()), Some(&user), b"x");
    });
    say(&format!(
        "failed, new address and user each time: {nanos:.0} ns"
    ));
}

fn nanos(rounds: u32, mut work: impl FnMut()) -> f64 {
    let start = processor_time();
    for _ in 0..rounds {
        work();
    }
    processor_time().saturating_sub(start).as_nanos() as f64 / f64::from(rounds)
}

/// What this thread has used, whatever else the machine does.
fn processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
