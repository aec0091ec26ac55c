use super::Source;

#[test]
fn memory_follows_what_is_there_not_what_is_asked_for() {
    for size in [0, 100, 100_000] {
        let file = vec![7; size];
        let mut source = Source {
            inner: &file[..],
            offset: 0,
        };
        let mut bytes = Vec::new();
        assert_eq!(source.append(&mut bytes, u32::MAX).unwrap(), size);
        assert_eq!(source.offset, size as u64);
        assert!(bytes.capacity() <= 2 * size + 64, "{}", bytes.capacity());
    }
}
