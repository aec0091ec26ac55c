use super::*;

const VERSIONS: [Version; 2] = [Version::V5, Version::V3_1_1];

fn kept(version: Version) -> Options {
    // 3.x resumes only what it was told to keep.
    options()
        .version(version)
        .client_id("c")
        .clean_start(version == Version::V5)
}

/// Runs `script` with a cut after each number of bytes, until it makes no difference any more.
fn with_every_cut(options: &Options, script: impl Fn(&mut World)) {
    for cut in 0.. {
        let mut world = World::new(options.clone());
        world.cut_after = Some(cut);
        script(&mut world);
        if world.cut_after.is_some() {
            assert!(cut > 50, "the cut is reached");
            return;
        }
        assert_eq!(world.connections, 2, "cut after {cut}");
    }
}

#[test]
fn a_cut_at_any_byte_loses_no_outgoing_message_and_doubles_none_of_qos_2() {
    for version in VERSIONS {
        with_every_cut(&kept(version), |world| {
            let tickets = [
                world.publish("a", "1", QoS::ExactlyOnce),
                world.publish("b", "2", QoS::AtLeastOnce),
                world.publish("a", "3", QoS::ExactlyOnce),
            ];
            world.settle();
            for ticket in tickets {
                assert_eq!(world.published(ticket).unwrap(), Published::default());
            }
            let mut taken: Vec<&str> = Vec::new();
            for (_, payload) in &world.peer.taken {
                taken.push(payload);
            }
            assert_eq!(taken.iter().filter(|text| **text == "1").count(), 1);
            assert!(taken.iter().filter(|text| **text == "2").count() >= 1);
            assert_eq!(taken.iter().filter(|text| **text == "3").count(), 1);
            assert_eq!(taken.first(), Some(&"1"), "in order");
            assert_eq!(world.core.unfinished(), 0);
            assert_eq!(world.core.held_bytes, 0);
        });
    }
}

#[test]
fn a_cut_at_any_byte_loses_no_incoming_message_and_doubles_none() {
    for version in VERSIONS {
        with_every_cut(&kept(version), |world| {
            let (key, ticket) = world.subscribe("in/#");
            let mut texts = Vec::new();
            let mut last = None;
            world.settle();
            let Some(Outcome::Subscribed(Ok(_))) = world.outcome(ticket) else {
                panic!("not subscribed");
            };
            for (payload, qos) in [
                ("1", QoS::ExactlyOnce),
                ("2", QoS::AtLeastOnce),
                ("3", QoS::ExactlyOnce),
            ] {
                world.peer.send("in/x", payload, qos);
            }
            // The reader is slow: between its steps the link may be cut.
            for _ in 0..6 {
                world.settle();
                if let Some(message) = world.next(key, &mut last) {
                    texts.push(message.text().unwrap().to_owned());
                }
            }
            assert!(world.next(key, &mut last).is_none());
            world.settle();
            // An acknowledgement of QoS 1 that went down with the link makes a second one.
            let second = texts.iter().rposition(|text| text == "2");
            if texts.len() == 4
                && let Some(at) = second
            {
                texts.remove(at);
            }
            assert_eq!(texts, ["1", "2", "3"]);
            assert!(world.peer.is_finished());
        });
    }
}

#[test]
fn a_cut_at_any_byte_leaves_the_subscriptions_as_they_were_asked_for() {
    for version in VERSIONS {
        for forgets in [false, true] {
            with_every_cut(&kept(version), |world| {
                let (one, _) = world.subscribe("one");
                let (two, _) = world.subscribe_with(&["two", "three"], TERMS);
                world.settle();
                world.peer.forgets = forgets;
                world.core.drop_stream(one, std::iter::empty(), None);
                let (_, four) = world.subscribe("four");
                world.settle();
                assert!(world.outcome(four).is_some());
                let filters: Vec<_> = world.peer.filters.keys().cloned().collect();
                assert_eq!(filters, ["four", "three", "two"]);
                world.peer.forgets = false;
                world.peer.send("three", "x", QoS::ExactlyOnce);
                world.settle();
                assert_eq!(world.texts(two), ["x"]);
            });
        }
    }
}

#[test]
fn many_cuts_in_a_row_change_nothing() {
    let mut world = World::new(kept(Version::V5));
    let (key, _) = world.subscribe("in");
    let tickets: Vec<_> = (0..200)
        .map(|number| world.publish("out", &number.to_string(), QoS::ExactlyOnce))
        .collect();
    let mut got = Vec::new();
    world.settle();
    for number in 0..200_u32 {
        world.peer.send("in", &number.to_string(), QoS::ExactlyOnce);
        world.cut_after = Some(usize::try_from(number * 7 % 61).unwrap());
        world.settle();
        got.extend(world.texts(key));
    }
    world.settle();
    got.extend(world.texts(key));
    let expected: Vec<String> = (0..200).map(|number| number.to_string()).collect();
    assert_eq!(got, expected);
    let taken: Vec<String> = world
        .peer
        .taken
        .iter()
        .map(|(_, text)| text.clone())
        .collect();
    assert_eq!(taken, expected);
    for ticket in tickets {
        world.published(ticket).unwrap();
    }
}
