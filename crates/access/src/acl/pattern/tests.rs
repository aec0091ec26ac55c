use super::super::Rules;
use super::*;
use crate::Client;

fn parts(filter: &str, wildcards: Wildcards) -> Vec<Part> {
    Pattern::new(filter, wildcards).0.into_vec()
}

fn text(text: &str) -> Part {
    Part::Text(text.into())
}

#[test]
fn a_filter_is_taken_apart_into_few_parts() {
    use Part::{ClientId, Level, Rest, UserName};
    let check = |filter: &str, expected: &[Part]| {
        assert_eq!(parts(filter, Wildcards::Match), expected, "{filter}");
    };
    check("%c", &[ClientId]);
    check("%c/b/c%u", &[ClientId, text("/b/c"), UserName]);
    check("%u/+/x/#", &[UserName, text("/"), Level, text("/x"), Rest]);
    check("%c%%c%x%", &[ClientId, text("%"), ClientId, text("%x%")]);
    check("%c//", &[ClientId, text("//")]);
    assert_eq!(parts("%c/+/#", Wildcards::Text), [ClientId, text("/+/#")]);
}

#[test]
fn parts_take_what_they_take() {
    let (rules, _) = Rules::parse("acl", b"topic x").unwrap();
    let client = rules.for_client(Client {
        id: "c/1",
        user_name: Some("bob"),
    });
    let check = |filter: &str, topic: &str, expected: bool| {
        let found = Pattern::new(filter, Wildcards::Match).matches(topic, &client);
        assert_eq!(found, expected, "{filter} {topic}");
    };
    check("%c", "c/1", true);
    check("%c", "c/12", false);
    check("%c", "c", false);
    check("%c/#", "c/1", true);
    check("%c/#", "c/1/", true);
    check("%c/#", "c/12", false);
    check("%u/+/x", "bob//x", true);
    check("%u/+/x", "bob/ab/x", true);
    check("%u/+/x", "bob/ab/y", false);
    check("%u/+", "bob", false);
    check("%u/+", "bob/a/b", false);
    check("%u/+/#", "bob/a", true);
    check("a%ub", "abobb", true);
}
