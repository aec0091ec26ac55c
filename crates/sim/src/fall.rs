//! The broker's ends and new beginnings.

use crate::broker_side::Fall;
use crate::check::Checked;
use crate::run::{Run, Stage};
use crate::world::{Event, Millis};

impl Run {
    /// The broker comes to its end, in one of several ways.
    pub(crate) fn fall(&mut self) -> Checked {
        let Some(keeping) = self.profile.keeping else {
            return Ok(());
        };
        if self.stage != Stage::Script || !self.broker.is_up() {
            return Ok(());
        }
        if self.world.random.chance(20) {
            self.world.trace(|| "--- the broker is stopped".to_owned());
            self.broker
                .stop(&mut self.world, &mut self.links, &mut self.model)?;
            for link in std::mem::take(&mut self.broker.parting) {
                self.flush_last_words(link);
            }
            self.hear_out(80)?;
        } else {
            let how = self
                .world
                .random
                .pick(&[Fall::Kill, Fall::Power, Fall::InCommit]);
            self.world
                .trace(|| format!("--- the broker falls: {how:?}"));
            self.hear_out(50)?;
            self.broker.fall(&mut self.world, how);
        }
        for link in 0..self.links.len() {
            if self.links[link].client_open {
                self.lose_link(link, 5000);
            }
        }
        let down = self.world.random.pick(&[0, 10, 1000, 10_000]);
        let at = self.world.now + self.world.random.below(down + 1);
        self.world.at(at, Event::Start);
        let next = self.world.now + keeping.fall_at(&mut self.world.random);
        self.world.at(next, Event::Fall);
        Ok(())
    }

    /// Some clients get what is under way to them before it is lost.
    fn hear_out(&mut self, percent: u64) -> Checked {
        for link in 0..self.links.len() {
            if !self.links[link].cut && self.world.random.chance(percent) {
                self.links[link].down.hasten(self.world.now);
                self.read(link)?;
            }
        }
        Ok(())
    }

    /// What is under way on a link is lost, and the client learns that it is broken within a time.
    pub(crate) fn lose_link(&mut self, link: usize, within: Millis) {
        let notice = self.world.now + self.world.random.below(within + 1);
        self.links[link].lose(self.world.now, notice);
        // It may be deaf until then.
        for late in [0, 1000, 30_000] {
            self.world.at(notice + late, Event::Arrival(link));
        }
    }

    /// The broker starts again, perhaps with another number of cores; the power may fail again.
    pub(crate) fn start_again(&mut self) -> Checked {
        if self.broker.is_up() {
            return Ok(());
        }
        let shards = self.world.random.pick(&[1, 2, 2, 3, 4]);
        let dies = self.stage == Stage::Script && self.world.random.chance(15);
        self.world
            .trace(|| format!("--- the broker starts with {shards} shards"));
        if !self
            .broker
            .start(&mut self.world, &mut self.model, shards, dies)?
        {
            self.world
                .trace(|| "--- and falls again at once".to_owned());
            let at = self.world.now + self.world.random.below(500);
            self.world.at(at, Event::Start);
        }
        Ok(())
    }
}
