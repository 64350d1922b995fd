//! Mistakes in files, as a person reads them: what, in which file and line, with a caret, and what to do.
//!
//! A [`Problem`] owns the one line it points at, so that it outlives the file's text. Lines that hold secrets
//! are masked by whoever makes the problem.
//!
//! ```
//! use postier_host::report::Problem;
//! let problem = Problem::error("`colour` is not a key")
//!     .at("postier.toml".as_ref(), b"user = \"vmail\"\ncolour = 1\n", 15..21, "")
//!     .advise("take it out");
//! assert_eq!(problem.position(), Some((2, 1)));
//! assert!(problem.to_string().contains("2 | colour = 1\n  | ^^^^^^\n"));
//! ```

use std::fmt;
use std::ops::Range;
use std::path::Path;

use annotate_snippets::renderer::{DecorStyle, Renderer};
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Snippet};

/// Columns of a line shown at most; a longer one is cut around its caret.
const LINE_CHARS_MAX: usize = 200;

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// Nothing can be served with it.
    Error,
    /// It works, and is probably not what was meant.
    Warning,
}

/// One mistake.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, in one line.
    pub title: String,
    /// Where.
    pub place: Option<Place>,
    /// What to do about it; a line each.
    pub advice: Vec<String>,
}

/// A place in a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The file.
    pub path: String,
    /// What is pointed at; `None` means the file as a whole.
    pub spot: Option<Spot>,
}

/// A piece of a line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Spot {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// The line, perhaps cut.
    pub text: String,
    /// The octets of `text` to underline.
    pub span: Range<usize>,
    /// What stands beside the caret.
    pub label: String,
}

impl Problem {
    /// An error without a place yet.
    pub fn error(title: impl Into<String>) -> Self {
        Self { severity: Severity::Error, title: title.into(), place: None, advice: Vec::new() }
    }

    /// A warning without a place yet.
    pub fn warning(title: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(title) }
    }

    /// Names the file.
    #[must_use]
    pub fn in_file(mut self, path: &Path) -> Self {
        self.place = Some(Place { path: path.display().to_string(), spot: None });
        self
    }

    /// Points at octets of a file.
    #[must_use]
    pub fn at(mut self, path: &Path, source: &[u8], span: Range<usize>, label: impl Into<String>) -> Self {
        let spot = Some(Spot::of(source, span, label.into()));
        self.place = Some(Place { path: path.display().to_string(), spot });
        self
    }

    /// Points at a piece of one line, shown as `text`: for lines that must not be shown as they are.
    #[must_use]
    pub fn at_line(
        mut self,
        path: &Path,
        line: usize,
        text: &str,
        span: Range<usize>,
        label: impl Into<String>,
    ) -> Self {
        let mut spot = Spot::of(text.as_bytes(), span, label.into());
        spot.line = line;
        self.place = Some(Place { path: path.display().to_string(), spot: Some(spot) });
        self
    }

    /// Adds a line of advice; an empty one is left out.
    #[must_use]
    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        let advice = advice.into();
        if !advice.is_empty() {
            self.advice.push(advice);
        }
        self
    }

    /// Line and column pointed at, both from 1.
    pub fn position(&self) -> Option<(usize, usize)> {
        let spot = self.place.as_ref()?.spot.as_ref()?;
        Some((spot.line, spot.column))
    }

    /// The problem over several lines, without a line end after the last; `colour` for a terminal.
    pub fn render(&self, colour: bool) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = Group::with_title(level.primary_title(&self.title));
        match &self.place {
            None => {}
            Some(Place { path, spot: None }) => group = group.element(Origin::path(path)),
            Some(Place { path, spot: Some(spot) }) => {
                let annotation = AnnotationKind::Primary.span(spot.span.clone()).label(&spot.label);
                let snippet = Snippet::source(&spot.text).path(path).line_start(spot.line);
                group = group.element(snippet.annotation(annotation));
            }
        }
        for advice in &self.advice {
            group = group.element(Level::HELP.message(advice));
        }
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        renderer.decor_style(DecorStyle::Ascii).render(&[group])
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl Spot {
    /// The line that holds the beginning of `span`; what goes past its end is not underlined.
    fn of(source: &[u8], span: Range<usize>, label: String) -> Self {
        let at = span.start.min(source.len());
        let start = source[..at].iter().rposition(|&b| b == b'\n').map_or(0, |lf| lf + 1);
        let end = source[at..].iter().position(|&b| b == b'\n').map_or(source.len(), |lf| at + lf);
        let line = source[..start].iter().filter(|&&b| b == b'\n').count() + 1;
        let tidy = |octets: &[u8]| -> String {
            let text = String::from_utf8_lossy(octets);
            text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
        };
        let stop = span.end.clamp(at, end);
        let (before, marked) = (tidy(&source[start..at]), tidy(&source[at..stop]));
        let after = tidy(source[stop..end].trim_ascii_end());
        let column = before.chars().count() + 1;
        let before: String = before.chars().skip(column.saturating_sub(LINE_CHARS_MAX / 2)).collect();
        let marked: String = marked.chars().take(LINE_CHARS_MAX).collect();
        let after: String = after.chars().take(LINE_CHARS_MAX / 2).collect();
        let span = before.len()..before.len() + marked.len();
        Self { line, column, text: before + &marked + &after, span, label }
    }
}

/// Why a configuration was refused: at least one error, with the warnings met on the way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Errors {
    /// In the order in which they were found.
    pub problems: Vec<Problem>,
}

impl Errors {
    /// All problems, a blank line between them.
    pub fn render(&self, colour: bool) -> String {
        let problems: Vec<_> = self.problems.iter().map(|problem| problem.render(colour)).collect();
        problems.join("\n\n")
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Errors {}

/// The candidate a person most likely meant by `word`, if one is near enough.
pub fn did_you_mean<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let word = word.to_lowercase();
    let near =
        candidates.into_iter().map(|candidate| (distance(&word, &candidate.to_lowercase()), candidate));
    let (distance, candidate) = near.min_by_key(|&(distance, _)| distance)?;
    (distance <= (candidate.len().max(word.len()) / 3).max(1)).then_some(candidate)
}

/// Whether one word may be a slip of the finger for the other: one letter is missing, too much, another, or two are swapped.
pub fn is_slip_of(word: &str, other: &str) -> bool {
    distance(&word.to_lowercase(), &other.to_lowercase()) == 1
}

/// Letters to insert, remove, replace or swap with their neighbour to get from one word to the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().collect());
    let mut before = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, &x) in a.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, &y) in b.iter().enumerate() {
            let mut best = (row[j] + usize::from(x != y)).min(row[j + 1] + 1).min(next[j] + 1);
            if i > 0 && j > 0 && x == b[j - 1] && a[i - 1] == y {
                let swapped: &Vec<usize> = &before;
                best = best.min(swapped[j - 1] + 1);
            }
            next.push(best);
        }
        before = std::mem::replace(&mut row, next);
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carets_point_at_octets() {
        let source = "first\n\tnäme = wrong\nlast\n";
        let at = source.find("wrong").unwrap();
        let problem = Problem::error("this is wrong")
            .at(Path::new("a.toml"), source.as_bytes(), at..at + 5, "here")
            .advise("write `right`");
        assert_eq!(
            problem.to_string(),
            "error: this is wrong\n --> a.toml:2:9\n  |\n2 |  näme = wrong\n  |         ^^^^^ here\n  |\n  = help: write `right`"
        );
    }

    #[test]
    fn any_span_of_any_octets_is_shown() {
        for source in [&b""[..], b"\xff\xfe\n\xff", b"\n\n", "ä".as_bytes(), &[b'x'; 5000]] {
            for start in (0..source.len() + 2).step_by(7).chain([0, 1, 2]) {
                for length in [0, 1, 9] {
                    let problem = Problem::error("x").at(Path::new("f"), source, start..start + length, "");
                    assert!(problem.to_string().len() < 1000);
                }
            }
        }
    }

    #[test]
    fn near_words_are_found() {
        let keys = ["hostname", "domains", "tls", "user"];
        assert_eq!(did_you_mean("hostnmae", keys), Some("hostname"));
        assert_eq!(did_you_mean("Domain", keys), Some("domains"));
        assert_eq!(did_you_mean("tsl", keys), Some("tls"));
        assert_eq!(did_you_mean("listen", keys), None);
    }
}
