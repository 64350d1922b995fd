//! Saying things: to standard output what was asked for, to standard error the rest.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use postier_host::report::{Errors, Problem, Severity};
use serde_json::{Value, json};

/// Why a command did not do what it was asked.
pub(super) enum Failure {
    /// Exit code 1.
    Failed(String),
    /// Exit code 2: wrong usage.
    Usage(String),
    /// Exit code 2: the configuration is wrong.
    Config(Errors),
    /// Exit code 2, and everything has been said.
    Said,
}

impl From<Errors> for Failure {
    fn from(errors: Errors) -> Self {
        Self::Config(errors)
    }
}

impl Failure {
    /// A failure of the file system.
    pub(super) fn io(what: impl std::fmt::Display, error: &io::Error) -> Self {
        Self::Failed(format!("{what}: {}", postier_host::config::reason(error)))
    }

    /// Says it, and gives the exit code.
    pub(super) fn report(self) -> ExitCode {
        let (code, message) = match self {
            Self::Failed(message) => (1, format!("error: {message}")),
            Self::Usage(message) => (2, format!("error: {message}")),
            Self::Config(errors) => (2, errors.render(colour())),
            Self::Said => return ExitCode::from(2),
        };
        complain(&message);
        ExitCode::from(code)
    }
}

/// Prints to standard output. A reader who has gone away is no failure.
pub(super) fn say(text: &str) {
    let _ = io::stdout().lock().write_all(text.as_bytes());
}

/// Prints lines to standard error.
pub(super) fn complain(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Prints problems to standard error, a blank line after each.
pub(super) fn complain_of(problems: &[Problem]) {
    for problem in problems {
        complain(&problem.render(colour()));
        complain("");
    }
}

fn colour() -> bool {
    let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    wanted && io::stderr().is_terminal()
}

/// Problems for programs.
pub(super) fn problems_json(problems: &[Problem]) -> Value {
    let problem = |problem: &Problem| {
        let severity = match problem.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let position = problem.position();
        json!({
            "severity": severity,
            "title": problem.title,
            "file": problem.place.as_ref().map(|place| &place.path),
            "line": position.map(|(line, _)| line),
            "column": position.map(|(_, column)| column),
            "advice": problem.advice,
        })
    };
    problems.iter().map(problem).collect()
}

/// Prints a JSON value.
pub(super) fn say_json(value: &Value) {
    say(&format!("{value:#}\n"));
}
