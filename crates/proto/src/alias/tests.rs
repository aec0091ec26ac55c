use std::string::ToString;

use super::*;
use crate::Answer;

fn reason(result: Result<&str, Fault>) -> Option<Answer> {
    result.err().map(|fault| fault.answer)
}

const OUT_OF_RANGE: Option<Answer> = Some(Answer::Disconnect(ReasonCode::TOPIC_ALIAS_INVALID));
const PROTOCOL_ERROR: Option<Answer> = Some(Answer::Disconnect(ReasonCode::PROTOCOL_ERROR));

#[test]
fn a_topic_without_alias_is_itself() {
    let mut aliases = InboundAliases::default();
    assert_eq!(aliases.resolve("a/b", None, 0), Ok("a/b"));
    assert_eq!(reason(aliases.resolve("", None, 10)), PROTOCOL_ERROR);
}

#[test]
fn mqtt5_3_3_2_12_every_alias_up_to_the_maximum_is_accepted() {
    let mut aliases = InboundAliases::default();
    for alias in (1..=300).rev() {
        let topic = alias.to_string();
        assert_eq!(aliases.resolve(&topic, Some(alias), 300), Ok(&*topic));
    }
    for alias in 1..=300 {
        assert_eq!(
            aliases.resolve("", Some(alias), 300),
            Ok(&*alias.to_string())
        );
    }
}

#[test]
fn mqtt5_3_3_2_8_alias_zero_is_refused() {
    let mut aliases = InboundAliases::default();
    assert_eq!(reason(aliases.resolve("a", Some(0), 10)), OUT_OF_RANGE);
    assert_eq!(reason(aliases.resolve("", Some(0), u16::MAX)), OUT_OF_RANGE);
}

#[test]
fn mqtt5_3_3_2_9_an_alias_above_the_maximum_is_refused() {
    let mut aliases = InboundAliases::default();
    assert_eq!(reason(aliases.resolve("a", Some(11), 10)), OUT_OF_RANGE);
    assert_eq!(reason(aliases.resolve("a", Some(1), 0)), OUT_OF_RANGE);
    assert!(aliases.topics.is_empty(), "nothing was kept");
}

#[test]
fn an_alias_that_was_never_assigned_is_refused() {
    let mut aliases = InboundAliases::default();
    assert_eq!(reason(aliases.resolve("", Some(2), 10)), PROTOCOL_ERROR);
    aliases.resolve("c", Some(3), 10).unwrap();
    assert_eq!(reason(aliases.resolve("", Some(2), 10)), PROTOCOL_ERROR);
    assert_eq!(reason(aliases.resolve("", Some(4), 10)), PROTOCOL_ERROR);
}

#[test]
fn an_alias_stands_for_the_topic_that_it_was_last_sent_with() {
    let mut aliases = InboundAliases::default();
    aliases.resolve("a", Some(1), 10).unwrap();
    aliases.resolve("b", Some(2), 10).unwrap();
    assert_eq!(aliases.resolve("c", Some(1), 10), Ok("c"));
    assert_eq!(aliases.resolve("", Some(1), 10), Ok("c"));
    assert_eq!(aliases.resolve("", Some(2), 10), Ok("b"));
}

#[test]
fn the_highest_alias_of_all_works() {
    let mut aliases = InboundAliases::default();
    aliases.resolve("z", Some(u16::MAX), u16::MAX).unwrap();
    assert_eq!(aliases.resolve("", Some(u16::MAX), u16::MAX), Ok("z"));
}

#[test]
fn mqtt5_3_1_2_27_without_maximum_no_alias_is_sent() {
    let aliases = OutboundAliases::new(0);
    assert_eq!(aliases.choose("a"), AliasUse::Topic);
}

#[test]
fn mqtt5_3_1_2_26_aliases_are_given_from_one_up_to_the_maximum() {
    let mut aliases = OutboundAliases::new(2);
    for (topic, expected) in [
        ("a", AliasUse::Assign(1)),
        ("a", AliasUse::Alias(1)),
        ("b", AliasUse::Assign(2)),
        ("c", AliasUse::Topic),
        ("c", AliasUse::Topic),
        ("a", AliasUse::Alias(1)),
        ("b", AliasUse::Alias(2)),
    ] {
        let chosen = aliases.choose(topic);
        assert_eq!(chosen, expected, "{topic}");
        aliases.sent(topic, chosen);
    }
}

#[test]
fn an_alias_of_a_packet_that_was_not_sent_is_given_again() {
    let mut aliases = OutboundAliases::new(2);
    assert_eq!(aliases.choose("large"), AliasUse::Assign(1));
    assert_eq!(aliases.choose("large"), AliasUse::Assign(1));
    aliases.sent("large", AliasUse::Topic);
    assert_eq!(aliases.choose("small"), AliasUse::Assign(1));
}

#[test]
fn what_one_end_assigns_the_other_resolves() {
    let mut out = OutboundAliases::new(3);
    let mut into = InboundAliases::default();
    for topic in ["a", "b", "a", "c", "d", "d", "b", "a", "c"] {
        let chosen = out.choose(topic);
        let resolved = match chosen {
            AliasUse::Topic => into.resolve(topic, None, 3),
            AliasUse::Assign(alias) => into.resolve(topic, Some(alias), 3),
            AliasUse::Alias(alias) => into.resolve("", Some(alias), 3),
        };
        assert_eq!(resolved, Ok(topic));
        out.sent(topic, chosen);
    }
}
