//! What happens, as a hash that two runs compare, and as lines for who wants to read.

use std::collections::VecDeque;

/// Lines kept for a failure.
const LAST: usize = 60;

/// See the module's manual.
#[derive(Debug, Default)]
pub struct Trace {
    hash: u64,
    /// Events so far.
    pub steps: u64,
    keeps: bool,
    prints: bool,
    last: VecDeque<String>,
}

impl Trace {
    /// Keeps the last lines; with `prints` writes all to the standard output.
    pub fn keeping(prints: bool) -> Self {
        Trace { keeps: true, prints, ..Trace::default() }
    }

    /// An event: numbers and octets go into the hash, the line is made only if somebody reads it.
    pub fn event(&mut self, at_micros: u64, number: u64, octets: &[u8], line: impl FnOnce() -> String) {
        self.steps += 1;
        self.mix(at_micros);
        self.mix(number);
        for chunk in octets.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.mix(u64::from_le_bytes(word));
        }
        self.mix(octets.len() as u64);
        if self.keeps {
            let text = format!("{:>6} {:>13.6} {}", self.steps, at_micros as f64 / 1e6, line());
            if self.prints {
                println!("{text}");
            }
            if self.last.len() == LAST {
                self.last.pop_front();
            }
            self.last.push_back(text);
        }
    }

    fn mix(&mut self, word: u64) {
        self.hash = (self.hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }

    /// What two runs of a seed have in common.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The last lines.
    pub fn last(&self) -> impl Iterator<Item = &str> {
        self.last.iter().map(String::as_str)
    }
}

/// Octets for a person: one line, cut when long.
pub fn printable(octets: &[u8]) -> String {
    const SHOWN: usize = 160;
    let shown = octets.get(..SHOWN).unwrap_or(octets).escape_ascii();
    let more = octets.len().saturating_sub(SHOWN);
    if more > 0 { format!("{shown}… and {more} octets") } else { shown.to_string() }
}
