//! Logins that are judged outside, and rights on the way of each message.

use std::sync::Arc;

use midge_broker::{Action, Identity, LoginAnswer, Method, Review, Rights, Says, Time};
use midge_codec::{Auth, Packet, Properties, Property, ReasonCode, Version};

use crate::client::{Builder, Client, Got};
use crate::cluster::Cluster;

/// Allows what a list of actions and topics says.
#[derive(Debug)]
struct List(Vec<(Action, &'static str)>);

impl Rights for List {
    fn allows(&self, action: Action, topic: &str) -> bool {
        self.0
            .iter()
            .any(|(known, name)| *known == action && *name == topic)
    }

    fn explain(&self, _action: Action, _topic: &str) -> String {
        "the list has it not".to_owned()
    }
}

fn list(rights: &[(Action, &'static str)]) -> Option<Arc<dyn Rights>> {
    Some(Arc::new(List(rights.to_vec())))
}

fn guarded(shards: u16) -> Cluster {
    Cluster::with_listener(shards, |listener| listener.login = true)
}

/// Lets everybody in with these rights.
fn admit(cluster: &Cluster, rights: &[(Action, &'static str)]) {
    let rights = rights.to_vec();
    cluster.set_judge(move |login| {
        let Says::Connect { user_name, .. } = &login.says else {
            return None;
        };
        Some(LoginAnswer::Accepted(Box::new(Identity {
            user_name: user_name.as_deref().map(Into::into),
            rights: list(&rights),
            ..Identity::default()
        })))
    });
}

#[test]
fn a_client_waits_until_its_login_is_answered_and_nothing_it_sent_is_lost() {
    let cluster = guarded(2);
    let mut client = cluster.client("a").try_connect();
    // It does not wait for CONNACK.
    let id = client.send_subscribe(&[("t", 1)], 0);
    cluster.settle();
    assert_eq!(client.take(), []);
    cluster.set_judge(|_| Some(LoginAnswer::Accepted(Box::default())));
    client.expect_connack();
    assert_eq!(client.take(), [Got::SubAck(id, vec![1])]);
}

#[test]
fn mqtt5_3_1_4_2_a_refused_login_gets_a_connack_that_says_no_more_than_the_code() {
    let cluster = guarded(1);
    cluster.set_judge(|_| {
        Some(LoginAnswer::Refused(
            ReasonCode::NOT_AUTHORIZED,
            "wrong password".to_owned(),
        ))
    });
    for version in [Version::V5, Version::V3_1_1, Version::V3_1] {
        let mut client = cluster.client("a").version(version).try_connect();
        cluster.settle();
        let got = client.take();
        assert!(
            matches!(got[..], [Got::ConnAck(false, reason, ref properties)]
            if reason == 0x87 && properties.is_empty()),
            "{got:?}"
        );
        assert!(client.is_closed());
    }
    assert_eq!(cluster.log_lines("wrong password").len(), 3);
    cluster.assert_empty();
}

#[test]
fn a_login_is_known_at_the_shard_that_has_the_session() {
    let cluster = guarded(3);
    admit(
        &cluster,
        &[(Action::Subscribe, "t"), (Action::Deliver, "t")],
    );
    let mut first = cluster.client("a").persistent().shard(0).connect();
    first.disconnect();
    let mut again = cluster.client("a").resume().shard(2).connect();
    assert!(again.present);
    assert_eq!(again.subscribe("t", 0), 0);
    assert_eq!(again.subscribe("other", 0), 0x87);
    assert_eq!(again.publish("t", "x", 1), Some(0x87));
}

#[test]
fn mqtt5_3_3_5_2_what_may_not_be_published_is_dropped_and_5_0_is_told() {
    let cluster = guarded(2);
    admit(
        &cluster,
        &[
            (Action::Publish, "in"),
            (Action::Subscribe, "#"),
            (Action::Deliver, "in"),
        ],
    );
    for version in [Version::V3_1_1, Version::V5] {
        let mut client = cluster.client("a").version(version).connect();
        client.subscribe("#", 2);
        let denied = if version == Version::V5 { 0x87 } else { 0 };
        assert_eq!(client.publish("out", "no", 0), None);
        assert_eq!(client.publish("out", "no", 1), Some(denied));
        assert_eq!(client.publish("out", "no", 2), Some(denied));
        assert_eq!(client.publish("in", "yes", 1), Some(0));
        assert_eq!(client.payloads(), ["yes"]);
        client.disconnect();
    }
    let lines = cluster.log_lines("Denied PUBLISH from a");
    assert!(lines[0].contains("topic 'out'") && lines[0].contains("the list has it not"));
}

#[test]
fn what_may_not_be_delivered_reaches_nobody_by_any_way() {
    let cluster = guarded(2);
    admit(
        &cluster,
        &[
            (Action::Publish, "open"),
            (Action::Publish, "secret"),
            (Action::Subscribe, "#"),
            (Action::Subscribe, "$share/g/#"),
            (Action::Deliver, "open"),
        ],
    );
    let mut publisher = cluster.client("p").shard(0).connect();
    publisher.retain("secret", "retained", 1);
    publisher.retain("open", "retained", 1);
    for shard in 0..2 {
        let mut reader = cluster.client("r").persistent().shard(shard).connect();
        assert_eq!(reader.subscribe("#", 2), 2);
        assert_eq!(reader.subscribe("$share/g/#", 1), 1);
        assert_eq!(reader.messages().len(), 1, "retained");
        for qos in 0..3 {
            publisher.publish("secret", "no", qos);
            publisher.publish("open", "yes", qos);
        }
        assert_eq!(reader.payloads(), ["yes"; 6]);
        // What waited while it was away is looked at as well.
        reader.cut();
        for qos in 1..3 {
            publisher.publish("secret", "no", qos);
            publisher.publish("open", "later", qos);
        }
        let mut reader = cluster.client("r").resume().shard(shard).connect();
        assert!(reader.payloads().iter().all(|payload| payload == "later"));
        reader.disconnect_with(0, &[Property::SessionExpiryInterval(0)]);
    }
    publisher.retain("secret", "", 0);
    publisher.retain("open", "", 0);
    publisher.disconnect();
    cluster.assert_empty();
}

#[test]
fn a_will_that_may_not_be_published_lets_nobody_in() {
    let cluster = guarded(1);
    admit(&cluster, &[(Action::Publish, "fine")]);
    let mut refused = cluster.client("a").will("not/fine", "x", 0).try_connect();
    cluster.settle();
    assert!(matches!(refused.take()[..], [Got::ConnAck(false, 0x87, _)]));
    cluster.client("a").will("fine", "x", 0).connect();
}

#[test]
fn a_change_of_rights_reaches_who_is_connected_at_once() {
    let cluster = guarded(2);
    let all = [
        (Action::Publish, "t"),
        (Action::Deliver, "t"),
        (Action::Subscribe, "t"),
    ];
    admit(&cluster, &all);
    let mut client = cluster.client("a").persistent().connect();
    client.subscribe("t", 1);
    assert_eq!(client.publish("t", "one", 1), Some(0));
    assert_eq!(client.payloads(), ["one"]);
    cluster.review(|_| Review::Has(list(&[(Action::Publish, "t")])));
    // 0x10: nobody is subscribed any more.
    assert_eq!(client.publish("t", "two", 1), Some(0x10));
    client.expect_nothing();
    assert_eq!(cluster.routing_counts().0, 0);
    assert_eq!(
        cluster.log_lines("Subscription of a to 't' removed").len(),
        1
    );
    cluster.review(|client| {
        assert_eq!(client.client_id, "a");
        Review::Goes(ReasonCode::ADMINISTRATIVE_ACTION, "disabled".to_owned())
    });
    client.expect_disconnect(0x98);
}

#[test]
fn a_session_that_another_user_takes_over_keeps_only_what_that_one_may_have() {
    let cluster = guarded(1);
    admit(
        &cluster,
        &[(Action::Subscribe, "mine"), (Action::Deliver, "mine")],
    );
    let mut first = cluster.client("a").persistent().connect();
    first.subscribe("mine", 1);
    first.cut();
    admit(&cluster, &[(Action::Publish, "mine")]);
    cluster.client("p").connect().publish("mine", "queued", 1);
    let mut second = cluster.client("a").resume().connect();
    assert!(second.present);
    second.expect_nothing();
    assert_eq!(cluster.routing_counts().0, 0);
}

/// When a login ends that says so in its data: seconds on the cluster's clock.
fn until(seconds: u64) -> &'static [u8] {
    Box::leak(seconds.to_string().into_bytes().into_boxed_slice())
}

/// Lets everybody in until the time that their data says, those without data until `other`.
fn admit_until(cluster: &Cluster, other: Time) {
    cluster.set_judge(move |login| {
        let method = match &login.says {
            Says::Connect { method, .. } => method.as_ref(),
            Says::Auth(method) | Says::Again(method) => Some(method),
        };
        let said = method.and_then(|method| std::str::from_utf8(method.data.as_deref()?).ok());
        let expires = match said {
            Some("never") => None,
            Some(seconds) => Some(Time(0).plus_secs(seconds.parse().unwrap())),
            None => Some(other),
        };
        Some(LoginAnswer::Accepted(Box::new(Identity {
            method: method.cloned(),
            expires,
            ..Identity::default()
        })))
    });
}

/// Seconds on the cluster's clock.
fn now(cluster: &Cluster) -> u64 {
    cluster.0.borrow().now.0 / 1000
}

fn with_method(cluster: &Cluster, id: &str, data: &'static [u8]) -> Builder {
    cluster
        .client(id)
        .keep_alive(0)
        .property(Property::AuthenticationMethod("M"))
        .property(Property::AuthenticationData(data))
}

fn renew(client: &mut Client, data: &'static [u8]) {
    client.send(&auth(0x19, "M", data));
    let got = client.take();
    assert!(matches!(got[..], [Got::Auth(0, ..)]), "{got:?}");
}

#[test]
fn a_login_that_expires_ends_the_connection_of_every_version_at_that_second() {
    let cluster = guarded(2);
    let begin = now(&cluster);
    admit_until(&cluster, Time(0).plus_secs(begin + 100));
    let mut watcher = with_method(&cluster, "w", b"never").connect();
    watcher.subscribe("will", 0);
    let mut clients = Vec::new();
    for (number, version) in [Version::V5, Version::V3_1_1, Version::V3_1]
        .into_iter()
        .cycle()
        .take(12)
        .enumerate()
    {
        // With and without keep alive, at either shard; somebody who speaks now and then gets no more time.
        let client = cluster
            .client(&format!("c{number}"))
            .version(version)
            .keep_alive(if number < 6 { 0 } else { 60 })
            .shard(u16::from(number % 2 == 0))
            .will("will", "gone", 0)
            .connect();
        clients.push(client);
    }
    for _ in 0..3 {
        cluster.advance(33);
        for client in &mut clients {
            client.expect_nothing();
        }
    }
    watcher.expect_nothing();
    cluster.advance(2);
    for client in &mut clients {
        // Those of 3.x are closed without a word.
        client.expect_disconnect(0x87);
    }
    assert_eq!(watcher.payloads().len(), 12, "wills");
    assert_eq!(cluster.log_lines("login has expired").len(), 12);
}

#[test]
fn authentication_anew_moves_the_end_of_a_login_either_way() {
    let cluster = guarded(2);
    let begin = now(&cluster);
    admit_until(&cluster, Time::NEVER);
    let connect = |id, seconds| with_method(&cluster, id, until(begin + seconds)).connect();
    let mut later = connect("later", 50);
    let mut sooner = connect("sooner", 500);
    let mut never = connect("never", 50);
    let mut not = connect("not", 50);
    cluster.advance(40);
    renew(&mut later, until(begin + 150));
    renew(&mut sooner, until(begin + 90));
    renew(&mut never, b"never");
    cluster.advance(12);
    not.expect_disconnect(0x87);
    cluster.advance(36);
    sooner.sync();
    later.sync();
    cluster.advance(4);
    sooner.expect_disconnect(0x87);
    cluster.advance(56);
    later.sync();
    assert!(!later.is_closed());
    cluster.advance(4);
    later.expect_disconnect(0x87);
    cluster.advance(100_000);
    never.sync();
    assert!(!never.is_closed());
}

#[test]
fn an_authentication_that_is_only_begun_does_not_move_the_end() {
    let cluster = guarded(1);
    let begin = now(&cluster);
    let expires = Some(Time(0).plus_secs(begin + 50));
    cluster.set_judge(move |login| match &login.says {
        Says::Connect { method, .. } => Some(LoginAnswer::Accepted(Box::new(Identity {
            method: method.clone(),
            expires,
            ..Identity::default()
        }))),
        Says::Auth(_) => None,
        Says::Again(method) if method.data.as_deref() == Some(b"waits") => None,
        Says::Again(method) => Some(LoginAnswer::Challenged(method.clone())),
    });
    let mut asked = with_method(&cluster, "asked", b"x").connect();
    let mut waits = with_method(&cluster, "waits", b"x").connect();
    cluster.advance(48);
    asked.send(&auth(0x19, "M", b"begins"));
    waits.send(&auth(0x19, "M", b"waits"));
    cluster.settle();
    assert_eq!(
        asked.take(),
        [Got::Auth(0x18, "M".into(), b"begins".to_vec())]
    );
    assert!(!asked.is_closed() && !waits.is_closed());
    cluster.advance(4);
    asked.expect_disconnect(0x87);
    waits.expect_disconnect(0x87);
}

/// Clients with logins of any length that are renewed at any time, for better or worse, against a model that
/// is one number for each.
#[test]
fn logins_end_when_they_should_whatever_was_renewed_when() {
    for seed in 0..200_u64 {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut random = move |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        let cluster = guarded(3);
        admit_until(&cluster, Time::NEVER);
        let mut clients = Vec::new();
        for number in 0..6 {
            let end = now(&cluster) + 1 + random(40);
            let mut builder = with_method(&cluster, &format!("c{number}"), until(end));
            if random(2) == 0 {
                builder = builder.keep_alive(100);
            }
            let shard = u16::try_from(random(3)).unwrap();
            clients.push((builder.shard(shard).connect(), Some(end)));
        }
        for _ in 0..80 {
            cluster.advance(1);
            let now = now(&cluster);
            for (client, end) in &mut clients {
                let Some(ends) = *end else { continue };
                if ends <= now {
                    // The wheel may be a tick late, and never early.
                    if client.is_closed() || ends < now {
                        client.expect_disconnect(0x87);
                        *end = None;
                    }
                    continue;
                }
                assert!(!client.is_closed(), "seed {seed}: {ends} at {now}");
                if random(10) == 0 {
                    let new = now + 1 + random(40);
                    renew(client, until(new));
                    *end = Some(new);
                }
            }
        }
    }
}

#[test]
fn the_client_id_may_come_from_the_login() {
    let cluster = guarded(2);
    cluster.set_judge(|_| {
        Some(LoginAnswer::Accepted(Box::new(Identity {
            client_id: Some("alice".into()),
            ..Identity::default()
        })))
    });
    let mut first = cluster.client("x").connect();
    cluster.client("y").shard(1).connect();
    first.expect_disconnect(0x8E);
}

fn auth(reason: u8, method: &'static str, data: &'static [u8]) -> Packet<'static> {
    let properties: &'static [Property<'static>] = Box::leak(Box::new([
        Property::AuthenticationMethod(method),
        Property::AuthenticationData(data),
    ]));
    Packet::Auth(Auth {
        reason: ReasonCode(reason),
        properties: Properties::from_list(properties),
    })
}

/// Asks for `answer` after `first`, and lets in who gives it.
fn dialogue(cluster: &Cluster) {
    let method = |data: &[u8]| Method {
        name: "M".into(),
        data: Some(data.into()),
    };
    cluster.set_judge(move |login| {
        let said = match &login.says {
            Says::Connect { method, .. } => method.as_ref()?.data.clone(),
            Says::Auth(method) | Says::Again(method) => method.data.clone(),
        };
        Some(match said.as_deref() {
            Some(b"first") => LoginAnswer::Challenged(method(b"question")),
            Some(b"answer") => LoginAnswer::Accepted(Box::new(Identity {
                method: Some(method(b"proof")),
                ..Identity::default()
            })),
            _ => LoginAnswer::Refused(ReasonCode::NOT_AUTHORIZED, "no answer".to_owned()),
        })
    });
}

#[test]
fn mqtt5_4_12_0_2_enhanced_authentication_asks_with_auth_and_ends_with_connack() {
    let cluster = guarded(2);
    dialogue(&cluster);
    let builder = cluster
        .client("a")
        .property(Property::AuthenticationMethod("M"))
        .property(Property::AuthenticationData(b"first"));
    // The session may be at another shard by the end.
    builder.clone().shard(1).persistent().try_connect();
    for shard in [1, 0] {
        let mut client = builder.clone().shard(shard).persistent().try_connect();
        cluster.settle();
        assert_eq!(
            client.take(),
            [Got::Auth(0x18, "M".into(), b"question".to_vec())]
        );
        client.send(&auth(0x18, "M", b"answer"));
        client.expect_connack();
        assert!(
            client
                .connack
                .iter()
                .any(|p| p.contains("AuthenticationMethod(\"M\")"))
        );
        // And again, on the connection that is there.
        client.send(&auth(0x19, "M", b"first"));
        cluster.settle();
        assert_eq!(
            client.take(),
            [Got::Auth(0x18, "M".into(), b"question".to_vec())]
        );
        client.send(&auth(0x18, "M", b"answer"));
        cluster.settle();
        assert_eq!(client.take(), [Got::Auth(0, "M".into(), b"proof".to_vec())]);
    }
}

/// [MQTT5-3.1.2-24]: a login, too, asks for nothing in a packet that the client does not take.
#[test]
fn an_authentication_whose_packets_are_too_large_for_the_client_is_refused() {
    let cluster = guarded(1);
    dialogue(&cluster);
    // AUTH with the question has 19 bytes, CONNACK with a code 5.
    let asked = Got::Auth(0x18, "M".into(), b"question".to_vec());
    let refused = Got::ConnAck(false, 0x95, Vec::new());
    for (maximum, answer) in [(19, Some(asked)), (18, Some(refused)), (4, None)] {
        let builder = cluster
            .client("a")
            .property(Property::MaximumPacketSize(maximum));
        let mut client = builder
            .property(Property::AuthenticationMethod("M"))
            .property(Property::AuthenticationData(b"first"))
            .try_connect();
        cluster.settle();
        let got = client.take();
        assert_eq!(got.first(), answer.as_ref(), "{maximum}");
        assert_eq!(client.is_closed(), maximum < 19, "{maximum}");
    }
}

#[test]
fn mqtt5_4_12_1_2_a_failed_reauthentication_ends_the_connection() {
    let cluster = guarded(1);
    dialogue(&cluster);
    let builder = cluster
        .client("a")
        .property(Property::AuthenticationMethod("M"))
        .property(Property::AuthenticationData(b"answer"));
    let mut client = builder.connect();
    client.send(&auth(0x19, "M", b"nonsense"));
    client.expect_disconnect(0x87);
    let mut other = builder.connect();
    other.send(&auth(0x19, "N", b"first"));
    other.expect_disconnect(0x82);
    let mut early = builder.connect();
    early.send(&auth(0x18, "M", b"answer"));
    early.expect_disconnect(0x82);
}

#[test]
fn requests_to_the_broker_leave_and_their_answers_come_to_who_asked_alone() {
    let cluster = Cluster::with(2, |settings| {
        settings.controls = vec!["$CONTROL/known/v1".into()];
    });
    let mut other = cluster.client("o").connect();
    other.subscribe("$CONTROL/#", 0);
    let mut client = cluster.client("a").connect();
    for qos in 0..3 {
        client.publish("$CONTROL/known/v1", "request", qos);
    }
    let controls = std::mem::take(&mut cluster.0.borrow_mut().controls);
    assert_eq!(controls.len(), 3);
    assert_eq!(&*controls[0].payload, b"request");
    assert_eq!(&*controls[0].client_id, "a");
    cluster.answer_control(client.token, "$CONTROL/known/v1", b"answer");
    let answer = client.message_alone();
    assert_eq!(answer.topic, "$CONTROL/known/v1/response");
    assert_eq!(answer.payload, "answer");
    other.expect_nothing();
}
