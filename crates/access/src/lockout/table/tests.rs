use super::*;

fn keys(table: &Table<u32, u32>) -> Vec<u32> {
    let mut keys: Vec<_> = table.iter().map(|(key, _)| *key).collect();
    keys.sort_unstable();
    keys
}

/// Values 0, 1 and 2 are worth nothing, something and much.
fn worth(value: &u32) -> Worth {
    [Worth::Nothing, Worth::Something, Worth::Much][*value as usize]
}

fn filled(values: &[u32]) -> Table<u32, u32> {
    let mut table = Table::new(values.len());
    for (key, value) in (0..).zip(values) {
        *table.entry(key, |_| Worth::Something) = *value;
    }
    table
}

#[test]
fn the_oldest_goes_when_there_is_no_room() {
    let mut table = filled(&[1; 4]);
    table.entry(9, worth);
    assert_eq!(keys(&table), [1, 2, 3, 9]);
}

#[test]
fn what_is_worth_much_stays_longer_and_what_is_worth_nothing_goes_at_once() {
    let mut table = filled(&[2, 2, 1, 2]);
    table.entry(9, worth);
    assert_eq!(keys(&table), [0, 1, 3, 9]);
    let mut table = filled(&[2, 0, 1, 0]);
    table.entry(9, worth);
    assert_eq!(keys(&table), [0, 2, 3, 9]);
    // Of those that are worth much one goes at last, too.
    let mut table = filled(&[2; 4]);
    table.entry(9, worth);
    assert_eq!(table.len(), 4);
    assert!(table.get(&9).is_some());
}

#[test]
fn it_never_has_more_than_it_may_and_each_key_once() {
    let mut table = Table::new(100);
    for number in 0..10_000_u32 {
        let key = number * 7919 % 1_000;
        *table.entry(key, worth) = 1 + number % 2;
        if number % 13 == 0 {
            table.remove(&key);
        }
        assert!(table.len() <= 100);
        assert_eq!(table.order.len(), table.map.len());
    }
}

#[test]
fn a_known_key_pushes_nobody_out() {
    let mut table = filled(&[1; 3]);
    *table.entry(0, worth) = 2;
    assert_eq!(keys(&table), [0, 1, 2]);
    assert_eq!(table.get(&0), Some(&2));
    assert!(table.remove(&0) && !table.remove(&0));
    assert_eq!(table.get(&0), None);
}
