//! [`Outgoing`] against a plain list of deliveries.

use std::num::NonZeroU16;

use midge_codec::{AckKind, QoS};
use midge_proto::{Acked, Outgoing, Resend};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::TestCaseError;

/// A delivery: identifier, what it awaits, its message, and whether this connection has it.
#[derive(Clone, Debug)]
struct Delivery {
    id: NonZeroU16,
    awaits: AckKind,
    message: Option<u32>,
    sent: bool,
}

#[derive(Debug, Default)]
struct Model {
    deliveries: Vec<Delivery>,
    last_id: u16,
}

impl Model {
    fn has_room(&self, receive_maximum: u16) -> bool {
        self.deliveries.len() < usize::from(receive_maximum)
            && self.deliveries.iter().all(|delivery| delivery.sent)
    }

    fn push(&mut self, qos: QoS, message: u32) -> NonZeroU16 {
        let id = loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if let Some(id) = NonZeroU16::new(self.last_id)
                && self.deliveries.iter().all(|delivery| delivery.id != id)
            {
                break id;
            }
        };
        let awaits = match qos {
            QoS::ExactlyOnce => AckKind::PubRec,
            _ => AckKind::PubAck,
        };
        self.deliveries.push(Delivery {
            id,
            awaits,
            message: Some(message),
            sent: true,
        });
        id
    }

    fn acknowledge(&mut self, kind: AckKind, id: NonZeroU16, refused: bool) -> Acked<u32> {
        let known = self.deliveries.iter().position(|known| known.id == id);
        let Some(at) = known else {
            return Acked::Unknown;
        };
        let delivery = &mut self.deliveries[at];
        match (delivery.awaits, kind) {
            (AckKind::PubRec, AckKind::PubRec) if !refused => {
                delivery.awaits = AckKind::PubComp;
                Acked::Release(delivery.message.take())
            }
            (AckKind::PubComp, AckKind::PubRec) if !refused => Acked::Release(None),
            (awaits, kind) if awaits == kind => Acked::Finished(self.deliveries.remove(at).message),
            _ => Acked::Mismatch,
        }
    }

    fn disconnected(&mut self) {
        for delivery in &mut self.deliveries {
            delivery.sent = false;
        }
    }

    fn next_resend(&mut self, receive_maximum: u16) -> Option<Resend<'_, u32>> {
        let under_way = self.deliveries.iter().filter(|known| known.sent).count();
        let delivery = self.deliveries.iter_mut().find(|known| !known.sent)?;
        let qos = match delivery.awaits {
            AckKind::PubAck => QoS::AtLeastOnce,
            AckKind::PubRec => QoS::ExactlyOnce,
            AckKind::PubRel | AckKind::PubComp => {
                delivery.sent = true;
                return Some(Resend::PubRel(delivery.id));
            }
        };
        if under_way >= usize::from(receive_maximum) {
            return None;
        }
        delivery.sent = true;
        let message = delivery.message.as_ref()?;
        Some(Resend::Publish(delivery.id, qos, message))
    }

    fn take(&mut self, wanted: impl Fn(&u32) -> bool) -> Vec<u32> {
        let is_taken = |delivery: &mut Delivery| {
            delivery.awaits == AckKind::PubAck && delivery.message.as_ref().is_some_and(&wanted)
        };
        let taken = self.deliveries.extract_if(.., is_taken);
        taken.filter_map(|delivery| delivery.message).collect()
    }
}

#[derive(Clone, Debug)]
enum Action {
    Push(QoS),
    /// The packet that a delivery awaits.
    Acknowledge(Index, bool),
    /// Any packet for a delivery.
    Confuse(Index, AckKind, bool),
    /// Any packet for any identifier.
    Invent(NonZeroU16, AckKind),
    Disconnect,
    Resend(usize),
    ReceiveMaximum(u16),
    /// Messages that divide so are taken out.
    Take(u32),
    /// Messages that are acknowledged at once, about as many as there are identifiers.
    Round(u32),
}

fn kind() -> impl Strategy<Value = AckKind> {
    select(vec![
        AckKind::PubAck,
        AckKind::PubRec,
        AckKind::PubRel,
        AckKind::PubComp,
    ])
}

fn action() -> impl Strategy<Value = Action> {
    let index = any::<Index>();
    let qos = prop_oneof![Just(QoS::AtLeastOnce), Just(QoS::ExactlyOnce)];
    let id = any::<u16>().prop_filter_map("zero", NonZeroU16::new);
    prop_oneof![
        400 => qos.prop_map(Action::Push),
        300 => (index, prop::bool::weighted(0.1))
            .prop_map(|(index, refused)| Action::Acknowledge(index, refused)),
        30 => (any::<Index>(), kind(), any::<bool>())
            .prop_map(|(index, kind, refused)| Action::Confuse(index, kind, refused)),
        10 => (id, kind()).prop_map(|(id, kind)| Action::Invent(id, kind)),
        10 => Just(Action::Disconnect),
        30 => (0..200_usize).prop_map(Action::Resend),
        10 => prop_oneof![1..9_u16, 50..400_u16, Just(u16::MAX)].prop_map(Action::ReceiveMaximum),
        4 => (2..5_u32).prop_map(Action::Take),
        2 => (65_300..65_600_u32).prop_map(Action::Round),
    ]
}

struct Both {
    real: Outgoing<u32>,
    model: Model,
    receive_maximum: u16,
    next_message: u32,
}

impl Both {
    fn push(&mut self, qos: QoS) -> Result<Option<NonZeroU16>, TestCaseError> {
        if !self.model.has_room(self.receive_maximum) {
            return Ok(None);
        }
        self.next_message += 1;
        let expected = self.model.push(qos, self.next_message);
        prop_assert_eq!(self.real.push(qos, self.next_message), Ok(expected));
        Ok(Some(expected))
    }

    fn acknowledge(
        &mut self,
        kind: AckKind,
        id: NonZeroU16,
        refused: bool,
    ) -> Result<(), TestCaseError> {
        let expected = self.model.acknowledge(kind, id, refused);
        prop_assert_eq!(self.real.acknowledge(kind, id, refused), expected);
        Ok(())
    }

    fn act(&mut self, action: &Action) -> Result<(), TestCaseError> {
        match *action {
            Action::Push(qos) => {
                self.push(qos)?;
            }
            Action::Acknowledge(index, refused) => {
                if let Some(known) = pick(&self.model, index) {
                    self.acknowledge(known.awaits, known.id, refused)?;
                }
            }
            Action::Confuse(index, kind, refused) => {
                if let Some(known) = pick(&self.model, index) {
                    self.acknowledge(kind, known.id, refused)?;
                }
            }
            Action::Invent(id, kind) => self.acknowledge(kind, id, false)?,
            Action::Disconnect => {
                self.model.disconnected();
                self.real.disconnected();
            }
            Action::Resend(most) => {
                for _ in 0..most {
                    let expected = self.model.next_resend(self.receive_maximum);
                    let is_last = expected.is_none();
                    prop_assert_eq!(self.real.next_resend(self.receive_maximum), expected);
                    if is_last {
                        break;
                    }
                }
            }
            Action::ReceiveMaximum(maximum) => self.receive_maximum = maximum,
            Action::Take(divisor) => {
                self.act(&Action::Disconnect)?;
                let expected = self.model.take(|message| message % divisor == 0);
                let taken = self
                    .real
                    .take_unacknowledged(|message| message % divisor == 0);
                prop_assert_eq!(Vec::from(taken), expected);
            }
            Action::Round(count) => {
                for _ in 0..count {
                    let Some(id) = self.push(QoS::AtLeastOnce)? else {
                        break;
                    };
                    self.acknowledge(AckKind::PubAck, id, false)?;
                }
            }
        }
        Ok(())
    }

    fn compare(&self) -> Result<(), TestCaseError> {
        prop_assert_eq!(self.real.len(), self.model.deliveries.len());
        prop_assert_eq!(self.real.is_empty(), self.model.deliveries.is_empty());
        for maximum in [1, self.receive_maximum, u16::MAX] {
            prop_assert_eq!(self.real.has_room(maximum), self.model.has_room(maximum));
        }
        let known = &self.model.deliveries;
        let expected: Vec<_> = known.iter().map(|d| (d.id, d.message.as_ref())).collect();
        prop_assert_eq!(self.real.iter().collect::<Vec<_>>(), expected);
        Ok(())
    }
}

fn pick(model: &Model, index: Index) -> Option<Delivery> {
    let known = &model.deliveries;
    (!known.is_empty()).then(|| known[index.index(known.len())].clone())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64,
        ..ProptestConfig::default()
    })]

    #[test]
    fn it_does_what_a_list_of_deliveries_does(actions in vec(action(), 0..600)) {
        let mut both = Both {
            real: Outgoing::default(),
            model: Model::default(),
            receive_maximum: 200,
            next_message: 0,
        };
        for action in &actions {
            both.act(action)?;
            both.compare()?;
        }
    }
}
