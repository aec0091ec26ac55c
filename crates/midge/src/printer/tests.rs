use super::*;
use crate::options::SUB;
use midge_codec::{Properties, QoS};
use std::ffi::OsString;
use std::num::NonZeroU16;

fn options(words: &[&str]) -> Result<PrintOptions, UsageError> {
    let mut options = PrintOptions::default();
    let args: Vec<_> = words.iter().map(OsString::from).collect();
    for option in SUB.parse(args) {
        let (id, value) = option?;
        assert_eq!(options.take(id, value)?, None);
    }
    Ok(options)
}

fn message<'a>(payload: &'a [u8], properties: &'a [Property<'a>]) -> Publish<'a> {
    Publish {
        dup: false,
        qos: QoS::AtLeastOnce,
        retain: true,
        topic: "a/b",
        packet_id: NonZeroU16::new(7),
        properties: Properties::from_list(properties),
        payload,
    }
}

fn printed(words: &[&str], message: &Publish<'_>) -> String {
    let mut options = options(words).unwrap();
    options.colour = match options.colour {
        Colour::OnTerminal => Colour::Never,
        colour => colour,
    };
    let mut printer = Printer::new(&options, Vec::new());
    printer.print(message).unwrap();
    String::from_utf8(printer.output).unwrap()
}

#[track_caller]
fn check(words: &[&str], payload: &[u8], expected: &str) {
    assert_eq!(
        printed(words, &message(payload, &[])),
        expected,
        "{words:?}"
    );
}

#[test]
fn plain_messages_print_as_those_of_mosquitto_sub() {
    check(&[], b"x", "x\n");
    check(&[], b"", "");
    check(&["-N"], b"x", "x");
    check(&["-v"], b"x", "a/b x\n");
    check(&["-v"], b"", "a/b (null)\n");
    check(&["-v", "-N"], b"", "");
    check(
        &["-v", "--colour", "always"],
        b"x",
        "\x1b[36ma/b\x1b[0m x\n",
    );
}

#[test]
fn formats_lay_out_fields() {
    for (format, expected) in [
        ("%t %q %r %m %l %%", "a/b 1 1 7 5 %\n"),
        ("%6t|%-6t|%.1t|%4.2t|", "   a/b|a/b   |a|  a/|\n"),
        ("%8p|%-8p|%08p|%3p", "   hello|hello   |000hello|hel\n"),
        ("%5l|%-5l|%05l", "    5|5    |00005\n"),
        ("%x %X", "68656c6c6f 68656C6C6F\n"),
        (
            "%.2x|%.2:x|%.4-x",
            "68 65 6c 6c 6f|68:65:6c:6c:6f|6865-6c6c-6f\n",
        ),
        (
            "%12x|%-12x|%012x",
            "  68656c6c6f|68656c6c6f  |0068656c6c6f\n",
        ),
        (r"\\\t\a\e\v\r\n", "\\\t\x07\x1b\x0b\r\n\n"),
        ("@@", "@\n"),
        ("%A|%3A|%C|%E|%F|%S|%R|%D|%P|", "|   ||||||||\n"),
    ] {
        check(&["-F", format], b"hello", expected);
    }
    check(&["-N", "-F", "%t"], b"hello", "a/b");
}

#[test]
fn floats_are_shown_as_printf_does() {
    check(
        &["-F", "%f|%.2f|%9.1f|%09.1f"],
        &1.5_f32.to_ne_bytes(),
        "1.500000|1.50|      1.5|0000001.5\n",
    );
    check(
        &["-F", "%d|%-8.1d|%08.1d"],
        &(-2.25_f64).to_ne_bytes(),
        "-2.250000|-2.2    |-00002.2\n",
    );
    check(&["-F", "%5f|"], &f32::INFINITY.to_ne_bytes(), "  inf|\n");
    check(&["-F", "[%f]"], b"no float", "[]\n");
}

#[test]
fn properties_have_codes() {
    let properties = [
        Property::ContentType("text/plain"),
        Property::UserProperty("b", "1"),
        Property::UserProperty("a", "2"),
        Property::ResponseTopic("r"),
        Property::CorrelationData(b"cd"),
        Property::MessageExpiryInterval(9),
        Property::PayloadFormatIndicator(1),
        Property::SubscriptionIdentifier(3),
    ];
    let message = message(b"x", &properties);
    assert_eq!(
        printed(&["-F", "%P|%R|%D|%C|%3E|%F|%03S"], &message),
        "b:1 a:2|r|cd|text/plain|  9|1|003\n"
    );
    let text = printed(&["-F", "%j"], &message);
    assert!(
        text.contains(
            r#""properties":{"content-type":"text/plain","user-properties":[{"b":"1"},{"a":"2"}],"response-topic":"r","#
        ),
        "{text}"
    );
}

#[test]
fn times_have_the_forms_of_strftime() {
    let text = printed(&["-F", "@Y-@m-@d @N %I %U"], &message(b"x", &[]));
    let words: Vec<_> = text.split_whitespace().collect();
    let [date, nanos, iso, unix] = words.as_slice() else {
        panic!("{text}");
    };
    assert_eq!((date.len(), nanos.len()), (10, 9));
    assert!(iso.starts_with(date) && iso.len() == 24, "{iso}");
    let (seconds, nanos) = unix.split_once('.').unwrap();
    assert!(seconds.parse::<u64>().unwrap() > 1_700_000_000 && nanos.len() == 9);
    // What strftime does not know, or only other libraries do.
    check(&["-F", "[@!@1@+@E@f]"], b"x", "[%!%1%+%E%f]\n");
}

#[test]
fn json_has_the_members_of_mosquitto_sub() {
    let text = printed(&["-F", "%j"], &message(b"a\"\n\x01", &[]));
    let (time, rest) = text.split_at(r#"{"tst":"2020-05-06T21:48:00.000000+0100","#.len());
    assert!(
        time.starts_with(r#"{"tst":"20"#) && time.ends_with("\","),
        "{time}"
    );
    assert_eq!(
        rest,
        "\"topic\":\"a/b\",\"qos\":1,\"retain\":true,\"payloadlen\":4,\"mid\":7,\
         \"payload\":\"a\\\"\\n\\u0001\"}\n"
    );
    let text = printed(
        &["-F", "%J"],
        &message(b" {\"b\": [1, 2.5], \"a\":null}", &[]),
    );
    assert!(
        text.ends_with("\"payload\":{\"b\":[1,2.5],\"a\":null}}\n"),
        "{text}"
    );
    check(&["-F", "[%J]"], b"{", "[]\n");
    let text = printed(&["-F", "%J"], &message(b"", &[]));
    assert!(text.ends_with("\"payload\":null}\n"), "{text}");
}

#[test]
fn pretty_json_has_tabs() {
    let text = printed(
        &["--pretty", "-F", "%J"],
        &message(b"{\"b\":[1,{\"c\":2}]}", &[]),
    );
    let (_, rest) = text.split_once("\"topic\"").unwrap();
    assert_eq!(
        rest,
        ":\t\"a/b\",\n\t\"qos\":\t1,\n\t\"retain\":\ttrue,\n\t\"payloadlen\":\t17,\n\t\"mid\":\t7,\n\
         \t\"payload\":\t{\n\t\t\"b\":\t[1, {\n\t\t\t\t\"c\":\t2\n\t\t\t}]\n\t}\n}\n"
    );
}

#[test]
fn json_lines_lose_nothing() {
    for (payload, end) in [
        (&b"{\"a\": 1}"[..], "\"payload\":{\"a\":1}}\n"),
        (b"text", "\"payload\":\"text\"}\n"),
        (b"\xFF\x00", "\"payload_base64\":\"/wA=\"}\n"),
        (b"", "\"payload\":null}\n"),
    ] {
        let text = printed(&["--json"], &message(payload, &[]));
        assert!(text.ends_with(end), "{text}");
    }
}

#[test]
fn binary_payloads_are_made_readable() {
    // {"a": [1, h'ff']} and {"a": [1, true]}
    let cbor = b"\xA1\x61a\x82\x01\x41\xFF";
    let pack = b"\x81\xA1a\x92\x01\xC3";
    check(&["--decode", "cbor"], cbor, "{\"a\": [1, h'ff']}\n");
    check(&["--decode", "msgpack"], pack, "{\"a\": [1, true]}\n");
    let properties = [Property::ContentType("application/senml+cbor")];
    let typed = message(cbor, &properties);
    assert_eq!(
        printed(&["--decode", "auto"], &typed),
        "{\"a\": [1, h'ff']}\n"
    );
    // What is not what it should be stays as it is, and so does what says nothing.
    check(&["--decode", "cbor"], b"\x61", "a\n");
    check(&["--decode", "auto"], b"\x61", "a\n");
    check(&["--decode", "msgpack"], b"\x01\x02", "\x01\x02\n");
}

#[test]
fn faults_are_told_in_the_words_of_mosquitto_sub() {
    for (format, text) in [
        ("%", "Incomplete format specifier."),
        ("%0", "Incomplete format specifier."),
        ("%-12.3", "Incomplete format specifier."),
        ("%Z", "Invalid format specifier 'Z'."),
        ("@", "Incomplete format specifier."),
        ("\\", "Incomplete escape specifier."),
        ("\\q", "Invalid escape specifier 'q'."),
    ] {
        assert_eq!(options(&["-F", format]), Err(text.into()), "{format}");
    }
    let chance = Err("--random-filter chance must be between 0.1-100.0".into());
    assert_eq!(options(&["--random-filter", "0"]), chance);
    assert_eq!(options(&["--random-filter", "101"]), chance);
}

#[test]
fn a_random_part_is_printed() {
    let options = options(&["--random-filter", "25"]).unwrap();
    let mut printer = Printer::new(&options, Vec::new());
    for _ in 0..10_000 {
        printer.print(&message(b"x", &[])).unwrap();
    }
    let count = printer.output.len() / 2;
    assert!((2_000..3_000).contains(&count), "{count}");
}

#[test]
fn a_watched_topic_keeps_its_line() {
    let options = options(&["-w"]).unwrap();
    let mut printer = Printer::new(&options, Vec::new());
    printer.begin("h").unwrap();
    printer.print(&message(b"1", &[])).unwrap();
    printer.print(&message(b"2", &[])).unwrap();
    let text = String::from_utf8(printer.output).unwrap();
    assert_eq!(
        text,
        "\x1b[2J\x1b[1;1HBroker: h\n\x1b[2;1H\x1b[K1\n\x1b[2;1H\n\x1b[2;1H\x1b[K2\n\x1b[2;1H\n"
    );
}

#[test]
fn what_others_publish_cannot_steer_a_terminal_and_is_passed_on_as_it_is_elsewhere() {
    let options = PrintOptions {
        show_topic: true,
        ..PrintOptions::default()
    };
    let message = Publish {
        topic: "t\u{7f}",
        ..message("a\x1b[2J\tb\u{9b}1m\nü\r".as_bytes(), &[])
    };
    for (is_terminal, expected) in [
        (true, "t\\x7f a\\x1b[2J\tb\\x9b1m\nü\\x0d\n"),
        (false, "t\u{7f} a\x1b[2J\tb\u{9b}1m\nü\r\n"),
    ] {
        let mut printer = Printer::new(&options, Vec::new());
        printer.hides_controls = is_terminal;
        printer.coloured = false;
        printer.print(&message).unwrap();
        assert_eq!(String::from_utf8(printer.output).unwrap(), expected);
    }
    let mut out = Vec::new();
    harmless(b"\xff\xc3(", &mut out);
    assert_eq!(out, b"\\xff\\xc3(");
}
