use super::*;

#[test]
fn later_moments_are_greater() {
    assert_eq!(Time(5).plus_secs(2), Time(2005));
    assert_eq!(Time(5).plus_millis(2), Time(7));
    assert_eq!(Time(5) + Duration::from_millis(1500), Time(1505));
    assert!(Time(5) < Time(7) && Time(7) < Time::NEVER);
}

#[test]
fn nothing_comes_after_never() {
    assert_eq!(Time::NEVER.plus_millis(1), Time::NEVER);
    assert_eq!(Time(1).plus_secs(u64::MAX), Time::NEVER);
    assert_eq!(Time(1) + Duration::MAX, Time::NEVER);
}

#[test]
fn the_time_since_something_later_is_zero() {
    assert_eq!(Time(7).since(Time(5)), Duration::from_millis(2));
    assert_eq!(Time(5).since(Time(7)), Duration::ZERO);
}
