//! The window itself: slots in the order of sending, found by packet identifier.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use core::num::NonZeroU16;

use midge_codec::{AckKind, QoS};

use super::{Acked, Resend};

/// What an [`Outgoing`](super::Outgoing) holds once there has been something to hold. Its methods are
/// described there.
#[derive(Debug)]
pub(super) struct Window<M> {
    /// In the order of sending. Finished slots stay as gaps until they reach the front, so that
    /// identifiers run without holes and an acknowledgement finds its slot by subtraction.
    slots: VecDeque<Slot<M>>,
    /// The unfinished slots, once identifiers do not run without holes any more: a peer must not make
    /// its acknowledgements dear by leaving some out. Places count from the first slot ever, modulo
    /// 2^32.
    #[expect(
        clippy::box_collection,
        reason = "hardly ever there, and eight bytes in every session"
    )]
    index: Option<Box<BTreeMap<NonZeroU16, u32>>>,
    /// The place of `slots[0]`.
    first_place: u32,
    last_id: u16,
    unfinished: usize,
    /// `slots[..sent]` have been sent on the present connection; the next, if any, is unfinished.
    sent: usize,
    /// How many of those are unfinished.
    sent_unfinished: usize,
    /// How many are held.
    held: usize,
}

#[derive(Debug)]
struct Slot<M> {
    id: NonZeroU16,
    step: Step,
    /// Waits for [`Outgoing::let_go`] before it is sent at all.
    held: bool,
    message: Option<M>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    AwaitsPubAck,
    AwaitsPubRec,
    AwaitsPubComp,
    Finished,
}

impl<M> Default for Window<M> {
    fn default() -> Self {
        Self {
            slots: VecDeque::new(),
            index: None,
            first_place: 0,
            last_id: 0,
            unfinished: 0,
            sent: 0,
            sent_unfinished: 0,
            held: 0,
        }
    }
}

impl<M> Window<M> {
    pub(super) const fn len(&self) -> usize {
        self.unfinished
    }

    #[cfg(test)]
    const fn is_empty(&self) -> bool {
        self.unfinished == 0
    }

    pub(super) fn is_all_sent(&self) -> bool {
        self.sent == self.slots.len()
    }

    pub(super) fn has_room(&self, receive_maximum: u16) -> bool {
        self.unfinished < usize::from(receive_maximum) && self.sent == self.slots.len()
    }

    /// The identifier after the last one, where identifiers run without holes up to it and it is free.
    #[inline]
    fn following_id(&self) -> Option<NonZeroU16> {
        let last = self.slots.back()?.id.get();
        // Half of all are more than anybody has under way; beyond, the next may still be in use.
        let follows = self.index.is_none()
            && last == self.last_id
            && self.slots.len() < usize::from(u16::MAX / 2);
        follows.then(|| next_id(last))
    }

    pub(super) fn push(&mut self, qos: QoS, message: M) -> Result<NonZeroU16, M> {
        if let Some(id) = self.following_id() {
            self.append(id, qos, message);
            return Ok(id);
        }
        let Some(id) = self.free_id() else {
            return Err(message);
        };
        let follows = self
            .slots
            .back()
            .is_none_or(|back| next_id(back.id.get()) == id);
        if !follows {
            self.build_index();
        }
        if let Some(index) = &mut self.index {
            index.insert(id, place(self.first_place, self.slots.len()));
        }
        self.append(id, qos, message);
        Ok(id)
    }

    #[inline]
    fn append(&mut self, id: NonZeroU16, qos: QoS, message: M) {
        let step = match qos {
            QoS::AtMostOnce | QoS::AtLeastOnce => Step::AwaitsPubAck,
            QoS::ExactlyOnce => Step::AwaitsPubRec,
        };
        debug_assert_eq!(
            self.sent,
            self.slots.len(),
            "resending comes before sending"
        );
        self.last_id = id.get();
        self.slots.push_back(Slot {
            id,
            step,
            held: false,
            message: Some(message),
        });
        self.unfinished += 1;
        self.sent = self.slots.len();
        self.sent_unfinished += 1;
    }

    pub(super) fn push_held(&mut self, qos: QoS, message: M) -> Result<NonZeroU16, M> {
        let id = self.push(qos, message)?;
        if let Some(slot) = self.slots.back_mut() {
            slot.held = true;
            self.held += 1;
        }
        Ok(id)
    }

    pub(super) fn let_go(&mut self, id: NonZeroU16) -> Option<&M> {
        let index = self.position(id)?;
        let slot = self.slots.get_mut(index).filter(|slot| slot.held)?;
        slot.held = false;
        self.held -= 1;
        // What is due again is sent in its turn.
        slot.message.as_ref().filter(|_| index < self.sent)
    }

    pub(super) const fn has_held(&self) -> bool {
        self.held > 0
    }

    pub(super) fn restore(
        &mut self,
        id: NonZeroU16,
        qos: QoS,
        released: bool,
        message: Option<M>,
    ) -> Result<(), Option<M>> {
        if self.position(id).is_some() {
            return Err(message);
        }
        let step = match (qos, released) {
            (_, true) => Step::AwaitsPubComp,
            (QoS::ExactlyOnce, false) => Step::AwaitsPubRec,
            (QoS::AtMostOnce | QoS::AtLeastOnce, false) => Step::AwaitsPubAck,
        };
        let follows = self
            .slots
            .back()
            .is_none_or(|back| next_id(back.id.get()) == id);
        if !follows {
            self.build_index();
        }
        if let Some(index) = &mut self.index {
            index.insert(id, place(self.first_place, self.slots.len()));
        }
        self.last_id = id.get();
        self.slots.push_back(Slot {
            id,
            step,
            held: false,
            message,
        });
        self.unfinished += 1;
        Ok(())
    }

    /// Finishes the oldest delivery if it is of QoS 1 and has this identifier, as is nearly always the case
    /// when a PUBACK comes.
    #[inline]
    pub(super) fn finish_oldest(&mut self, id: NonZeroU16) -> Option<M> {
        let is_plain = self.index.is_none() && self.held == 0 && self.sent == self.slots.len();
        let slot = self.slots.pop_front_if(|slot| {
            is_plain && slot.id == id && slot.step == Step::AwaitsPubAck && slot.message.is_some()
        })?;
        self.first_place = self.first_place.wrapping_add(1);
        self.unfinished -= 1;
        self.sent_unfinished -= 1;
        while self
            .slots
            .front()
            .is_some_and(|slot| slot.step == Step::Finished)
        {
            self.slots.pop_front();
            self.first_place = self.first_place.wrapping_add(1);
        }
        self.sent = self.slots.len();
        if self.slots.is_empty() {
            self.empty();
        }
        slot.message
    }

    pub(super) fn acknowledge(&mut self, kind: AckKind, id: NonZeroU16, refused: bool) -> Acked<M> {
        let Some(index) = self.position(id) else {
            return Acked::Unknown;
        };
        let Some(slot) = self.slots.get_mut(index) else {
            return Acked::Unknown;
        };
        match (kind, slot.step) {
            (_, Step::Finished) => Acked::Unknown,
            (AckKind::PubAck, Step::AwaitsPubAck) | (AckKind::PubComp, Step::AwaitsPubComp) => {
                self.finish(index)
            }
            (AckKind::PubRec, Step::AwaitsPubRec) if refused => self.finish(index),
            (AckKind::PubRec, Step::AwaitsPubRec) => {
                slot.step = Step::AwaitsPubComp;
                Acked::Release(slot.message.take())
            }
            (AckKind::PubRec, Step::AwaitsPubComp) if !refused => Acked::Release(None),
            _ => Acked::Mismatch,
        }
    }

    fn finish(&mut self, index: usize) -> Acked<M> {
        let Some(slot) = self.slots.get_mut(index) else {
            return Acked::Unknown;
        };
        slot.step = Step::Finished;
        self.held -= usize::from(core::mem::take(&mut slot.held));
        let message = slot.message.take();
        let id = slot.id;
        self.unfinished -= 1;
        if index < self.sent {
            self.sent_unfinished -= 1;
        }
        if let Some(index) = &mut self.index {
            index.remove(&id);
        }
        while self
            .slots
            .front()
            .is_some_and(|slot| slot.step == Step::Finished)
        {
            self.slots.pop_front();
            self.first_place = self.first_place.wrapping_add(1);
            self.sent = self.sent.saturating_sub(1);
        }
        if self.slots.is_empty() {
            self.empty();
        } else if self.slots.len() > 2 * self.unfinished + GAPS_MAX {
            self.compact();
        } else {
            self.pass_gaps();
        }
        Acked::Finished(message)
    }

    /// Finished deliveries are not due again, and held ones not yet.
    fn pass_gaps(&mut self) {
        while let Some(slot) = self.slots.get(self.sent)
            && (slot.step == Step::Finished || slot.held)
        {
            self.sent_unfinished += usize::from(slot.held);
            self.sent += 1;
        }
    }

    /// A burst must not leave its buffer with a session that idles.
    fn empty(&mut self) {
        self.index = None;
        if self.slots.capacity() > IDLE_CAPACITY {
            self.slots = VecDeque::new();
        }
    }

    /// Drops the gaps behind a delivery that stays unfinished.
    fn compact(&mut self) {
        let mut index = 0;
        let sent = self.sent;
        let mut kept_sent = 0;
        self.slots.retain(|slot| {
            let keep = slot.step != Step::Finished;
            if keep && index < sent {
                kept_sent += 1;
            }
            index += 1;
            keep
        });
        self.sent = kept_sent;
        if self.slots.is_empty() {
            self.empty();
            return;
        }
        // A burst behind one stuck delivery must not leave its buffer there either.
        self.slots.shrink_to(2 * self.slots.len() + GAPS_MAX);
        self.index = None;
        let follows = |(slot, next): (&Slot<M>, &Slot<M>)| next_id(slot.id.get()) == next.id;
        if !self
            .slots
            .iter()
            .zip(self.slots.iter().skip(1))
            .all(follows)
        {
            self.build_index();
        }
    }

    /// Leaves the rule that identifiers run without holes.
    fn build_index(&mut self) {
        if self.index.is_some() {
            return;
        }
        let unfinished = self
            .slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| slot.step != Step::Finished)
            .map(|(index, slot)| (slot.id, place(self.first_place, index)));
        self.index = Some(Box::new(unfinished.collect()));
    }

    pub(super) fn disconnected(&mut self) {
        // What was held is due again as well: whoever makes the next connection sees to it that nothing
        // leaves by it before what has been recorded is safe.
        if self.held > 0 {
            self.held = 0;
            for slot in &mut self.slots {
                slot.held = false;
            }
        }
        self.sent = 0;
        self.sent_unfinished = 0;
        self.pass_gaps();
    }

    pub(super) fn next_resend(&mut self, receive_maximum: u16) -> Option<Resend<'_, M>> {
        let slot = self.slots.get(self.sent)?;
        let is_publish = slot.step != Step::AwaitsPubComp;
        if is_publish && self.sent_unfinished >= usize::from(receive_maximum) {
            return None;
        }
        let index = self.sent;
        self.sent += 1;
        self.sent_unfinished += 1;
        self.pass_gaps();
        let slot = self.slots.get(index)?;
        Some(match (&slot.message, slot.step) {
            (Some(message), Step::AwaitsPubAck) => {
                Resend::Publish(slot.id, QoS::AtLeastOnce, message)
            }
            (Some(message), Step::AwaitsPubRec) => {
                Resend::Publish(slot.id, QoS::ExactlyOnce, message)
            }
            _ => Resend::PubRel(slot.id),
        })
    }

    pub(super) fn last(&self) -> Option<&M> {
        self.slots.back()?.message.as_ref()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (NonZeroU16, Option<&M>)> {
        self.slots
            .iter()
            .filter(|slot| slot.step != Step::Finished)
            .map(|slot| (slot.id, slot.message.as_ref()))
    }

    pub(super) fn take_unacknowledged(
        &mut self,
        mut choose: impl FnMut(&M) -> bool,
    ) -> VecDeque<M> {
        let mut taken = VecDeque::new();
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if slot.step == Step::AwaitsPubAck
                && slot.message.as_ref().is_some_and(&mut choose)
                && let Some(message) = slot.message.take()
            {
                slot.step = Step::Finished;
                self.held -= usize::from(core::mem::take(&mut slot.held));
                self.unfinished -= 1;
                if index < self.sent {
                    self.sent_unfinished -= 1;
                }
                taken.push_back(message);
            }
        }
        if !taken.is_empty() {
            self.compact();
        }
        taken
    }

    /// Where the delivery with this identifier is; maybe a gap.
    fn position(&self, id: NonZeroU16) -> Option<usize> {
        if let Some(index) = &self.index {
            let place = index.get(&id)?;
            return usize::try_from(place.wrapping_sub(self.first_place)).ok();
        }
        let front = self.slots.front()?.id.get();
        // Identifiers run from the front's without zero, so a wrapped one is one step nearer.
        let distance = id.get().wrapping_sub(front);
        let index = usize::from(if id.get() < front {
            distance.wrapping_sub(1)
        } else {
            distance
        });
        (index < self.slots.len()).then_some(index)
    }

    fn free_id(&mut self) -> Option<NonZeroU16> {
        if self.unfinished >= usize::from(u16::MAX) {
            return None;
        }
        if self.slots.len() >= usize::from(u16::MAX) {
            // The identifiers of gaps are free, and may be the only ones.
            self.build_index();
        }
        let mut id = next_id(self.last_id);
        // At most one more try than there are slots finds one that is free.
        for _ in 0..=self.slots.len() {
            if self.position(id).is_none() {
                return Some(id);
            }
            id = next_id(id.get());
        }
        None
    }
}

/// The identifier after this one; zero is none [MQTT5-2.2.1-3].
const fn next_id(id: u16) -> NonZeroU16 {
    match NonZeroU16::new(id.wrapping_add(1)) {
        Some(next) => next,
        None => NonZeroU16::MIN,
    }
}

/// The place of the slot at `index` when the first is at `first_place`.
fn place(first_place: u32, index: usize) -> u32 {
    // A window has far fewer slots.
    first_place.wrapping_add(u32::try_from(index).unwrap_or(u32::MAX))
}

/// A window that empties gives its buffer back above this many slots.
const IDLE_CAPACITY: usize = 4;
/// Gaps that are worth keeping for the quick way to a slot.
const GAPS_MAX: usize = 64;

#[cfg(test)]
mod tests;
