use super::*;

fn gate(rate: u32) -> AcceptGate {
    AcceptGate::new(NonZeroU32::new(rate), 1000)
}

#[test]
fn without_a_rate_everything_passes() {
    let mut gate = gate(0);
    assert_eq!(gate.allows(1000, usize::MAX), usize::MAX);
    gate.passed(usize::MAX);
    assert_eq!(gate.allows(1000, 7), 7);
    assert_eq!(gate.opens_at_ms(), None);
}

#[test]
fn a_burst_of_one_second_passes_and_then_the_rate_holds() {
    let mut gate = gate(100);
    assert_eq!(gate.allows(1000, 1000), 100);
    gate.passed(100);
    assert_eq!(gate.allows(1000, 1000), 0);
    assert_eq!(gate.opens_at_ms(), Some(1010));
    assert_eq!(gate.allows(1009, 1), 0);
    assert_eq!(gate.allows(1010, 1000), 1);
    assert_eq!(gate.allows(1500, 1000), 50);
    assert_eq!(
        gate.allows(60_000, 1000),
        100,
        "no more than a second is saved up"
    );
}

#[test]
fn over_ten_seconds_exactly_the_rate_passes() {
    for rate in [1, 3, 7, 999, 5000] {
        let mut gate = gate(rate);
        let mut passed = 0;
        gate.passed(rate as usize);
        for now_ms in 1001..=11_000 {
            let allowed = gate.allows(now_ms, 64);
            gate.passed(allowed);
            passed += allowed;
        }
        assert_eq!(passed, 10 * rate as usize, "at {rate} per second");
    }
}

#[test]
fn the_gate_opens_when_it_says() {
    for rate in [1, 3, 700, 1000, 1001, u32::MAX] {
        let mut gate = gate(rate);
        gate.passed(usize::MAX);
        let opens_at_ms = gate.opens_at_ms().unwrap();
        assert_eq!(
            gate.clone().allows(opens_at_ms - 1, 1),
            0,
            "at {rate} per second"
        );
        assert_eq!(gate.allows(opens_at_ms, 1), 1, "at {rate} per second");
        assert_eq!(gate.opens_at_ms(), None);
    }
}

#[test]
fn only_what_was_accepted_counts() {
    let mut gate = gate(10);
    assert_eq!(gate.allows(1000, 8), 8);
    gate.passed(2);
    assert_eq!(gate.allows(1000, 100), 8);
}

#[test]
fn time_that_runs_backwards_gives_nothing() {
    let mut gate = gate(10);
    gate.passed(10);
    assert_eq!(gate.allows(0, 1), 0);
    assert_eq!(gate.allows(1000, 1), 0);
    assert_eq!(gate.allows(u64::MAX, 100), 10);
}

#[test]
fn a_reload_changes_the_rate_and_forgives_nothing() {
    let mut gate = gate(10);
    gate.passed(10);
    gate.set_rate(NonZeroU32::new(1000), 1000);
    assert_eq!(gate.allows(1000, 100), 0);
    assert_eq!(gate.allows(1010, 100), 10);
    gate.set_rate(None, 1010);
    assert_eq!(gate.allows(1010, 100_000), 100_000);
    gate.set_rate(NonZeroU32::new(5), 2000);
    assert_eq!(gate.allows(2000, 100), 5);
}
