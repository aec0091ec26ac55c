//! Shared subscriptions in the model: each message belongs to a group, and one member gets it.

use std::collections::BTreeMap;

use midge_codec::topic::Filter;
use midge_codec::{QoS, topic};

use super::publication::PubId;
use super::receipt::said_number;
use super::session::{Key, Sub};
use super::survival::Undo;
use super::{Checked, Model, Receipt, Routed, broken};
use crate::world::Millis;

/// How a member was subscribed at some time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Granted {
    qos: QoS,
    as_published: bool,
    ids: Vec<u32>,
}

/// A group from its first member until its last one leaves; the next of the name is another.
#[derive(Debug)]
pub(super) struct Group {
    name: (String, String),
    /// Those who are subscribed.
    members: Vec<usize>,
    /// All who ever were, with all that they were granted: a message may still be with one who left.
    granted: BTreeMap<usize, Vec<Granted>>,
    over: bool,
}

/// A message that a group got.
#[derive(Debug)]
pub(super) struct GroupMessage {
    group: usize,
    /// An earlier one of that name, of whose members one may have it.
    former: Option<usize>,
    publication: PubId,
    expires: Option<Millis>,
    /// It has to be there after a crash.
    kept: bool,
    /// A crash has lost it.
    pub(super) lost: bool,
    /// There was a crash since: what was sent with QoS 0 may come again.
    reopened: bool,
    /// A member's session ended since: a QoS 2 message that it had is lost with it.
    member_lost: bool,
    pub(super) holders: Vec<Holder>,
}

/// A member that received the message.
#[derive(Debug)]
pub(super) struct Holder {
    session: usize,
    link: usize,
    qos: QoS,
    pub(super) acknowledged: bool,
}

/// Where a shared message was found (message and group), whose it is, and when it expires.
type SharedReceipt = ((usize, usize), PubId, Option<Millis>);

impl Model {
    pub(super) fn join_group(&mut self, sid: usize, name: &str, sub: &Sub) {
        let name = (name.to_owned(), sub.filter.clone());
        let gid = *self.live_groups.entry(name.clone()).or_insert_with(|| {
            self.groups.push(Group {
                name,
                members: Vec::new(),
                granted: BTreeMap::new(),
                over: false,
            });
            self.groups.len() - 1
        });
        let group = &mut self.groups[gid];
        if !group.members.contains(&sid) {
            group.members.push(sid);
        }
        group.granted.entry(sid).or_default().push(Granted {
            qos: sub.qos,
            as_published: sub.as_published,
            ids: sub.ids(),
        });
        self.sessions[sid].groups.insert(gid);
    }

    /// A session leaves the group of `filter`, or all of them because it ends.
    pub(super) fn leave_groups(&mut self, sid: usize, filter: Option<&str>) {
        let name = filter.and_then(|filter| {
            let parsed = Filter::parse(filter).ok()?;
            Some((parsed.share_name?.to_owned(), parsed.filter.to_owned()))
        });
        if filter.is_none() {
            self.lose_member(sid);
        }
        for gid in self.sessions[sid].groups.clone() {
            let group = &mut self.groups[gid];
            if name.as_ref().is_some_and(|name| *name != group.name) || group.over {
                continue;
            }
            group.members.retain(|member| *member != sid);
            if group.members.is_empty() {
                group.over = true;
                self.live_groups.remove(&group.name);
            }
        }
    }

    /// A session ends, and what it had of QoS 2 with it.
    pub(super) fn lose_member(&mut self, sid: usize) {
        let groups = &self.sessions[sid].groups;
        let messages = self.group_messages.iter_mut();
        for message in messages.filter(|message| groups.contains(&message.group)) {
            message.member_lost = true;
        }
    }

    /// After a crash, the groups are those that the sessions are members of.
    pub(super) fn regroup(&mut self) {
        self.live_groups.clear();
        for group in &mut self.groups {
            group.members.clear();
            group.over = true;
        }
        let mut members = Vec::new();
        for sid in self.by_client.values().copied() {
            let session = &self.sessions[sid];
            for (filter, _) in session.subs.iter().filter(|(_, (shared, _))| *shared) {
                let parsed = Filter::parse(filter).ok();
                let name = parsed.and_then(|parsed| {
                    Some((parsed.share_name?.to_owned(), parsed.filter.to_owned()))
                });
                let groups = session.groups.iter().rev().copied();
                let mut same = groups.filter(|gid| Some(&self.groups[*gid].name) == name.as_ref());
                if let (Some(gid), Some(name)) = (same.next(), name) {
                    let live = self.live_groups.entry(name).or_insert(gid);
                    *live = gid.max(*live);
                    members.push((filter.clone(), sid));
                }
            }
        }
        for (filter, sid) in members {
            let Some((true, sub)) = self.sessions[sid].subs.get(&filter).cloned() else {
                continue;
            };
            let name = Filter::parse(&filter)
                .ok()
                .and_then(|parsed| parsed.share_name);
            self.join_group(sid, name.unwrap_or_default(), &sub);
        }
        for gid in self.live_groups.values() {
            self.groups[*gid].over = false;
        }
        for message in &mut self.group_messages {
            message.reopened = true;
            message.lost |= !message.kept;
            // What a group had not been rid of when it ended may come to the next one of its name.
            let group = &self.groups[message.group];
            if let (true, Some(next)) = (group.over, self.live_groups.get(&group.name)) {
                message.former = Some(std::mem::replace(&mut message.group, *next));
                message.lost = true;
            }
        }
    }

    pub(super) fn route_to_groups(
        &mut self,
        publication: PubId,
        name: &str,
        expires: Option<Millis>,
        expired: bool,
    ) -> Routed {
        let mut matched = false;
        let mut any_kept = false;
        let qos = self.publications[publication].qos;
        let is_queued = qos > QoS::AtMostOnce || self.rules.upgrade_qos;
        let mut undo = Vec::new();
        for ((_, filter), gid) in &self.live_groups {
            if !topic::matches(filter, name) {
                continue;
            }
            matched = true;
            if !expired {
                let ever = self.groups[*gid].granted.keys();
                let persistent = ever.into_iter().any(|sid| self.sessions[*sid].persistent);
                let kept = is_queued && persistent;
                any_kept |= kept;
                undo.push(Undo::GroupMessage(self.group_messages.len()));
                let places = self.grouped.entry(publication).or_default();
                places.push(self.group_messages.len());
                self.group_messages.push(GroupMessage {
                    group: *gid,
                    former: None,
                    publication,
                    expires,
                    kept,
                    lost: false,
                    reopened: false,
                    member_lost: false,
                    holders: Vec::new(),
                });
            }
        }
        for undo in undo {
            self.note(undo);
        }
        Routed {
            matched,
            kept: any_kept,
        }
    }

    /// Finds the group that a received message is for and makes the session its holder; tells the place
    /// of both, and the message's expiry.
    pub(super) fn take_shared(
        &mut self,
        sid: usize,
        receipt: &Receipt<'_>,
        key: &Key,
    ) -> Checked<Option<SharedReceipt>> {
        // No shared subscription is made to topics that have messages without payload.
        let said = said_number(receipt).and_then(|said| self.grouped.get(&said));
        let fitting: Vec<usize> = said
            .into_iter()
            .flatten()
            .copied()
            .filter(|at| {
                let message = &self.group_messages[*at];
                self.is_publication(message.publication, receipt) && self.fits(message, sid, key)
            })
            .collect();
        // What comes late by a connection that the broker has given up may have gone back already.
        let stale = key.qos == QoS::AtLeastOnce && !self.conns.contains_key(&receipt.link);
        let free = |at: &&usize| {
            let message = &self.group_messages[**at];
            let reopened = |holder: &Holder| message.reopened && holder.qos == QoS::AtMostOnce;
            let mut holders = message.holders.iter();
            stale || holders.all(|holder| reopened(holder) || self.may_return(holder))
        };
        // A publisher may have sent its message twice; then the one that raises no doubts, and first one
        // that must still come and has not.
        let doubts = |at: &&usize| {
            let message = &self.group_messages[**at];
            let expiry = self.check_expiry(message.expires, receipt);
            let is_over = self.groups[message.group].over;
            (
                expiry.is_err(),
                is_over,
                message.lost,
                message.member_lost,
                !message.holders.is_empty(),
            )
        };
        let best = fitting.iter().filter(free).min_by_key(doubts);
        let Some(&at) = best.or(fitting.first()) else {
            return Ok(None);
        };
        // Which of several was acknowledged by a member that had them all nobody can say for sure.
        let several = self.publications[self.group_messages[at].publication].routed > 1;
        if best.is_none() && !several {
            return broken("one member of a shared group", self.holders(at, sid));
        }
        let message = &mut self.group_messages[at];
        message.holders.push(Holder {
            session: sid,
            link: receipt.link,
            qos: key.qos,
            acknowledged: false,
        });
        let place = (at, message.holders.len() - 1);
        // Which of the two it was is only known to a member that speaks 5.0.
        let expires = fitting
            .iter()
            .map(|at| self.group_messages[*at].expires)
            .find(|expires| self.check_expiry(*expires, receipt).is_ok())
            .unwrap_or(self.group_messages[at].expires);
        Ok(Some((place, self.group_messages[at].publication, expires)))
    }

    /// Who has a message that came to `sid` too, in words.
    fn holders(&self, at: usize, sid: usize) -> String {
        let message = &self.group_messages[at];
        let holders: Vec<_> = message
            .holders
            .iter()
            .map(|holder| {
                let client = &self.sessions[holder.session].client;
                let acknowledged = if holder.acknowledged {
                    " acknowledged"
                } else {
                    ""
                };
                format!(
                    "{client} by link {} (QoS {}{acknowledged})",
                    holder.link,
                    holder.qos.bits()
                )
            })
            .collect();
        format!(
            "message {} of {:?} came to {} and to {}",
            message.publication,
            self.groups[message.group].name,
            self.sessions[sid].client,
            holders.join(", "),
        )
    }

    fn fits(&self, message: &GroupMessage, sid: usize, key: &Key) -> bool {
        let published = &self.publications[message.publication];
        let groups = message.former.into_iter().chain([message.group]);
        let granted = groups.filter_map(|group| self.groups[group].granted.get(&sid));
        granted.flatten().any(|granted| {
            key.qos == self.effective(published.qos, granted.qos)
                && key.retain == (published.retain && granted.as_published)
                && key.ids == granted.ids
        })
    }

    /// Whether a message that this member received may go to another: it was not acknowledged, and the
    /// member is lost. QoS 2 stays with the member (`[MQTT5-4.8.2-4]`, `[MQTT5-4.8.2-5]`).
    fn may_return(&self, holder: &Holder) -> bool {
        holder.qos == QoS::AtLeastOnce
            && !holder.acknowledged
            && !self.conns.contains_key(&holder.link)
    }

    pub(super) fn shared_acknowledged(&mut self, (message, holder): (usize, usize)) {
        if let Some(known) = self.group_messages[message].holders.get_mut(holder) {
            known.acknowledged = true;
            self.note(Undo::Holder(message, holder));
        }
    }

    /// Whether a message whose publisher sent it several times came to a group as often as it must. Which of
    /// them it was each time nobody can say for sure.
    fn all_came(&self, publication: PubId, group: usize, now: Millis) -> bool {
        let places = self.grouped.get(&publication).into_iter().flatten();
        let same = places
            .map(|at| &self.group_messages[*at])
            .filter(|message| message.group == group);
        let (mut came, mut needed) = (0, 0);
        for message in same {
            came += message.holders.len();
            needed += usize::from(message.expires.is_none_or(|at| at > now));
        }
        self.publications[publication].routed > 1 && came >= needed
    }

    /// Messages that no member of a living group has got.
    pub(super) fn stranded(&self, now: Millis) -> Vec<String> {
        let mut stranded = Vec::new();
        for message in &self.group_messages {
            let group = &self.groups[message.group];
            let published = &self.publications[message.publication];
            let all_grants = || group.granted.values().flatten();
            let may_be_lost = group.over
                || message.lost
                || all_grants().any(|g| self.effective(published.qos, g.qos) == QoS::AtMostOnce)
                || message.member_lost
                    && all_grants()
                        .any(|g| self.effective(published.qos, g.qos) == QoS::ExactlyOnce)
                || message.expires.is_some_and(|at| at <= now)
                || group
                    .granted
                    .keys()
                    .any(|sid| published.size_max() > self.sessions[*sid].packet_max);
            if message.holders.is_empty()
                && !may_be_lost
                && !self.all_came(message.publication, message.group, now)
            {
                stranded.push(format!(
                    "message {} (QoS {}) of {:?}",
                    message.publication,
                    published.qos.bits(),
                    group.name,
                ));
            }
        }
        stranded
    }
}
