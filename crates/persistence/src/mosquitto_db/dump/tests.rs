use std::io::Cursor;

use super::{Error, Payloads, client_stats, json, listing, stats};
use crate::mosquitto_db::{
    Damage, Kind, Reason, Record,
    tests::{base_message, one_of_each, write},
};

/// What a dump prints, and what it complains of.
fn print(
    dump: impl FnOnce(&mut Vec<u8>, &mut dyn FnMut(&Damage)) -> Result<(), Error>,
) -> (String, Vec<String>, Result<(), Error>) {
    let mut out = Vec::new();
    let mut complaints = Vec::new();
    let result = dump(&mut out, &mut |damage| complaints.push(damage.to_string()));
    (String::from_utf8(out).unwrap(), complaints, result)
}

fn print_all(
    dump: impl FnOnce(&mut Vec<u8>, &mut dyn FnMut(&Damage)) -> Result<(), Error>,
) -> String {
    let (text, complaints, result) = print(dump);
    result.unwrap();
    assert_eq!(complaints, [""; 0]);
    text
}

const LISTING: &str = "\
Mosquitto DB dump
CRC: 0
DB version: 6
DB_CHUNK_CFG:
\tLength: 16
\tShutdown: 1
\tDB ID size: 8
\tLast DB ID: 72623859790382856
DB_CHUNK_BASE_MSG:
\tLength: 68
\tStore ID: 77
\tSource Port: 1883
\tSource MID: 258
\tTopic: Süd/1
\tQoS: 1
\tRetain: 1
\tPayload Length: 4
\tExpiry Time: 2000000000
\tPayload: 21.5
\tProperties:
\t\tPayload format indicator: 1
\t\tContent type: text
\t\tUser property: k , v
DB_CHUNK_CLIENT:
\tLength: 36
\tClient ID: meter 7
\tUsername: alice
\tListener port: 8883
\tLast MID: 513
\tSession expiry time: 1900000000
\tSession expiry interval: 604800
DB_CHUNK_CLIENT_MSG:
\tLength: 26
\tClient ID: meter 7
\tStore ID: 77
\tMID: 259
\tQoS: 2
\tRetain: 1
\tDirection: 1
\tState: 9
\tDup: 1
\tSubscription identifier: 42
DB_CHUNK_SUB:
\tLength: 27
\tClient ID: meter 7
\tTopic: Süd/+/#
\tQoS: 2
\tSubscription ID: 268435455
\tOptions: 0x2C
DB_CHUNK_RETAIN:
\tLength: 8
\tStore ID: 77
";

#[test]
fn the_listing_is_that_of_mosquitto_db_dump() {
    let file = write::database(6, &one_of_each(6));
    assert_eq!(
        print_all(|out, complain| listing(&file[..], out, complain)),
        LISTING
    );
}

#[test]
fn payloads_are_listed_when_they_are_short_and_harmless() {
    let line_for = |payload: &[u8]| {
        let mut message = base_message(6);
        message.payload = payload.to_vec();
        let file = write::database(6, &[Record::BaseMessage(message)]);
        let text = print_all(|out, complain| listing(&file[..], out, complain));
        let line = text.lines().find(|line| line.starts_with("\tPayload: "));
        line.map(str::to_owned)
    };
    let longest = "x".repeat(255);
    assert_eq!(
        line_for(longest.as_bytes()),
        Some(format!("\tPayload: {longest}"))
    );
    assert_eq!(line_for(&[b'x'; 256]), None);
    assert_eq!(line_for(b""), None);
    assert_eq!(line_for(b"\x1B[2J"), None);
    assert_eq!(line_for(b"\xFF"), None);
}

#[test]
fn correlation_data_and_response_topic_are_listed() {
    let mut message = base_message(6);
    message.properties = b"\x08\0\x01r\x09\0\x03\0\xAB\x0F\x0B\x07".to_vec();
    let file = write::database(6, &[Record::BaseMessage(message)]);
    let text = print_all(|out, complain| listing(&file[..], out, complain));
    let expected =
        "\t\tResponse topic: r\n\t\tCorrelation data: 00AB0F\n\t\tInvalid property type: 11\n";
    assert!(text.ends_with(expected), "{text}");
}

#[test]
fn stats_count_the_chunks() {
    for version in 2..=6 {
        let mut records = one_of_each(version);
        records.extend(one_of_each(version).into_iter().skip(2));
        let file = write::database(version, &records);
        assert_eq!(
            print_all(|out, complain| stats(&file[..], out, complain)),
            "DB_CHUNK_CFG:        1\n\
             DB_CHUNK_BASE_MSG:   1\n\
             DB_CHUNK_CLIENT_MSG: 2\n\
             DB_CHUNK_RETAIN:     2\n\
             DB_CHUNK_SUB:        2\n\
             DB_CHUNK_CLIENT:     2\n"
        );
    }
}

#[test]
fn client_stats_are_lines_in_the_order_of_the_clients() {
    let mut records = one_of_each(6);
    let mut other = super::super::tests::client(6);
    other.id = "another".to_owned();
    records.push(Record::Client(other));
    records.extend(one_of_each(6).into_iter().skip(2));
    let file = write::database(6, &records);
    assert_eq!(
        print_all(|out, complain| client_stats(&file[..], out, complain)),
        "SC: 2 SS: 54 MC: 2 MS: 188   meter 7\nSC: 0 SS: 0 MC: 0 MS: 0   another\n"
    );
}

#[test]
fn json_has_mosquittos_names() {
    let file = write::database(6, &one_of_each(6));
    let text = print_all(|out, complain| json(Cursor::new(&file), Payloads::Text, out, complain));
    let expected = r#"{"base-messages":[
{"storeid":77,"expiry-time":2000000000,"source-mid":258,"source-port":1883,"qos":1,"retain":1,"topic":"Süd/1","clientid":"source","username":"bob","payload":"21.5","properties":[{"identifier":"payload-format-indicator","value":1},{"identifier":"content-type","value":"text"},{"identifier":"user-property","name":"k","value":"v"}]}
],"clients":[
{"clientid":"meter 7","username":"alice","session-expiry-time":1900000000,"session-expiry-interval":604800,"last-mid":513,"listener-port":8883}
],"client-messages":[
{"clientid":"meter 7","storeid":77,"mid":259,"qos":2,"state":9,"retain-dup":17,"direction":1,"subscription-identifier":42}
],"retained-messages":[
{"storeid":77}
],"subscriptions":[
{"clientid":"meter 7","topic":"Süd/+/#","qos":2,"options":44,"identifier":268435455}
]}
"#;
    assert_eq!(text, expected);
}

#[test]
fn json_lists_are_separated_by_commas_and_may_be_empty() {
    let mut records = one_of_each(6);
    records.truncate(3);
    records.extend(one_of_each(6).into_iter().skip(2).take(1));
    let file = write::database(6, &records);
    let text = print_all(|out, complain| json(Cursor::new(&file), Payloads::Text, out, complain));
    assert!(
        text.contains("\"listener-port\":8883},\n{\"clientid\""),
        "{text}"
    );
    assert!(text.contains("\"retained-messages\":[\n],"), "{text}");
}

fn json_payload(payload: &[u8], payloads: Payloads) -> String {
    let mut message = base_message(2);
    message.payload = payload.to_vec();
    let file = write::database(2, &[Record::BaseMessage(message)]);
    let text = print_all(|out, complain| json(Cursor::new(&file), payloads, out, complain));
    let (_, rest) = text.split_once("\"clientid\":\"source\"").unwrap();
    rest.split_once("}\n").unwrap().0.to_owned()
}

#[test]
fn json_payloads_are_text_or_marked_base64() {
    let text = |payload| json_payload(payload, Payloads::Text);
    assert_eq!(text(b""), "");
    assert_eq!(text("°C".as_bytes()), ",\"payload\":\"°C\"");
    assert_eq!(
        text("\"\\\n\r\t\0\x1B\x7F\u{85}/".as_bytes()),
        r#","payload":"\"\\\n\r\t\u0000\u001b\u007f\u0085/""#
    );
    assert_eq!(
        text(b"\xFF"),
        ",\"payload\":\"/w==\",\"payload-encoding\":\"base64\""
    );
    assert_eq!(
        text(b"\xFB\xEF"),
        ",\"payload\":\"++8=\",\"payload-encoding\":\"base64\""
    );
    assert_eq!(
        text(b"\xFB\xEF\xBE"),
        ",\"payload\":\"++++\",\"payload-encoding\":\"base64\""
    );
    assert_eq!(
        json_payload(b"message", Payloads::Base64),
        ",\"payload\":\"bWVzc2FnZQ==\""
    );
}

/// A file with a damaged client in the middle and its last byte cut off.
fn broken_file() -> Vec<u8> {
    let mut file = write::database(6, &one_of_each(6)[..2]);
    file.extend(write::chunk(6, Kind::Client as u32, b"short"));
    file.extend(write::database(6, &one_of_each(6)[2..]).split_off(23));
    file.pop();
    file
}

#[test]
fn damage_is_told_and_all_that_can_be_read_is_printed() {
    let file = broken_file();
    let complaint = "client at byte 123 left out: session expiry time of 8 bytes, expected at most \
                     5 (byte 131)";

    let (text, complaints, result) = print(|out, complain| listing(&file[..], out, complain));
    assert_eq!(text, LISTING[..LISTING.find("DB_CHUNK_RETAIN").unwrap()]);
    assert_eq!(complaints, [complaint]);
    assert!(matches!(
        result,
        Err(Error::Read(stop)) if matches!(stop.reason, Reason::Truncated { .. })
    ));

    let (text, complaints, result) = print(|out, complain| stats(&file[..], out, complain));
    assert!(text.ends_with("DB_CHUNK_CLIENT:     1\n"), "{text}");
    assert_eq!(complaints, [complaint]);
    assert!(result.is_err());

    let (text, complaints, result) =
        print(|out, complain| json(Cursor::new(&file), Payloads::Text, out, complain));
    assert!(text.contains("\"subscriptions\":[\n{"), "{text}");
    let (_, damage) = text.split_once(",\"damage\":").unwrap();
    let expected = format!(
        "[\n{{\"offset\":131,\"reason\":\"{complaint}\"}},\n{{\"offset\":{0},\"reason\":\"byte {0}: \
         the file ends inside the retained message that begins at byte {1}, expected 1 bytes \
         more\"}}\n]}}\n",
        file.len(),
        file.len() - 15
    );
    assert_eq!(damage, expected);
    assert_eq!(complaints, [complaint]);
    assert!(result.is_err());
}

#[test]
fn other_files_print_nothing() {
    let (text, _, result) = print(|out, complain| stats(&b"text"[..], out, complain));
    assert_eq!(text, "");
    assert!(
        result
            .unwrap_err()
            .to_string()
            .contains("not a database of Mosquitto")
    );
}
