use super::*;

#[test]
fn a_key_of_a_removed_entry_names_nothing_even_after_reuse() {
    let mut slots = Slots::new();
    let first = slots.insert("first").unwrap();
    assert_eq!(slots.remove(first), Some("first"));
    let second = slots.insert("second").unwrap();
    assert_eq!(second.slot(), first.slot());
    assert_eq!(slots.get(first), None);
    assert_eq!(slots.get_mut(first), None);
    assert_eq!(slots.remove(first), None);
    assert_eq!(slots.get(second), Some(&"second"));
    assert_eq!(slots.len(), 1);
}

#[test]
fn many_entries_keep_their_own_values() {
    let mut slots = Slots::new();
    let keys: Vec<Key> = (0..5000).map(|n| slots.insert(n).unwrap()).collect();
    for key in keys.iter().step_by(3) {
        slots.remove(*key);
    }
    let again: Vec<Key> = (0..1000)
        .map(|n| slots.insert(n + 10_000).unwrap())
        .collect();
    for (n, key) in keys.iter().enumerate() {
        assert_eq!(slots.get(*key).copied(), (n % 3 != 0).then_some(n));
    }
    for (n, key) in again.iter().enumerate() {
        assert_eq!(slots.get(*key).copied(), Some(n + 10_000));
    }
    assert_eq!(slots.iter().count(), slots.len());
    assert!(
        slots
            .iter()
            .all(|(key, value)| slots.get(key) == Some(value))
    );
    assert!(
        slots.chunks.len() <= 5,
        "freed slots are used before new ones"
    );
}

#[test]
fn a_key_from_elsewhere_names_nothing() {
    let mut slots = Slots::new();
    slots.insert(1).unwrap();
    let reserved = Key::reserved(0).unwrap();
    assert_eq!(slots.get(reserved), None);
    assert_eq!(slots.remove(reserved), None);
    assert_eq!(slots.get(Key::new(0, 1)), None);
}

#[test]
fn an_empty_table_costs_nothing_and_a_slot_costs_tens_of_bytes() {
    let slots = Slots::<Box<u64>>::default();
    assert!(slots.is_empty());
    assert_eq!(slots.chunks.capacity(), 0);
    assert!(size_of::<Entry<Box<u64>>>() <= 16);
}
