use super::*;
use crate::bench::plan::{Request, parse};
use crate::options::{Command, FAN_IN, FAN_OUT, P2P, WILDCARD};

fn shared(command: &Command, line: &str) -> Arc<Shared> {
    let args = line.split_whitespace().map(Into::into).collect();
    let plan = match parse(command, args) {
        Ok(Request::Run(plan)) => *plan,
        other => panic!("{other:?}"),
    };
    Arc::new(Shared {
        start: Instant::now(),
        measure_from: 0,
        measure_to: u64::MAX,
        progress: (0..plan.publishers())
            .map(|_| Progress::default())
            .collect(),
        topics: plan.topics(),
        received: AtomicU64::new(0),
        draining: AtomicU32::new(0),
        stop: AtomicBool::new(false),
        plan,
    })
}

struct Bench {
    shared: Arc<Shared>,
    book: Book,
    template: Template,
    acks: Vec<u8>,
}

impl Bench {
    fn new(command: &Command, line: &str) -> Self {
        let shared = shared(command, line);
        let worker = Worker::new(Arc::clone(&shared)).unwrap();
        for progress in &shared.progress {
            progress.sent.store(1000, Ordering::Release);
        }
        Self {
            shared,
            book: worker.book,
            template: worker.template,
            acks: Vec::new(),
        }
    }

    fn subscriber(&self, index: u32) -> Role {
        let (first, count) = self.shared.plan.heard_by(index);
        let hears = if self.shared.plan.is_shared() {
            Hears::Part(vec![0; count as usize])
        } else {
            Hears::All(vec![Flow::default(); count as usize])
        };
        Role::Subscriber(Subscriber { first, hears })
    }

    /// Delivers messages of `publisher`, as the broker would, to `role`.
    fn deliver(&mut self, role: &mut Role, publisher: u32, sequences: &[u64]) {
        let mut bytes = Vec::new();
        for sequence in sequences {
            let stamp = Stamp {
                run: self.shared.plan.run,
                publisher,
                sequence: *sequence,
                sent_nanos: 0,
            };
            let topics = self.shared.plan.topics();
            let each = self.shared.plan.topics_each() as usize;
            // A publisher that the run does not have takes a topic that it has.
            let first = publisher as usize * each % topics.len();
            let topics = &topics[first..first + each];
            bytes.extend_from_slice(self.template.fill(topics, stamp, 1, |_| 0));
        }
        let whole = bytes.len();
        // The end of the last packet comes with the next read.
        let used = self
            .book
            .read(role, &bytes[..whole - 1], &mut self.acks)
            .unwrap();
        let used = used
            + self
                .book
                .read(role, &bytes[used..], &mut self.acks)
                .unwrap();
        assert_eq!(used, whole);
    }

    fn credited(&self, publisher: usize) -> u64 {
        self.shared.progress[publisher]
            .credited
            .load(Ordering::Acquire)
    }
}

#[test]
fn a_pair_counts_losses_duplicates_and_disorder() {
    let mut bench = Bench::new(&P2P, "--pairs 2");
    let mut role = bench.subscriber(1);
    bench.deliver(&mut role, 1, &[0, 1, 4, 3, 3, 5]);
    let tally = bench.book.tally;
    assert_eq!(
        (tally.received, tally.disordered, tally.duplicates),
        (6, 1, 1)
    );
    assert_eq!(tally.misrouted, 0);
    assert_eq!((bench.credited(0), bench.credited(1)), (0, 6));
    let Role::Subscriber(Subscriber {
        hears: Hears::All(flows),
        ..
    }) = role
    else {
        panic!("not a subscriber of everything");
    };
    assert_eq!(flows[0].lost(6), 1);
    assert_eq!(bench.book.latency.len(), 6);
}

#[test]
fn a_message_of_another_pair_or_run_or_never_sent_is_misrouted() {
    let mut bench = Bench::new(&P2P, "--pairs 2");
    let mut role = bench.subscriber(1);
    bench.deliver(&mut role, 0, &[0]);
    bench.deliver(&mut role, 1, &[1000]);
    bench.deliver(&mut role, 7, &[0]);
    assert_eq!(bench.book.tally.misrouted, 3);
    assert_eq!(bench.book.tally.received, 0);
    assert_eq!(bench.credited(1), 0);
}

#[test]
fn members_of_a_shared_subscription_get_each_message_once_between_them() {
    let mut bench = Bench::new(&FAN_IN, "--publishers 3 --subscribers 2");
    let mut one = bench.subscriber(0);
    let mut two = bench.subscriber(1);
    bench.deliver(&mut one, 2, &[0, 2, 4]);
    bench.deliver(&mut two, 2, &[1, 3, 4]);
    bench.deliver(&mut two, 2, &[2]);
    let tally = bench.book.tally;
    assert_eq!((tally.duplicates, tally.disordered), (2, 0));
    assert_eq!(bench.credited(2), 5);
    assert_eq!(bench.book.seen[2].count(), 5);
}

#[test]
fn a_fan_out_waits_for_all_subscribers() {
    let bench = Bench::new(&FAN_OUT, "--subscribers 4 --window 10");
    let plan = &bench.shared.plan;
    let progress = Progress::default();
    let mut publisher = publisher(10);
    publisher.sent = 10;
    let schedule = Schedule::new(plan, 1, 0);
    progress.credited.store(19, Ordering::Release);
    assert_eq!(publisher.allowance(plan, &progress, &schedule), 0);
    progress.credited.store(20, Ordering::Release);
    assert_eq!(publisher.allowance(plan, &progress, &schedule), 5);
}

#[test]
fn a_publisher_takes_its_topics_in_turn_and_three_subscribers_hear_each() {
    let mut bench = Bench::new(&WILDCARD, "--publishers 2 --filters 30");
    let plan = &bench.shared.plan;
    assert_eq!(
        (plan.subscribers(), plan.copies(), plan.topics_each()),
        (6, 3, 5)
    );
    let run = plan.run;
    let filters: Vec<_> = (3..6).map(|index| plan.filters(index)[4].clone()).collect();
    let expected = [
        format!("bench/{run:08x}/000009/+"),
        format!("bench/{run:08x}/000009/#"),
        format!("+/{run:08x}/000009/value"),
    ];
    assert_eq!(filters, expected);
    let mut roles = [3, 4, 5].map(|index| bench.subscriber(index));
    for role in &mut roles {
        bench.deliver(role, 1, &[0, 1, 2, 3, 4, 5]);
    }
    bench.deliver(&mut roles[0], 0, &[6]);
    let tally = bench.book.tally;
    assert_eq!((tally.received, tally.misrouted), (18, 1));
    assert_eq!((bench.credited(0), bench.credited(1)), (0, 18));
}

fn publisher(limit: u64) -> Publisher {
    Publisher {
        index: 0,
        place: 0,
        sent: 0,
        acked: 0,
        recorded: 0,
        limit,
        last_sent: 0,
    }
}

#[test]
fn a_stalled_publisher_sends_less_than_half_a_window() {
    let bench = Bench::new(&P2P, "--window 10");
    let plan = &bench.shared.plan;
    let progress = Progress::default();
    let mut publisher = publisher(10);
    publisher.sent = 6;
    let mut schedule = Schedule::new(plan, 1, CRUMBS_AFTER);
    assert_eq!(publisher.allowance(plan, &progress, &schedule), 0);
    schedule.now += 1;
    assert_eq!(publisher.allowance(plan, &progress, &schedule), 4);
}

#[test]
fn an_open_loop_divides_its_rate_among_publishers() {
    let bench = Bench::new(&P2P, "--pairs 4 --rate 1000");
    let schedule = Schedule::new(&bench.shared.plan, 2, 10_000_000);
    // Half of the publishers are here: 500 a second, 5 in 10 ms.
    assert_eq!(schedule.due(0), Some(3));
    assert_eq!(schedule.due(1), Some(2));
    assert_eq!(schedule.time(1, 1), 6_000_000);
}

#[test]
fn acknowledgements_must_come_in_the_order_of_the_messages() {
    let mut publisher = publisher(10);
    let mut acks = Vec::new();
    publisher.sent = 3;
    assert!(publisher.on_ack(AckKind::PubRec, 1, false, &mut acks));
    assert_eq!(acks, [0x62, 2, 0, 1]);
    assert!(publisher.on_ack(AckKind::PubComp, 1, false, &mut acks));
    assert!(!publisher.on_ack(AckKind::PubRec, 3, false, &mut acks));
    assert!(!publisher.on_ack(AckKind::PubRec, 3, true, &mut acks));
    assert!(!publisher.on_ack(AckKind::PubRec, 4, false, &mut acks));
}

#[test]
fn every_qos_gets_its_acknowledgement() {
    for (line, ack) in [("-q 1", 0x40), ("-q 2 -V 5", 0x50)] {
        let mut bench = Bench::new(&P2P, line);
        let mut role = bench.subscriber(0);
        bench.deliver(&mut role, 0, &[0, 1]);
        assert_eq!(bench.acks, [ack, 2, 0, 1, ack, 2, 0, 2]);
    }
}

#[test]
fn a_broker_that_sends_nonsense_ends_the_run() {
    let mut bench = Bench::new(&P2P, "");
    let mut role = bench.subscriber(0);
    for bytes in [
        &[0x00_u8, 0][..],
        &[0x30, 1, 0],
        &[0x10, 0],
        &[0x30, 255, 255, 255, 255],
    ] {
        assert!(bench.book.read(&mut role, bytes, &mut Vec::new()).is_err());
    }
}
