//! Crashes of the program with a durable queue, at every step of its work.

use super::*;
use crate::queue::left_by;

/// A world whose core records what it does.
struct Durable {
    world: World,
    /// What is safe.
    disk: Vec<Record>,
    /// What the core has handed out and what is not safe.
    pending: Vec<Record>,
    options: Options,
    /// The disk takes this many times as long as anything else.
    slowness: usize,
}

impl Durable {
    fn new() -> Self {
        let options = options().client_id("c").clean_start(false);
        let mut world = World::new(options.clone());
        world.core.restore(world.now, Vec::new());
        Self {
            world,
            disk: Vec::new(),
            pending: Vec::new(),
            options,
            slowness: 1,
        }
    }

    /// One step of the program or of the world around it; whether there was something to do.
    fn step(&mut self, number: usize) -> bool {
        let world = &mut self.world;
        match number % 3 {
            0 if !self.pending.is_empty() && number.is_multiple_of(3 * self.slowness) => {
                let count = self.pending.len();
                self.disk.append(&mut self.pending);
                world.core.committed(world.now, count, None);
                true
            }
            1 if self.pending.is_empty() => match world.core.next_records(Waker::noop()) {
                Poll::Ready(Some(records)) => {
                    self.pending = records;
                    true
                }
                _ => false,
            },
            2 => match world.core.duty(world.now) {
                Duty::Wait(until) => {
                    world.now = until;
                    true
                }
                Duty::Dial(_) => {
                    world.core.opened(world.now, &Credentials::default(), None);
                    world.peer.opened();
                    true
                }
                Duty::Talk => world.carry(),
                Duty::End => false,
            },
            _ => false,
        }
    }

    /// The program falls; what was on its way to the disk may be there or not.
    fn crash(&mut self, keeps_pending: bool) {
        if keeps_pending {
            self.disk.append(&mut self.pending);
        }
        self.pending.clear();
        self.world.peer.lost();
        self.world.batch.clear();
        self.world.core = Core::new(self.options.clone(), 9);
        let left = left_by(&self.disk);
        self.world.core.restore(self.world.now, left);
    }

    fn store(&mut self, payload: &str, qos: QoS) -> Ticket {
        let mut draft = draft("a", payload, qos);
        match self.world.core.publish(self.world.now, &mut draft) {
            Ok(Accepted::Storing { stored, delivery }) => {
                self.world.core.tickets().abandon(delivery);
                stored
            }
            other => panic!("{other:?}"),
        }
    }

    fn run(&mut self) {
        let mut idle = 0;
        for number in 0..10_000 {
            idle = if self.step(number) { 0 } else { idle + 1 };
            if idle > 6 * self.slowness {
                return;
            }
        }
        panic!("it never comes to rest");
    }
}

/// What was accepted arrives, QoS 2 once, whatever step the program falls at.
fn check_crashes(keeps_pending: bool, forgets: bool) {
    let messages = [
        ("1", QoS::ExactlyOnce),
        ("2", QoS::AtLeastOnce),
        ("3", QoS::ExactlyOnce),
    ];
    for crash_at in 0..90 {
        let mut durable = Durable::new();
        durable.world.peer.receive_maximum = 2;
        let tickets = messages.map(|(text, qos)| durable.store(text, qos));
        for number in 0..crash_at {
            durable.step(number);
        }
        let accepted = tickets.map(|ticket| durable.world.outcome(ticket).is_some());
        durable.world.peer.forgets = forgets;
        durable.crash(keeps_pending);
        durable.run();
        for ((text, qos), accepted) in messages.iter().zip(accepted) {
            let taken = &durable.world.peer.taken;
            let count = taken.iter().filter(|(_, taken)| taken == text).count();
            assert!(!accepted || count > 0, "{text} is lost at {crash_at}");
            if *qos == QoS::ExactlyOnce && !forgets {
                assert!(count <= 1, "{text} came {count} times at {crash_at}");
            }
        }
        assert_eq!(durable.world.core.unfinished(), 0);
        assert!(left_by(&durable.disk).is_empty(), "{:?}", durable.disk);
        assert_eq!(durable.world.core.held_bytes, 0);
    }
}

#[test]
fn a_crash_at_any_step_loses_nothing_that_was_accepted_and_doubles_nothing_of_qos_2() {
    check_crashes(false, false);
    check_crashes(true, false);
}

#[test]
fn a_crash_and_a_broker_that_forgets_lose_nothing_either() {
    check_crashes(false, true);
    check_crashes(true, true);
}

#[test]
fn a_lost_link_while_records_are_on_their_way_doubles_nothing() {
    for cut_at in 0..80 {
        let mut durable = Durable::new();
        let _ = [("1", QoS::ExactlyOnce), ("2", QoS::ExactlyOnce)]
            .map(|(text, qos)| durable.store(text, qos));
        for number in 0..cut_at {
            durable.step(number);
        }
        if durable.world.core.link.is_some() {
            durable.world.lose();
        }
        durable.run();
        let taken: Vec<_> = durable
            .world
            .peer
            .taken
            .iter()
            .map(|(_, text)| text)
            .collect();
        assert_eq!(taken, ["1", "2"], "cut at {cut_at}");
        assert!(left_by(&durable.disk).is_empty());
    }
}

#[test]
fn a_lost_link_and_then_a_crash_double_nothing() {
    for cut_at in 0..120 {
        for crash_at in cut_at..cut_at + 40 {
            let mut durable = Durable::new();
            durable.slowness = 8;
            let stored = durable.store("1", QoS::ExactlyOnce);
            for number in 0..crash_at {
                if number == cut_at && durable.world.core.link.is_some() {
                    durable.world.lose();
                }
                durable.step(number);
            }
            let accepted = durable.world.outcome(stored).is_some();
            durable.crash(false);
            durable.run();
            let count = durable.world.peer.taken.len();
            assert!(count <= 1, "{count} times, cut {cut_at}, crash {crash_at}");
            assert!(count == 1 || !accepted);
        }
    }
}

#[test]
fn a_full_disk_refuses_messages_and_nothing_else() {
    let mut durable = Durable::new();
    let stored = durable.store("1", QoS::AtLeastOnce);
    let Poll::Ready(Some(records)) = durable.world.core.next_records(Waker::noop()) else {
        panic!("nothing to keep");
    };
    let now = durable.world.now;
    durable
        .world
        .core
        .committed(now, records.len(), Some("disk full"));
    let outcome = durable.world.outcome(stored);
    let Some(Outcome::Published(Err(PublishError::Queue(why)))) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(why, "disk full");
    assert_eq!(durable.world.core.unfinished(), 0);
}

#[test]
fn a_snapshot_says_what_the_records_add_up_to() {
    let mut durable = Durable::new();
    durable.run();
    durable.world.peer.is_mute = true;
    durable.store("1", QoS::ExactlyOnce);
    durable.store("2", QoS::AtLeastOnce);
    durable.run();
    durable.world.peer.is_mute = false;
    durable.world.lose();
    durable.store("3", QoS::ExactlyOnce);
    for number in [1, 3] {
        durable.step(number);
    }
    let snapshot = durable.world.core.snapshot(durable.world.now).unwrap();
    assert_eq!(left_by(&snapshot), left_by(&durable.disk));
    assert_eq!(left_by(&snapshot).len(), 3);
}

/// A reader that falls at one step, and has a new run behind it: what the first was done with, what the second
/// got, and how many of the former were recorded as done before the fall.
fn read_over_a_crash(
    crash_at: usize,
    keeps_pending: bool,
    forgets: bool,
) -> (Vec<String>, Vec<String>, usize) {
    let mut durable = Durable::new();
    let (mut stream, _) = durable.world.subscribe("a");
    durable.run();
    for text in ["1", "2", "3"] {
        durable.world.peer.send("a", text, QoS::ExactlyOnce);
    }
    let mut runs = [Vec::new(), Vec::new()];
    let mut safe = 0;
    for (run, steps) in [(0, crash_at), (1, 1000)] {
        let mut last = None;
        for number in 0..steps {
            // The application asks for the next message now and then, and so is done with the one before.
            if number % 5 == 4
                && let Some(message) = durable.world.next(stream, &mut last)
            {
                runs[run].push(message.text().unwrap().to_owned());
            }
            durable.step(number);
        }
        if run == 0 {
            durable.world.peer.forgets = forgets;
            durable.crash(keeps_pending);
            let is_done = |record: &&Record| matches!(record, Record::Received(_));
            safe = durable.disk.iter().filter(is_done).count();
            if last.is_some() {
                // Nobody can know what became of the one in hand.
                runs[0].pop();
            }
            (stream, _) = durable.world.subscribe("a");
            if forgets {
                durable.run();
                durable.world.peer.send("a", "4", QoS::ExactlyOnce);
            }
        }
    }
    assert!(durable.world.peer.is_finished(), "crash at {crash_at}");
    assert!(left_by(&durable.disk).is_empty(), "{:?}", durable.disk);
    let [first, second] = runs;
    (first, second, safe)
}

#[test]
fn a_message_of_qos_2_that_was_recorded_as_done_is_not_handed_out_by_a_later_run() {
    for keeps_pending in [false, true] {
        let mut spared = 0;
        for crash_at in 0..80 {
            let (first, second, safe) = read_over_a_crash(crash_at, keeps_pending, false);
            assert!(first.len() >= safe);
            let done = first.get(..safe).unwrap();
            let again = done.iter().filter(|text| second.contains(text)).count();
            assert_eq!(again, 0, "{first:?}, then {second:?}, crash at {crash_at}");
            for text in ["1", "2", "3"].map(str::to_owned) {
                assert!(
                    first.contains(&text) || second.contains(&text),
                    "{text} is lost: {first:?}, then {second:?}, {safe} safe, crash at {crash_at}"
                );
            }
            spared += usize::from(safe > 0 && !second.is_empty());
        }
        assert!(spared > 0, "some crash fell in the midst");
    }
}

#[test]
fn a_broker_that_lost_the_session_may_use_the_identifiers_again() {
    for crash_at in 0..80 {
        let (_, second, _) = read_over_a_crash(crash_at, true, true);
        assert!(
            second.contains(&"4".to_owned()),
            "{second:?}, crash at {crash_at}"
        );
    }
}
