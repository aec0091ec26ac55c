//! [`Incoming`] against a list.

use std::num::NonZeroU16;

use midge_proto::Incoming;
use proptest::collection::vec;
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
enum Action {
    Insert(NonZeroU16, u32),
    Release(NonZeroU16),
    Change(NonZeroU16, u32),
}

/// Few enough identifiers to meet again, the outermost among them.
fn id() -> impl Strategy<Value = NonZeroU16> {
    prop_oneof![1..20_u16, 65_530..=u16::MAX].prop_filter_map("zero", NonZeroU16::new)
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        4 => (id(), any::<u32>()).prop_map(|(id, message)| Action::Insert(id, message)),
        3 => id().prop_map(Action::Release),
        1 => (id(), any::<u32>()).prop_map(|(id, message)| Action::Change(id, message)),
    ]
}

proptest! {
    #[test]
    fn it_keeps_what_a_list_keeps(actions in vec(action(), 0..200)) {
        let mut incoming = Incoming::default();
        let mut list: Vec<(NonZeroU16, u32)> = Vec::new();
        for action in actions {
            match action {
                Action::Insert(id, message) => {
                    let at = list.iter().position(|(known, _)| *known == id);
                    let old = at.map(|at| list.swap_remove(at).1);
                    list.push((id, message));
                    prop_assert_eq!(incoming.insert(id, message), old);
                }
                Action::Release(id) => {
                    let at = list.iter().position(|(known, _)| *known == id);
                    let message = at.map(|at| list.swap_remove(at).1);
                    prop_assert_eq!(incoming.release(id), message);
                }
                Action::Change(id, changed) => {
                    let known = list.iter_mut().find(|(known, _)| *known == id);
                    let message = incoming.get_mut(id);
                    prop_assert_eq!(message.as_deref(), known.as_ref().map(|(_, m)| m));
                    if let (Some(message), Some((_, known))) = (message, known) {
                        (*message, *known) = (changed, changed);
                    }
                }
            }
            prop_assert_eq!(incoming.len(), list.len());
            prop_assert_eq!(incoming.is_empty(), list.is_empty());
        }
        list.sort_unstable();
        let kept: Vec<_> = incoming.iter().map(|(id, message)| (id, *message)).collect();
        prop_assert_eq!(kept, list);
    }
}
