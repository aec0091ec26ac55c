use super::*;
use crate::testing::in_own_process;

#[test]
fn the_limit_is_raised_as_far_as_it_goes() {
    if !in_own_process("descriptors::tests::the_limit_is_raised_as_far_as_it_goes") {
        return;
    }
    setrlimit(Resource::RLIMIT_NOFILE, 64, 128).unwrap();
    let expected = DescriptorLimit {
        soft: 128,
        hard: 128,
    };
    assert_eq!(raise_descriptor_limit(), Some(expected));
    assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap(), (128, 128));
    assert_eq!(
        raise_descriptor_limit(),
        Some(expected),
        "nothing left to raise"
    );
}

#[test]
fn the_reserve_frees_one_descriptor_for_a_step_and_takes_it_back() {
    if !in_own_process(
        "descriptors::tests::the_reserve_frees_one_descriptor_for_a_step_and_takes_it_back",
    ) {
        return;
    }
    setrlimit(Resource::RLIMIT_NOFILE, 64, 64).unwrap();
    let mut reserve = DescriptorReserve::new().unwrap();
    let mut hoard: Vec<UnixDatagram> = Vec::new();
    hoard.extend(std::iter::from_fn(|| UnixDatagram::unbound().ok()));
    assert!(hoard.len() < 64);
    for _ in 0..3 {
        reserve
            .lend(|| drop(UnixDatagram::unbound().unwrap()))
            .unwrap();
        assert!(UnixDatagram::unbound().is_err(), "the reserve has it back");
    }
    // Whoever keeps what was lent leaves the reserve empty, until something is closed.
    let kept = reserve.lend(|| UnixDatagram::unbound().unwrap()).unwrap();
    assert!(reserve.lend(|| ()).is_none());
    drop(kept);
    assert!(reserve.lend(|| ()).is_some());
}

#[test]
fn the_last_descriptors_are_kept_back_until_the_limit_is_raised() {
    if !in_own_process(
        "descriptors::tests::the_last_descriptors_are_kept_back_until_the_limit_is_raised",
    ) {
        return;
    }
    setrlimit(Resource::RLIMIT_NOFILE, 64, 256).unwrap();
    let mut reserve = DescriptorReserve::new().unwrap();
    let mut hoard: Vec<UnixDatagram> = Vec::new();
    hoard.extend(std::iter::from_fn(|| UnixDatagram::unbound().ok()));
    let count = |reserve: &mut DescriptorReserve| {
        hoard
            .iter()
            .filter(|socket| reserve.keeps_back(socket))
            .count()
    };
    assert_eq!(count(&mut reserve), 8, "an eighth");
    setrlimit(Resource::RLIMIT_NOFILE, 256, 256).unwrap();
    assert_eq!(count(&mut reserve), 0);
}
