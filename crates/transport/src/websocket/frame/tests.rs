use super::*;

fn check(bytes: &[u8], role: Role, expected: Result<Option<(Header, usize)>, Violation>) {
    assert_eq!(Header::read(bytes, role), expected, "{bytes:02x?}");
    // A fault or a header is found with the byte that makes it, not before it.
    if let Ok(Some((_, length))) = expected {
        for part in 0..length {
            assert_eq!(Header::read(&bytes[..part], role), Ok(None), "{part}");
        }
    }
}

fn header(opcode: Opcode, payload: u64) -> Header {
    Header {
        fin: true,
        opcode,
        mask: Mask::NONE,
        payload,
    }
}

#[test]
fn lengths_have_three_forms() {
    let binary = |payload| header(Opcode::Binary, payload);
    check(&[0x82, 0], Role::Client, Ok(Some((binary(0), 2))));
    check(&[0x82, 125, 9], Role::Client, Ok(Some((binary(125), 2))));
    check(
        &[0x82, 126, 0, 126],
        Role::Client,
        Ok(Some((binary(126), 4))),
    );
    check(
        &[0x82, 126, 255, 255],
        Role::Client,
        Ok(Some((binary(65_535), 4))),
    );
    check(
        &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0],
        Role::Client,
        Ok(Some((binary(65_536), 10))),
    );
    check(
        &[0x82, 127, 0x7F, 255, 255, 255, 255, 255, 255, 255],
        Role::Client,
        Ok(Some((binary(i64::MAX as u64), 10))),
    );
}

#[test]
fn a_length_in_more_bytes_than_it_needs_is_refused() {
    let refused = Err(Violation::LengthNotMinimal);
    check(&[0x82, 126, 0, 125], Role::Client, refused);
    check(
        &[0x82, 127, 0, 0, 0, 0, 0, 0, 255, 255],
        Role::Client,
        refused,
    );
    check(
        &[0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0],
        Role::Client,
        Err(Violation::LengthTooLarge),
    );
}

#[test]
fn clients_mask_and_servers_do_not() {
    let masked = Header {
        mask: Mask::new([1, 2, 3, 4]),
        ..header(Opcode::Binary, 1)
    };
    check(
        &[0x82, 0x81, 1, 2, 3, 4],
        Role::Server,
        Ok(Some((masked, 6))),
    );
    check(&[0x82, 0x01], Role::Server, Err(Violation::NotMasked));
    check(&[0x82, 0x81], Role::Client, Err(Violation::Masked));
}

#[test]
fn text_and_what_is_reserved_are_refused_with_the_first_byte() {
    check(&[0x81], Role::Server, Err(Violation::Text));
    check(&[0x01], Role::Server, Err(Violation::Text));
    for bit in [0x40, 0x20, 0x10] {
        check(&[0x82 | bit], Role::Server, Err(Violation::ReservedBits));
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        check(
            &[0x80 | opcode],
            Role::Server,
            Err(Violation::Opcode(opcode)),
        );
    }
}

#[test]
fn control_frames_are_short_and_whole() {
    for opcode in [8, 9, 10] {
        check(&[opcode], Role::Client, Err(Violation::FragmentedControl));
        check(
            &[0x80 | opcode, 126],
            Role::Client,
            Err(Violation::LongControl),
        );
        check(
            &[0x80 | opcode, 127],
            Role::Client,
            Err(Violation::LongControl),
        );
    }
    check(
        &[0x8A, 125],
        Role::Client,
        Ok(Some((header(Opcode::Pong, 125), 2))),
    );
}

#[test]
fn what_is_written_is_read_again_in_the_shortest_form() {
    for payload in [0, 1, 125, 126, 127, 65_535, 65_536, 1 << 30] {
        for (key, role) in [(None, Role::Client), (Some([5, 6, 7, 8]), Role::Server)] {
            let mut wire = Vec::new();
            Header::write(Opcode::Binary, payload, key, &mut wire);
            let expected = Header {
                mask: key.map_or(Mask::NONE, Mask::new),
                ..header(Opcode::Binary, payload as u64)
            };
            check(&wire, role, Ok(Some((expected, wire.len()))));
        }
    }
}
