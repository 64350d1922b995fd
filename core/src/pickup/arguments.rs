//! The command line of sendmail, as cron, PHP and mail programs give it.
//!
//! What matters to mail of one program is understood; options that tune other mail systems are taken, and change nothing,
//! as Postfix does it. Options may stand together (`-ti`), have their value behind them or in the next word, and end at the
//! first word that is none, or at `--`.
//!
//! ```
//! use postier_core::pickup::arguments::{Call, parse};
//! let words = ["-t", "-i", "-fann@example.org"].map(Into::into);
//! let Call::Send(options) = parse(&words).unwrap().call else { unreachable!() };
//! assert!(options.extract && options.ignore_dots && options.from.as_deref() == Some("ann@example.org"));
//! ```

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::smtp::parameter::{ENVID_BYTES_MAX, Notify, Return, parse_mail, parse_rcpt};

/// What is asked for, and of which server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arguments {
    /// `-C`, `--config`: the configuration.
    pub config: Option<String>,
    /// What to do.
    pub call: Call,
}

/// What sendmail can be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// Send the message that comes.
    Send(Box<Options>),
    /// `-bp`: list the queue.
    List,
    /// `-q`: try everything in the queue now.
    Flush,
    /// `-bi`, `-I`: read the aliases again.
    Aliases,
    /// `--help`
    Help,
}

/// How to send.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `-t`: the recipients are in the header.
    pub extract: bool,
    /// `-i`, `-oi`: a line with a dot alone is not the end.
    pub ignore_dots: bool,
    /// `-f`, `-r`: the envelope sender; empty for `<>`.
    pub from: Option<String>,
    /// `-F`: the sender's name.
    pub name: Option<String>,
    /// `-N`: NOTIFY (RFC 3461 §4.1).
    pub notify: Option<Notify>,
    /// `-R`: RET (RFC 3461 §4.3): `Some(true)` is FULL.
    pub return_full: Option<bool>,
    /// `-V`: ENVID (RFC 3461 §4.4).
    pub envelope_id: Option<Vec<u8>>,
    /// The words after the options: address lists.
    pub recipients: Vec<String>,
}

/// Options that are followed by a value, in their word or as the next one.
const WITH_VALUE: &str = "ABCFLNORVXbefhopr";
/// Options whose value can only be in their word.
const WITH_OWN_VALUE: &str = "dq";
/// Options without.
const ALONE: &str = "GIUcimnstvx";

/// Reads the words after the program's name.
///
/// # Errors
/// What is wrong, in words.
pub fn parse(words: &[String]) -> Result<Arguments, String> {
    let mut reader = Reader::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--" => break,
            "--help" => reader.call = Some(Call::Help),
            "--config" => reader.config = Some(next_value(&mut words, "--config")?),
            long if long.starts_with("--config=") => {
                reader.config = long.split_once('=').map(|(_, value)| value.into());
            }
            long if long.starts_with("--") => return Err(format!("unknown option {long}")),
            short if short.len() > 1 && short.starts_with('-') => reader.take_word(short, &mut words)?,
            recipient => {
                reader.options.recipients.push(recipient.into());
                break;
            }
        }
    }
    reader.options.recipients.extend(words.cloned());
    let call = match reader.call {
        Some(call) => call,
        None => Call::Send(Box::new(reader.options)),
    };
    Ok(Arguments { config: reader.config, call })
}

fn next_value<'w>(words: &mut impl Iterator<Item = &'w String>, option: &str) -> Result<String, String> {
    words.next().cloned().ok_or_else(|| format!("{option} needs a value"))
}

#[derive(Default)]
struct Reader {
    config: Option<String>,
    options: Options,
    call: Option<Call>,
}

impl Reader {
    /// A word of options: letters, up to one that has a value.
    fn take_word<'w>(
        &mut self,
        word: &'w str,
        words: &mut impl Iterator<Item = &'w String>,
    ) -> Result<(), String> {
        for (at, letter) in word.char_indices().skip(1) {
            let rest = word.get(at + letter.len_utf8()..).unwrap_or_default();
            if ALONE.contains(letter) {
                self.take_alone(letter);
            } else if WITH_OWN_VALUE.contains(letter) {
                return self.take(letter, rest);
            } else if WITH_VALUE.contains(letter) {
                if !rest.is_empty() {
                    return self.take(letter, rest);
                }
                return self.take(letter, &next_value(words, &format!("-{letter}"))?);
            } else {
                return Err(format!("unknown option -{letter}"));
            }
        }
        Ok(())
    }

    fn take_alone(&mut self, letter: char) {
        match letter {
            'I' => self.call = Some(Call::Aliases),
            'i' => self.options.ignore_dots = true,
            't' => self.options.extract = true,
            // Of other systems: gateway, metoo, verbose …
            _ => {}
        }
    }

    fn take(&mut self, letter: char, value: &str) -> Result<(), String> {
        let options = &mut self.options;
        match letter {
            'C' => self.config = Some(value.into()),
            'F' => options.name = Some(value.into()),
            'f' | 'r' => options.from = Some(bare(value).into()),
            'N' => {
                let parameters = format!("NOTIFY={value}");
                let found = parse_rcpt(&parameters).ok().and_then(|found| found.notify);
                options.notify = Some(found.ok_or("-N is `never`, or some of `success,failure,delay`")?);
            }
            'R' => {
                let parameters = format!("RET={value}");
                let found = parse_mail(&parameters).ok().and_then(|found| found.ret);
                options.return_full = Some(found.ok_or("-R is `full` or `hdrs`")? == Return::Full);
            }
            'V' if value.is_empty() || value.len() > ENVID_BYTES_MAX => {
                return Err(format!("-V is a name of at most {ENVID_BYTES_MAX} octets"));
            }
            'V' => options.envelope_id = Some(value.as_bytes().into()),
            'b' => match value {
                "m" => {}
                "p" => self.call = Some(Call::List),
                "i" => self.call = Some(Call::Aliases),
                "d" | "D" | "h" | "H" => return Err("the server is started by `postier serve`".into()),
                mode => return Err(format!("there is no mode -b{mode} here; -bm, -bp and -bi are")),
            },
            'o' if value.starts_with('i') => options.ignore_dots = true,
            'q' if value.is_empty() => self.call = Some(Call::Flush),
            'q' => return Err("-q takes no value: `postier queue retry` tries one message".into()),
            // Of other systems: body type, error mode, hop count, options …
            _ => {}
        }
        Ok(())
    }
}

/// An address without brackets around it.
fn bare(address: &str) -> &str {
    let address = address.trim();
    address.strip_prefix('<').and_then(|inside| inside.strip_suffix('>')).unwrap_or(address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use proptest::prelude::*;

    fn call(words: &str) -> Result<Call, String> {
        let words: Vec<String> = words.split_whitespace().map(ToString::to_string).collect();
        parse(&words).map(|arguments| arguments.call)
    }

    fn send(words: &str) -> Options {
        match call(words) {
            Ok(Call::Send(options)) => *options,
            other => panic!("{words}: {other:?}"),
        }
    }

    #[test]
    fn cron_php_and_mail_programs_are_understood() {
        // cron, PHP, mutt, s-nail, git send-email, mdadm and smartd.
        let cron = send("-i -FCronDaemon -B8BITMIME -oem root");
        assert_eq!((cron.name.as_deref(), cron.ignore_dots), (Some("CronDaemon"), true));
        assert_eq!(cron.recipients, ["root"]);
        let php = send("-t -i -fwww@example.org");
        assert!(php.extract && php.ignore_dots && php.recipients.is_empty());
        let mutt =
            send("-oem -oi -f ann@example.org -N delay,failure -R hdrs -- bob@example.net -odd@x.test");
        assert_eq!(mutt.recipients, ["bob@example.net", "-odd@x.test"]);
        assert_eq!(mutt.notify, Some(Notify { success: false, failure: true, delay: true }));
        assert_eq!((mutt.return_full, mutt.from.as_deref()), (Some(false), Some("ann@example.org")));
        assert_eq!(send("-i -r ann@example.org -- bob").from.as_deref(), Some("ann@example.org"));
        assert!(send("-ti").extract && send("-ti").ignore_dots);
        assert_eq!(send("-f <> bob").from.as_deref(), Some(""));
        assert_eq!(send("-V abc bob").envelope_id.as_deref(), Some(&b"abc"[..]));
    }

    #[test]
    fn options_of_other_systems_change_nothing() {
        let plain = send("bob");
        let words = "-Am -B8BITMIME -c -d7.1 -em -G -h 3 -L tag -m -n -O DeliveryMode=b -odb -o7 -U -v -X /dev/null bob";
        assert_eq!(send(words), plain);
    }

    #[test]
    fn other_calls() {
        assert_eq!(call("-bp"), Ok(Call::List));
        assert_eq!(call("-q"), Ok(Call::Flush));
        assert_eq!(call("-bi"), Ok(Call::Aliases));
        assert_eq!(call("--help"), Ok(Call::Help));
        let words = ["-C", "/etc/x.toml", "-bp"].map(String::from);
        assert_eq!(parse(&words).unwrap().config.as_deref(), Some("/etc/x.toml"));
        assert_eq!(
            parse(&["--config=a.toml".into()]).unwrap().config,
            parse(&["--config".into(), "a.toml".into()]).unwrap().config
        );
    }

    #[test]
    fn what_cannot_be_done_is_said() {
        for bad in
            ["-bd", "-bs", "-bv bob", "-q30m", "-N sometimes bob", "-R x bob", "-f", "-é", "-Z", "--what"]
        {
            assert!(call(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_words_are_survived(words in proptest::collection::vec("-?\\PC{0,8}", 0..5)) {
            let _ = parse(&words);
        }
    }
}
