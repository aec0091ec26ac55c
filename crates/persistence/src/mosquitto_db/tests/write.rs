//! Writes databases as Mosquitto does, for the tests alone.
//!
//! Mosquitto 2.0.11 was given one of each version: it took them all, and saved the same records.

use midge_codec::Version;

use crate::mosquitto_db::{BaseMessage, Client, ClientMessage, Config, Record, Subscription};

/// A database of `version` with these chunks.
pub(crate) fn database(version: u32, records: &[Record]) -> Vec<u8> {
    let mut file = header(version);
    for record in records {
        let number = record.kind() as u32;
        file.extend(chunk(version, number, &content(version, record)));
    }
    file
}

pub(crate) fn header(version: u32) -> Vec<u8> {
    let mut file = b"\0\xB5\0mosquitto db\0\0\0\0".to_vec();
    file.extend(version.to_be_bytes());
    file
}

pub(crate) fn chunk(version: u32, number: u32, content: &[u8]) -> Vec<u8> {
    let mut chunk = match version {
        5.. => number.to_be_bytes().to_vec(),
        _ => u16::try_from(number).unwrap().to_be_bytes().to_vec(),
    };
    chunk.extend(u32::try_from(content.len()).unwrap().to_be_bytes());
    chunk.extend(content);
    chunk
}

pub(crate) fn content(version: u32, record: &Record) -> Vec<u8> {
    let mut out = Out(Vec::new());
    match (record, version) {
        (Record::Config(record), ..=4) => config_v2(&mut out, *record),
        (Record::Config(record), _) => config(&mut out, *record),
        (Record::BaseMessage(record), ..=4) => base_message_v2(&mut out, record, version),
        (Record::BaseMessage(record), _) => base_message(&mut out, record),
        (Record::ClientMessage(record), ..=4) => client_message_v2(&mut out, record),
        (Record::ClientMessage(record), _) => client_message(&mut out, record),
        (Record::Retained(record), _) => out.host64(record.message_id),
        (Record::Subscription(record), ..=4) => subscription_v2(&mut out, record),
        (Record::Subscription(record), _) => subscription(&mut out, record),
        (Record::Client(record), ..=4) => client_v2(&mut out, record, version),
        (Record::Client(record), _) => client(&mut out, record, version),
    }
    out.0
}

struct Out(Vec<u8>);

impl Out {
    fn raw(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
    }
    fn u8(&mut self, value: u8) {
        self.0.push(value);
    }
    fn u16(&mut self, value: u16) {
        self.raw(&value.to_be_bytes());
    }
    fn u32(&mut self, value: u32) {
        self.raw(&value.to_be_bytes());
    }
    fn host64(&mut self, value: u64) {
        self.raw(&value.to_ne_bytes());
    }
    fn length(&mut self, text: &str) {
        self.u16(u16::try_from(text.len()).unwrap());
    }
    fn text(&mut self, text: &str) {
        self.length(text);
        self.raw(text.as_bytes());
    }
}

fn text(text: &Option<String>) -> &str {
    text.as_deref().unwrap_or("")
}

fn config_v2(out: &mut Out, config: Config) {
    out.u8(u8::from(config.shutdown));
    out.u8(config.id_size);
    out.host64(config.last_id);
}

fn config(out: &mut Out, config: Config) {
    out.host64(config.last_id);
    out.u8(u8::from(config.shutdown));
    out.u8(config.id_size);
    out.raw(&[0; 6]);
}

fn base_message_v2(out: &mut Out, message: &BaseMessage, version: u32) {
    out.host64(message.id);
    out.text(text(&message.source_id));
    if version == 4 {
        out.text(text(&message.source_username));
        out.u16(message.source_port);
    }
    out.u16(message.source_packet_id);
    out.u16(0);
    out.text(&message.topic);
    out.u8(message.qos.bits());
    out.u8(u8::from(message.retain));
    out.u32(u32::try_from(message.payload.len()).unwrap());
    out.raw(&message.payload);
}

fn base_message(out: &mut Out, message: &BaseMessage) {
    out.host64(message.id);
    out.host64(message.expires_at.unwrap_or(0));
    out.u32(u32::try_from(message.payload.len()).unwrap());
    out.u16(message.source_packet_id);
    out.length(text(&message.source_id));
    out.length(text(&message.source_username));
    out.length(&message.topic);
    out.u16(message.source_port);
    out.u8(message.qos.bits());
    out.u8(u8::from(message.retain));
    out.raw(text(&message.source_id).as_bytes());
    out.raw(text(&message.source_username).as_bytes());
    out.raw(message.topic.as_bytes());
    out.raw(&message.payload);
    if !message.properties.is_empty() {
        out.u8(u8::try_from(message.properties.len()).unwrap());
        out.raw(&message.properties);
    }
}

fn client_message_v2(out: &mut Out, message: &ClientMessage) {
    out.text(&message.client_id);
    out.host64(message.message_id);
    out.u16(message.packet_id);
    out.u8(message.qos.bits());
    out.u8(u8::from(message.retain));
    out.u8(message.direction as u8);
    out.u8(message.state as u8);
    out.u8(u8::from(message.dup));
}

fn client_message(out: &mut Out, message: &ClientMessage) {
    out.host64(message.message_id);
    out.u16(message.packet_id);
    out.length(&message.client_id);
    out.u8(message.qos.bits());
    out.u8(message.state as u8);
    out.u8(u8::from(message.retain) << 4 | u8::from(message.dup));
    out.u8(message.direction as u8);
    out.raw(message.client_id.as_bytes());
    if let Some(identifier) = message.subscription_identifier {
        out.raw(&[2, 11, u8::try_from(identifier).unwrap()]);
    }
}

fn subscription_v2(out: &mut Out, subscription: &Subscription) {
    out.text(&subscription.client_id);
    out.text(&subscription.filter);
    out.u8(subscription.options.qos.bits());
}

fn subscription(out: &mut Out, subscription: &Subscription) {
    out.u32(subscription.identifier.unwrap_or(0));
    out.length(&subscription.client_id);
    out.length(&subscription.filter);
    out.u8(subscription.options.qos.bits());
    out.u8(subscription.options.bits(Version::V5) & 0xFC);
    out.raw(&[0; 2]);
    out.raw(subscription.client_id.as_bytes());
    out.raw(subscription.filter.as_bytes());
}

fn client_v2(out: &mut Out, client: &Client, version: u32) {
    out.text(&client.id);
    out.u16(client.last_packet_id);
    if version > 2 {
        out.host64(client.disconnected_at.unwrap_or(0));
    }
}

fn client(out: &mut Out, client: &Client, version: u32) {
    out.host64(client.expires_at.unwrap_or(0));
    out.u32(client.expiry_interval);
    out.u16(client.last_packet_id);
    out.length(&client.id);
    if version >= 6 {
        out.u16(client.listener_port);
        out.length(text(&client.username));
        out.raw(&[0; 4]);
    }
    out.raw(client.id.as_bytes());
    if version >= 6 {
        out.raw(text(&client.username).as_bytes());
    }
}
