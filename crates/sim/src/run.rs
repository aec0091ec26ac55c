//! One run: a broker, its clients, the links between them, the reference, and a seed.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::broker_side::BrokerSide;
use crate::check::{Checked, Violation, broken};
use crate::client::Client;
use crate::link::Link;
use crate::model::Model;
use crate::script::{Disk, Length, Profile};
use crate::world::{Event, TraceSink, World};

/// What a run saw, when all went well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Events that happened.
    pub events: u64,
    /// Messages that the broker took.
    pub published: u64,
    /// Messages that it sent.
    pub delivered: u64,
    /// Messages that it dropped, as far as it may.
    pub dropped: u64,
}

/// Which part of the run it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Everybody does what comes to their mind.
    Script,
    /// The links are whole, sessions are fetched, everything is to arrive.
    Rest,
    /// Everybody goes for good.
    Leave,
    Over,
}

/// Everything there is.
pub(crate) struct Run {
    pub(crate) world: World,
    pub(crate) links: Vec<Link>,
    pub(crate) clients: Vec<Client>,
    pub(crate) broker: BrokerSide,
    pub(crate) model: Model,
    pub(crate) profile: Profile,
    pub(crate) stage: Stage,
    /// How often the stage has been looked at in vain.
    pub(crate) patience: u32,
    /// How often in a row everything was quiet.
    pub(crate) quiet: u32,
    /// Messages that the broker had taken and sent at the last look.
    pub(crate) messages: u64,
}

/// Runs a seed to its end. The same seed, length and disk do the same every time.
///
/// # Errors
/// The first rule that was broken.
pub fn run(
    seed: u64,
    length: Length,
    disk: Disk,
    trace: Option<TraceSink>,
) -> Result<Summary, Violation> {
    let whole = AssertUnwindSafe(|| Run::new(seed, length, disk, trace)?.go());
    catch_unwind(whole).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("a panic without words");
        broken("no panic", text)
    })
}

impl Run {
    fn new(seed: u64, length: Length, disk: Disk, trace: Option<TraceSink>) -> Checked<Self> {
        let mut world = World::new(seed, trace);
        let profile = Profile::new(length, disk, seed, &mut world.random);
        world.trace(|| format!("{profile:?}"));
        let clients = profile.clients(&mut world.random);
        let mut model = Model::new(profile.rules());
        let broker = BrokerSide::new(
            profile.settings.clone(),
            profile.shards,
            profile.pace,
            profile.keeping,
            &mut world,
            &mut model,
        )?;
        for client in 0..clients.len() {
            let at = world.random.below(500);
            world.at(at, Event::Act(client));
        }
        world.at(profile.duration, Event::Stage);
        if let Some(keeping) = profile.keeping {
            let at = world.random.below(keeping.checkpoint_max + 1);
            world.at(at, Event::Checkpoint);
            let fall = keeping.fall_at(&mut world.random);
            world.at(fall, Event::Fall);
        }
        Ok(Self {
            world,
            links: Vec::new(),
            clients,
            broker,
            model,
            profile,
            stage: Stage::Script,
            patience: 0,
            quiet: 0,
            messages: 0,
        })
    }

    fn go(mut self) -> Result<Summary, Violation> {
        let mut events = 0;
        while self.stage != Stage::Over
            && let Some(event) = self.world.advance()
        {
            events += 1;
            if events > EVENTS_MAX {
                return broken(
                    "a run comes to its end",
                    format!("not within {EVENTS_MAX} events"),
                );
            }
            self.happen(event)?;
        }
        let stats = self.broker.stats();
        Ok(Summary {
            events,
            published: stats.publish_received,
            delivered: stats.publish_sent,
            dropped: stats.publish_dropped,
        })
    }

    fn happen(&mut self, event: Event) -> Checked {
        match event {
            Event::Turn(worker) => {
                self.broker
                    .turn(&mut self.world, &mut self.links, &mut self.model, worker)?;
                for link in std::mem::take(&mut self.broker.parting) {
                    self.flush_last_words(link);
                }
                Ok(())
            }
            Event::Arrival(link) => {
                self.broker.wake_for(&mut self.world, link);
                self.read(link)
            }
            Event::Act(client) => self.act(client),
            Event::Wake(client) => self.wake_client(client),
            Event::Stage => self.next_stage(),
            Event::Commit => {
                self.broker.commit(&mut self.world, &mut self.model);
                Ok(())
            }
            Event::Load => self.broker.load(&mut self.world),
            Event::Maintain => {
                self.broker.maintain(&mut self.world);
                Ok(())
            }
            Event::Checkpoint => {
                let next = self.broker.checkpoint(&mut self.world)?;
                self.world.at(next, Event::Checkpoint);
                Ok(())
            }
            Event::Fall => self.fall(),
            Event::Start => self.start_again(),
        }
    }

    /// Sends on what the broker said last on a link.
    pub(crate) fn flush_last_words(&mut self, link: usize) {
        let now = self.world.now;
        for at in self.links[link].flush_last_words(now, &mut self.world.random) {
            self.world.at(at, Event::Arrival(link));
        }
    }

    pub(crate) fn stage_is_script(&self) -> bool {
        self.stage == Stage::Script
    }
}

/// More events than any run has that goes well.
const EVENTS_MAX: u64 = 3_000_000;
