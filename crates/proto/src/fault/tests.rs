use std::string::ToString;

use super::*;

fn answer(kind: PacketType, error: DecodeError) -> Answer {
    Fault::decode(kind, error).answer
}

const MALFORMED: Answer = Answer::Disconnect(ReasonCode::MALFORMED_PACKET);
const PROTOCOL_ERROR: Answer = Answer::Disconnect(ReasonCode::PROTOCOL_ERROR);

#[test]
fn bad_utf8_in_a_property_closes_without_an_answer() {
    for kind in [
        PacketType::Publish,
        PacketType::PubAck,
        PacketType::Subscribe,
        PacketType::Unsubscribe,
        PacketType::Disconnect,
    ] {
        let error = DecodeError::PropertyUtf8(PropertyId::UserProperty);
        assert_eq!(answer(kind, error), Answer::Close);
    }
    assert_eq!(answer(PacketType::Publish, DecodeError::Utf8), MALFORMED);
}

#[test]
fn only_a_ping_with_a_body_closes_without_an_answer() {
    for kind in [PacketType::PingReq, PacketType::PingResp] {
        assert_eq!(answer(kind, DecodeError::TrailingBytes), Answer::Close);
        assert_eq!(answer(kind, DecodeError::HeaderFlags), MALFORMED);
    }
    for kind in [PacketType::PubAck, PacketType::Disconnect] {
        assert_eq!(answer(kind, DecodeError::TrailingBytes), MALFORMED);
    }
}

#[test]
fn subscriptions_call_malformed_what_others_call_a_protocol_error() {
    for error in [
        DecodeError::PacketIdZero,
        DecodeError::PropertyNotAllowed(PropertyId::TopicAlias),
        DecodeError::PropertyValue(PropertyId::PayloadFormatIndicator),
    ] {
        assert_eq!(answer(PacketType::Subscribe, error), MALFORMED);
        assert_eq!(answer(PacketType::Unsubscribe, error), MALFORMED);
        assert_eq!(answer(PacketType::PubRec, error), PROTOCOL_ERROR);
    }
    let repeated = DecodeError::PropertyRepeated(PropertyId::SubscriptionIdentifier);
    assert_eq!(answer(PacketType::Subscribe, repeated), PROTOCOL_ERROR);
    let zero = DecodeError::PropertyValue(PropertyId::SubscriptionIdentifier);
    assert_eq!(answer(PacketType::Subscribe, zero), PROTOCOL_ERROR);
}

#[test]
fn a_topic_alias_of_zero_is_an_invalid_alias() {
    assert_eq!(
        answer(
            PacketType::Publish,
            DecodeError::PropertyValue(PropertyId::TopicAlias)
        ),
        Answer::Disconnect(ReasonCode::TOPIC_ALIAS_INVALID)
    );
}

#[test]
fn a_fault_says_for_the_log_what_it_is() {
    let malformed = Fault::decode(PacketType::Publish, DecodeError::QoS);
    assert_eq!(
        malformed.to_string(),
        "malformed packet, PUBLISH: QoS 3 does not exist"
    );
    let closed = Fault::close("second CONNECT");
    assert_eq!(closed.to_string(), "second CONNECT");
    let refused = Fault {
        answer: Answer::ConnAck(Version::V3_1_1, ReasonCode::NOT_AUTHORIZED),
        why: Why::Text("not let in"),
    };
    assert_eq!(refused.to_string(), "not authorized, not let in");
    let unknown = Fault {
        answer: Answer::Close,
        why: Why::Malformed(None, DecodeError::PacketType),
    };
    assert_eq!(unknown.to_string(), "packet type 0 is reserved");
}
