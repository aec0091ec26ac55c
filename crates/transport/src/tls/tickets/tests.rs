use super::*;

fn ticketer(seeds: &[[u8; 32]], binding: u8) -> Ticketer {
    Ticketer {
        keys: Arc::new(TicketKeys::new(seeds, 60)),
        binding: [binding; 32],
    }
}

#[test]
fn a_ticket_opens_with_its_seed_and_binding_only() {
    let ticket = ticketer(&[[1; 32]], 7).encrypt(b"session").unwrap();
    let open = |seeds: &[[u8; 32]], binding| ticketer(seeds, binding).decrypt(&ticket);
    assert_eq!(open(&[[1; 32]], 7).as_deref(), Some(b"session".as_slice()));
    assert!(open(&[[2; 32], [1; 32]], 7).is_some());
    assert_eq!(open(&[[2; 32]], 7), None);
    assert_eq!(open(&[[1; 32]], 8), None);
    assert_eq!(open(&[], 7), None);
}

#[test]
fn a_changed_ticket_does_not_open() {
    let ticketer = ticketer(&[[1; 32]], 7);
    let ticket = ticketer.encrypt(b"session").unwrap();
    for at in 0..ticket.len() {
        let mut changed = ticket.clone();
        changed[at] ^= 1;
        assert_eq!(ticketer.decrypt(&changed), None, "byte {at}");
        assert_eq!(ticketer.decrypt(&ticket[..at]), None, "{at} bytes");
    }
    assert_eq!(ticketer.decrypt(&vec![0; 1 << 20]), None);
}

#[test]
fn equal_sessions_have_different_tickets_and_long_ones_none() {
    let ticketer = ticketer(&[[1; 32]], 7);
    assert_ne!(ticketer.encrypt(b"session"), ticketer.encrypt(b"session"));
    assert_eq!(ticketer.encrypt(&vec![0; TICKET_BYTES_MAX]), None);
}

#[test]
fn replaced_seeds_count_for_all_who_share_them() {
    let ticketer = ticketer(&[[1; 32]], 7);
    let ticket = ticketer.encrypt(b"session").unwrap();
    ticketer.keys.replace(&[[2; 32]]);
    assert_eq!(ticketer.decrypt(&ticket), None);
    ticketer.keys.replace(&[]);
    assert!(!ticketer.enabled());
    assert_eq!(ticketer.encrypt(b"session"), None);
}
