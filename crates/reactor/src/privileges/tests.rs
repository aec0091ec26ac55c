use super::*;
use crate::testing::in_own_process;

use nix::unistd::{getegid, getgroups};

#[test]
fn a_user_that_does_not_exist_is_refused_by_name() {
    if !in_own_process("privileges::tests::a_user_that_does_not_exist_is_refused_by_name") {
        return;
    }
    let result = drop_privileges("no-such-user");
    if running_as_root() {
        let error = result.unwrap_err().to_string();
        assert!(
            error.starts_with("Error: Invalid user 'no-such-user'."),
            "{error}"
        );
        assert!(matches!(
            drop_privileges("a\0b"),
            Err(PrivilegeError::NoSuchUser(_))
        ));
        assert!(running_as_root());
    } else {
        // The option means nothing without root, as with Mosquitto.
        assert!(!result.unwrap().root);
    }
}

#[test]
fn root_may_stay_root_and_says_so() {
    if !in_own_process("privileges::tests::root_may_stay_root_and_says_so") {
        return;
    }
    let was_root = running_as_root();
    let identity = drop_privileges("root").unwrap();
    assert_eq!(identity.root, was_root);
    assert_eq!(running_as_root(), was_root);
    assert_eq!(drop_privileges_to_ids(None, Some(0)).unwrap(), identity);
}

#[test]
fn a_user_is_taken_on_for_good_with_its_groups() {
    if !in_own_process("privileges::tests::a_user_is_taken_on_for_good_with_its_groups")
        || !running_as_root()
    {
        return;
    }
    let Some(nobody) = find(FALLBACK_USER).unwrap() else {
        return;
    };
    let identity = drop_privileges(FALLBACK_USER).unwrap();
    let expected = Identity {
        user: nobody.name.clone(),
        root: false,
        fell_back: false,
    };
    assert_eq!(identity, expected);
    assert_eq!((geteuid(), getegid()), (nobody.uid, nobody.gid));
    assert!(getgroups().unwrap().iter().all(|group| group.as_raw() != 0));
    assert!(setuid(Uid::from_raw(0)).is_err(), "there is no way back");
    assert_eq!(drop_privileges("root").unwrap(), expected);
}

#[test]
fn the_default_user_may_be_missing() {
    if !in_own_process("privileges::tests::the_default_user_may_be_missing")
        || !running_as_root()
        || find(FALLBACK_USER).unwrap().is_none()
    {
        return;
    }
    let has_default = find(DEFAULT_USER).unwrap().is_some();
    let identity = drop_privileges(DEFAULT_USER).unwrap();
    assert_eq!(identity.fell_back, !has_default);
    assert!(!identity.root);
}

#[test]
fn numbers_need_no_account() {
    if !in_own_process("privileges::tests::numbers_need_no_account") || !running_as_root() {
        return;
    }
    let identity = drop_privileges_to_ids(Some(54_321), Some(54_322)).unwrap();
    assert_eq!(identity.user, "54321");
    assert_eq!((geteuid().as_raw(), getegid().as_raw()), (54_321, 54_322));
    assert!(
        getgroups()
            .unwrap()
            .iter()
            .all(|group| group.as_raw() == 54_322)
    );
}
