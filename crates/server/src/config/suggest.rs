//! The option that was probably meant.

use super::options::reference;

/// Names longer than this resemble no option.
const NAME_CHARS_MAX: usize = 64;

/// Finds the known option whose name takes the fewest changes to reach from `name`.
///
/// At most a third of its letters may differ, or there is nothing to suggest.
pub(super) fn closest(name: &str) -> Option<&'static str> {
    let name: Vec<char> = name.chars().take(NAME_CHARS_MAX + 1).collect();
    if name.len() > NAME_CHARS_MAX {
        return None;
    }
    reference()
        .flat_map(|option| option.names())
        .map(|known| known.trim_end_matches('*'))
        .map(|known| (distance(&name, known), known))
        .filter(|(distance, known)| *distance <= known.len() / 3)
        .min()
        .map(|(_, known)| known)
}

/// Counts the letters to insert, remove or replace (Levenshtein); capitals count as small letters.
fn distance(from: &[char], to: &str) -> usize {
    let mut row: Vec<usize> = (0..=from.len()).collect();
    for (index, wanted) in to.chars().enumerate() {
        let mut diagonal = index;
        let mut left = index + 1;
        let mut next = Vec::with_capacity(row.len());
        next.push(left);
        for (have, above) in from.iter().zip(row.iter().skip(1)) {
            let replaced = diagonal + usize::from(!have.eq_ignore_ascii_case(&wanted));
            left = replaced.min(left + 1).min(above + 1);
            diagonal = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(to.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, expected: Option<&str>) {
        assert_eq!(closest(name), expected, "{name}");
    }

    #[test]
    fn a_slip_of_the_pen_is_recognised() {
        check("lisener", Some("listener"));
        check("Listener", Some("listener"));
        check("max_conections", Some("max_connections"));
        check("allow-anonymous", Some("allow_anonymous"));
        check("maximum_packet_size", Some("max_packet_size"));
        check("plugin_op_x", Some("plugin_opt_"));
    }

    #[test]
    fn what_resembles_nothing_gets_no_suggestion() {
        check("", None);
        check("x", None);
        check("tls.certificate.chain.path", None);
        check(&"listener".repeat(1000), None);
    }

    #[test]
    fn the_distance_counts_changes() {
        let check = |from: &str, to, expected| {
            let from: Vec<char> = from.chars().collect();
            assert_eq!(distance(&from, to), expected);
        };
        check("", "", 0);
        check("abc", "abc", 0);
        check("", "abc", 3);
        check("abc", "", 3);
        check("kitten", "sitting", 3);
        check("ab", "ba", 2);
    }
}
