//! Deadlines of a shard: what they are for, and what happens when they pass.

use midge_codec::ReasonCode;
use midge_proto::Fault;

use super::{Shard, Step};
use crate::Time;
use crate::limits::Limit;
use crate::session_end::Cause;
use crate::slab::SlabKey;

/// What a timer is for. It may have lost its meaning when it fires.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Timer {
    /// A connection's CONNECT or keep alive.
    Conn(SlabKey),
    /// A session's end or will.
    Session(SlabKey),
    /// The next `$SYS`.
    Sys,
    /// Groups that have gone, retained messages that have expired.
    Sweep,
}

/// Timers without meaning that are not worth a sweep.
const SPARE_TIMERS: usize = 1024;

/// Seconds between two sweeps.
pub(crate) const SWEEP_SECS: u64 = 1;

impl Shard {
    /// When [`Self::fire`] is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        self.timers.next()
    }

    /// Deals with the deadlines that have passed.
    pub fn fire(&mut self, step: &mut Step<'_>) {
        let mut fired = std::mem::take(&mut self.scratch.fired);
        self.timers.fire(step.now, &mut fired);
        for timer in fired.drain(..) {
            match timer {
                Timer::Conn(key) => self.connection_timer(step, key),
                Timer::Session(key) => self.session_timer(step, key),
                Timer::Sys => self.sys_timer(step),
                Timer::Sweep => self.sweep(step),
            }
        }
        self.scratch.fired = fired;
    }

    fn connection_timer(&mut self, step: &mut Step<'_>, key: SlabKey) {
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        if conn.timer > step.now {
            // A later timer than the one that counts.
            return;
        }
        if conn.session.is_none() {
            self.count_limit(step, Limit::ConnectTimeout, key);
            self.end(step, key, &Cause::NoConnect);
            return;
        }
        let deadline = conn.keep_alive.server_deadline();
        let expires = conn.login_expires();
        if deadline <= step.now {
            self.end(step, key, &Cause::KeepAlive);
        } else if expires <= step.now {
            let why = "the login has expired and was not renewed";
            self.fail(
                step,
                key,
                &Fault::disconnect(ReasonCode::NOT_AUTHORIZED, why),
            );
        } else {
            let next = deadline.min(expires);
            conn.timer = next;
            self.timers.set(next, Timer::Conn(key));
        }
    }

    /// Frees timers whose connections and sessions have gone, when they are many: clients that come and go
    /// would else leave them behind for as long as their keep alive.
    pub(crate) fn sweep_timers(&mut self) {
        let meaningful = self.conns.len() + self.sessions.len();
        if self.timers.len() < 2 * meaningful + SPARE_TIMERS {
            return;
        }
        let (conns, sessions) = (&self.conns, &self.sessions);
        self.timers.retain(|due, timer| {
            let counts = match timer {
                Timer::Conn(key) => conns.get(*key).map(|conn| conn.timer),
                Timer::Session(key) => sessions.get(*key).map(|session| session.timer),
                Timer::Sys | Timer::Sweep => Some(Time::NEVER),
            };
            counts.is_some_and(|counts| due <= counts.plus_secs(1))
        });
    }
}

#[cfg(test)]
mod tests;
