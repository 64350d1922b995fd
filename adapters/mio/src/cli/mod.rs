//! The command line: what can be asked for, and how it ends.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage or configuration. What was asked for goes to standard output,
//! everything else to standard error. `--json` gives one JSON value on standard output.

mod account;
mod check;
mod control;
mod dkim;
mod leave;
mod output;
mod prompt;
mod queue;
mod sendmail;
mod serve;
mod trace;
mod trial;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

/// Where the configuration is unless told otherwise.
const CONFIG: &str = "/etc/postier/postier.toml";

/// A whole post office in one binary: it receives mail (SMTP), takes mail from its users (submission) and lets them
/// read it (IMAP), over plain Maildir.
#[derive(Parser)]
#[command(
    name = "postier",
    version,
    arg_required_else_help = true,
    max_term_width = 100,
    after_help = "\
Examples:
  postier try                           a server to play with, on this machine alone
  postier serve                         what /etc/postier/postier.toml says
  postier user add you@example.org      an account, its password asked for
  postier config check                  what would be served, and what is wrong
  postier queue list                    mail that waits to be sent
  postier sendmail root < message       mail of a program on this machine"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a server from nothing in a directory, and run it on this machine's loopback address
    #[command(after_help = "\
Examples:
  postier try
  postier try --user ann@example.test --password open-sesame
  postier try --dir /tmp/second --smtp 0 --submission 0 --submissions 0 --imap 0 --imaps 0

A second start finds the account and its mail again. Everything is in the directory, as an
ordinary configuration: `postier serve --config postier-try/postier.toml` serves it as well.")]
    Try(TryArgs),
    /// Serve a configuration until SIGTERM; SIGHUP reads it again
    #[command(after_help = "\
Examples:
  postier serve
  postier serve --config ./postier.toml

Started as root, the server binds its ports and becomes the configured `user`.
Exit codes: 0 stopped in order, 1 it could not serve, 2 the configuration is wrong.")]
    Serve {
        #[command(flatten)]
        config: ConfigArg,
    },
    /// Look at the configuration
    #[command(
        subcommand,
        after_help = "\
Examples:
  postier config check
  postier config check --config ./postier.toml --json"
    )]
    Config(ConfigCommand),
    /// Add, change, list and remove accounts
    #[command(
        subcommand,
        after_help = "\
Examples:
  postier user add you@example.org
  postier user list --json
  postier user remove you@example.org"
    )]
    User(UserCommand),
    /// Look at mail that waits to be sent, and do something about it
    #[command(
        subcommand,
        after_help = "\
Examples:
  postier queue list
  postier queue show 4k2m9x0qv7ar
  postier queue flush                     try everything now"
    )]
    Queue(QueueCommand),
    /// Send mail as programs do: the classic sendmail
    #[command(
        disable_help_flag = true,
        long_about = "\
Send mail as programs do (cron, PHP, mutt …): the classic sendmail, whether the server runs or not.
Any user of this machine may. The options are those of sendmail:

  -t           recipients are those of To, Cc and Bcc; Bcc is taken out
  -i, -oi      a line with a dot alone does not end the message
  -f ADDRESS   the envelope sender; -r is the same, <> is nobody. Anybody may name any: the
               mail's Received field has the number of the user
  -F NAME      the sender's name, where the message has no From
  -N, -R, -V   NOTIFY, RET and ENVID of delivery status notifications (RFC 3461)
  -bp, -q, -bi list the queue, try it now, read the aliases again
  -C FILE, --config FILE
               another configuration

Others, of other mail systems, are taken and change nothing. Called through a link by the name of
sendmail, mailq or newaliases, the program is that one.",
        after_help = "\
Examples:
  echo hello | postier sendmail root
  postier sendmail -t -i < message
  postier sendmail -f ann@example.org -N success,failure -- bob@example.net < message

Exit codes (sysexits): 0 the mail is safe, 64 wrong usage, 65 no mail, 67 no address, 69 no queue
to be seen, 75 not now, 77 not allowed, 78 the configuration is wrong."
    )]
    Sendmail {
        /// Options, then recipients
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "WORDS")]
        words: Vec<OsString>,
    },
    /// List mail that waits to be sent, as `postier queue list`
    #[command(after_help = "\
Examples:
  postier mailq
  postier mailq --json | jq -r '.[].id'")]
    Mailq(ListArgs),
    /// Tell one mail's story: arrived, tried, sent, given back
    #[command(after_help = "\
Examples:
  postier trace 4k2m9x0qv7ar
  postier trace 4k2m9x0qv7ar --json
  postier trace 20261124.1712@laptop.example

The name is in the mail's Received field, in the log and in `postier queue list`; or give its
Message-ID, with or without brackets.")]
    Trace {
        #[command(flatten)]
        message: QueueArgs,
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Make, check and retire the keys that sign mail that leaves (DKIM)
    #[command(
        subcommand,
        after_help = "\
Examples:
  postier dkim new                        keys for the first domain, and their records to paste
  postier dkim check                      are the records in the DNS? Then use the keys
  postier dkim list"
    )]
    Dkim(DkimCommand),
    /// Print a completion script for a shell
    #[command(after_help = "\
Examples:
  postier completions bash > /etc/bash_completion.d/postier
  postier completions zsh > /usr/local/share/zsh/site-functions/_postier
  postier completions fish > ~/.config/fish/completions/postier.fish")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Check everything a start would check, and print what would be served
    #[command(after_help = "\
Examples:
  postier config check
  postier config check --config ./postier.toml
  postier config check --json | jq '.problems[].title'

Exit codes: 0 it can be served, 2 it cannot.")]
    Check {
        #[command(flatten)]
        config: ConfigArg,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

#[derive(Subcommand)]
enum QueueCommand {
    /// List what waits, the oldest first
    #[command(after_help = "\
Examples:
  postier queue list
  postier queue list --json | jq -r '.[].id'")]
    List(ListArgs),
    /// Show one message: what has become of its recipients, and its header
    #[command(after_help = "\
Examples:
  postier queue show 4k2m9x0qv7ar
  postier queue show 4k2m9x0qv7ar --json")]
    Show {
        #[command(flatten)]
        message: QueueArgs,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Try one message now
    #[command(after_help = "\
Examples:
  postier queue retry 4k2m9x0qv7ar")]
    Retry(QueueArgs),
    /// Try everything now
    #[command(after_help = "\
Examples:
  postier queue flush")]
    Flush {
        #[command(flatten)]
        config: ConfigArg,
    },
    /// Keep one message from being tried
    #[command(after_help = "\
Examples:
  postier queue hold 4k2m9x0qv7ar")]
    Hold(QueueArgs),
    /// Let a message go that is held
    #[command(after_help = "\
Examples:
  postier queue release 4k2m9x0qv7ar")]
    Release(QueueArgs),
    /// Remove one message; its sender is not told
    #[command(after_help = "\
Examples:
  postier queue remove 4k2m9x0qv7ar")]
    Remove(QueueArgs),
}

#[derive(Args)]
struct ListArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// Print a JSON array
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct QueueArgs {
    /// The message's name, as `postier queue list` and the log have it
    id: String,
    #[command(flatten)]
    config: ConfigArg,
}

#[derive(Subcommand)]
enum DkimCommand {
    /// Make an RSA and an Ed25519 key for a domain, and print the records for the DNS
    #[command(after_help = "\
Examples:
  postier dkim new
  postier dkim new example.org
  postier dkim new example.org --selector winter
  postier dkim new --json | jq -r '.[].text'

Mail is signed with them once `postier dkim check` has seen the records. A further call makes
the next keys; when they are in use, the ones before are retired.")]
    New(DkimNewArgs),
    /// Ask the DNS for the keys' records, and use the keys whose records are there
    #[command(after_help = "\
Examples:
  postier dkim check
  postier dkim check --json | jq '.[] | select(.record_seen | not).name'

Exit codes: 0 all records are there, 1 some are not.")]
    Check(ListArgs),
    /// List the keys
    #[command(after_help = "\
Examples:
  postier dkim list
  postier dkim list --records
  postier dkim list --json | jq -r '.[] | .name, .text'")]
    List {
        #[command(flatten)]
        list: ListArgs,
        /// Print their records for the DNS, too
        #[arg(long)]
        records: bool,
    },
    /// Sign no more with a key
    #[command(after_help = "\
Examples:
  postier dkim retire 202611r
  postier dkim retire winterr example.org")]
    Retire(DkimKeyArgs),
}

#[derive(Args)]
struct DkimNewArgs {
    /// The domain; the first of the configuration if none is named
    domain: Option<String>,
    /// What the keys' names begin with [default: the month, as 202611]
    #[arg(long, value_name = "NAME")]
    selector: Option<String>,
    /// Print a JSON array
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArg,
}

#[derive(Args)]
struct DkimKeyArgs {
    /// The key's selector, as `postier dkim list` has it before `._domainkey`
    selector: String,
    /// The domain; the first of the configuration if none is named
    domain: Option<String>,
    #[command(flatten)]
    config: ConfigArg,
}

#[derive(Subcommand)]
enum UserCommand {
    /// Add an account
    #[command(after_help = "\
Examples:
  postier user add you@example.org                 asks for the password
  postier user add you@example.org --generate      makes one and prints it
  pass show mail | postier user add you@example.org --stdin

The running server knows the account at once.")]
    Add {
        #[command(flatten)]
        user: UserArgs,
        #[command(flatten)]
        password: PasswordArgs,
    },
    /// Give an account another password
    #[command(after_help = "\
Examples:
  postier user passwd you@example.org
  postier user passwd you@example.org --generate
  postier user passwd you@example.org --no-scram --stdin < password")]
    Passwd {
        #[command(flatten)]
        user: UserArgs,
        #[command(flatten)]
        password: PasswordArgs,
    },
    /// List the accounts
    #[command(after_help = "\
Examples:
  postier user list
  postier user list --json | jq -r '.[].address'")]
    List(ListArgs),
    /// Print a script that prepares Dovecot for serving accounts' mail again, whether the server runs or not
    #[command(after_help = "\
Examples:
  postier user leave > leave.sh
  postier user leave you@example.org --separator /

The Maildirs, with their UIDs, flags, keywords and subscriptions, are Dovecot's as they are; the
script sees to the mod-sequences. Run it as root when Dovecot is configured for the Maildirs and
before a client connects: then none has to download anything again. The separator is that of
Dovecot's namespace.")]
    Leave {
        #[command(flatten)]
        args: LeaveArgs,
    },
    /// Remove an account; its mail stays where it is
    #[command(after_help = "\
Examples:
  postier user remove you@example.org
  postier user remove you@example.org --force      even if nobody reads postmaster's mail then")]
    Remove {
        #[command(flatten)]
        user: UserArgs,
        /// Remove it even if the server cannot be started without it
        #[arg(long)]
        force: bool,
    },
}

#[derive(Args)]
struct TryArgs {
    /// Where everything is kept
    #[arg(long, default_value = "./postier-try")]
    dir: PathBuf,
    /// The account
    #[arg(long, value_name = "ADDRESS", default_value = "you@example.test")]
    user: String,
    /// Its password; one is generated for a new account
    #[arg(long)]
    password: Option<String>,
    /// Port for mail from other servers, 0 for a free one [default: 2525]
    #[arg(long, value_name = "PORT")]
    smtp: Option<u16>,
    /// Port for sending, with STARTTLS [default: 2587]
    #[arg(long, value_name = "PORT")]
    submission: Option<u16>,
    /// Port for sending, with TLS [default: 2465]
    #[arg(long, value_name = "PORT")]
    submissions: Option<u16>,
    /// Port for reading, with STARTTLS [default: 2143]
    #[arg(long, value_name = "PORT")]
    imap: Option<u16>,
    /// Port for reading, with TLS [default: 2993]
    #[arg(long, value_name = "PORT")]
    imaps: Option<u16>,
}

#[derive(Args)]
struct ConfigArg {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = CONFIG)]
    config: PathBuf,
}

#[derive(Args)]
struct UserArgs {
    /// The account's address; a name alone is of the first domain
    address: String,
    #[command(flatten)]
    config: ConfigArg,
}

#[derive(Args)]
struct LeaveArgs {
    /// The account's address [default: all accounts]
    address: Option<String>,
    /// What is between the levels of Dovecot's mailbox names
    #[arg(long, value_name = "CHARACTER", default_value_t = '.')]
    separator: char,
    #[command(flatten)]
    config: ConfigArg,
}

#[derive(Args)]
struct PasswordArgs {
    /// Read the password from standard input, to the end of its first line
    #[arg(long, conflicts_with = "generate")]
    stdin: bool,
    /// Generate a password and print it
    #[arg(long)]
    generate: bool,
    /// Keep no verifier for SCRAM-SHA-256: clients must then send the password itself, inside TLS
    #[arg(long)]
    no_scram: bool,
}

/// Runs what the command line asks for.
pub(crate) fn main() -> ExitCode {
    let mut words = std::env::args_os();
    let program = words.next().unwrap_or_default();
    if let Some(code) = sendmail::called_as(Path::new(&program), &words.collect::<Vec<_>>()) {
        return code;
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come as errors, with exit code 0.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let outcome = match cli.command {
        Command::Try(args) => trial::try_out(&args),
        Command::Serve { config } => serve::serve(&config.config),
        Command::Config(ConfigCommand::Check { config, json }) => check::check(&config.config, json),
        Command::User(UserCommand::Add { user, password }) => account::add(&user, &password),
        Command::User(UserCommand::Passwd { user, password }) => account::change_password(&user, &password),
        Command::User(UserCommand::List(list)) => account::list(&list.config.config, list.json),
        Command::User(UserCommand::Leave { args }) => leave::leave(&args),
        Command::User(UserCommand::Remove { user, force }) => account::remove(&user, force),
        Command::Queue(command) => match command {
            QueueCommand::List(list) => queue::list(&list.config, list.json),
            QueueCommand::Show { message, json } => queue::show(&message, json),
            QueueCommand::Retry(message) => queue::change(&message, queue::Change::Retry),
            QueueCommand::Flush { config } => queue::flush(&config),
            QueueCommand::Hold(message) => queue::change(&message, queue::Change::Hold),
            QueueCommand::Release(message) => queue::change(&message, queue::Change::Release),
            QueueCommand::Remove(message) => queue::change(&message, queue::Change::Remove),
        },
        Command::Dkim(command) => match command {
            DkimCommand::New(args) => dkim::new(&args),
            DkimCommand::Check(args) => dkim::check(&args),
            DkimCommand::List { list, records } => dkim::list(&list, records),
            DkimCommand::Retire(args) => dkim::retire(&args),
        },
        Command::Sendmail { words } => return sendmail::main(&words),
        Command::Mailq(list) => queue::list(&list.config, list.json),
        Command::Trace { message, json } => trace::trace(&message, json),
        Command::Completions { shell } => {
            completions(shell);
            Ok(())
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn completions(shell: clap_complete::Shell) {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "postier", &mut script);
    output::say(&String::from_utf8_lossy(&script));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every command a person can give, with its name.
    fn leaves(command: &clap::Command, name: &str, found: &mut Vec<(String, clap::Command)>) {
        for sub in command.get_subcommands() {
            let name = format!("{name} {}", sub.get_name());
            found.push((name.clone(), sub.clone()));
            leaves(sub, &name, found);
        }
    }

    #[test]
    fn the_grammar_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_help_has_examples_that_parse() {
        let mut commands = vec![("postier".to_owned(), Cli::command())];
        leaves(&Cli::command(), "postier", &mut commands);
        for (name, command) in commands {
            let help =
                command.get_after_help().unwrap_or_else(|| panic!("{name} has no examples")).to_string();
            let examples = help.lines().filter_map(|line| line.strip_prefix("  "));
            let mut any = false;
            for example in examples {
                let call = example.rsplit('|').find(|part| part.contains("postier ")).unwrap_or(example);
                let words: Vec<_> = call
                    .split("  ")
                    .find(|part| !part.trim().is_empty())
                    .unwrap()
                    .split_whitespace()
                    .collect();
                let words: Vec<_> =
                    words.into_iter().take_while(|word| !matches!(*word, ">" | "<")).collect();
                if let Err(error) = Cli::try_parse_from(&words) {
                    panic!("{name}: {example}: {error}");
                }
                any = true;
            }
            assert!(any, "{name} has no examples");
        }
    }
}
