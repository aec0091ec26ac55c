//! `$SYS`: what the broker says of itself, in Mosquitto's topics.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::sync::Arc;

use midge_codec::QoS;

use crate::effects::Mail;
use crate::limits::Limit;
use crate::message::MessageView;
use crate::retained::{Walk, WalkState};
use crate::shard::{SWEEP_SECS, Shard, Step, Timer};
use crate::stats::Stats;
use crate::tables::{RetainedChange, RetainedChanges};

/// The state of shard 0's `$SYS`.
#[derive(Debug)]
pub(crate) struct SysTree {
    /// What each shard said last.
    answers: Vec<Option<Stats>>,
    /// A timer for the next round is set.
    pub(crate) timer_is_set: bool,
    /// What was published last: a value is published when it changes.
    published: HashMap<&'static str, String>,
    loads: Vec<Load>,
    last: Stats,
    last_at: crate::Time,
    clients_maximum: u64,
    /// The most memory that the process was seen to have.
    resident_maximum: u64,
    has_version: bool,
    /// The sweep through the retained messages.
    sweep: Option<Walk>,
}

/// A load average: a rate per minute over three spans.
#[derive(Debug)]
struct Load {
    topics: [&'static str; 3],
    values: [f64; 3],
    counter: fn(&Stats) -> u64,
}

macro_rules! load {
    ($name:literal, $counter:expr) => {
        Load {
            topics: [
                concat!("$SYS/broker/load/", $name, "/1min"),
                concat!("$SYS/broker/load/", $name, "/5min"),
                concat!("$SYS/broker/load/", $name, "/15min"),
            ],
            values: [0.0; 3],
            counter: $counter,
        }
    };
}

/// Seconds of the three spans.
const SPANS: [f64; 3] = [60.0, 300.0, 900.0];
/// Retained messages that one sweep looks at.
const SWEEP_VISITS: usize = 1000;

impl SysTree {
    pub(crate) fn new(shards: u16, now: crate::Time) -> Self {
        Self {
            answers: vec![None; usize::from(shards)],
            timer_is_set: false,
            published: HashMap::new(),
            loads: vec![
                load!("messages/received", |s| s.messages_received),
                load!("messages/sent", |s| s.messages_sent),
                load!("publish/dropped", |s| s.publish_dropped),
                load!("publish/received", |s| s.publish_received),
                load!("publish/sent", |s| s.publish_sent),
                load!("bytes/received", |s| s.bytes_received),
                load!("bytes/sent", |s| s.bytes_sent),
                load!("sockets", |s| s.sockets),
                load!("connections", |s| s.connections),
            ],
            last: Stats::default(),
            last_at: now,
            clients_maximum: 0,
            resident_maximum: 0,
            has_version: false,
            sweep: None,
        }
    }
}

impl Shard {
    /// Begins a round of `$SYS`: all shards are asked for their counters.
    pub(crate) fn sys_timer(&mut self, step: &mut Step<'_>) {
        let Some(sys) = &mut self.sys else {
            return;
        };
        sys.timer_is_set = self.settings.sys_interval > 0;
        if !sys.timer_is_set {
            return;
        }
        sys.answers.fill(None);
        self.timers
            .set(step.now.plus_secs(self.settings.sys_interval), Timer::Sys);
        for shard in 0..self.shards {
            self.post(step, shard, Mail::StatsRequest { from: self.id });
        }
    }

    /// Takes a shard's counters; with the last, `$SYS` is published.
    pub(crate) fn stats_received(&mut self, step: &mut Step<'_>, from: u16, stats: &Stats) {
        let Some(mut sys) = self.sys.take() else {
            return;
        };
        if let Some(answer) = sys.answers.get_mut(usize::from(from)) {
            *answer = Some(*stats);
        }
        if sys.answers.iter().all(Option::is_some) {
            let mut total = Stats::default();
            for answer in sys.answers.iter_mut().filter_map(Option::take) {
                total.add(&answer);
            }
            self.publish_sys(step, &mut sys, &total);
        }
        self.sys = Some(sys);
    }

    fn publish_sys(&mut self, step: &mut Step<'_>, sys: &mut SysTree, total: &Stats) {
        if !sys.has_version {
            sys.has_version = true;
            let version = self.settings.version.clone();
            self.publish_value(step, sys, "$SYS/broker/version", version);
        }
        let uptime = step.now.since(self.started).as_secs();
        self.publish_value(step, sys, "$SYS/broker/uptime", format!("{uptime} seconds"));
        self.publish_loads(step, sys, total);
        let counts = step.tables.routing().counts();
        let (mut retained, mut retained_bytes) = (0, 0);
        step.tables.read_retained(&mut |messages| {
            retained = messages.len() as u64;
            retained_bytes = messages.bytes() as u64;
        });
        sys.clients_maximum = sys.clients_maximum.max(total.connected);
        let away = total.sessions.saturating_sub(total.connected);
        let stored = total.queued_messages + retained;
        let values: [(&'static str, u64); 28] = [
            ("$SYS/broker/clients/total", total.sessions),
            ("$SYS/broker/clients/maximum", sys.clients_maximum),
            ("$SYS/broker/clients/disconnected", away),
            ("$SYS/broker/clients/inactive", away),
            ("$SYS/broker/clients/connected", total.connected),
            ("$SYS/broker/clients/active", total.connected),
            ("$SYS/broker/clients/expired", total.clients_expired),
            ("$SYS/broker/messages/stored", stored),
            ("$SYS/broker/store/messages/count", stored),
            ("$SYS/broker/store/messages/bytes", total.queued_bytes),
            (
                "$SYS/broker/subscriptions/count",
                counts.subscriptions as u64,
            ),
            (
                "$SYS/broker/shared_subscriptions/count",
                counts.shared_subscriptions as u64,
            ),
            ("$SYS/broker/retained messages/count", retained),
            ("$SYS/broker/retained messages/bytes", retained_bytes),
            ("$SYS/broker/messages/received", total.messages_received),
            ("$SYS/broker/messages/sent", total.messages_sent),
            ("$SYS/broker/bytes/received", total.bytes_received),
            ("$SYS/broker/bytes/sent", total.bytes_sent),
            (
                "$SYS/broker/publish/bytes/received",
                total.publish_bytes_received,
            ),
            ("$SYS/broker/publish/bytes/sent", total.publish_bytes_sent),
            ("$SYS/broker/packet/out/count", total.outboxes),
            ("$SYS/broker/packet/out/bytes", total.outbox_bytes),
            ("$SYS/broker/connections/socket/count", total.sockets_open),
            (
                "$SYS/broker/publish/messages/dropped",
                total.publish_dropped,
            ),
            (
                "$SYS/broker/publish/messages/received",
                total.publish_received,
            ),
            ("$SYS/broker/publish/messages/sent", total.publish_sent),
            ("$SYS/broker/queued messages/count", total.queued_messages),
            ("$SYS/broker/queued messages/bytes", total.queued_bytes),
        ];
        for (topic, value) in values {
            self.publish_value(step, sys, topic, value.to_string());
        }
        self.publish_limits(step, sys);
    }

    /// How often limits were reached, and how much memory the process has.
    fn publish_limits(&mut self, step: &mut Step<'_>, sys: &mut SysTree) {
        let limits = Arc::clone(&self.settings.limits);
        for limit in Limit::ALL {
            let count = limits.count(*limit).to_string();
            self.publish_value(step, sys, limit.topic(), count);
        }
        let resident = limits.resident();
        if resident > 0 {
            sys.resident_maximum = sys.resident_maximum.max(resident);
            let most = sys.resident_maximum.to_string();
            self.publish_value(step, sys, "$SYS/broker/heap/current", resident.to_string());
            self.publish_value(step, sys, "$SYS/broker/heap/maximum", most);
        }
    }

    fn publish_loads(&mut self, step: &mut Step<'_>, sys: &mut SysTree, total: &Stats) {
        let seconds = step.now.since(sys.last_at).as_secs_f64();
        let last = std::mem::replace(&mut sys.last, *total);
        sys.last_at = step.now;
        if seconds <= 0.0 {
            return;
        }
        let mut loads = std::mem::take(&mut sys.loads);
        for load in &mut loads {
            let count = (load.counter)(total).saturating_sub((load.counter)(&last));
            #[expect(clippy::cast_precision_loss, reason = "an average to two digits")]
            let per_minute = count as f64 * 60.0 / seconds;
            for ((topic, value), span) in load.topics.iter().zip(&mut load.values).zip(SPANS) {
                let weight = (-seconds / span).exp();
                *value = *value * weight + per_minute * (1.0 - weight);
                let mut text = String::new();
                // Writing to a string cannot fail.
                let _ = write!(text, "{value:.2}");
                self.publish_value(step, sys, topic, text);
            }
        }
        sys.loads = loads;
    }

    fn publish_value(
        &mut self,
        step: &mut Step<'_>,
        sys: &mut SysTree,
        topic: &'static str,
        value: String,
    ) {
        if sys.published.get(topic) == Some(&value) {
            return;
        }
        let view = MessageView {
            topic,
            payload: value.as_bytes(),
            properties: &[],
            qos: QoS::ExactlyOnce,
            retain: true,
            expires: None,
            publisher: None,
            id: 0,
        };
        self.publish(step, &view);
        sys.published.insert(topic, value);
    }

    /// Frees what nobody will ask for again: queues of groups that have gone, and, at shard 0, retained
    /// messages that have expired, some at a time.
    pub(crate) fn sweep(&mut self, step: &mut Step<'_>) {
        self.timers
            .set(step.now.plus_secs(SWEEP_SECS), Timer::Sweep);
        self.settle(step);
        self.sweep_groups(step);
        self.sweep_timers();
        self.messages.trim();
        let Some(mut sys) = self.sys.take() else {
            return;
        };
        let mut walk = sys.sweep.take().unwrap_or_else(Walk::everything);
        let mut expired = RetainedChanges::new();
        let mut state = WalkState::Done;
        step.tables.read_retained(&mut |retained| {
            state = retained.walk(&mut walk, SWEEP_VISITS, &mut |topic, message| {
                if message.view().is_expired(step.now) {
                    expired.push((topic.into(), RetainedChange::Expire(Arc::clone(message))));
                }
                ControlFlow::Continue(())
            });
        });
        if state == WalkState::More {
            sys.sweep = Some(walk);
        }
        self.retains.append(&mut expired);
        self.sys = Some(sys);
    }
}
