use std::hash::RandomState;

use super::*;

const HERE: &str = "198.51.100.1";
const THERE: &str = "198.51.100.2";

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// 3 failures of an address or 5 of a user in 60 s; bans of 10, 20, … 40 s.
fn settings() -> Settings {
    Settings {
        failures_max: 3,
        user_failures_max: 5,
        window: secs(60),
        ban: secs(10),
        ban_max: secs(40),
        ..Settings::default()
    }
}

/// A lockout and what is done to it, with addresses as text.
struct World {
    lockout: Lockout<RandomState>,
    guesses: u32,
}

impl World {
    fn new(settings: Settings) -> Self {
        Self {
            lockout: Lockout::new(settings, RandomState::new()),
            guesses: 0,
        }
    }

    /// A failure with a password that was never tried.
    fn guess(&mut self, now: Duration, address: &str, user: &str) -> Failed {
        self.guesses += 1;
        let password = self.guesses.to_le_bytes();
        let address = address.parse().unwrap();
        self.lockout
            .failed(now, Some(address), Some(user), &password)
    }

    fn check(&self, now: Duration, address: &str, user: &str) -> Option<Ban> {
        self.lockout
            .check(now, Some(address.parse().unwrap()), Some(user))
    }

    /// Guesses for different users until a ban begins, and gives it.
    fn ban(&mut self, now: Duration, address: &str) -> Ban {
        for guess in 0..100 {
            let mut failed = self.guess(now, address, &format!("somebody{guess}{now:?}"));
            if let Some(ban) = failed.bans.pop() {
                return ban;
            }
        }
        panic!("no ban");
    }
}

#[test]
fn an_address_that_guesses_is_banned_and_others_are_not() {
    let mut world = World::new(settings());
    for failures in 1..=2 {
        let failed = world.guess(secs(1), HERE, "bob");
        assert_eq!((failed.failures, failed.bans.len()), (failures, 0));
        assert_eq!(world.check(secs(1), HERE, "eve"), None);
    }
    let failed = world.guess(secs(2), HERE, "eve");
    let [ban] = &failed.bans[..] else {
        panic!("{failed:?}");
    };
    assert_eq!(
        ban.to_string(),
        "address 198.51.100.1 is banned for 10 s after 3 failed logins"
    );
    assert_eq!(world.check(secs(11), HERE, "eve").as_ref(), Some(ban));
    assert_eq!(world.check(secs(11), THERE, "eve"), None);
    assert_eq!(world.check(secs(12), HERE, "eve"), None, "it is over");
}

#[test]
fn failures_that_are_longer_ago_do_not_count() {
    let mut world = World::new(settings());
    assert_eq!(world.guess(secs(0), HERE, "a").failures, 1);
    assert_eq!(world.guess(secs(59), HERE, "a").failures, 2);
    assert_eq!(world.guess(secs(61), HERE, "a").failures, 2);
    assert_eq!(world.guess(secs(200), HERE, "a").failures, 1);
}

#[test]
fn the_same_wrong_password_counts_once_and_is_delayed_each_time() {
    let mut world = World::new(settings());
    let address = Some(HERE.parse().unwrap());
    let mut delays = Vec::new();
    for second in 0..50 {
        let failed = world
            .lockout
            .failed(secs(second), address, Some("pump"), b"old");
        assert_eq!((failed.failures, failed.bans.len()), (1, 0));
        delays.push(failed.delay.as_millis());
    }
    assert_eq!(delays[..6], [250, 500, 1_000, 2_000, 4_000, 5_000]);
    assert_eq!(delays[49], 5_000);
    // With another user it is another guess.
    let failed = world
        .lockout
        .failed(secs(50), address, Some("valve"), b"old");
    assert_eq!(failed.failures, 2);
}

#[test]
fn bans_grow_and_are_forgotten_when_it_was_quiet_for_as_long() {
    let mut world = World::new(settings());
    let mut now = secs(0);
    for length in [10, 20, 40, 40] {
        let ban = world.ban(now, HERE);
        assert_eq!((ban.length, ban.until), (secs(length), now + secs(length)));
        now = ban.until + secs(1);
    }
    // The last one has ended, and as much time again, and the window.
    assert_eq!(world.ban(now + secs(100), HERE).length, secs(10));
}

#[test]
fn an_ipv6_network_of_64_bits_is_one_address() {
    let mut world = World::new(settings());
    for host in 1..=3 {
        world.guess(secs(0), &format!("2001:db8:0:7::{host}"), "a");
    }
    let ban = world.check(secs(0), "2001:db8:0:7:ffff::1", "b").unwrap();
    assert_eq!(ban.subject.to_string(), "address 2001:db8:0:7::/64");
    assert_eq!(world.check(secs(0), "2001:db8:0:8::1", "b"), None);
}

#[test]
fn a_user_that_many_guess_at_is_banned_except_where_it_logs_in_from() {
    let mut world = World::new(settings());
    world
        .lockout
        .succeeded(Some(HERE.parse().unwrap()), Some("bob"));
    let mut bans = Vec::new();
    for host in 1..=5 {
        bans.extend(
            world
                .guess(secs(0), &format!("203.0.113.{host}"), "bob")
                .bans,
        );
    }
    let [ban] = &bans[..] else {
        panic!("{bans:?}");
    };
    assert_eq!(
        ban.to_string(),
        "user 'bob' is banned for 10 s after 5 failed logins"
    );
    assert_eq!(world.check(secs(1), THERE, "bob").as_ref(), Some(ban));
    assert_eq!(world.check(secs(1), HERE, "bob"), None);
    assert_eq!(world.check(secs(1), THERE, "eve"), None);
}

#[test]
fn only_the_last_addresses_of_a_user_are_its_own() {
    let mut world = World::new(settings());
    for host in [1, 2, 3, 4, 1, 5] {
        let address = format!("192.0.2.{host}").parse().unwrap();
        world.lockout.succeeded(Some(address), Some("bob"));
    }
    for host in 1..=5 {
        world.guess(secs(0), &format!("203.0.113.{host}"), "bob");
    }
    let free: Vec<_> = (1..=5)
        .filter(|host| {
            world
                .check(secs(0), &format!("192.0.2.{host}"), "bob")
                .is_none()
        })
        .collect();
    assert_eq!(free, [1, 3, 4, 5]);
}

#[test]
fn exempt_addresses_are_delayed_and_never_banned() {
    let mut world = World::new(Settings {
        exempt: vec!["198.51.100.0/24".parse().unwrap()],
        user_failures_max: 0,
        ..settings()
    });
    for second in 0..20 {
        let failed = world.guess(secs(second), HERE, "bob");
        assert!(failed.bans.is_empty());
        assert!(!failed.delay.is_zero());
        assert_eq!(world.check(secs(second), HERE, "bob"), None);
    }
    let default = World::new(Settings::default());
    assert!(default.lockout.is_exempt("127.8.0.1".parse().unwrap()));
    assert!(default.lockout.is_exempt("::1".parse().unwrap()));
    assert!(!default.lockout.is_exempt(HERE.parse().unwrap()));
}

#[test]
fn zero_bans_nobody() {
    let mut world = World::new(Settings {
        failures_max: 0,
        user_failures_max: 0,
        delay: Duration::ZERO,
        ..settings()
    });
    for _ in 0..2_000 {
        let failed = world.guess(secs(0), HERE, "bob");
        assert!(failed.bans.is_empty());
        assert_eq!(failed.delay, Duration::ZERO);
    }
}

#[test]
fn bans_are_listed_lifted_and_made_by_hand() {
    let mut world = World::new(settings());
    let ban = world.ban(secs(0), HERE);
    let user = Subject::User("eve".into());
    let by_hand = world.lockout.ban(secs(0), &user, secs(1_000));
    let listed = |world: &World, now| {
        let mut bans: Vec<_> = world
            .lockout
            .bans(secs(now))
            .map(|ban| ban.subject)
            .collect();
        bans.sort();
        bans
    };
    assert_eq!(listed(&world, 0), [ban.subject.clone(), user.clone()]);
    assert_eq!(listed(&world, 999), std::slice::from_ref(&user));
    assert_eq!(world.check(secs(999), THERE, "eve"), Some(by_hand));
    assert!(world.lockout.lift(&user));
    assert!(!world.lockout.lift(&user));
    assert_eq!(world.check(secs(1), THERE, "eve"), None);
    assert!(world.lockout.lift(&ban.subject));
    assert_eq!(world.check(secs(1), HERE, "bob"), None);
    assert_eq!(
        world.guess(secs(1), HERE, "bob").failures,
        1,
        "it begins anew"
    );
}

#[test]
fn a_network_is_lifted_by_any_of_its_addresses() {
    let mut world = World::new(settings());
    world.ban(secs(0), "2001:db8:0:7::1");
    let any: Network = "2001:db8:0:7::beef".parse().unwrap();
    assert!(world.lockout.lift(&Subject::Address(any)));
    assert_eq!(world.lockout.bans(secs(0)).count(), 0);
}

#[test]
fn logins_without_user_or_address_are_counted_by_the_other() {
    let mut world = World::new(settings());
    let address = Some(HERE.parse().unwrap());
    for guess in 0..3_u8 {
        world.lockout.failed(secs(0), address, None, &[guess]);
    }
    assert!(world.lockout.check(secs(0), address, None).is_some());
    for guess in 0..5_u8 {
        world.lockout.failed(secs(0), None, Some("bob"), &[guess]);
    }
    assert!(world.lockout.check(secs(0), None, Some("bob")).is_some());
    assert!(world.lockout.check(secs(0), None, None).is_none());
}

#[test]
fn long_names_cost_little_and_are_told_apart() {
    let mut world = World::new(settings());
    let [one, other] = ["a", "b"].map(|end| "ä".repeat(30_000) + end);
    for host in 1..=5 {
        world.guess(secs(0), &format!("203.0.113.{host}"), &one);
    }
    let ban = world.check(secs(0), HERE, &one).unwrap();
    assert_eq!(world.check(secs(0), HERE, &other), None);
    let Subject::User(name) = &ban.subject else {
        panic!("{ban:?}");
    };
    assert!(name.len() <= NAME_BYTES_MAX, "{name}");
    assert!(world.lockout.lift(&ban.subject));
    assert_eq!(world.check(secs(0), HERE, &one), None);
}

#[test]
fn a_flood_from_many_addresses_with_many_names_costs_bounded_memory_and_keeps_bans() {
    let mut world = World::new(settings());
    let ban = world.ban(secs(0), HERE);
    for number in 0..80_000_u32 {
        let address = std::net::Ipv4Addr::from_bits(0x0B00_0000 + number);
        let name = format!("user{number}");
        world
            .lockout
            .failed(secs(1), Some(address.into()), Some(&name), b"x");
    }
    let (addresses, users) = world.lockout.remembered();
    assert_eq!((addresses, users), (ADDRESSES_MAX, USERS_MAX));
    assert_eq!(world.check(secs(1), HERE, "a"), Some(ban));
}

#[test]
fn other_settings_hold_from_now_on() {
    let mut world = World::new(settings());
    world.guess(secs(0), HERE, "a");
    world.lockout.set(Settings {
        failures_max: 2,
        ..settings()
    });
    assert_eq!(world.guess(secs(0), HERE, "b").bans.len(), 1);
}
