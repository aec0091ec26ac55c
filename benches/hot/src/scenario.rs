//! What is counted.

use midge_codec::{QoS, Version};

use crate::drive::{Drive, Error, messages};

/// A load on one shard.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    version: Version,
    qos: QoS,
    shape: Shape,
}

enum Shape {
    /// Publishers with a subscriber each.
    Pairs(usize),
    /// The same for clients whose rights are asked.
    Guarded(usize),
    /// One publisher, so many subscribers.
    FanOut(usize),
    /// So many filters with wildcards, of which three match each message.
    Wildcard(usize),
}

/// All scenarios.
pub(crate) const SCENARIOS: [Scenario; 6] = [
    Scenario {
        name: "qos0_pair",
        about: "100 pairs, QoS 0, MQTT 3.1.1",
        version: Version::V3_1_1,
        qos: QoS::AtMostOnce,
        shape: Shape::Pairs(100),
    },
    Scenario {
        name: "qos0_pair_v5",
        about: "100 pairs, QoS 0, MQTT 5.0",
        version: Version::V5,
        qos: QoS::AtMostOnce,
        shape: Shape::Pairs(100),
    },
    Scenario {
        name: "qos0_rules",
        about: "100 pairs with rules that are asked about each message at both ends, QoS 0, MQTT 3.1.1",
        version: Version::V3_1_1,
        qos: QoS::AtMostOnce,
        shape: Shape::Guarded(100),
    },
    Scenario {
        name: "qos1_pair",
        about: "100 pairs, QoS 1 with both acknowledgements, MQTT 3.1.1",
        version: Version::V3_1_1,
        qos: QoS::AtLeastOnce,
        shape: Shape::Pairs(100),
    },
    Scenario {
        name: "wildcard",
        about: "9,000 filters of 30 subscribers, three match each message, QoS 0, MQTT 3.1.1",
        version: Version::V3_1_1,
        qos: QoS::AtMostOnce,
        shape: Shape::Wildcard(9_000),
    },
    Scenario {
        name: "fan_out_100",
        about: "one publisher, 100 subscribers, QoS 0, MQTT 3.1.1",
        version: Version::V3_1_1,
        qos: QoS::AtMostOnce,
        shape: Shape::FanOut(100),
    },
];

/// Messages of each publisher in a turn.
const BATCH: usize = 20;

/// Wildcard: clients of each kind.
const WILDCARD_CLIENTS: usize = 10;

impl Scenario {
    /// Runs `turns` turns; how many messages were delivered.
    pub(crate) fn run(&self, turns: u32) -> Result<u64, Error> {
        let mut drive = Drive::new(self.version);
        let blocks = match self.shape {
            Shape::Pairs(pairs) => self.pairs(&mut drive, pairs),
            Shape::Guarded(pairs) => {
                drive.ask_rights();
                self.pairs(&mut drive, pairs)
            }
            Shape::FanOut(subscribers) => self.fan_out(&mut drive, subscribers),
            Shape::Wildcard(filters) => self.wildcard(&mut drive, filters),
        }?;
        for _ in 0..turns {
            drive.turn(
                blocks
                    .iter()
                    .map(|(client, bytes)| (*client, bytes.as_slice())),
            )?;
        }
        while drive.owes() {
            drive.turn([])?;
        }
        Ok(drive.delivered)
    }

    fn pairs(&self, drive: &mut Drive, pairs: usize) -> Result<Vec<(usize, Vec<u8>)>, Error> {
        (0..pairs)
            .map(|pair| {
                let topic = format!("bench/pair/{pair:06}");
                let subscriber = drive.connect()?;
                drive.subscribe(subscriber, std::slice::from_ref(&topic), self.qos)?;
                self.publisher(drive, std::iter::repeat_n(topic.as_str(), BATCH))
            })
            .collect()
    }

    fn fan_out(
        &self,
        drive: &mut Drive,
        subscribers: usize,
    ) -> Result<Vec<(usize, Vec<u8>)>, Error> {
        let topic = "bench/fan-out".to_owned();
        for _ in 0..subscribers {
            let subscriber = drive.connect()?;
            drive.subscribe(subscriber, std::slice::from_ref(&topic), self.qos)?;
        }
        let block = self.publisher(drive, std::iter::repeat_n(topic.as_str(), BATCH))?;
        Ok(vec![block])
    }

    /// Each of a third as many topics as filters is matched by a filter of each kind, each of another
    /// client.
    fn wildcard(&self, drive: &mut Drive, filters: usize) -> Result<Vec<(usize, Vec<u8>)>, Error> {
        let topics: Vec<usize> = (0..filters / 3).collect();
        let filter = |kind: usize, topic: &usize| match kind {
            0 => format!("bench/{topic:06}/+"),
            1 => format!("bench/{topic:06}/#"),
            _ => format!("+/{topic:06}/value"),
        };
        for kind in 0..3 {
            for part in topics.chunks(topics.len().div_ceil(WILDCARD_CLIENTS)) {
                let subscriber = drive.connect()?;
                let part: Vec<String> = part.iter().map(|topic| filter(kind, topic)).collect();
                drive.subscribe(subscriber, &part, self.qos)?;
            }
        }
        let names: Vec<String> = topics
            .iter()
            .map(|topic| format!("bench/{topic:06}/value"))
            .collect();
        (0..WILDCARD_CLIENTS)
            .map(|first| {
                // Topics that are far from each other, as many as a turn's batch.
                let step = names.len() / BATCH;
                let some = names.iter().skip(first).step_by(step.max(1)).take(BATCH);
                self.publisher(drive, some.map(String::as_str))
            })
            .collect()
    }

    /// Connects a publisher, with what it sends in each turn.
    fn publisher<'a>(
        &self,
        drive: &mut Drive,
        topics: impl Iterator<Item = &'a str>,
    ) -> Result<(usize, Vec<u8>), Error> {
        let publisher = drive.connect()?;
        Ok((publisher, messages(self.version, self.qos, topics)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, turns: u32, delivered: u64) {
        let scenario = SCENARIOS.iter().find(|scenario| scenario.name == name);
        assert_eq!(scenario.unwrap().run(turns).unwrap(), delivered, "{name}");
    }

    #[test]
    fn every_message_is_delivered_to_all_who_asked_for_it() {
        check("qos0_pair", 2, 2 * 100 * 20);
        check("qos0_pair_v5", 2, 2 * 100 * 20);
        check("qos0_rules", 2, 2 * 100 * 20);
        check("qos1_pair", 3, 3 * 100 * 20);
        check("wildcard", 2, 2 * 10 * 20 * 3);
        check("fan_out_100", 2, 2 * 20 * 100);
    }
}
