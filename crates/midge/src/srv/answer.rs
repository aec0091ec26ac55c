//! Reading what a name server says.

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, QCLASS, QTYPE, RCODE, TYPE};

use super::Target;

/// Records of an answer that are used, at most.
const TARGETS_MAX: usize = 64;
/// Names that lead from one to the next, at most.
const ALIASES_MAX: usize = 8;

/// What a name server says about a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// There is no such name.
    NoName,
    /// The one record has the root as its target.
    NotOffered,
    /// The records that can be used; maybe none.
    Targets(Vec<Target>),
}

/// What a packet from a name server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Answer(Answer),
    /// It does not fit into a datagram.
    Truncated,
    /// The server cannot or does not want to answer.
    Failed(&'static str),
}

/// A question for SRV records.
pub(super) fn question(id: u16, name: &Name<'_>) -> Option<Vec<u8>> {
    let mut packet = Packet::new_query(id);
    packet.set_flags(simple_dns::PacketFlag::RECURSION_DESIRED);
    packet.questions.push(simple_dns::Question::new(
        name.clone(),
        TYPE::SRV.into(),
        CLASS::IN.into(),
        false,
    ));
    packet.build_bytes_vec().ok()
}

/// Reads a packet; `None` if it does not answer this question, whoever sent it.
pub(super) fn read(bytes: &[u8], id: u16, name: &Name<'_>) -> Option<Reply> {
    let [first, second, flags, ..] = bytes else {
        return None;
    };
    let is_reply = flags & 0x80 != 0;
    if u16::from_be_bytes([*first, *second]) != id || !is_reply {
        return None;
    }
    if flags & 0x02 != 0 {
        // It may end in the midst of a record.
        return Some(Reply::Truncated);
    }
    let packet = Packet::parse(bytes).ok()?;
    let [question] = packet.questions.as_slice() else {
        return None;
    };
    let is_mine = question.qname == *name
        && question.qtype == QTYPE::TYPE(TYPE::SRV)
        && question.qclass == QCLASS::CLASS(CLASS::IN);
    if !is_mine {
        return None;
    }
    Some(match packet.rcode() {
        RCODE::NoError => Reply::Answer(targets(&packet, name)),
        RCODE::NameError => Reply::Answer(Answer::NoName),
        RCODE::ServerFailure => Reply::Failed("it fails"),
        RCODE::Refused => Reply::Failed("it refuses to answer"),
        _ => Reply::Failed("it does not understand the question"),
    })
}

/// The records of `name`, which may stand in for another.
fn targets(packet: &Packet<'_>, name: &Name<'_>) -> Answer {
    let mut owner = name;
    for _ in 0..ALIASES_MAX {
        let alias = packet
            .answers
            .iter()
            .find_map(|record| match &record.rdata {
                RData::CNAME(to) if record.name == *owner => Some(&to.0),
                _ => None,
            });
        let Some(alias) = alias else {
            break;
        };
        owner = alias;
    }
    let records: Vec<_> = packet
        .answers
        .iter()
        .filter(|record| record.name == *owner && record.class == CLASS::IN)
        .filter_map(|record| match &record.rdata {
            RData::SRV(record) => Some(record),
            _ => None,
        })
        .collect();
    if let [record] = records.as_slice()
        && record.target.get_labels().is_empty()
    {
        return Answer::NotOffered;
    }
    let targets = records
        .into_iter()
        .filter_map(|record| {
            Some(Target {
                priority: record.priority,
                weight: record.weight,
                host: host(&record.target)?,
                port: Some(record.port).filter(|port| *port > 0)?,
            })
        })
        .take(TARGETS_MAX)
        .collect();
    Answer::Targets(targets)
}

/// A target as the name of a host. One with other letters is not used: it goes to the system's look-up, and
/// to the terminal.
fn host(target: &Name<'_>) -> Option<String> {
    let mut text = String::new();
    for label in target.as_bytes() {
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
        if label.is_empty() || !label.iter().all(is_plain) {
            return None;
        }
        if !text.is_empty() {
            text.push('.');
        }
        text.push_str(&String::from_utf8_lossy(label));
    }
    (!text.is_empty()).then_some(text)
}
