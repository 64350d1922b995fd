//! Where we differ from Dovecot, and the RFC's word for our answer.

use super::{Answer, Difference};

/// Why some answers to some cases differ.
pub(crate) struct Reason {
    /// The cases, without the word how each is stored or where the fields stand.
    pub(crate) cases: &'static [&'static str],
    /// Begin of the items.
    pub(crate) item: &'static str,
    /// What stands in each of our answers.
    pub(crate) ours: &'static str,
    /// The RFC's word.
    pub(crate) why: &'static str,
}

/// A difference that many messages have, told by the answers alone.
struct Rule {
    fits: fn(&Difference<'_>) -> bool,
    _why: &'static str,
}

const RULES: &[Rule] = &[
    Rule {
        fits: is_absent,
        _why: "RFC 9051 §6.4.5.1 says which sections a message has, and §4.5 that NIL is what does not exist; Dovecot shows \
            an empty string, or for 1.1 of a part that has no parts the part itself",
    },
    Rule {
        fits: has_no_empty_line,
        _why: "RFC 9051 §6.4.5.1: the blank line is included in all header fetches, except in the case of a message that has \
            no body and no blank line",
    },
    Rule {
        fits: has_the_boundary_s_line_end,
        _why: "RFC 2046 §5.1.1: the line end before a boundary is part of the boundary, also after a multipart or a message; \
            Dovecot counts it to these",
    },
];

/// Section numbers and the rest of an item.
fn section(item: &str) -> Option<(Vec<usize>, &str)> {
    let section = item.strip_prefix("BODY.PEEK[")?.split(']').next()?;
    let end = section.find(|octet: char| octet != '.' && !octet.is_ascii_digit()).unwrap_or(section.len());
    Some((section[..end].split('.').filter_map(|number| number.parse().ok()).collect(), &section[end..]))
}

fn is_absent(difference: &Difference<'_>) -> bool {
    let Some((numbers, piece)) = section(&difference.item) else { return false };
    let empty = difference.theirs == Answer::String(Vec::new());
    let is_header_or_text = piece.starts_with(['H', 'T']);
    difference.ours == Answer::Nil
        && (!difference.structure.has_part(&numbers) || (empty && is_header_or_text))
}

fn has_no_empty_line(difference: &Difference<'_>) -> bool {
    let (Answer::String(ours), Answer::String(theirs)) = (&difference.ours, &difference.theirs) else {
        return false;
    };
    difference.item.contains("HEADER.FIELDS (")
        && theirs.strip_suffix(b"\r\n") == Some(ours)
        && !ours.ends_with(b"\r\n\r\n")
}

fn has_the_boundary_s_line_end(difference: &Difference<'_>) -> bool {
    let (Answer::String(ours), Answer::String(theirs)) = (&difference.ours, &difference.theirs) else {
        return false;
    };
    let Some((numbers, piece)) = section(&difference.item) else { return false };
    // Of a partial fetch, a part of the line end.
    let more = theirs.strip_prefix(&ours[..]).unwrap_or_default();
    let in_multipart = !numbers.is_empty() && (piece.is_empty() || piece == "TEXT" || piece == "HEADER");
    in_multipart && (more == b"\r\n" || (more == b"\r" && difference.item.ends_with('>')))
}

/// Panics with every difference that has no reason, and every reason that has no difference.
pub(crate) fn judge(differ: &[Difference<'_>], reasons: &[Reason]) {
    let mut used: Vec<Vec<bool>> = reasons.iter().map(|reason| vec![false; reason.cases.len()]).collect();
    let mut bad = String::new();
    for difference in differ {
        if RULES.iter().any(|rule| (rule.fits)(difference)) {
            continue;
        }
        let ours = difference.ours.show();
        let mut found = false;
        for (reason, used) in reasons.iter().zip(&mut used) {
            let fits = difference.item.starts_with(reason.item) && ours.contains(reason.ours);
            let case = reason.cases.iter().position(|case| fits && *case == plain(difference.case));
            if let Some(at) = case {
                (used[at], found) = (true, true);
            }
        }
        if !found {
            let Difference { case, item, theirs, .. } = difference;
            bad += &format!("{case} {item}\n  ours   {ours}\n  theirs {}\n", theirs.show());
        }
    }
    for (reason, used) in reasons.iter().zip(&used) {
        for (case, _) in reason.cases.iter().zip(used).filter(|(_, used)| !**used) {
            bad += &format!("no such difference: {case} {} {}: {}\n", reason.item, reason.ours, reason.why);
        }
    }
    assert!(bad.is_empty(), "{bad}");
}

/// A case without the words that are added to the name of its text.
fn plain(case: &str) -> &str {
    let mut case = case;
    for end in [" (CRLF)", " (latin1)", " with nothing", " with text", " with parts"] {
        case = case.strip_suffix(end).unwrap_or(case);
    }
    case.strip_prefix("type: ").or_else(|| case.strip_prefix("part: ")).unwrap_or(case)
}
