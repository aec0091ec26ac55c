use std::string::ToString;
use std::vec::Vec;

use super::*;

const QOS_1: QoS = QoS::AtLeastOnce;
const QOS_2: QoS = QoS::ExactlyOnce;
const ALL_IDS: u32 = 65_535;

fn id(id: u16) -> NonZeroU16 {
    NonZeroU16::new(id).unwrap()
}

/// A window of QoS 1 messages 0, 1, 2 …
fn window(count: u32) -> Window<u32> {
    let mut window = Window::default();
    for message in 0..count {
        assert!(window.push(QOS_1, message).is_ok());
    }
    window
}

fn puback<M>(window: &mut Window<M>, number: u16) -> Acked<M> {
    window.acknowledge(AckKind::PubAck, id(number), false)
}

fn pubrec<M>(window: &mut Window<M>, number: u16) -> Acked<M> {
    window.acknowledge(AckKind::PubRec, id(number), false)
}

fn pubcomp<M>(window: &mut Window<M>, number: u16) -> Acked<M> {
    window.acknowledge(AckKind::PubComp, id(number), false)
}

fn ids<M>(window: &Window<M>) -> Vec<u16> {
    window.iter().map(|(id, _)| id.get()).collect()
}

/// All that is sent again, as "kind id message".
fn resends(window: &mut Window<u32>, receive_maximum: u16) -> Vec<std::string::String> {
    let mut sent = Vec::new();
    while let Some(resend) = window.next_resend(receive_maximum) {
        sent.push(match resend {
            Resend::Publish(id, qos, message) => {
                std::format!("PUBLISH{} {id} {message}", qos.bits())
            }
            Resend::PubRel(id) => std::format!("PUBREL {id}"),
        });
    }
    sent
}

/// [MQTT311-2.3.1-4]
#[test]
fn mqtt5_2_2_1_4_identifiers_begin_at_one_and_rise() {
    assert_eq!(ids(&window(3)), [1, 2, 3]);
}

#[test]
fn mqtt5_2_2_1_4_identifiers_go_on_after_those_that_are_finished() {
    let mut window = window(2);
    puback(&mut window, 1);
    puback(&mut window, 2);
    assert_eq!(window.push(QOS_1, 7), Ok(id(3)));
}

#[test]
fn mqtt5_2_2_1_4_after_65535_comes_one_and_never_zero() {
    let mut window = Window::default();
    for round in 0..2 * ALL_IDS {
        let given = window.push(QOS_1, round).unwrap();
        assert_eq!(u32::from(given.get()), round % ALL_IDS + 1);
        assert_eq!(
            puback(&mut window, given.get()),
            Acked::Finished(Some(round))
        );
    }
}

#[test]
fn acknowledgements_find_their_messages_across_the_wrap() {
    let mut window = Window::default();
    for message in 0..ALL_IDS - 2 {
        let given = window.push(QOS_1, message).unwrap();
        puback(&mut window, given.get());
    }
    for message in [1, 2, 3, 4] {
        assert!(window.push(QOS_1, message).is_ok());
    }
    assert_eq!(ids(&window), [65_534, 65_535, 1, 2]);
    assert_eq!(puback(&mut window, 1), Acked::Finished(Some(3)));
    assert_eq!(puback(&mut window, 65_535), Acked::Finished(Some(2)));
    assert_eq!(puback(&mut window, 2), Acked::Finished(Some(4)));
    assert_eq!(puback(&mut window, 3), Acked::Unknown);
    assert_eq!(puback(&mut window, 65_534), Acked::Finished(Some(1)));
    assert!(window.is_empty());
}

#[test]
fn mqtt5_2_2_1_4_an_identifier_in_use_is_left_out_after_the_wrap() {
    let mut window = window(3);
    puback(&mut window, 1);
    puback(&mut window, 3);
    for message in 3..ALL_IDS {
        let given = window.push(QOS_1, message).unwrap();
        puback(&mut window, given.get());
    }
    assert_eq!(window.push(QOS_1, 0), Ok(id(1)));
    assert_eq!(window.push(QOS_1, 0), Ok(id(3)), "2 is in use");
    assert_eq!(ids(&window), [2, 1, 3]);
    assert_eq!(puback(&mut window, 2), Acked::Finished(Some(1)));
    assert_eq!(puback(&mut window, 3), Acked::Finished(Some(0)));
    assert_eq!(puback(&mut window, 1), Acked::Finished(Some(0)));
}

#[test]
fn with_all_identifiers_in_use_a_message_comes_back() {
    let mut window = window(ALL_IDS);
    assert_eq!(window.push(QOS_1, 99), Err(99));
    assert_eq!(window.len(), 65_535);
    assert!(!window.has_room(u16::MAX));
    puback(&mut window, 1);
    assert!(window.has_room(u16::MAX));
    assert_eq!(window.push(QOS_1, 99), Ok(id(1)));
}

/// Regression: the gap kept its identifier, so a window with room took nothing.
#[test]
fn the_last_free_identifier_is_found_in_the_middle_of_the_window() {
    let mut window = window(ALL_IDS);
    for round in 0..200_u32 {
        let freed = 30_000 + u16::try_from(round * 7 % 1000).unwrap();
        assert!(matches!(
            puback(&mut window, freed),
            Acked::Finished(Some(_))
        ));
        assert!(window.has_room(u16::MAX));
        assert_eq!(window.push(QOS_1, 100_000 + round), Ok(id(freed)));
        assert_eq!(window.push(QOS_1, 0), Err(0));
    }
    assert_eq!(window.iter().next(), Some((id(1), Some(&0))));
    assert_eq!(puback(&mut window, 65_535), Acked::Finished(Some(65_534)));
}

/// Regression: identifiers that happened to span as many numbers as there were deliveries were taken
/// for consecutive ones, and one of them was not found.
#[test]
fn mqtt5_2_2_1_4_deliveries_of_several_rounds_are_told_apart() {
    let mut window = window(2);
    for message in 2..99 {
        window.push(QOS_1, message).unwrap();
    }
    // 1 and 99 stay for ever, 2 for one round.
    for number in 3..99 {
        puback(&mut window, number);
    }
    for message in 99..ALL_IDS {
        let given = window.push(QOS_1, message).unwrap();
        puback(&mut window, given.get());
    }
    assert_eq!(window.push(QOS_1, 7), Ok(id(3)));
    puback(&mut window, 2);
    while window.slots.len() > 3 {
        let given = window.push(QOS_1, 0).unwrap();
        puback(&mut window, given.get());
    }
    assert_eq!(ids(&window), [1, 99, 3]);
    assert_eq!(puback(&mut window, 99), Acked::Finished(Some(98)));
    assert_eq!(puback(&mut window, 3), Acked::Finished(Some(7)));
}

#[test]
fn acknowledgements_in_order_empty_the_window() {
    let mut window = window(1000);
    for (message, number) in (1..=1000).enumerate() {
        let message = u32::try_from(message).unwrap();
        assert_eq!(puback(&mut window, number), Acked::Finished(Some(message)));
    }
    assert_eq!((window.len(), window.is_empty()), (0, true));
    assert!(window.slots.capacity() <= IDLE_CAPACITY, "it costs nothing");
}

#[test]
fn acknowledgements_in_reverse_order_empty_the_window() {
    let mut window = window(1000);
    for number in (1..=1000).rev() {
        let message = u32::from(number) - 1;
        assert_eq!(puback(&mut window, number), Acked::Finished(Some(message)));
    }
    assert!(window.is_empty());
    assert!(window.slots.capacity() <= IDLE_CAPACITY);
    assert!(window.index.is_none());
}

#[test]
fn a_second_acknowledgement_is_unknown() {
    let mut window = window(3);
    assert_eq!(puback(&mut window, 2), Acked::Finished(Some(1)));
    assert_eq!(puback(&mut window, 2), Acked::Unknown);
    assert_eq!(pubrec(&mut window, 2), Acked::Unknown);
    assert_eq!(puback(&mut window, 4), Acked::Unknown);
    assert_eq!(puback(&mut Window::<u8>::default(), 1), Acked::Unknown);
}

#[test]
fn a_stuck_first_delivery_bounds_memory_and_not_traffic() {
    let mut window = window(1);
    for message in 1..200_000 {
        let given = window.push(QOS_2, message).unwrap();
        assert_ne!(given, id(1));
        assert_eq!(
            pubrec(&mut window, given.get()),
            Acked::Release(Some(message))
        );
        assert_eq!(pubcomp(&mut window, given.get()), Acked::Finished(None));
        assert!(window.slots.len() <= 2 + GAPS_MAX + 1);
    }
    assert!(window.slots.capacity() <= 4 * (2 + GAPS_MAX));
    assert_eq!(ids(&window), [1]);
    assert_eq!(puback(&mut window, 1), Acked::Finished(Some(0)));
    assert!(window.is_empty());
}

#[test]
fn mqtt5_4_3_3_qos_2_takes_pubrec_then_pubcomp() {
    let mut window = Window::default();
    assert_eq!(window.push(QOS_2, 'm'), Ok(id(1)));
    assert_eq!(pubrec(&mut window, 1), Acked::Release(Some('m')));
    assert_eq!(window.len(), 1, "the identifier stays in use until PUBCOMP");
    assert_eq!(window.iter().collect::<Vec<_>>(), [(id(1), None)]);
    assert_eq!(pubcomp(&mut window, 1), Acked::Finished(None));
    assert!(window.is_empty());
}

#[test]
fn mqtt5_4_3_3_4_pubrec_again_asks_for_pubrel_again() {
    let mut window = Window::default();
    window.push(QOS_2, 'm').unwrap();
    assert_eq!(pubrec(&mut window, 1), Acked::Release(Some('m')));
    assert_eq!(pubrec(&mut window, 1), Acked::Release(None));
    assert_eq!(window.len(), 1);
}

#[test]
fn mqtt5_4_4_0_2_an_error_in_pubrec_ends_the_delivery() {
    let mut window = Window::default();
    window.push(QOS_2, 'm').unwrap();
    let acked = window.acknowledge(AckKind::PubRec, id(1), true);
    assert_eq!(acked, Acked::Finished(Some('m')));
    assert!(window.has_room(1), "the window has its room back");
    window.disconnected();
    assert_eq!(window.next_resend(1), None);
}

#[test]
fn mqtt5_4_4_0_2_an_error_in_puback_ends_the_delivery() {
    let mut window = window(1);
    let acked = window.acknowledge(AckKind::PubAck, id(1), true);
    assert_eq!(acked, Acked::Finished(Some(0)));
    window.disconnected();
    assert_eq!(window.next_resend(1), None);
}

#[test]
fn an_acknowledgement_of_another_step_is_a_mismatch_and_changes_nothing() {
    let mut window = Window::default();
    window.push(QOS_1, 'a').unwrap();
    window.push(QOS_2, 'b').unwrap();
    window.push(QOS_2, 'c').unwrap();
    pubrec(&mut window, 3);
    for (kind, number, refused) in [
        (AckKind::PubRec, 1, false),
        (AckKind::PubRec, 1, true),
        (AckKind::PubComp, 1, false),
        (AckKind::PubRel, 1, false),
        (AckKind::PubAck, 2, false),
        (AckKind::PubComp, 2, false),
        (AckKind::PubRel, 2, false),
        (AckKind::PubAck, 3, false),
        // An error after the good PUBREC.
        (AckKind::PubRec, 3, true),
    ] {
        let acked = window.acknowledge(kind, id(number), refused);
        assert_eq!(acked, Acked::Mismatch, "{kind:?} {number}");
    }
    assert_eq!(window.len(), 3);
    assert_eq!(puback(&mut window, 1), Acked::Finished(Some('a')));
    assert_eq!(pubrec(&mut window, 2), Acked::Release(Some('b')));
    assert_eq!(pubcomp(&mut window, 3), Acked::Finished(None));
}

#[test]
fn mqtt5_4_9_0_2_the_receive_maximum_bounds_what_is_unfinished() {
    let mut window = window(2);
    assert!(window.has_room(3));
    assert!(!window.has_room(2));
    let given = window.push(QOS_2, 2).unwrap();
    assert!(!window.has_room(3));
    pubrec(&mut window, given.get());
    assert!(!window.has_room(3), "only PUBCOMP gives the room back");
    pubcomp(&mut window, given.get());
    assert!(window.has_room(3));
    assert!(!window.has_room(0));
}

/// [MQTT311-4.6.0-1]
#[test]
fn mqtt5_4_6_0_1_resends_keep_the_original_order() {
    let mut window = Window::default();
    for (message, qos) in [QOS_1, QOS_2, QOS_1, QOS_2, QOS_1].into_iter().enumerate() {
        window.push(qos, u32::try_from(message).unwrap()).unwrap();
    }
    pubrec(&mut window, 2);
    puback(&mut window, 3);
    window.disconnected();
    assert!(!window.has_room(u16::MAX), "resends come first");
    assert_eq!(
        resends(&mut window, u16::MAX),
        ["PUBLISH1 1 0", "PUBREL 2", "PUBLISH2 4 3", "PUBLISH1 5 4"]
    );
    assert!(window.has_room(u16::MAX));
}

#[test]
fn mqtt5_4_4_0_1_nothing_is_sent_again_without_a_new_connection() {
    let mut window = window(3);
    assert_eq!(window.next_resend(u16::MAX), None);
    window.disconnected();
    assert_eq!(resends(&mut window, u16::MAX).len(), 3);
    assert_eq!(window.next_resend(u16::MAX), None);
    window.disconnected();
    assert_eq!(resends(&mut window, u16::MAX).len(), 3);
}

#[test]
fn mqtt5_4_3_3_6_after_pubrec_only_pubrel_is_sent_again() {
    let mut window = Window::default();
    window.push(QOS_2, 5).unwrap();
    window.disconnected();
    assert_eq!(resends(&mut window, 1), ["PUBLISH2 1 5"]);
    pubrec(&mut window, 1);
    window.disconnected();
    assert_eq!(resends(&mut window, 1), ["PUBREL 1"]);
}

#[test]
fn mqtt5_4_9_0_2_a_smaller_receive_maximum_spreads_the_resends() {
    let mut window = window(5);
    window.disconnected();
    assert_eq!(resends(&mut window, 2), ["PUBLISH1 1 0", "PUBLISH1 2 1"]);
    assert!(!window.has_room(2));
    puback(&mut window, 2);
    assert_eq!(resends(&mut window, 2), ["PUBLISH1 3 2"]);
    puback(&mut window, 1);
    puback(&mut window, 3);
    assert_eq!(resends(&mut window, 2), ["PUBLISH1 4 3", "PUBLISH1 5 4"]);
    puback(&mut window, 4);
    assert!(window.has_room(2));
}

#[test]
fn an_acknowledgement_before_the_resend_saves_the_resend() {
    let mut window = window(3);
    window.disconnected();
    assert_eq!(puback(&mut window, 2), Acked::Finished(Some(1)));
    assert_eq!(resends(&mut window, 9), ["PUBLISH1 1 0", "PUBLISH1 3 2"]);
    assert!(window.has_room(9));
}

#[test]
fn mqtt5_4_9_0_3_pubrel_is_sent_again_whatever_the_receive_maximum() {
    let mut window = Window::default();
    for message in 0..3 {
        window.push(QOS_2, message).unwrap();
    }
    pubrec(&mut window, 1);
    pubrec(&mut window, 2);
    window.disconnected();
    assert_eq!(resends(&mut window, 1), ["PUBREL 1", "PUBREL 2"]);
    pubcomp(&mut window, 1);
    assert_eq!(window.next_resend(1), None);
    pubcomp(&mut window, 2);
    assert_eq!(resends(&mut window, 1), ["PUBLISH2 3 2"]);
}

#[test]
fn gaps_at_the_end_do_not_hold_up_new_messages() {
    let mut window = window(3);
    puback(&mut window, 3);
    window.disconnected();
    assert_eq!(resends(&mut window, 9).len(), 2);
    assert!(window.has_room(9));
    assert_eq!(window.push(QOS_1, 9), Ok(id(4)));
}

#[test]
fn resends_go_on_where_they_were_when_gaps_are_dropped() {
    let mut window = window(300);
    window.disconnected();
    assert_eq!(resends(&mut window, 150).len(), 150);
    for number in 2..=149 {
        puback(&mut window, number);
    }
    for number in 151..=299 {
        puback(&mut window, number);
    }
    assert!(window.slots.len() < 100, "gaps were dropped");
    assert_eq!(resends(&mut window, 150), ["PUBLISH1 300 299"]);
    assert_eq!(ids(&window), [1, 150, 300]);
}

#[test]
fn what_is_taken_out_is_over_and_comes_in_order() {
    let mut window = Window::default();
    for message in 0..6 {
        let qos = if message == 4 { QOS_2 } else { QOS_1 };
        window.push(qos, message).unwrap();
    }
    puback(&mut window, 3);
    window.disconnected();
    let taken = window.take_unacknowledged(|message| message % 2 == 0);
    assert_eq!(taken, [0], "2 is finished, and 4 is of QoS 2");
    let taken = window.take_unacknowledged(|message| *message > 0);
    assert_eq!(taken, [1, 3, 5]);
    assert_eq!((window.len(), ids(&window)), (1, [5].to_vec()));
    assert_eq!(puback(&mut window, 2), Acked::Unknown);
    assert_eq!(resends(&mut window, 9), ["PUBLISH2 5 4"]);
    assert!(window.has_room(2));
}

#[test]
fn a_window_that_is_taken_out_whole_costs_nothing() {
    let mut window = window(1000);
    window.disconnected();
    assert_eq!(window.take_unacknowledged(|_| true).len(), 1000);
    assert!(window.is_empty() && window.has_room(1));
    assert!(window.slots.capacity() <= IDLE_CAPACITY);
    assert_eq!(
        window.push(QOS_1, 7).map(|id| id.to_string()),
        Ok("1001".into())
    );
}

#[test]
fn a_held_message_is_sent_once_when_it_is_let_go() {
    let mut window = Window::default();
    let first = window.push(QoS::AtLeastOnce, 'a').unwrap();
    let held = window.push_held(QoS::ExactlyOnce, 'b').unwrap();
    assert!(window.has_held());
    assert_eq!(window.let_go(held), Some(&'b'));
    assert_eq!(window.let_go(held), None);
    window.disconnected();
    assert!(matches!(window.next_resend(10), Some(Resend::Publish(id, ..)) if id == first));
    assert!(matches!(window.next_resend(10), Some(Resend::Publish(id, ..)) if id == held));
}

#[test]
fn a_held_message_outlives_its_connection_and_is_due_again_on_the_next_one() {
    let mut window = Window::default();
    let first = window.push(QoS::AtLeastOnce, 'a').unwrap();
    let held = window.push_held(QoS::ExactlyOnce, 'b').unwrap();
    window.disconnected();
    assert!(!window.has_held());
    assert_eq!(window.let_go(held), None, "the next connection sends it");
    assert!(matches!(window.next_resend(1), Some(Resend::Publish(id, ..)) if id == first));
    assert_eq!(window.next_resend(1), None, "its receive maximum counts");
    assert!(matches!(window.next_resend(2), Some(Resend::Publish(id, ..)) if id == held));
    assert_eq!(window.next_resend(2), None);
}
