//! Messages as their publishers meant them.

use midge_codec::{Publish, QoS};

use super::{Model, Receipt};
use crate::check::{Checked, broken};

/// Names a publication; its payload begins with this number.
pub(crate) type PubId = usize;

/// What a client wants to publish.
#[derive(Clone, Debug, Default)]
pub(crate) struct Draft {
    pub(crate) topic: String,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    /// Encoded, without expiry and alias.
    pub(crate) properties: Vec<u8>,
    /// Bytes that the payload has at least.
    pub(crate) length: usize,
}

/// A message that was published, or may be.
#[derive(Clone, Debug)]
pub(crate) struct Publication {
    pub(crate) topic: String,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) properties: Vec<u8>,
    pub(crate) payload: Vec<u8>,
    /// How often the broker has passed it on.
    pub(crate) routed: u32,
}

impl Publication {
    /// Bytes that it takes on the wire, at most.
    pub(super) fn size_max(&self) -> usize {
        self.topic.len() + self.properties.len() + self.payload.len() + 48
    }
}

impl Model {
    /// Registers a message and gives it a payload that nobody else has.
    pub(crate) fn draft(&mut self, draft: Draft) -> PubId {
        let id = self.publications.len();
        let mut payload = format!("{id}:").into_bytes();
        while payload.len() < draft.length {
            payload.push(b'a' + u8::try_from(payload.len() % 26).unwrap_or(0));
        }
        self.register(draft, payload)
    }

    fn register(&mut self, draft: Draft, payload: Vec<u8>) -> PubId {
        self.publications.push(Publication {
            topic: draft.topic,
            qos: draft.qos,
            retain: draft.retain,
            properties: draft.properties,
            payload,
            routed: 0,
        });
        self.publications.len() - 1
    }

    /// Which publication a client's PUBLISH is. One without payload says nothing of itself and is taken
    /// as a new one.
    pub(super) fn identify(
        &mut self,
        sid: usize,
        publish: &Publish<'_>,
        topic: &str,
    ) -> Checked<PubId> {
        if publish.payload.is_empty() {
            if let Some(id) = publish.packet_id
                && let Some((known, _)) = self.sessions[sid].incoming.get(&id.get())
            {
                return Ok(*known);
            }
            let draft = Draft {
                topic: topic.to_owned(),
                qos: publish.qos,
                retain: publish.retain,
                properties: crate::wire::forwarded(&publish.properties),
                length: 0,
            };
            return Ok(self.register(draft, Vec::new()));
        }
        let known = crate::wire::publication_number(publish.payload).filter(|id| {
            self.publications
                .get(*id)
                .is_some_and(|p| p.payload == publish.payload)
        });
        match known {
            Some(id) if self.publications[id].topic == topic => Ok(id),
            _ => broken("intact messages", format!("the broker took {publish:?}")),
        }
    }

    /// Whether a PUBLISH that a client received can be this publication.
    pub(super) fn is_publication(&self, id: PubId, receipt: &Receipt<'_>) -> bool {
        let Some(known) = self.publications.get(id) else {
            return false;
        };
        let publish = receipt.publish;
        known.topic == receipt.topic
            && known.payload == publish.payload
            // Without payload, a property tells one from another.
            && (!known.payload.is_empty()
                || !receipt.has_properties
                || known.properties == crate::wire::forwarded(&publish.properties))
    }
}
