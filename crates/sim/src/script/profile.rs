//! What kind of run it is: how many of everything, how fast and how bad.

use std::sync::Arc;

use midge_broker::{ListenerSettings, QueueOverflow, Settings};
use midge_codec::{QoS, Version};

use super::{LEVELS, TOPICS};
use crate::broker_side::Pace;
use crate::client::Client;
use crate::link::Quality;
use crate::model::Rules;
use crate::world::{Millis, Random};

/// How much a run does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// Up to a minute of the clients' time.
    Full,
    /// A few seconds of theirs, and fewer of them: for builds without optimisation.
    Brief,
}

/// The choices that hold for a whole run. Each run has some things more often than others, so that
/// what happens rarely in one happens all the time in another.
#[derive(Clone, Debug)]
pub(crate) struct Profile {
    pub(crate) settings: Settings,
    pub(crate) shards: u16,
    pub(crate) pace: Pace,
    pub(crate) duration: Millis,
    clients_count: usize,
    versions: Vec<Version>,
    pause_max: Millis,
    quality: Quality,
    /// In percent, for all that follow: how often links and clients fail.
    pub(crate) trouble: u64,
    /// Clean starts.
    pub(crate) clean: u64,
    pub(crate) retain: u64,
    pub(crate) expiry: u64,
    /// Clients that take small packets only.
    pub(crate) small_packets: u64,
    /// How many topics are in use.
    pub(crate) topics: usize,
    length_max: usize,
    qos: Vec<QoS>,
    small_queues: bool,
    /// The broker keeps its state.
    pub(crate) keeping: Option<Keeping>,
}

/// Whether the broker keeps its state on a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disk {
    /// It has none.
    None,
    /// It has one, and falls now and then.
    Kept,
    /// As the seed says.
    BySeed,
}

/// How the disk and the log are, and how often the broker falls.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keeping {
    /// Longest time until a commit.
    pub(crate) commit_max: Millis,
    /// Longest time between two checkpoints.
    pub(crate) checkpoint_max: Millis,
    pub(crate) segment_bytes: u32,
    /// Longest time that a worker takes to hand in what it has done; 0 for none.
    pub(crate) dawdle_max: Millis,
    /// Longest time from one fall to the next; 0 for no falls.
    fall_max: Millis,
}

impl Keeping {
    fn new(length: Length, random: &mut Random) -> Self {
        let fall_max = random.pick(&[0, 2000, 10_000, 30_000]);
        Self {
            commit_max: random.pick(&[0, 1, 10, 100, 1000]),
            checkpoint_max: random.pick(&[50, 1000, 10_000]),
            segment_bytes: random.pick(&[16 * 1024, 32 * 1024, 128 * 1024]),
            dawdle_max: random.pick(&[0, 0, 5, 50]),
            fall_max: match length {
                Length::Full => fall_max,
                Length::Brief => fall_max / 6,
            },
        }
    }

    /// How long until the next fall.
    pub(crate) const fn fall_at(&self, random: &mut Random) -> Millis {
        if self.fall_max == 0 {
            Millis::MAX
        } else {
            random.between(1, self.fall_max)
        }
    }
}

impl Profile {
    pub(crate) fn new(length: Length, disk: Disk, seed: u64, random: &mut Random) -> Self {
        // Of its own, so that a run without a disk does what it did before there were any.
        let mut own = Random::new(!seed);
        let keeps = match disk {
            Disk::None => false,
            Disk::Kept => true,
            Disk::BySeed => own.chance(75),
        };
        let keeping = keeps.then(|| Keeping::new(length, &mut own));
        let small_queues = random.chance(10);
        let heavy = random.chance(10);
        let mut settings = settings(random, small_queues);
        let duration = if heavy {
            random.between(3_000, 15_000)
        } else {
            random.between(5_000, 60_000)
        };
        if heavy {
            settings.outbox_bytes_max = random.pick(&[4096, 100_000, 1_000_000]);
        }
        Self {
            settings,
            shards: random.pick(&[1, 2, 2, 3, 4]),
            pace: Pace {
                mail_max: random.pick(&[0, 5, 50, 500]),
                wake_max: random.pick(&[0, 1, 20, 100]),
                claim_max: random.pick(&[0, 0, 0, 200]),
                lazy: random.chance(50),
            },
            duration: match length {
                Length::Full => duration,
                Length::Brief => duration / 6,
            },
            clients_count: match length {
                Length::Full => random.size(2, 12),
                Length::Brief => random.size(2, 7),
            },
            versions: random
                .pick(&[
                    &[Version::V3_1, Version::V3_1_1, Version::V5][..],
                    &[Version::V5],
                    &[Version::V5, Version::V5, Version::V3_1_1],
                    &[Version::V3_1_1],
                ])
                .to_vec(),
            pause_max: random.pick(&[100, 400, 1500]),
            quality: Quality {
                delay_max: random.pick(&[0, 10, 100, 800]),
                chunk_max: random.pick(&[1, 5, 50, 5000]),
                window: random.pick(if heavy {
                    &[3000, 60_000]
                } else {
                    &[20, 200, 3000, 60_000]
                }),
            },
            trouble: random.pick(&[0, 2, 10, 30]),
            clean: random.pick(&[0, 15, 50, 100]),
            retain: random.pick(&[0, 10, 50]),
            expiry: random.pick(&[0, 0, 20]),
            small_packets: random.pick(&[0, 0, 30]),
            topics: random.size(1, TOPICS.len()),
            length_max: if heavy {
                20_000
            } else {
                random.pick(&[0, 60, 500])
            },
            qos: random
                .pick(&[
                    &LEVELS[..],
                    &LEVELS[1..],
                    &LEVELS[1..2],
                    &LEVELS[2..],
                    &LEVELS[..2],
                ])
                .to_vec(),
            small_queues,
            keeping,
        }
    }

    pub(crate) fn rules(&self) -> Rules {
        Rules {
            upgrade_qos: self.settings.upgrade_outgoing_qos,
            allow_duplicates: self.settings.allow_duplicate_messages,
            queues_qos0: self.settings.queue_qos0_messages,
            small_queues: self.small_queues,
            connect_timeout: self.settings.connect_timeout,
            keeps: self.keeping.is_some(),
        }
    }

    pub(crate) fn clients(&self, random: &mut Random) -> Vec<Client> {
        (0..self.clients_count)
            .map(|number| {
                let version = random.pick(&self.versions);
                let nameless = version != Version::V3_1 && random.chance(8);
                let id = if nameless {
                    String::new()
                } else {
                    format!("c{number}")
                };
                Client::new(id, version, random.chance(30))
            })
            .collect()
    }

    /// How bad the next link is.
    pub(crate) fn quality(&self, random: &mut Random) -> Quality {
        let worst = self.quality;
        Quality {
            delay_max: random.below(worst.delay_max + 1),
            chunk_max: random.size(1, worst.chunk_max),
            window: random.size(20, worst.window),
        }
    }

    /// Until the client's next idea.
    pub(crate) fn pause(&self, random: &mut Random) -> Millis {
        random.between(1, self.pause_max)
    }

    /// The QoS of the next message.
    pub(crate) fn qos(&self, random: &mut Random) -> QoS {
        random.pick(&self.qos)
    }

    /// The QoS that the next subscription asks for.
    pub(crate) fn granted(&self, random: &mut Random) -> QoS {
        if random.chance(25) {
            random.pick(&LEVELS)
        } else {
            random.pick(&self.qos)
        }
    }

    /// Bytes that the next payload has at least.
    pub(crate) fn length(&self, random: &mut Random) -> usize {
        if random.chance(70) {
            0
        } else {
            random.size(0, self.length_max)
        }
    }
}

fn settings(random: &mut Random, small_queues: bool) -> Settings {
    let defaults = Settings::default();
    let mut settings = Settings {
        max_inflight_messages: random.pick(&[0, 1, 2, 5, 20]),
        max_queued_messages: 0,
        queue_qos0_messages: random.chance(15),
        upgrade_outgoing_qos: random.chance(10),
        allow_duplicate_messages: random.chance(80),
        sys_interval: random.pick(&[0, 0, 10]),
        max_packet_size: 0,
        listeners: vec![Arc::new(ListenerSettings {
            max_topic_alias_broker: random.pick(&[0, 3, 10]),
            ..ListenerSettings::default()
        })],
        ..defaults
    };
    if small_queues {
        settings.max_queued_messages = random.size(1, 20);
        settings.max_queued_bytes = random.pick(&[0, 300, 2000]);
        settings.queue_overflow =
            random.pick(&[QueueOverflow::DropNewest, QueueOverflow::DropOldest]);
    }
    settings
}
