use super::*;

fn check(version: Version, level: u8, name: &str, has_properties: bool) {
    assert_eq!(version.level(), level);
    assert_eq!(version.protocol_name(), name);
    assert_eq!(version.has_properties(), has_properties);
}

#[test]
fn a_version_has_its_name_and_level() {
    check(Version::V3_1, 3, "MQIsdp", false);
    check(Version::V3_1_1, 4, "MQTT", false);
    check(Version::V5, 5, "MQTT", true);
    assert!(Version::ALL.is_sorted());
}
