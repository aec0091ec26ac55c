use super::*;

const START: Time = Time(10_000);

/// [MQTT311-3.1.2-24]
#[test]
fn mqtt5_3_1_2_22_a_server_waits_one_and_a_half_intervals() {
    let keep_alive = KeepAlive::new(10, START);
    assert_eq!(keep_alive.server_deadline(), Time(25_000));
    assert_eq!(KeepAlive::new(1, START).server_deadline(), Time(11_500));
    let longest = KeepAlive::new(u16::MAX, START).server_deadline();
    assert_eq!(longest, Time(10_000 + 98_302_500));
}

#[test]
fn every_packet_of_the_client_starts_the_wait_anew() {
    let mut keep_alive = KeepAlive::new(10, START);
    keep_alive.active(Time(20_000));
    assert_eq!(keep_alive.server_deadline(), Time(35_000));
}

#[test]
fn an_interval_of_zero_waits_for_ever() {
    let mut keep_alive = KeepAlive::new(0, START);
    keep_alive.active(Time(20_000));
    assert_eq!(keep_alive.server_deadline(), Time::NEVER);
    assert_eq!(keep_alive.client_deadline(), Time::NEVER);
    assert_eq!(keep_alive.interval_secs(), 0);
}

/// [MQTT311-3.1.2-23]
#[test]
fn mqtt5_3_1_2_20_an_idle_client_pings_after_an_interval() {
    let mut keep_alive = KeepAlive::new(10, START);
    assert_eq!(keep_alive.client_deadline(), Time(20_000));
    keep_alive.active(Time(19_000));
    assert_eq!(keep_alive.client_deadline(), Time(29_000));
}

#[test]
fn a_client_gives_the_server_up_when_its_ping_stays_unanswered() {
    let mut keep_alive = KeepAlive::new(10, START);
    keep_alive.ping_sent(Time(20_000));
    assert!(keep_alive.awaits_pong());
    keep_alive.active(Time(25_000));
    assert_eq!(
        keep_alive.client_deadline(),
        Time(30_000),
        "what the client sends does not prove that the server lives"
    );
}

#[test]
fn an_answered_ping_leaves_the_client_in_peace_for_an_interval_after_it() {
    let mut keep_alive = KeepAlive::new(10, START);
    keep_alive.ping_sent(Time(20_000));
    keep_alive.pong_received();
    assert!(!keep_alive.awaits_pong());
    assert_eq!(keep_alive.client_deadline(), Time(30_000));
}

#[test]
fn deadlines_at_the_end_of_time_do_not_wrap() {
    let keep_alive = KeepAlive::new(u16::MAX, Time(u64::MAX - 1));
    assert_eq!(keep_alive.server_deadline(), Time::NEVER);
    assert_eq!(keep_alive.client_deadline(), Time::NEVER);
}
