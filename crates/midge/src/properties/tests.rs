use super::*;
use crate::options::{Id, PUB};
use std::ffi::OsString;

fn take(properties: &mut PacketProperties, words: &str) -> Result<(), UsageError> {
    let args = std::iter::once("-D")
        .chain(words.split(' '))
        .map(OsString::from);
    let args: Vec<_> = args.collect();
    for option in PUB.parse(args) {
        let (id, value) = option?;
        assert_eq!(id, Id::Property);
        properties.take(value)?;
    }
    Ok(())
}

#[track_caller]
fn fails(words: &str, text: &str) {
    let mut properties = PacketProperties::default();
    assert_eq!(take(&mut properties, words), Err(text.into()), "{words}");
}

#[test]
fn properties_go_to_their_packets_in_order() {
    let mut properties = PacketProperties::default();
    for words in [
        "publish user-property b 1",
        "publish user-property a 2",
        "publish message-expiry-interval 7",
        "CONNECT Receive-Maximum 3",
        "will will-delay-interval 4",
        "subscribe subscription-identifier 268435455",
    ] {
        take(&mut properties, words).unwrap();
    }
    let publish: Vec<_> = properties.publish.iter().collect();
    assert_eq!(
        publish,
        [
            Property::UserProperty("b", "1"),
            Property::UserProperty("a", "2"),
            Property::MessageExpiryInterval(7),
        ]
    );
    let connect: Vec<_> = properties.connect.iter().collect();
    assert_eq!(connect, [Property::ReceiveMaximum(3)]);
    let will: Vec<_> = properties.will.iter().collect();
    assert_eq!(will, [Property::WillDelayInterval(4)]);
    let subscribe: Vec<_> = properties.subscribe.iter().collect();
    assert_eq!(subscribe, [Property::SubscriptionIdentifier(268_435_455)]);
}

#[test]
fn correlation_data_may_be_any_bytes_and_text_may_not() {
    use std::os::unix::ffi::OsStringExt as _;

    let take = |name: &str| {
        let words = [
            "-D".into(),
            "publish".into(),
            name.into(),
            OsString::from_vec(vec![0xFF]),
        ];
        let (_, value) = PUB.parse(words).next().unwrap().unwrap();
        let mut properties = PacketProperties::default();
        properties.take(value)?;
        Ok(properties.publish.iter().next() == Some(Property::CorrelationData(&[0xFF])))
    };
    assert_eq!(take("correlation-data"), Ok(true));
    let malformed = UsageError("Malformed UTF-8 in --property argument.".to_owned());
    assert_eq!(take("content-type"), Err(malformed));
}

#[test]
fn faults_are_told_in_the_words_of_mosquitto_pub() {
    let few = "--property argument given but not enough arguments specified.";
    fails("publish content-type", few);
    fails("publish user-property a", few);
    fails(
        "send content-type x",
        "Invalid command send given in --property argument.",
    );
    fails(
        "publish colour x",
        "Invalid property name colour given in --property argument.",
    );
    fails(
        "connect content-type x",
        "content-type property not allowed for connect in --property argument.",
    );
    fails(
        "publish subscription-identifier 1",
        "subscription-identifier property not supported for publish in --property argument.",
    );
    fails(
        "puback reason-string x",
        "reason-string property not supported for puback in --property argument.",
    );
    fails(
        "publish message-expiry-interval x",
        "Property value 'x' not a number.",
    );
    fails(
        "publish topic-alias 70000",
        "Property value (70000) out of range for property topic-alias.",
    );
    fails(
        "publish topic-alias -1",
        "Property value (-1) out of range for property topic-alias.",
    );
}

#[test]
fn what_may_stand_once_is_not_taken_twice() {
    let mut properties = PacketProperties::default();
    take(&mut properties, "publish content-type a").unwrap();
    let UsageError(text) = take(&mut properties, "publish content-type b").unwrap_err();
    assert!(text.contains("twice"), "{text}");
}

#[test]
fn every_property_has_a_name() {
    let names: std::collections::BTreeSet<_> = TABLE.iter().map(|(name, _, _)| name).collect();
    assert_eq!(names.len(), 27);
    assert_eq!(name(PropertyId::UserProperty), "user-property");
}
