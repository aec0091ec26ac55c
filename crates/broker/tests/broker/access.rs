//! Logins that are judged outside, and rights on the way of each message.

use std::sync::Arc;

use midge_broker::{Action, Identity, LoginAnswer, Method, Review, Rights, Says, Time};
use midge_codec::{Auth, Packet, Properties, Property, ReasonCode, Version};

use crate::client::Got;
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

#[test]
fn a_login_that_expires_ends_the_connection() {
    let cluster = guarded(1);
    cluster.set_judge(|_| {
        Some(LoginAnswer::Accepted(Box::new(Identity {
            expires: Some(Time(1_000_000).plus_secs(100)),
            ..Identity::default()
        })))
    });
    let mut client = cluster.client("a").keep_alive(0).connect();
    cluster.advance(98);
    client.sync();
    assert!(!client.is_closed());
    cluster.advance(4);
    client.expect_disconnect(0x87);
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
