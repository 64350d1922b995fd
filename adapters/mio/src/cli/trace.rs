//! `postier trace ID`: a mail's story, from the journal in the state directory, and what is left to do about it.
//!
//! The name is the one in the Received field, in the log, and in `postier queue list`. The journal reaches back as far as its
//! two files do.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::Path;

use postier_host::config::Settings;
use postier_host::files::DirectFiles;
use serde_json::Value;

use super::QueueArgs;
use super::output::{Failure, say, say_json};
use super::queue;

/// The journal's files, the older one first.
const FILES: [&str; 2] = ["journal.1.jsonl", "journal.jsonl"];

pub(super) fn trace(args: &QueueArgs, json: bool) -> Result<(), Failure> {
    let settings = Settings::read(&args.config.config, &DirectFiles)?;
    let mut events = Vec::new();
    for name in FILES {
        read(&settings.state.join(name), &args.id, &mut events)?;
    }
    let waiting = queue::waiting(&args.config, &args.id)?;
    if events.is_empty() && waiting.is_none() {
        let why = format!("the journal in {} knows no mail {}", settings.state.display(), args.id);
        return Err(Failure::Failed(why));
    }
    if json {
        say_json(&Value::Array(events));
        return Ok(());
    }
    for event in &events {
        say(&line(event));
    }
    if let Some(waiting) = waiting {
        say(&format!("\nin the queue:\n{waiting}"));
    }
    Ok(())
}

/// The events about a mail. Lines that are none, as a full disk leaves them, are passed over.
fn read(path: &Path, id: &str, events: &mut Vec<Value>) -> Result<(), Failure> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Failure::io(path.display(), &error)),
    };
    for line in BufReader::new(file).split(b'\n') {
        let line = line.map_err(|error| Failure::io(path.display(), &error))?;
        if let Ok(event) = serde_json::from_slice::<Value>(&line)
            && event.get("id").and_then(Value::as_str) == Some(id)
        {
            events.push(event);
        }
    }
    Ok(())
}

/// Time, what happened, and the rest.
fn line(event: &Value) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), queue::quoted);
    let field = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or_default();
    let time = field("timestamp").split('.').next().unwrap_or_default();
    let mut line = format!("{time}  {}", field("message"));
    for (name, value) in event.as_object().into_iter().flatten() {
        if !["timestamp", "level", "message", "id", "conn"].contains(&name.as_str()) {
            line.push_str(&format!("  {name}={}", text(value)));
        }
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mails_events_are_found_among_others_and_among_rubbish() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        let lines = "{\"timestamp\":\"2026-11-24T13:44:51.2Z\",\"message\":\"sent\",\"id\":\"a1\",\"to\":\"b@c\",\"conn\":7}\n\
                     {\"message\":\"sent\",\"id\":\"a2\"}\n{\"mess\nnonsense\n{\"message\":\"done\",\"id\":\"a1\"}\n";
        std::fs::write(&path, lines).unwrap();
        let mut events = Vec::new();
        assert!(
            read(&path, "a1", &mut events).is_ok()
                && read(&dir.path().join("none"), "a1", &mut events).is_ok()
        );
        let shown: Vec<String> = events.iter().map(line).collect();
        assert_eq!(shown, ["2026-11-24T13:44:51  sent  to=\"b@c\"\n", "  done\n"]);
    }
}
