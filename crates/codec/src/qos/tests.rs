use super::*;

/// `[MQTT5-3.3.1-4]`, `[MQTT311-3.3.1-4]`
#[test]
fn there_are_three_levels_and_no_more() {
    for bits in 0..=u8::MAX {
        let qos = QoS::from_bits(bits);
        assert_eq!(qos.map(QoS::bits), (bits < 3).then_some(bits));
    }
    assert!(QoS::AtMostOnce < QoS::AtLeastOnce && QoS::AtLeastOnce < QoS::ExactlyOnce);
}
