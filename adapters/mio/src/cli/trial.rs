//! `postier try`: a real server on loopback, made from nothing in one directory.
//!
//! The directory gets an ordinary configuration (certificate, users, aliases, all of it), and the ordinary server runs
//! on it: `postier serve --config DIR/postier.toml` would do the same. A second start finds everything there.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use postier_core::event::Event;
use postier_core::mime::{date, encoded_word};
use postier_core::server::Service;
use postier_core::site::check_user;
use postier_host::clock;
use postier_host::config::{Config, LogFormat, LogLevel, LogSettings, Settings, reason};
use postier_host::files::DirectFiles;
use postier_host::identity::Identity;
use postier_host::password::{generate_password, hash_password, make_scram};
use postier_host::tls::self_signed;
use postier_host::users::{UsersFile, UsersFileLock};

use super::TryArgs;
use super::output::{Failure, complain, complain_of, say};
use super::serve::{listeners, start};
use crate::server::{check_ports, log};

/// Files of the directory.
const CONFIG: &str = "postier.toml";
const CERTIFICATE: &str = "certificate.pem";
const KEY: &str = "key.pem";
const USERS: &str = "users";
const ALIASES: &str = "aliases";

pub(super) fn try_out(args: &TryArgs) -> Result<(), Failure> {
    let path = args.dir.join(CONFIG);
    if !path.exists() {
        let (user, domain) = split(&args.user);
        if check_user(user.as_bytes()).is_err() || domain.is_empty() {
            return Err(Failure::Usage(format!("\"{}\" is no address for an account", args.user)));
        }
        furnish(args, user, domain).map_err(|error| Failure::io(args.dir.display(), &error))?;
    }
    let settings = Settings::read(&path, &DirectFiles)?;
    let listeners = with_ports(listeners(&settings), args);
    // A start that fails later than this would keep the generated password to itself.
    check_ports(&listeners).map_err(|error| Failure::Failed(error.to_string()))?;
    let login = Login::settle(args, &settings)?;
    let (config, warnings) = Config::load(&path)?;
    complain_of(&warnings);
    // What arrives is said in a line of its own; the log has what needs a person.
    log::start(LogSettings { level: LogLevel::Warn, format: LogFormat::Text });

    let inbox = settings.layout.expand(login.user.as_bytes(), login.domain.as_bytes());
    let welcome = !Path::new(&String::from_utf8_lossy(&inbox).into_owned()).exists();
    // What is printed gets pasted into another terminal, which is in another directory.
    let dir = std::path::absolute(&args.dir).unwrap_or_else(|_| args.dir.clone());
    let address = login.address();
    let on_ready = Box::new(move |bound: &[(Service, SocketAddr)]| {
        say(&instructions(&dir, &login, bound));
        let exchange = bound.iter().find(|(service, _)| *service == Service::Smtp);
        if let Some(&(_, exchange)) = exchange.filter(|_| welcome) {
            // The server's threads answer while this one waits for signals.
            std::thread::spawn(move || {
                if let Err(error) = send_welcome(exchange, &address) {
                    complain(&format!("the welcome mail was not delivered: {}", reason(&error)));
                }
            });
        }
    });
    start(config, listeners, Box::new(say_arrival), on_ready)?;
    say(&format!("stopped; the mail stays in {}\n", args.dir.display()));
    Ok(())
}

/// The ports asked for on the command line in the place of the configured ones.
fn with_ports(mut listeners: Vec<(Service, SocketAddr)>, args: &TryArgs) -> Vec<(Service, SocketAddr)> {
    for (service, address) in &mut listeners {
        let port = match service {
            Service::Smtp => args.smtp,
            Service::Submission => args.submission,
            Service::Submissions => args.submissions,
            Service::Imap => args.imap,
            Service::Imaps => args.imaps,
        };
        address.set_port(port.unwrap_or(address.port()));
    }
    listeners
}

/// Makes the directory and everything in it but the account. The configuration comes last: where it is, the
/// rest is there.
fn furnish(args: &TryArgs, user: &str, domain: &str) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&args.dir)?;
    let made = self_signed(&["localhost", "127.0.0.1", "::1"]).map_err(io::Error::other)?;
    let me = Identity::current()?.name;
    let write = |name: &str, mode, text: &str| -> io::Result<()> {
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(mode);
        options.open(args.dir.join(name))?.write_all(text.as_bytes())
    };
    write(CERTIFICATE, 0o644, &made.certificate)?;
    write(KEY, 0o600, &made.key)?;
    write(USERS, 0o600, "# Written by `postier user`; one account a line.\n")?;
    write(ALIASES, 0o644, &format!("# Who gets mail for names that are no accounts.\npostmaster: {user}\n"))?;
    let config = format!(
        "# Made by `postier try`. `postier serve --config {CONFIG}` serves it as well.\n\
         hostname = \"localhost\"\n\
         domains = [\"{domain}\"]\n\
         user = \"{me}\"\n\
         state = \"state\"\n\n\
         [tls]\n\
         certificate = \"{CERTIFICATE}\"\n\
         key = \"{KEY}\"\n\n\
         [accounts]\n\
         file = \"{USERS}\"\n\n\
         [mail]\n\
         maildir = \"mail/{{domain}}/{{user}}\"\n\n\
         [aliases]\n\
         file = \"{ALIASES}\"\n\n\
         [listen]\n\
         smtp = [\"127.0.0.1:2525\"]\n\
         submission = [\"127.0.0.1:2587\"]\n\
         submissions = [\"127.0.0.1:2465\"]\n\
         imap = [\"127.0.0.1:2143\"]\n\
         imaps = [\"127.0.0.1:2993\"]\n\n\
         [queue]\n\
         send = false # `true` to send mail to other servers, too\n\n\
         [limits]\n\
         connections = 1000\n"
    );
    write(CONFIG, 0o644, &config)
}

fn split(address: &str) -> (&str, &str) {
    address.rsplit_once('@').unwrap_or((address, ""))
}

/// Who the instructions are for.
struct Login {
    user: String,
    domain: String,
    /// `None` when only its hash is known.
    password: Option<String>,
}

impl Login {
    fn address(&self) -> String {
        format!("{}@{}", self.user, self.domain)
    }

    /// Finds or makes the account, and gives it the password of the command line.
    fn settle(args: &TryArgs, settings: &Settings) -> Result<Self, Failure> {
        let (user, domain) = split(&args.user);
        let (user, domain) = (user.to_lowercase(), domain.to_lowercase());
        if !settings.domains.iter().any(|known| known.value == domain) {
            let first = settings.first_domain();
            let path = settings.path.display();
            return Err(Failure::Usage(format!(
                "{path} is for {first}: name an address there with `--user`, or another directory with `--dir`"
            )));
        }
        if let Err(why) = check_user(user.as_bytes()) {
            return Err(Failure::Usage(format!("{} is no address for an account: {why}", args.user)));
        }
        let failed = |error: io::Error| Failure::io(settings.accounts.value.display(), &error);
        let mut lock = UsersFileLock::acquire(&settings.accounts.value).map_err(failed)?;
        let (mut file, _) = UsersFile::parse(lock.read().map_err(failed)?);
        let found = file.find(&user, &domain, settings.first_domain()).cloned();
        let password = match (&found, &args.password) {
            (_, Some(password)) => Some(password.clone()),
            (None, None) => Some(generate_password()),
            (Some(_), None) => None,
        };
        if let Some(password) = &password {
            let (hash, scram) = (hash_password(password.as_bytes()), make_scram(password.as_bytes()));
            match &found {
                Some(entry) => file.set_password(entry, &hash, scram.as_ref()),
                None => file.add(&format!("{user}@{domain}"), &hash, scram.as_ref()),
            }
            lock.replace(file.text()).map_err(failed)?;
        }
        Ok(Self { user, domain, password })
    }
}

/// What to paste.
fn instructions(dir: &Path, login: &Login, bound: &[(Service, SocketAddr)]) -> String {
    let port = |wanted| {
        bound.iter().find(|(service, _)| *service == wanted).map_or(0, |(_, address)| address.port())
    };
    let (address, config) = (login.address(), dir.join(CONFIG));
    let certificate = quoted(&dir.join(CERTIFICATE).display().to_string());
    let (password, shown) = match &login.password {
        Some(password) => (password.as_str(), password.clone()),
        None => (
            "PASSWORD",
            format!(
                "as printed at the first start, or set a new one with `postier user passwd --config {} {address}`",
                quoted(&config.display().to_string())
            ),
        ),
    };
    let user = quoted(&format!("{address}:{password}"));
    let (smtp, submission, submissions) =
        (port(Service::Smtp), port(Service::Submission), port(Service::Submissions));
    let (imap, imaps) = (port(Service::Imap), port(Service::Imaps));
    format!(
        "postier serves {address} from {dir}\n\n\
         account:   {address}\n\
         password:  {shown}\n\n\
         Send yourself a mail:\n\n  \
           printf 'From: {address}\\nTo: {address}\\nSubject: Hello\\n\\nIt works.\\n' | curl -sS --crlf --ssl-reqd \\\n    \
             --cacert {certificate} --user {user} \\\n    \
             --mail-from {address} --mail-rcpt {address} --upload-file - \\\n    \
             smtp://localhost:{submission}\n\n\
         Read the newest mail:\n\n  \
           curl -sS --cacert {certificate} --user {user} 'imaps://localhost:{imaps}/INBOX;MAILINDEX=*'\n\n\
         Settings for a mail client (it asks once about the certificate, which nobody has signed):\n\n  \
           incoming   IMAP  localhost  port {imaps}  SSL/TLS   (or {imap} with STARTTLS)\n  \
           outgoing   SMTP  localhost  port {submissions}  SSL/TLS   (or {submission} with STARTTLS)\n  \
           user name  {address}\n  \
           password   the one above\n\n\
         Mail from other servers comes in at port {smtp}. Ctrl-C stops the server.\n\n",
        dir = dir.display(),
    )
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"@%+=:,./_-".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// One line for each mail that arrives.
fn say_arrival(event: &Event) {
    let Event::Delivered { from, to, size, subject, .. } = event else { return };
    let printable =
        |text: &str| -> String { text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect() };
    let to: Vec<_> = to.iter().map(|to| String::from_utf8_lossy(to)).collect();
    let from = if from.is_empty() { "nobody (a report)".into() } else { String::from_utf8_lossy(from) };
    let subject = encoded_word::decode(subject);
    let subject = if subject.trim().is_empty() { "(no subject)" } else { subject.trim() };
    let line = format!("mail for {} from {from}: {subject} ({size} octets)", to.join(", "));
    say(&(printable(&line) + "\n"));
}

/// Hands the welcome mail to the server as another server would.
fn send_welcome(exchange: SocketAddr, address: &str) -> io::Result<()> {
    let exchange = SocketAddr::from((Ipv4Addr::LOCALHOST, exchange.port()));
    let socket = TcpStream::connect_timeout(&exchange, Duration::from_secs(10))?;
    socket.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut replies = BufReader::new(&socket);
    let text = welcome_text(address);
    let dialogue = [
        ("", b'2'),
        ("EHLO localhost\r\n", b'2'),
        (&format!("MAIL FROM:<{address}>\r\n"), b'2'),
        (&format!("RCPT TO:<{address}>\r\n"), b'2'),
        ("DATA\r\n", b'3'),
        (&format!("{}.\r\n", text.replace('\n', "\r\n")), b'2'),
        ("QUIT\r\n", b'2'),
    ];
    for (command, expected) in dialogue {
        (&socket).write_all(command.as_bytes())?;
        let mut reply = String::new();
        // Lines of one reply but the last have a hyphen behind the code.
        while {
            reply.clear();
            replies.read_line(&mut reply)?;
            reply.as_bytes().get(3) == Some(&b'-')
        } {}
        if reply.as_bytes().first() != Some(&expected) {
            return Err(io::Error::other(format!("the server said: {}", reply.trim_end())));
        }
    }
    Ok(())
}

fn welcome_text(address: &str) -> String {
    let date = date::format_rfc5322(clock::now().wall.secs, 0);
    format!(
        "From: postier <{address}>\n\
         To: {address}\n\
         Subject: Welcome to postier\n\
         Date: {date}\n\
         MIME-Version: 1.0\n\
         Content-Type: text/plain; charset=utf-8\n\
         \n\
         This mail came in by SMTP, was stored in a Maildir, and you read it by IMAP:\n\
         the whole way through your own post office.\n\
         \n\
         What to do next:\n\
         - answer this mail from your mail client\n\
         - look into the directory `mail`: each message is a file\n\
         - copy postier.toml and make it yours; `postier config check` explains mistakes\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_the_shell() {
        for word in ["plain", "you@example.test:abc-def", "with space", "it's", "$HOME", "", "a\\b"] {
            let output = std::process::Command::new("sh")
                .arg("-c")
                .arg(format!("printf %s {}", quoted(word)))
                .output();
            assert_eq!(String::from_utf8(output.unwrap().stdout).unwrap(), word);
        }
    }
}
