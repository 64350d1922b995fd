//! Targets for `postier_core::imap`.

use postier_core::imap::command::{CommandBody, Secret, parse, tag_of};
use postier_core::imap::sequence::SequenceSet;

/// One command with its literals.
pub fn imap_command(command: &[u8]) {
    match parse(command) {
        Ok(parsed) => {
            assert_eq!(tag_of(command), Some(parsed.tag));
            if let CommandBody::Login { password, .. } = &parsed.body {
                let nothing = Secret(Default::default());
                assert_eq!(format!("{password:?}"), format!("{nothing:?}"), "a password is shown");
            }
        }
        Err(error) => {
            assert!(error.tag.is_none() || error.tag == tag_of(command));
            let said = error.to_string();
            assert!(said.chars().all(|character| matches!(character, ' '..='~')), "it goes into a reply");
            assert!(said.len() < 200);
        }
    }
}

/// Sequence sets, and what they are once the largest number is known.
pub fn imap_sequence(text: &[u8]) {
    let Some(set) = SequenceSet::parse(text) else { return };
    assert_eq!(SequenceSet::parse(set.to_string().as_bytes()), Some(set.clone()));
    for max in [0, 1, 7, 4096, u32::MAX] {
        let resolved = set.resolve(max);
        for pair in resolved.ranges().windows(2) {
            assert!(u64::from(pair[0].last) + 1 < u64::from(pair[1].first), "apart and in order");
        }
        let edges = resolved.ranges().iter().flat_map(|range| [range.first, range.last]).take(64);
        for edge in edges {
            for number in [edge.saturating_sub(1).max(1), edge, edge.saturating_add(1)] {
                assert_eq!(set.contains(number, max), resolved.contains(number), "{number} of {max}");
            }
        }
    }
}
