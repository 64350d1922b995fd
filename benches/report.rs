//! The table: a row for each case, a column for each server, and how many times better the first is than the second.

/// How a figure is read.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Unit {
    /// Seconds; fewer are better.
    Seconds,
    /// Megabytes a second.
    Megabytes,
    /// Messages a second.
    Messages,
    /// Kilobytes of memory; fewer are better.
    Kilobytes,
}

pub(crate) struct Table {
    title: String,
    columns: Vec<&'static str>,
    rows: Vec<(&'static str, Unit, Vec<Option<f64>>)>,
}

impl Table {
    pub(crate) fn new(title: String, columns: impl Iterator<Item = &'static str>) -> Self {
        Self { title, columns: columns.collect(), rows: Vec::new() }
    }

    pub(crate) fn note(&mut self, column: usize, case: &'static str, unit: Unit, value: f64) {
        let row = match self.rows.iter().position(|row| row.0 == case) {
            Some(row) => row,
            None => {
                self.rows.push((case, unit, vec![None; self.columns.len()]));
                self.rows.len() - 1
            }
        };
        self.rows[row].2[column] = Some(value);
        eprintln!("{:>9}: {case}: {}", self.columns[column], shown(unit, value));
    }

    pub(crate) fn print(&self) {
        println!("\n| {} | {} | ratio |", self.title, self.columns.join(" | "));
        println!("|---|{}---|", "---|".repeat(self.columns.len()));
        for (case, unit, values) in &self.rows {
            let cells: Vec<String> = values
                .iter()
                .map(|value| value.map_or(String::from("–"), |value| shown(*unit, value)))
                .collect();
            let ratio = match values[..] {
                [Some(ours), Some(theirs)] => format!("{:.1}", ratio(*unit, ours, theirs)),
                _ => String::from("–"),
            };
            println!("| {case} | {} | {ratio} |", cells.join(" | "));
        }
    }
}

/// How many times better ours is.
fn ratio(unit: Unit, ours: f64, theirs: f64) -> f64 {
    match unit {
        Unit::Seconds | Unit::Kilobytes => theirs / ours,
        Unit::Megabytes | Unit::Messages => ours / theirs,
    }
}

fn shown(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Seconds if value < 0.01 => format!("{:.2} ms", value * 1e3),
        Unit::Seconds if value < 1.0 => format!("{:.0} ms", value * 1e3),
        Unit::Seconds => format!("{value:.2} s"),
        Unit::Megabytes => format!("{value:.0} MB/s"),
        Unit::Messages => format!("{value:.0}/s"),
        Unit::Kilobytes => format!("{:.1} MB", value / 1e3),
    }
}
