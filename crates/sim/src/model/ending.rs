//! What must be true when everything has come to rest.

use std::collections::BTreeMap;

use midge_codec::QoS;

use super::retained::owed_place;
use super::{Answer, Model};
use crate::check::{Checked, broken};
use crate::world::Millis;

impl Model {
    /// Everybody who has a session is connected, every link is whole, and nothing is under way: what has
    /// not arrived now never will. `dropped`: the broker says that it has dropped messages.
    pub(crate) fn check_rest(&self, now: Millis, dropped: bool) -> Checked {
        for (link, past) in &self.past {
            if let Some(answer) = past
                .answers
                .iter()
                .find(|answer| **answer != Answer::PingResp)
                && self.conns.contains_key(link)
            {
                return broken(
                    "every packet is answered",
                    format!("{answer:?} on link {link}"),
                );
            }
        }
        if self.rules.small_queues {
            return Ok(());
        }
        for sid in self.by_client.values() {
            self.check_session(*sid, now, dropped)?;
        }
        match self.stranded(now).first() {
            Some(what) => broken("no stranded message of a shared group", what),
            None => Ok(()),
        }
    }

    fn check_session(&self, sid: usize, now: Millis, dropped: bool) -> Checked {
        let session = &self.sessions[sid];
        let mut with_retain: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (at, owed) in session.owed.iter().enumerate() {
            let published = &self.publications[owed.publication];
            // QoS 0 has no promise, but is not thrown away without need.
            let is_certain = owed.key.qos > QoS::AtMostOnce
                || !dropped
                    && owed.expires.is_none()
                    && published.routed == 1
                    && !published.payload.is_empty()
                    && owed.conn.is_some()
                    && owed.conn == session.conn;
            if owed.received
                || owed.optional
                // Which of those without payload a crash has taken back is not certain.
                || owed.is_empty && session.reopened
                || session.had_again(owed, published.routed)
                || !is_certain
                || published.size_max() > session.packet_max
                || owed.expires.is_some_and(|at| at <= now)
            {
                continue;
            }
            if owed.key.retain {
                let places = with_retain.entry(&published.topic).or_default();
                places.push(owed_place(at));
                continue;
            }
            let rule = match owed.key.qos {
                QoS::AtMostOnce => "no needless loss of QoS 0",
                QoS::AtLeastOnce | QoS::ExactlyOnce => "no loss",
            };
            let what = format!(
                "{} did not get message {} on {} as {:?}",
                session.client, owed.publication, published.topic, owed.key
            );
            return broken(rule, what);
        }
        match self.missing_retained(sid, with_retain) {
            Some(what) => broken("no loss of what is retained", what),
            None => Ok(()),
        }
    }
}
