//! Silence: how long is too long, and when a client has to break it.

use crate::Time;

/// The keep alive of one connection. Holds no timer: the caller asks when to look again.
#[derive(Clone, Copy, Debug)]
pub struct KeepAlive {
    interval_secs: u16,
    /// When the peer was last heard (server), or anything was last sent (client).
    last: Time,
    /// When a client sent the PINGREQ that waits for its PINGRESP; [`Time::NEVER`] without one.
    ping_sent: Time,
}

impl KeepAlive {
    /// Starts at `now`; an interval of 0 switches it off.
    #[must_use]
    pub const fn new(interval_secs: u16, now: Time) -> Self {
        Self {
            interval_secs,
            last: now,
            ping_sent: Time::NEVER,
        }
    }

    /// The interval in seconds.
    #[must_use]
    pub const fn interval_secs(&self) -> u16 {
        self.interval_secs
    }

    /// Server: a whole packet came. Client: a packet was sent.
    pub const fn active(&mut self, now: Time) {
        self.last = now;
    }

    /// When the server gives the client up: one and a half intervals after its last packet
    /// (`[MQTT5-3.1.2-22]`, `[MQTT311-3.1.2-24]`).
    #[must_use]
    pub const fn server_deadline(&self) -> Time {
        if self.interval_secs == 0 {
            return Time::NEVER;
        }
        self.last.plus_millis(self.interval_secs as u64 * 1500)
    }

    /// When the client has to look: to ping, or to give the server up when a ping stays unanswered
    /// for an interval `[MQTT5-3.1.2-20]`.
    #[must_use]
    pub const fn client_deadline(&self) -> Time {
        if self.interval_secs == 0 {
            return Time::NEVER;
        }
        let from = if self.awaits_pong() {
            self.ping_sent
        } else {
            self.last
        };
        from.plus_secs(self.interval_secs as u64)
    }

    /// Client: PINGREQ was sent.
    pub const fn ping_sent(&mut self, now: Time) {
        self.ping_sent = now;
        self.last = now;
    }

    /// Client: PINGRESP came.
    pub const fn pong_received(&mut self) {
        self.ping_sent = Time::NEVER;
    }

    /// Client: whether a ping waits for its answer.
    #[must_use]
    pub const fn awaits_pong(&self) -> bool {
        self.ping_sent.0 != Time::NEVER.0
    }
}

#[cfg(test)]
mod tests;
