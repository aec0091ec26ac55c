//! Shared groups at their home, and mail between shards.
//!
//! A message of a shared group goes to a member that is connected and has room, chosen where it is
//! published. When there is none, the group's home queues it; a member that gets room pulls. What a
//! lost member had not acknowledged comes back here.

use std::collections::VecDeque;
use std::sync::Arc;

use midge_codec::QoS;

use crate::deliver::Delivery;
use crate::effects::Mail;
use crate::message::{Message, MessageView};
use crate::persist::records::Step as Done;
use crate::route::{GroupId, GroupMatch, Target};
use crate::settings::QueueOverflow;
use crate::shard::{Shard, Step};
use crate::slab::SlabKey;

/// What the home of a group holds for it.
#[derive(Debug, Default)]
pub(crate) struct GroupQueue {
    messages: VecDeque<Arc<Message>>,
    bytes: usize,
}

/// Messages that a member gets for one pull.
const GRANT_MAX: usize = 16;
/// Messages that are handed out at once when a group's queue grows.
const DRAIN_MAX: usize = 64;

impl Shard {
    /// Sends a message to a member of a group, or to the group's home.
    pub(crate) fn route_to_group(
        &mut self,
        step: &mut Step<'_>,
        delivery: &mut Delivery<'_>,
        found: &GroupMatch,
    ) {
        let (group, home) = (found.group, found.home);
        let is_kept = step
            .tables
            .routing()
            .group(group)
            .is_some_and(|group| group.is_persistent())
            && (delivery.view.qos > QoS::AtMostOnce || self.settings.upgrade_outgoing_qos);
        if delivery.view.id != 0 && !is_kept {
            // Others have it on the disk, and this group has not.
            let view = MessageView {
                id: 0,
                ..delivery.view
            };
            let mut other = Delivery::new(view);
            other.raw = delivery.raw;
            return self.route_to_group(step, &mut other, found);
        }
        let at_most_once =
            delivery.view.qos == QoS::AtMostOnce && !self.settings.upgrade_outgoing_qos;
        // Order does not bind QoS 0 to what is queued.
        let ready = || {
            step.tables
                .routing()
                .group(group)
                .and_then(|group| group.next_ready())
        };
        let member = if at_most_once {
            found.member.or_else(ready)
        } else {
            found.member
        };
        match member {
            Some(target) if self.local(target.session).is_some() => {
                self.deliver_shared(step, delivery, &target, group, home);
            }
            Some(target) => {
                let message = delivery.keep(&mut self.messages);
                let mail = Mail::DeliverShared {
                    group,
                    home,
                    message,
                    target,
                };
                self.post(step, target.session.shard, mail);
            }
            None if at_most_once && !self.settings.queue_qos0_messages => {
                self.stats.publish_dropped += 1;
            }
            None => {
                let message = delivery.keep(&mut self.messages);
                self.count_backlog(step, group, 1);
                self.post(step, home, Mail::GroupQueue { group, message });
            }
        }
    }

    /// Handles one piece of mail, from another shard or from this one.
    pub(crate) fn take_mail(&mut self, step: &mut Step<'_>, mail: Mail) {
        match mail {
            Mail::Deliver { message, targets } if message.is_expired(step.now) => {
                // On its way from another shard [MQTT5-3.3.2-5].
                self.stats.publish_dropped += targets.len() as u64;
                self.drop_expired(&message, &targets);
            }
            Mail::Deliver { message, targets } => {
                self.deliver_all(step, &mut Delivery::kept(&message), &targets);
                self.messages.give(message);
            }
            Mail::DeliverShared {
                group,
                home,
                message,
                target,
            } => {
                self.deliver_shared(step, &mut Delivery::kept(&message), &target, group, home);
                self.messages.give(message);
            }
            Mail::GroupQueue { group, message } => {
                self.queue_for_group(group, message, step);
                self.drain_group(step, group);
            }
            Mail::GroupReturn { group, messages } => {
                let queue = self.groups.entry(group).or_default();
                for message in messages.into_iter().rev() {
                    self.stats.queued_messages += 1;
                    self.stats.queued_bytes += message.size() as u64;
                    queue.bytes += message.size();
                    queue.messages.push_front(message);
                }
                self.drain_group(step, group);
            }
            Mail::GroupPull {
                group,
                target,
                room,
            } => {
                let messages = self.take_from_group(step, group, room.min(GRANT_MAX));
                let grant = Mail::GroupGrant {
                    group,
                    home: self.id,
                    target,
                    messages,
                };
                self.post(step, target.session.shard, grant);
            }
            Mail::GroupGrant {
                group,
                home,
                target,
                messages,
            } => self.take_grant(step, &target, group, home, messages),
            Mail::StatsRequest { from } => {
                let stats = Box::new(self.stats());
                self.post(
                    step,
                    from,
                    Mail::Stats {
                        from: self.id,
                        stats,
                    },
                );
            }
            Mail::Stats { from, stats } => self.stats_received(step, from, &stats),
        }
    }

    fn queue_for_group(&mut self, group: GroupId, message: Arc<Message>, step: &Step<'_>) {
        let size = message.size();
        let limits = self.queue_limits();
        self.stats.queued_messages += 1;
        self.stats.queued_bytes += size as u64;
        loop {
            let queue = self.groups.entry(group).or_default();
            let total = self.stats.queued_bytes;
            if !limits.are_met(queue.messages.len(), queue.bytes, size, total) {
                queue.bytes += size;
                queue.messages.push_back(message);
                return;
            }
            let oldest = match limits.overflow {
                QueueOverflow::DropOldest => queue.messages.pop_front(),
                QueueOverflow::DropNewest => None,
            };
            // The message itself is the oldest when nothing else is left.
            let is_last = oldest.is_none();
            let dropped = oldest.as_ref().unwrap_or(&message);
            if !is_last {
                queue.bytes -= dropped.size();
            }
            self.stats.queued_messages -= 1;
            self.stats.queued_bytes -= dropped.size() as u64;
            self.stats.publish_dropped += 1;
            let dropped = dropped.id();
            uncount_backlog(step, group, 1);
            self.record_group_done(group, dropped);
            if is_last {
                return;
            }
        }
    }

    /// Hands out what a group's queue holds to members that are ready. Those that become ready later
    /// pull.
    fn drain_group(&mut self, step: &mut Step<'_>, group: GroupId) {
        for _ in 0..DRAIN_MAX {
            if self
                .groups
                .get(&group)
                .is_none_or(|queue| queue.messages.is_empty())
            {
                return;
            }
            let member = step
                .tables
                .routing()
                .group(group)
                .and_then(|members| members.next_ready());
            let Some(target) = member else {
                return;
            };
            let Some(message) = self.take_from_group(step, group, 1).pop() else {
                return;
            };
            let home = self.id;
            if self.local(target.session).is_some() {
                // At once, so that a member whose window is full now is not chosen again.
                self.deliver_shared(step, &mut Delivery::kept(&message), &target, group, home);
                continue;
            }
            let mail = Mail::DeliverShared {
                group,
                home,
                message,
                target,
            };
            self.post(step, target.session.shard, mail);
        }
    }

    fn take_from_group(
        &mut self,
        step: &Step<'_>,
        group: GroupId,
        most: usize,
    ) -> Vec<Arc<Message>> {
        let mut taken = Vec::new();
        let Some(queue) = self.groups.get_mut(&group) else {
            return taken;
        };
        let mut count = 0;
        let mut expired = Vec::new();
        while taken.len() < most
            && let Some(message) = queue.messages.pop_front()
        {
            count += 1;
            let size = message.size();
            queue.bytes -= size;
            self.stats.queued_messages -= 1;
            self.stats.queued_bytes -= size as u64;
            if message.is_expired(step.now) {
                // [MQTT5-3.3.2-5]
                self.stats.publish_dropped += 1;
                expired.push(message.id());
            } else {
                taken.push(message);
            }
        }
        if queue.messages.is_empty() {
            self.groups.remove(&group);
        }
        uncount_backlog(step, group, count);
        for message in expired {
            self.record_group_done(group, message);
        }
        taken
    }

    /// The shared subscriptions of this shard's sessions: share name and filter, mount point included.
    pub(crate) fn shared_subscriptions(&self) -> Vec<(Box<str>, Box<str>)> {
        let mut names = Vec::new();
        for key in self.sessions.keys() {
            let Some(session) = self.sessions.get(key) else {
                continue;
            };
            let mount_point = session.mount_point.as_deref().unwrap_or_default();
            for (filter, _) in session.subscriptions.shared() {
                let shared = filter.strip_prefix("$share/");
                if let Some((name, filter)) = shared.and_then(|shared| shared.split_once('/')) {
                    names.push((name.into(), format!("{mount_point}{filter}").into()));
                }
            }
        }
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Takes what a group held before the broker's last end.
    pub(crate) fn restore_group(
        &mut self,
        step: &Step<'_>,
        group: GroupId,
        messages: Vec<Arc<Message>>,
    ) {
        if messages.is_empty() {
            return;
        }
        self.count_backlog(step, group, messages.len());
        let queue = self.groups.entry(group).or_default();
        for message in messages {
            self.stats.queued_messages += 1;
            self.stats.queued_bytes += message.size() as u64;
            queue.bytes += message.size();
            queue.messages.push_back(message);
        }
    }

    /// Asks the home of one of a member's groups for what it holds: the first with a backlog behind
    /// `after`, in the order of their ids.
    pub(crate) fn pull_from_groups(
        &mut self,
        step: &mut Step<'_>,
        key: SlabKey,
        after: Option<GroupId>,
    ) {
        let session_ref = self.session_ref(key);
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        if session.pulling {
            session.pull_again |= after.is_none();
            return;
        }
        let mount_point = session.mount_point.as_deref().unwrap_or_default();
        let routing = step.tables.routing();
        // Nearly always; with many shared subscriptions the search costs more than all else.
        if routing.waiting() == 0 {
            return;
        }
        let mut wanted: Option<(GroupId, u16, Target)> = None;
        for (filter, subscribed) in session.subscriptions.shared() {
            let shared = filter
                .strip_prefix("$share/")
                .and_then(|shared| shared.split_once('/'));
            let Some((name, filter)) = shared else {
                continue;
            };
            let found = if mount_point.is_empty() {
                routing.find_group(name, filter)
            } else {
                routing.find_group(name, &format!("{mount_point}{filter}"))
            };
            let Some(id) = found else { continue };
            let best = wanted.map(|(best, ..)| best);
            if after.is_some_and(|after| id <= after) || best.is_some_and(|best| best <= id) {
                continue;
            }
            let Some(group) = routing.group(id) else {
                continue;
            };
            if group.backlog() > 0 {
                let target = Target {
                    session: session_ref,
                    options: subscribed.options,
                    subscription_id: subscribed.id,
                };
                wanted = Some((id, group.home(), target));
            }
        }
        let Some((group, home, target)) = wanted else {
            return;
        };
        session.pulling = true;
        let window = session
            .conn
            .and_then(|conn| self.conns.get(conn))
            .map_or(0, |conn| usize::from(conn.receive_maximum));
        let room = window.saturating_sub(session.outgoing.len()).max(1);
        let mail = Mail::GroupPull {
            group,
            target,
            room,
        };
        self.post(step, home, mail);
    }

    /// Drops the queues of groups whose last member has left.
    pub(crate) fn sweep_groups(&mut self, step: &Step<'_>) {
        let routing = step.tables.routing();
        let stats = &mut self.stats;
        let journal = &mut self.journal;
        self.groups.retain(|group, queue| {
            let lives = routing.group(*group).is_some();
            if !lives {
                stats.queued_messages -= queue.messages.len() as u64;
                stats.queued_bytes -= queue.bytes as u64;
                stats.publish_dropped += queue.messages.len() as u64;
                // After a restart nobody would ask for them either.
                for message in queue.messages.iter().map(|message| message.id()) {
                    if message != 0 {
                        let group = group.name_hash();
                        journal.step(&Done::GroupDone { group, message });
                        journal.records.finish(message);
                    }
                }
            }
            lives
        });
    }
}

fn uncount_backlog(step: &Step<'_>, group: GroupId, count: usize) {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    step.tables.routing().uncount_waiting(group, count);
}
