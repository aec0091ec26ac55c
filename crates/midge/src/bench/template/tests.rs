use super::*;
use crate::bench::plan::{Request, parse};
use crate::options::P2P;
use midge_codec::Packet;

fn plan(line: &str) -> Plan {
    let args = line.split_whitespace().map(Into::into).collect();
    match parse(&P2P, args) {
        Ok(Request::Run(plan)) => *plan,
        other => panic!("{other:?}"),
    }
}

#[test]
fn patched_packets_are_packets() {
    for line in [
        "-q 0",
        "-q 1 -V 5",
        "-q 2 --payload 24",
        "-q 1 --payload 100000",
    ] {
        let plan = plan(line);
        let version = plan.connect.version;
        let mut template = Template::new(&plan).unwrap();
        let topics = [plan.topic(42).into_bytes(), plan.topic(43).into_bytes()];
        let first = Stamp {
            run: plan.run,
            publisher: 42,
            sequence: 65_534,
            sent_nanos: 0,
        };
        let count = template.capacity().min(3);
        let mut bytes = template.fill(&topics, first, count, |sequence| sequence * 7);
        for sequence in 65_534..65_534 + count as u64 {
            let (packet, length) = Packet::read(bytes, version).unwrap().unwrap();
            let Packet::Publish(publish) = packet else {
                panic!("{packet:?}");
            };
            let topic = &topics[usize::try_from(sequence % 2).unwrap()];
            assert_eq!(publish.topic.as_bytes(), topic);
            assert_eq!(publish.payload.len(), plan.payload);
            let id = (plan.qos != QoS::AtMostOnce).then(|| packet_id(sequence));
            assert_eq!(publish.packet_id.map(NonZeroU16::get), id);
            let stamp = Stamp::read(publish.payload).unwrap();
            assert_eq!(
                stamp,
                Stamp {
                    sequence,
                    sent_nanos: sequence * 7,
                    ..first
                }
            );
            let body = Header::peek(bytes).unwrap().unwrap().body(bytes).unwrap();
            let delivery = Delivery::read(bytes[0], version, body).unwrap();
            assert_eq!(delivery.topic, topic);
            assert_eq!(delivery.packet_id, id.unwrap_or(0));
            assert_eq!(delivery.payload, publish.payload);
            bytes = &bytes[length..];
        }
        assert!(bytes.is_empty());
    }
}

#[test]
fn packet_ids_go_round_without_zero() {
    assert_eq!(packet_id(0), 1);
    assert_eq!(packet_id(65_534), 65_535);
    assert_eq!(packet_id(65_535), 1);
}

#[test]
fn a_short_payload_has_no_stamp() {
    assert_eq!(Stamp::read(&[0; STAMP_SIZE - 1]), None);
}

#[test]
fn the_command_line_makes_the_plan() {
    let plan = plan("--pairs 7 -q 2 -V 5 --payload 64 --rate 500 --seconds 3 --threads 2 --pid 9");
    assert_eq!(
        (plan.publishers(), plan.subscribers(), plan.copies()),
        (7, 7, 1)
    );
    assert_eq!(plan.pace, crate::bench::plan::Pace::Open { rate: 500 });
    assert_eq!((plan.threads, plan.pid), (2, Some(9)));
    for (line, fault) in [
        (
            "--payload 23",
            "Invalid payload size, a message needs at least 24 bytes.",
        ),
        ("--pairs 0", "Invalid number of clients: 0"),
        ("--window 65536", "Invalid window: 65536"),
        ("--subscribers 2", "Unknown option '--subscribers'."),
    ] {
        let args = line.split_whitespace().map(Into::into).collect();
        assert_eq!(parse(&P2P, args), Err(fault.into()), "{line}");
    }
}
