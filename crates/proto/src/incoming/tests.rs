use std::vec::Vec;

use super::*;

fn id(id: u16) -> NonZeroU16 {
    NonZeroU16::new(id).unwrap()
}

/// [MQTT311-4.3.3-2]
#[test]
fn mqtt5_4_3_3_10_a_repeated_message_is_known_until_its_release() {
    let mut incoming = Incoming::default();
    assert_eq!(incoming.get_mut(id(7)), None);
    assert_eq!(incoming.insert(id(7), 'a'), None);
    assert_eq!(incoming.get_mut(id(7)), Some(&mut 'a'));
    assert_eq!(incoming.release(id(7)), Some('a'));
    assert_eq!(incoming.get_mut(id(7)), None);
}

#[test]
fn mqtt5_4_3_3_11_a_message_is_released_once() {
    let mut incoming = Incoming::default();
    incoming.insert(id(7), 'a');
    assert_eq!(incoming.release(id(7)), Some('a'));
    assert_eq!(incoming.release(id(7)), None);
    assert_eq!(incoming.release(id(8)), None);
}

#[test]
fn mqtt5_4_3_3_12_after_its_release_an_identifier_is_new() {
    let mut incoming = Incoming::default();
    incoming.insert(id(1), 'a');
    incoming.release(id(1));
    assert_eq!(incoming.insert(id(1), 'b'), None);
    assert_eq!(incoming.release(id(1)), Some('b'));
}

#[test]
fn another_message_with_the_same_identifier_takes_its_place() {
    let mut incoming = Incoming::default();
    incoming.insert(id(1), 'a');
    assert_eq!(incoming.insert(id(1), 'b'), Some('a'));
    assert_eq!(incoming.len(), 1);
    assert_eq!(incoming.release(id(1)), Some('b'));
}

#[test]
fn any_identifiers_in_any_order_are_kept_apart() {
    let mut incoming = Incoming::default();
    for number in [65_535, 1, 40_000, 3, 2] {
        incoming.insert(id(number), number);
    }
    if let Some(message) = incoming.get_mut(id(3)) {
        *message = 33;
    }
    let kept: Vec<_> = incoming.iter().map(|(id, m)| (id.get(), *m)).collect();
    assert_eq!(
        kept,
        [(1, 1), (2, 2), (3, 33), (40_000, 40_000), (65_535, 65_535)]
    );
    assert_eq!(incoming.release(id(40_000)), Some(40_000));
    assert_eq!((incoming.len(), incoming.is_empty()), (4, false));
}

#[test]
fn all_identifiers_may_be_in_use() {
    let mut incoming = Incoming::default();
    for number in (1..=u16::MAX).rev() {
        assert_eq!(incoming.insert(id(number), number), None);
    }
    assert_eq!(incoming.len(), 65_535);
    for number in 1..=u16::MAX {
        assert_eq!(incoming.release(id(number)), Some(number));
    }
    assert!(incoming.is_empty());
}
