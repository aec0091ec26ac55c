//! What happens when: clients do what comes to their mind, then everything heals, then all go.

mod profile;

use midge_codec::{
    Filters, Packet, Properties, Property, QoS, ReasonCode, RetainHandling, Subscribe,
    Subscription, SubscriptionOptions, Subscriptions, Unsubscribe, Version,
};

pub use profile::{Disk, Length};
pub(crate) use profile::{Keeping, Profile};

use crate::check::{Checked, broken};
use crate::client::{LastWill, Message, Wishes};
use crate::model::Draft;
use crate::run::{Run, Stage};
use crate::wire::Wire;
use crate::world::{Event, NEVER, Random};

/// Topics that messages are published on.
const TOPICS: [&str; 7] = ["b/c", "a", "a/b", "/", "b", "a/b/c", "$t/x"];
/// Those of them whose retained message is removed now and then. No shared subscription matches them:
/// of messages without payload nobody could say which member got which.
const CLEARED: [&str; 2] = ["b/c", "/"];
/// Filters of ordinary subscriptions.
const FILTERS: [&str; 13] = [
    "a", "a/b", "a/b/c", "#", "+", "a/#", "a/+", "+/b", "b/#", "+/+", "w/#", "w/+", "$t/#",
];
/// Filters of shared subscriptions.
const SHARED: [&str; 5] = [
    "$share/g/a/#",
    "$share/g/+",
    "$share/h/a/#",
    "$share/h/b",
    "$share/g/$t/x",
];
/// Subscription identifiers from here on belong to shared subscriptions, a fixed one for each.
const SHARED_IDS: u32 = 1000;

/// Milliseconds between two looks at whether everything has come to rest.
const LOOK: u64 = 1000;
/// Looks in vain after which it never will.
const LOOKS_MAX: u32 = 200;
/// Quiet looks in a row that are believed.
const QUIET_LOOKS: u32 = 3;

impl Run {
    /// A client does the next thing.
    pub(crate) fn act(&mut self, client: usize) -> Checked {
        let again = match self.stage {
            Stage::Script => {
                self.act_freely(client);
                self.profile.pause(&mut self.world.random)
            }
            Stage::Rest => {
                self.act_restfully(client);
                LOOK
            }
            Stage::Leave => {
                self.act_finally(client);
                LOOK
            }
            Stage::Over => return Ok(()),
        };
        self.world.at(self.world.now + again, Event::Act(client));
        Ok(())
    }

    fn act_freely(&mut self, client: usize) {
        let random = &mut self.world.random;
        if !self.clients[client].abandoned.is_empty() && random.chance(30) {
            self.close_abandoned(client);
        }
        let random = &mut self.world.random;
        let Some(conn) = &self.clients[client].conn else {
            if random.chance(70) {
                let wishes = self.wishes(client);
                self.connect(client, wishes);
                if self.world.random.chance(10) && !self.clients[client].id.is_empty() {
                    // It does not wait for CONNACK.
                    self.subscribe(client);
                }
            }
            return;
        };
        let trouble = self.profile.trouble;
        if !conn.connected {
            if random.chance(trouble) {
                self.cut(client);
            }
            return;
        }
        match random.below(100) {
            0..12 => self.subscribe(client),
            12..16 => self.unsubscribe(client),
            16..20 => {
                for _ in 0..self.world.random.between(2, 12) {
                    self.publish_something(client);
                }
            }
            20..23 => self.leave(client),
            23..32 if random.chance(trouble * 3) => self.make_trouble(client),
            32..34 => self.send(client, &Packet::PingReq),
            _ => self.publish_something(client),
        }
    }

    fn make_trouble(&mut self, client: usize) {
        let Some(link) = self.clients[client]
            .conn
            .as_ref()
            .map(|conn| conn.wire.link)
        else {
            return;
        };
        let now = self.world.now;
        let until = now + self.world.random.between(100, 15_000);
        match self.world.random.below(10) {
            0..3 => self.cut(client),
            3 => self.close(client),
            4 => self.take_over(client),
            5 => {
                self.world
                    .trace(|| format!("link {link} is silent upwards until {until}"));
                self.links[link].up.stall(until);
                self.world.at(until, Event::Arrival(link));
            }
            6 => {
                self.world
                    .trace(|| format!("link {link} is silent downwards until {until}"));
                self.links[link].down.stall(until);
                self.world.at(until, Event::Arrival(link));
            }
            7 | 8 => {
                if let Some(conn) = &mut self.clients[client].conn {
                    conn.reads_from = until;
                    self.world.at(until, Event::Wake(client));
                }
            }
            _ => {
                // A packet of the kind that is none.
                if let Some(conn) = &mut self.clients[client].conn {
                    conn.misbehaved = true;
                }
                self.send_bytes(client, &[0, 0]);
            }
        }
    }

    /// Breaks the client's link; each side learns of it soon, late, or never.
    fn cut(&mut self, client: usize) {
        let Some(link) = self.clients[client]
            .conn
            .as_ref()
            .map(|conn| conn.wire.link)
        else {
            return;
        };
        let now = self.world.now;
        let random = &mut self.world.random;
        let mut notice = || match random.below(4) {
            0 => now,
            1 => now + random.between(0, 1000),
            2 => now + random.between(1000, 20_000),
            _ => NEVER,
        };
        let (client_notice, broker_notice) = (notice(), notice());
        self.world.trace(|| format!("link {link} is cut"));
        self.links[link].cut(&mut self.world.random, client_notice, broker_notice);
        for at in [client_notice, broker_notice] {
            // What was under way arrives before.
            for late in [0, 1000, 30_000] {
                if at != NEVER {
                    self.world.at(at + late, Event::Arrival(link));
                }
            }
        }
        if client_notice == NEVER {
            // It finds out by itself, when nothing comes.
            let at = now + self.world.random.between(1000, 30_000);
            if let Some(conn) = &mut self.clients[client].conn {
                conn.reads_from = NEVER;
            }
            self.world.at(at, Event::Wake(client));
        }
        if self.world.random.chance(60) {
            self.close(client);
        }
    }

    /// A second connection of the same client, while the first still seems to live.
    fn take_over(&mut self, client: usize) {
        if let Some(conn) = self.clients[client].detach() {
            let link = conn.wire.link;
            self.world.trace(|| format!("link {link} is abandoned"));
            if conn.misbehaved {
                self.close_link(link);
            } else {
                self.clients[client].abandoned.push(conn.wire);
            }
        }
        let wishes = self.wishes(client);
        self.connect(client, wishes);
    }

    fn close_abandoned(&mut self, client: usize) {
        for Wire { link, .. } in std::mem::take(&mut self.clients[client].abandoned) {
            self.close_link(link);
        }
    }

    fn leave(&mut self, client: usize) {
        let own = &self.clients[client];
        let Some(conn) = &own.conn else {
            return;
        };
        let random = &mut self.world.random;
        let (mut reason, mut expiry) = (ReasonCode::SUCCESS, None);
        if own.version.has_properties() {
            if random.chance(40) {
                reason = ReasonCode::DISCONNECT_WITH_WILL;
            }
            if conn.wishes.expiry > 0 && random.chance(30) {
                expiry = Some(random.pick(&[0, 3, 20, 1000]));
            }
        }
        self.disconnect(client, reason, expiry);
    }

    fn wishes(&mut self, client: usize) -> Wishes {
        let own = &self.clients[client];
        let random = &mut self.world.random;
        let anonymous = own.id.is_empty();
        let is_v5 = own.version.has_properties();
        let clean_start = anonymous || random.chance(self.profile.clean);
        let mut wishes = Wishes {
            clean_start,
            keep_alive: random.pick(&[0, 3, 5, 10, 60]),
            expiry: 0,
            receive_maximum: None,
            packet_size_max: None,
            alias_max: 0,
            will: None,
        };
        if is_v5 {
            if !anonymous && random.chance(75) {
                wishes.expiry = random.pick(&[2, 10, 60, 1000, u32::MAX]);
            }
            if random.chance(50) {
                wishes.receive_maximum = Some(random.pick(&[1, 2, 3, 10, 100]));
            }
            if random.chance(self.profile.small_packets) {
                wishes.packet_size_max = Some(random.pick(&[150, 400, 2000]));
            }
            wishes.alias_max = random.pick(&[0, 0, 1, 3, 20]);
        }
        if random.chance(35) {
            let draft = Draft {
                topic: format!("w/{client}"),
                qos: self.profile.qos(random),
                retain: random.chance(20),
                properties: properties(is_v5, random),
                length: self.profile.length(random),
            };
            wishes.will = Some(LastWill {
                publication: self.model.draft(draft),
                delay: random.pick(&[0, 0, 1, 5, 30]),
                expiry: random.chance(10).then_some(5),
            });
        }
        wishes
    }

    fn publish_something(&mut self, client: usize) {
        let is_v5 = self.clients[client].version.has_properties();
        let random = &mut self.world.random;
        let topics = &TOPICS[..self.profile.topics];
        let retain = random.chance(self.profile.retain);
        let mut message = Message {
            topic: random.pick(topics).to_owned(),
            payload: Vec::new(),
            properties: properties(is_v5, random),
            qos: self.profile.qos(random),
            retain,
            expiry: (is_v5 && random.chance(self.profile.expiry))
                .then(|| random.pick(&[0, 1, 3, 10, 100])),
        };
        if retain && CLEARED.contains(&&*message.topic) && random.chance(30) {
            message.expiry = None;
            if is_v5 {
                let number = random.next().to_string();
                Property::UserProperty("n", &number).write(&mut message.properties);
            }
        } else {
            let draft = Draft {
                topic: message.topic.clone(),
                qos: message.qos,
                retain,
                properties: message.properties.clone(),
                length: self.profile.length(random),
            };
            let publication = self.model.draft(draft);
            message
                .payload
                .clone_from(&self.model.publications[publication].payload);
        }
        self.publish(client, message);
    }

    fn subscribe(&mut self, client: usize) {
        let own = &self.clients[client];
        let is_v5 = own.version.has_properties();
        let random = &mut self.world.random;
        let mut id = 0;
        let mut list = Vec::new();
        let shared = if is_v5 { random.chance(30) } else { own.shares };
        if shared {
            // A client of 3.x has one group, so that its copies can be told apart.
            let at = if is_v5 {
                random.index(SHARED.len())
            } else {
                client % SHARED.len()
            };
            id = SHARED_IDS + u32::try_from(at).unwrap_or(0);
            list.push(subscription(SHARED[at], is_v5, true, &self.profile, random));
        } else {
            if random.chance(40) {
                id = u32::try_from(random.between(1, 4)).unwrap_or(1);
            }
            for _ in 0..random.between(1, 3) {
                let filter = random.pick(&FILTERS);
                list.push(subscription(filter, is_v5, false, &self.profile, random));
            }
        }
        let packet_id = self.clients[client].request_id();
        let properties: &[Property<'_>] = &[Property::SubscriptionIdentifier(id)];
        let properties = if is_v5 && id > 0 { properties } else { &[] };
        let subscribe = Subscribe {
            packet_id,
            properties: Properties::from_list(properties),
            subscriptions: Subscriptions::from_list(&list),
        };
        self.send(client, &Packet::Subscribe(subscribe));
    }

    fn unsubscribe(&mut self, client: usize) {
        let random = &mut self.world.random;
        let filters = [if random.chance(30) {
            random.pick(&SHARED)
        } else {
            random.pick(&FILTERS)
        }];
        let packet_id = self.clients[client].request_id();
        let unsubscribe = Unsubscribe {
            packet_id,
            properties: Properties::NONE,
            filters: Filters::from_list(&filters),
        };
        self.send(client, &Packet::Unsubscribe(unsubscribe));
    }

    /// Fetches a session that waits, or finishes what was begun.
    fn act_restfully(&mut self, client: usize) {
        self.hurry(client);
        let own = &self.clients[client];
        if own.conn.is_none() && (self.model.has_session(&own.id) || !own.outgoing.is_empty()) {
            let mut wishes = plain(own.version);
            wishes.clean_start = own.id.is_empty();
            self.connect(client, wishes);
        }
        self.world.at(self.world.now, Event::Wake(client));
    }

    /// Ends the client's session.
    fn act_finally(&mut self, client: usize) {
        let own = &self.clients[client];
        match &own.conn {
            Some(conn) if conn.connected => {
                let ends = own.version.has_properties() && conn.wishes.expiry > 0;
                let expiry = ends.then_some(0);
                self.disconnect(client, ReasonCode::SUCCESS, expiry);
            }
            None if self.model.has_session(&own.id) => {
                let mut wishes = plain(own.version);
                wishes.clean_start = true;
                self.connect(client, wishes);
            }
            _ => {}
        }
    }

    /// Goes on to the next stage, or looks whether it is time to.
    pub(crate) fn next_stage(&mut self) -> Checked {
        self.patience += 1;
        if self.patience > LOOKS_MAX {
            let what = format!(
                "not in stage {:?}: {}",
                self.stage,
                self.unrest().join(", ")
            );
            return broken("everything comes to rest", what);
        }
        let quiet = self.is_quiet();
        match self.stage {
            Stage::Script => {
                self.world.trace(|| "--- rest".to_owned());
                self.stage = Stage::Rest;
                self.broker.hurry();
                self.patience = 0;
                for link in 0..self.links.len() {
                    self.links[link].heal(self.world.now);
                    for late in [0, 1000, 5000, 30_000] {
                        self.world.at(self.world.now + late, Event::Arrival(link));
                    }
                }
                for client in 0..self.clients.len() {
                    self.close_abandoned(client);
                }
            }
            Stage::Rest if quiet => {
                let dropped = self.broker.stats().publish_dropped > 0;
                self.model.check_rest(self.world.now, dropped)?;
                self.world.trace(|| "--- leave".to_owned());
                self.stage = Stage::Leave;
                self.patience = 0;
                self.quiet = 0;
            }
            Stage::Leave if self.model.sessions_count() == 0 && quiet => {
                let retained = self.model.retained_count(self.world.now);
                match self.broker.check_empty(&self.world, retained) {
                    // What has expired goes with the next sweep.
                    Err(_) if self.patience < LOOKS_MAX => {}
                    checked => {
                        checked?;
                        self.stage = Stage::Over;
                    }
                }
            }
            Stage::Rest | Stage::Leave | Stage::Over => {}
        }
        self.world.at(self.world.now + LOOK, Event::Stage);
        Ok(())
    }

    /// Whether nothing has been under way for some time.
    fn is_quiet(&mut self) -> bool {
        let stats = self.broker.stats();
        let messages = stats.publish_received + stats.publish_sent;
        let still = self.unrest().is_empty() && messages == self.messages;
        self.messages = messages;
        self.quiet = if still { self.quiet + 1 } else { 0 };
        self.quiet >= QUIET_LOOKS
    }

    /// What is still under way.
    fn unrest(&self) -> Vec<String> {
        let mut all = Vec::new();
        if !self.broker.is_up() {
            all.push("the broker is down".to_owned());
        } else if !self.broker.is_idle() {
            all.push("the broker works".to_owned());
        }
        for client in &self.clients {
            if !client.is_content() {
                all.push(format!("'{}' waits for answers", client.id));
            }
            let needs = self.stage != Stage::Leave && self.model.has_session(&client.id);
            if needs && !client.is_connected() {
                all.push(format!("'{}' is not connected", client.id));
            }
        }
        all
    }
}

/// Wishes of a client that wants its session and nothing else.
const fn plain(version: Version) -> Wishes {
    Wishes {
        clean_start: false,
        keep_alive: 60,
        expiry: if version.has_properties() { 10_000 } else { 0 },
        receive_maximum: if version.has_properties() {
            Some(7)
        } else {
            None
        },
        packet_size_max: None,
        alias_max: 5,
        will: None,
    }
}

fn subscription(
    filter: &'static str,
    is_v5: bool,
    shared: bool,
    profile: &Profile,
    random: &mut Random,
) -> Subscription<'static> {
    let mut options = SubscriptionOptions {
        qos: profile.granted(random),
        ..SubscriptionOptions::default()
    };
    if is_v5 {
        options.no_local = !shared && random.chance(25);
        options.retain_as_published = random.chance(30);
        options.retain_handling = random.pick(&[
            RetainHandling::Send,
            RetainHandling::Send,
            RetainHandling::SendIfNew,
            RetainHandling::DoNotSend,
        ]);
    }
    Subscription { filter, options }
}

/// Some properties that go on to subscribers, encoded.
fn properties(is_v5: bool, random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    if !is_v5 || random.chance(60) {
        return bytes;
    }
    let all = [
        Property::PayloadFormatIndicator(1),
        Property::ContentType("text/plain"),
        Property::ResponseTopic("a/answer"),
        Property::CorrelationData(&[0, 255, 7]),
        Property::UserProperty("name", "value"),
        Property::UserProperty("name", ""),
    ];
    for property in all {
        if random.chance(40) {
            property.write(&mut bytes);
        }
    }
    bytes
}

/// The QoS levels.
const LEVELS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
