//! Mail and packets in a few words, for the trace of a run.

use midge_broker::{Mail, Message};
use midge_codec::Packet;

pub(super) fn describe(mail: &Mail) -> String {
    let text = |message: &Message| {
        let payload = message.view().payload;
        String::from_utf8_lossy(payload.get(..payload.len().min(12)).unwrap_or_default())
            .into_owned()
    };
    match mail {
        Mail::Deliver { message, targets } => format!("Deliver {} {targets:?}", text(message)),
        Mail::DeliverShared {
            group,
            message,
            target,
            ..
        } => format!("DeliverShared {} {group:?} {target:?}", text(message)),
        Mail::GroupQueue { group, message } => format!("GroupQueue {} {group:?}", text(message)),
        Mail::GroupReturn { group, messages } => {
            let texts: Vec<_> = messages.iter().map(|message| text(message)).collect();
            format!("GroupReturn {texts:?} {group:?}")
        }
        Mail::GroupPull { group, target, .. } => format!("GroupPull {group:?} {target:?}"),
        Mail::GroupGrant {
            group,
            messages,
            target,
            ..
        } => {
            let texts: Vec<_> = messages.iter().map(|message| text(message)).collect();
            format!("GroupGrant {texts:?} {group:?} {target:?}")
        }
        Mail::StatsRequest { .. } | Mail::Stats { .. } => "counters".to_owned(),
    }
}

/// A packet in a few words.
pub(crate) fn show(packet: &Packet<'_>) -> String {
    match packet {
        Packet::Publish(publish) => {
            let payload = publish.payload;
            let start = payload.get(..payload.len().min(12)).unwrap_or_default();
            format!(
                "PUBLISH {} '{}' q{} id {:?}{}{} ({} bytes) {:?}",
                publish.topic,
                String::from_utf8_lossy(start),
                publish.qos.bits(),
                publish.packet_id,
                if publish.dup { " dup" } else { "" },
                if publish.retain { " retain" } else { "" },
                payload.len(),
                crate::wire::subscription_ids(&publish.properties),
            )
        }
        Packet::Ack(kind, ack) => format!("{kind:?} {} {}", ack.packet_id, ack.reason),
        Packet::Subscribe(subscribe) => {
            let list: Vec<_> = subscribe.subscriptions.iter().collect();
            format!("SUBSCRIBE {} {list:?}", subscribe.packet_id)
        }
        Packet::Unsubscribe(unsubscribe) => {
            let list: Vec<_> = unsubscribe.filters.iter().collect();
            format!("UNSUBSCRIBE {} {list:?}", unsubscribe.packet_id)
        }
        other => format!("{other:?}"),
    }
}
