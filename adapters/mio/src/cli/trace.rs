//! `postier trace ID`: a mail's story, from the journal in the state directory, and what is left to do about it.
//!
//! The name is the one in the Received field, in the log, and in `postier queue list`; or a Message-ID, which may have come
//! in more than once, with a story each. The journal reaches back as far as its two files do.

use std::collections::BTreeSet;
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
    let read_all = |wanted: &dyn Fn(&Value) -> bool| -> Result<Vec<Value>, Failure> {
        let mut events = Vec::new();
        for name in FILES {
            read(&settings.state.join(name), wanted, &mut events)?;
        }
        Ok(events)
    };
    // Only a Message-ID has an `@`.
    let names = match args.id.contains('@') {
        true => names_of(&read_all(&|event| is_of_message(event, &args.id))?),
        false => [args.id.clone()].into(),
    };
    let events = read_all(&|event| text(event, "id").is_some_and(|id| names.contains(id)))?;
    let waiting: Vec<String> = names
        .iter()
        .filter_map(|id| queue::waiting(&args.config, id).transpose())
        .collect::<Result<_, _>>()?;
    if events.is_empty() && waiting.is_empty() {
        let why = format!("the journal in {} knows no mail {}", settings.state.display(), args.id);
        return Err(Failure::Failed(why));
    }
    if json {
        say_json(&Value::Array(events));
        return Ok(());
    }
    let several = names.len() > 1;
    for event in &events {
        let name = text(event, "id").filter(|_| several).map(|id| format!("{id}  ")).unwrap_or_default();
        say(&format!("{name}{}", line(event)));
    }
    if !waiting.is_empty() {
        say(&format!("\nin the queue:\n{}", waiting.concat()));
    }
    Ok(())
}

/// The value of a field that is text.
fn text<'v>(event: &'v Value, name: &str) -> Option<&'v str> {
    event.get(name).and_then(Value::as_str)
}

/// Whether an event names this Message-ID; the brackets may be left out.
fn is_of_message(event: &Value, message_id: &str) -> bool {
    let bare = |id: &str| id.trim_start_matches('<').trim_end_matches('>').to_owned();
    text(event, "message_id").is_some_and(|found| bare(found) == bare(message_id))
}

/// The names of the mails that these events are about.
fn names_of(events: &[Value]) -> BTreeSet<String> {
    events.iter().filter_map(|event| text(event, "id")).map(Into::into).collect()
}

/// The events that are wanted. Lines that are none, as a full disk leaves them, are passed over.
fn read(path: &Path, wanted: &dyn Fn(&Value) -> bool, events: &mut Vec<Value>) -> Result<(), Failure> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Failure::io(path.display(), &error)),
    };
    for line in BufReader::new(file).split(b'\n') {
        let line = line.map_err(|error| Failure::io(path.display(), &error))?;
        if let Ok(event) = serde_json::from_slice::<Value>(&line)
            && wanted(&event)
        {
            events.push(event);
        }
    }
    Ok(())
}

/// Time, what happened, and the rest.
fn line(event: &Value) -> String {
    let shown = |value: &Value| value.as_str().map_or_else(|| value.to_string(), queue::quoted);
    let field = |name: &str| text(event, name).unwrap_or_default();
    let time = field("timestamp").split('.').next().unwrap_or_default();
    let mut line = format!("{time}  {}", field("message"));
    for (name, value) in event.as_object().into_iter().flatten() {
        if !["timestamp", "level", "message", "id", "conn"].contains(&name.as_str()) {
            line.push_str(&format!("  {name}={}", shown(value)));
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
        let is_a1 = |event: &Value| text(event, "id") == Some("a1");
        assert!(
            read(&path, &is_a1, &mut events).is_ok()
                && read(&dir.path().join("none"), &is_a1, &mut events).is_ok()
        );
        let shown: Vec<String> = events.iter().map(line).collect();
        assert_eq!(shown, ["2026-11-24T13:44:51  sent  to=\"b@c\"\n", "  done\n"]);
    }

    #[test]
    fn a_message_id_names_every_mail_that_came_with_it() {
        let event = |id: &str, message_id: &str| serde_json::json!({ "id": id, "message_id": message_id });
        let events = [event("a1", "<x@y>"), event("a2", "<x@y>"), event("a3", "<xx@y>")];
        for wanted in ["<x@y>", "x@y"] {
            let found: Vec<Value> =
                events.iter().filter(|event| is_of_message(event, wanted)).cloned().collect();
            assert_eq!(names_of(&found), ["a1".to_owned(), "a2".to_owned()].into());
        }
        assert!(!is_of_message(&serde_json::json!({ "id": "a4" }), "x@y"));
    }
}
