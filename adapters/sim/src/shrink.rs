//! Cuts a failing scenario down: items are left out as long as it still fails, many at once first.

use std::collections::BTreeSet;

use crate::plant::Plant;
use crate::scenario::Scenario;
use crate::trace::Trace;
use crate::world;

/// The items that a failure does not need. `tries` is the most worlds to run.
pub fn shrink(
    seed: u64,
    plant: Option<Plant>,
    tries: usize,
    mut progress: impl FnMut(usize, usize),
) -> BTreeSet<usize> {
    let mut dropped = BTreeSet::new();
    let items = Scenario::generate(seed, &dropped).items;
    let first = |dropped: &BTreeSet<usize>| {
        let scenario = Scenario::generate(seed, dropped);
        world::run(scenario, Trace::default(), plant).violations.first().map(|what| kind(what))
    };
    let Some(wanted) = first(&dropped) else { return dropped };
    let fails = |dropped: &BTreeSet<usize>| first(dropped).as_ref() == Some(&wanted);
    let mut left = tries;
    let mut size = items.div_ceil(2).max(1);
    loop {
        let mut removed_any = false;
        let kept: Vec<usize> = (0..items).filter(|item| !dropped.contains(item)).collect();
        // From the end: what comes later depends on what came before.
        for chunk in kept.rchunks(size) {
            if left == 0 {
                return dropped;
            }
            left -= 1;
            let mut more = dropped.clone();
            more.extend(chunk);
            if fails(&more) {
                dropped = more;
                removed_any = true;
            }
            progress(items - dropped.len(), tries - left);
        }
        if size == 1 && !removed_any {
            return dropped;
        }
        if !removed_any {
            size = size.div_ceil(2);
        }
    }
}

/// What kind of violation it is: its words, without names and numbers.
fn kind(violation: &str) -> String {
    let is_word = |word: &&str| word.chars().all(|c| c.is_ascii_alphabetic());
    violation.split(' ').filter(is_word).take(8).collect::<Vec<_>>().join(" ")
}

/// Items as the command line takes them: `1,4-9`.
pub fn to_text(items: &BTreeSet<usize>) -> String {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for &item in items {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == item => *last = item,
            Some(_) | None => ranges.push((item, item)),
        }
    }
    let text = |(first, last): (usize, usize)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    ranges.into_iter().map(text).collect::<Vec<_>>().join(",")
}

/// Reads [`to_text`] back.
///
/// # Errors
/// It is not a list of numbers and ranges.
pub fn from_text(text: &str) -> Result<BTreeSet<usize>, String> {
    let mut items = BTreeSet::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        match (first.parse::<usize>(), last.parse::<usize>()) {
            (Ok(first), Ok(last)) if first <= last && last < 1_000_000 => items.extend(first..=last),
            _ => return Err(format!("{part:?} is not an item or a range of items")),
        }
    }
    Ok(items)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_read_back() {
        let items: BTreeSet<usize> = [0, 1, 2, 5, 9, 10].into();
        assert_eq!(to_text(&items), "0-2,5,9-10");
        assert_eq!(from_text("0-2,5,9-10"), Ok(items));
        assert!(from_text("x").is_err() && from_text("9-1").is_err());
    }
}
