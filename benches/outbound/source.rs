//! Who hands the mails in.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::thread;

/// Octets of a mail's text.
const TEXT_BYTES: usize = 4096;

/// Hands in so many mails, numbered, to `someone@d<n>.test` in turn, over so many connections.
pub(crate) fn hand_in(
    port: u16,
    destinations: usize,
    messages: usize,
    sessions: usize,
) -> Result<(), String> {
    thread::scope(|scope| {
        let session = |first| {
            scope.spawn(move || {
                let mut connection = Connection::new(port)?;
                for number in (first..messages).step_by(sessions) {
                    connection.mail(number, destinations)?;
                }
                connection.say("QUIT\r\n", &["221"])
            })
        };
        let all: Vec<_> = (0..sessions).map(session).collect();
        all.into_iter().try_for_each(|one| one.join().unwrap_or(Err("a session broke down".into())))
    })
}

struct Connection {
    stream: TcpStream,
    replies: BufReader<TcpStream>,
    text: String,
}

impl Connection {
    fn new(port: u16) -> Result<Self, String> {
        let connect = || {
            let stream = TcpStream::connect(("127.0.0.1", port))?;
            stream.set_nodelay(true)?;
            let replies = BufReader::new(stream.try_clone()?);
            Ok::<_, std::io::Error>((stream, replies))
        };
        let (stream, replies) = connect().map_err(|error| format!("port {port}: {error}"))?;
        let line = "It is what a mail of one page has to say, in lines of this length.\r\n";
        let mut connection = Self { stream, replies, text: line.repeat(TEXT_BYTES / line.len()) };
        connection.say("", &["220"])?;
        connection.say("EHLO localhost\r\n", &["250"])?;
        Ok(connection)
    }

    fn mail(&mut self, number: usize, destinations: usize) -> Result<(), String> {
        let to = number % destinations;
        let commands = format!("MAIL FROM:<ann@example.test>\r\nRCPT TO:<someone@d{to}.test>\r\nDATA\r\n");
        self.say(&commands, &["250", "250", "354"])?;
        let mail = format!(
            "From: ann@example.test\r\nTo: someone@d{to}.test\r\nSubject: {number}\r\n\
             Date: Tue, 24 Nov 2026 20:00:00 +0000\r\nMessage-ID: <{number}@example.test>\r\n\r\n{}.\r\n",
            self.text
        );
        self.say(&mail, &["250"])
    }

    /// Says something, and hears these codes.
    fn say(&mut self, commands: &str, codes: &[&str]) -> Result<(), String> {
        self.stream.write_all(commands.as_bytes()).map_err(|error| error.to_string())?;
        for code in codes {
            loop {
                let mut line = String::new();
                self.replies.read_line(&mut line).map_err(|error| error.to_string())?;
                if !line.starts_with(code) {
                    return Err(format!("{code} was expected: {line}"));
                }
                if line.get(3..4) != Some("-") {
                    break;
                }
            }
        }
        Ok(())
    }
}
