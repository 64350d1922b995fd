//! `postier sendmail`, and the names `sendmail`, `mailq` and `newaliases`: mail of programs on this machine.
//!
//! It needs no server and no rights: the mail becomes a file in a place that the server has made once, and the running
//! server, or the next one, takes it from there. What the command line and the message mean is the core's to say
//! ([`postier_core::pickup`]).
//!
//! Exit codes are those of sysexits(3), for the programs that know them: 64 wrong usage, 65 a message that cannot be, 67 an
//! address that is none, 69 nothing of the kind here, 75 try again later, 78 a configuration that is wrong. A mistake in the
//! configuration loses no mail: as long as it can be seen where the state directory is, the mail is kept there, with a
//! word on standard error; and where it cannot, that is 75, for whoever calls may keep it and try again.

use std::ffi::OsString;
use std::io::{self, ErrorKind, Read, StdinLock};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::CommandFactory;
use postier_core::limits::Limits;
use postier_core::pickup::arguments::{self, Arguments, Call, Options};
use postier_core::pickup::{Drop, compose};
use postier_host::config::{STATE, Settings, reason};
use postier_host::files::DirectFiles;
use postier_host::identity::Identity;
use postier_host::pickup::{HandIn, directory};

use super::control::{self, Told};
use super::output::complain;
use super::{CONFIG, Cli, ConfigArg, queue};

const USAGE: u8 = 64;
const DATA: u8 = 65;
const NO_USER: u8 = 67;
const UNAVAILABLE: u8 = 69;
const TRY_AGAIN: u8 = 75;
const NO_PERMISSION: u8 = 77;
const BAD_CONFIG: u8 = 78;

/// Octets of a header in which recipients are looked for.
const HEADER_BYTES_MAX: usize = 1024 * 1024;
/// Octets read at once.
const READ_BYTES: usize = 64 * 1024;

/// Why it did not work: exit code and words.
type Failure = (u8, String);

/// What the name by which the program is called asks for, if it is one of the classic ones.
pub(super) fn called_as(program: &Path, words: &[OsString]) -> Option<ExitCode> {
    let mode = match program.file_name()?.to_str()? {
        "sendmail" => None,
        "mailq" => Some("-bp"),
        "newaliases" => Some("-bi"),
        _ => return None,
    };
    let words: Vec<OsString> = mode.map(OsString::from).into_iter().chain(words.iter().cloned()).collect();
    Some(main(&words))
}

/// Does what these words ask for, and reports.
pub(super) fn main(words: &[OsString]) -> ExitCode {
    let words: Vec<String> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let outcome = match arguments::parse(&words) {
        Ok(Arguments { config, call }) => {
            let named = config.map(PathBuf::from);
            let list = ConfigArg { config: named.clone().unwrap_or_else(|| CONFIG.into()) };
            match call {
                Call::Send(options) => send(named.as_deref(), *options),
                Call::List => return report(queue::list(&list, false)),
                Call::Flush => return report(queue::flush(&list)),
                Call::Aliases => read_aliases(&list.config),
                Call::Help => {
                    help();
                    Ok(())
                }
            }
        }
        Err(why) => Err((USAGE, format!("{why}; see `postier sendmail --help`"))),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, why)) => {
            complain(&format!("sendmail: {why}"));
            ExitCode::from(code)
        }
    }
}

fn report(outcome: Result<(), super::output::Failure>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = failure.report();
            ExitCode::from(UNAVAILABLE)
        }
    }
}

fn help() {
    let mut cli = Cli::command();
    if let Some(command) = cli.find_subcommand_mut("sendmail") {
        // A reader who has gone away is no failure.
        let _ = command.clone().bin_name("postier sendmail").print_long_help();
    }
}

/// Lets the running server read its aliases again. Without one there is nothing to do: it reads them at its start.
fn read_aliases(config: &Path) -> Result<(), Failure> {
    let settings = Settings::read(config, &DirectFiles).map_err(|errors| (BAD_CONFIG, errors.to_string()))?;
    match control::reload(&settings.state) {
        Ok(Told::Done | Told::NobodyThere) => Ok(()),
        Ok(Told::Refused(why)) => Err((BAD_CONFIG, why)),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            Err((NO_PERMISSION, "only root and the server's user can make it read its aliases".into()))
        }
        Err(error) => Err((TRY_AGAIN, reason(&error).to_string())),
    }
}

fn send(config: Option<&Path>, options: Options) -> Result<(), Failure> {
    let (state, limits) = place(config)?;
    let me = Identity::current().map_err(|error| (TRY_AGAIN, reason(&error).to_string()))?;
    let mut recipients = Vec::new();
    for list in &options.recipients {
        let found = compose::addresses(list.as_bytes());
        if found.is_empty() {
            return Err((NO_USER, format!("{list:?} is no address")));
        }
        recipients.extend(found);
    }
    if recipients.is_empty() && !options.extract {
        return Err((USAGE, "to whom? Name recipients, or -t for those in the header".into()));
    }

    let mut input = Input::new(options.ignore_dots);
    let mut message = Vec::new();
    if options.extract {
        let within = |message: &[u8]| compose::header_end(message).is_none();
        while within(&message) && message.len() < HEADER_BYTES_MAX && input.more(&mut message)? {}
        recipients.extend(compose::recipients(&message));
        if recipients.is_empty() {
            return Err((DATA, "there is no recipient in the header".into()));
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    recipients.retain(|recipient| seen.insert(recipient.clone()));
    if recipients.len() > limits.pickup.recipients_max {
        let most = limits.pickup.recipients_max;
        return Err((DATA, format!("{} recipients are more than {most}", recipients.len())));
    }
    let Options { from, name, notify, return_full, envelope_id, .. } = options;
    let name = name.unwrap_or(me.full_name);
    let drop = Drop { user: me.name, name, from, return_full, envelope_id, notify, recipients };

    let failed = |error: io::Error| (TRY_AGAIN, cannot_hand_in(&state, &error));
    let mut handing = HandIn::begin(&state, &drop).map_err(failed)?;
    let mut more = true;
    while more {
        handing.write(&message).map_err(failed)?;
        message.clear();
        more = input.more(&mut message)?;
        if input.octets > limits.message_bytes_max {
            return Err((DATA, format!("the mail is larger than {} octets", limits.message_bytes_max)));
        }
    }
    handing.write(&message).map_err(failed)?;
    handing.finish().map(|_| ()).map_err(failed)
}

/// The state directory and the limits: what the configuration says, as far as this user may read it and it can be
/// understood.
fn place(named: Option<&Path>) -> Result<(PathBuf, Limits), Failure> {
    let path = named.unwrap_or(Path::new(CONFIG));
    match std::fs::File::open(path) {
        Ok(_) => {}
        Err(error) if named.is_some() => {
            return Err((BAD_CONFIG, format!("{} cannot be read: {}", path.display(), reason(&error))));
        }
        Err(error) if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::NotFound) => {
            return Ok((STATE.into(), Limits::default()));
        }
        Err(error) => {
            return Err((TRY_AGAIN, format!("{} cannot be read: {}", path.display(), reason(&error))));
        }
    }
    let errors = match Settings::read(path, &DirectFiles) {
        Ok(Settings { state, limits, .. }) => return Ok((state, limits)),
        Err(errors) => errors,
    };
    let Some(state) = Settings::state_of_broken(path, &DirectFiles) else {
        return Err((TRY_AGAIN, errors.to_string()));
    };
    let (file, place) = (path.display(), directory(&state));
    complain(&format!(
        "sendmail: {file} has mistakes, `postier config check` shows them; the mail is kept in {}",
        place.display()
    ));
    Ok((state, Limits::default()))
}

fn cannot_hand_in(state: &Path, error: &io::Error) -> String {
    let place = directory(state);
    let advice = match error.kind() {
        ErrorKind::NotFound => "; `postier serve` makes it when it starts",
        ErrorKind::PermissionDenied => "; is the directory above it closed? `chmod o+x` lets everybody pass",
        _ => "",
    };
    format!("cannot hand the mail in, in {}: {}{advice}", place.display(), reason(error))
}

/// The message as it comes.
struct Input {
    source: StdinLock<'static>,
    /// Looks for the dot, if a dot ends the message.
    ending: Option<compose::Ending>,
    buffer: Vec<u8>,
    octets: u64,
    over: bool,
}

impl Input {
    fn new(ignore_dots: bool) -> Self {
        let ending = (!ignore_dots).then(compose::Ending::new);
        Input { source: io::stdin().lock(), ending, buffer: vec![0; READ_BYTES], octets: 0, over: false }
    }

    /// Appends what comes next; false at the end.
    fn more(&mut self, out: &mut Vec<u8>) -> Result<bool, Failure> {
        if self.over {
            return Ok(false);
        }
        let count = loop {
            match self.source.read(&mut self.buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    return Err((TRY_AGAIN, format!("the message cannot be read: {}", reason(&error))));
                }
                Ok(count) => break count,
            }
        };
        let octets = self.buffer.get(..count).unwrap_or_default();
        self.octets = self.octets.saturating_add(count as u64);
        match &mut self.ending {
            None => out.extend_from_slice(octets),
            Some(ending) => self.over = ending.feed(octets, out),
        }
        if count == 0 {
            self.over = true;
            self.ending.take().into_iter().for_each(|ending| ending.finish(out));
        }
        Ok(!self.over)
    }
}
