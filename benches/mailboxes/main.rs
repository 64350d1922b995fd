//! Large mailboxes: postier beside Dovecot on the same generated Maildir, in one sitting, as a table.
//!
//! ```text
//! cargo build --release -p postier
//! cargo bench -p postier-benches --bench mailboxes -- [--messages 10000,100000] [--only TEXT] [--disk-cold] [--dir DIRECTORY]
//! ```
//!
//! It installs nothing: without Dovecot 2.3 it measures postier alone, and says so. Both servers have a Maildir of their own, of hard
//! links to the same generated files, in a directory that is removed at the end; as root both serve as `nobody`. Every
//! figure is the median of [`RUNS`] runs unless the work can be done only once; the time is that from a command to its
//! tagged answer, login not included, and everything that came is read.
//!
//! | row | what it is |
//! |---|---|
//! | cold | no file of the server's own in the mailbox, the server started anew; the messages are in the page cache |
//! | disk cold | the same, and the page cache dropped: of the whole machine, so only with `--disk-cold`, as root |
//! | first pass, second pass | the first FETCH of all ENVELOPEs after that, and another in a new connection |
//! | warm | the median of those after that |
//! | beside | the longest NOOP of a connection while another one fetches all messages |
//! | memory | PSS of all processes of the server while 100 connections over TLS idle in the mailbox, for 15 s |

mod cases;
mod client;
mod generator;
#[path = "../peers.rs"]
mod peers;
#[path = "../report.rs"]
mod report;
mod servers;

use std::path::PathBuf;
use std::process::ExitCode;

use report::Table;
use servers::{Server, Site};

/// Runs of one case.
const RUNS: usize = 3;

struct Options {
    messages: Vec<u32>,
    only: Option<String>,
    disk_cold: bool,
    dir: PathBuf,
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

fn options() -> Result<Options, String> {
    let mut options =
        Options { messages: vec![10_000], only: None, disk_cold: false, dir: std::env::temp_dir() };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} wants a value"));
        match argument.as_str() {
            // cargo bench says so to every bench,
            "--bench" => {}
            // and this asks whether they run at all.
            "--test" => options.messages = vec![500],
            "--messages" => {
                let counts = value()?;
                let counts = counts.split(',').map(str::parse).collect::<Result<Vec<u32>, _>>();
                options.messages = counts.map_err(|error| format!("--messages: {error}"))?;
            }
            "--only" => options.only = Some(value()?),
            "--disk-cold" => options.disk_cold = true,
            "--dir" => options.dir = value()?.into(),
            _ => {
                return Err(format!(
                    "unknown option {argument}; the manual is at the top of mailboxes/main.rs"
                ));
            }
        }
    }
    Ok(options)
}

fn run(options: &Options) -> Result<(), String> {
    let kinds = servers::available()?;
    for &messages in &options.messages {
        let site = Site::new(&options.dir, messages)?;
        let mut table = Table::new(format!("{messages} messages"), kinds.iter().map(|kind| kind.name()));
        for (column, kind) in kinds.iter().enumerate() {
            let mut server = Server::start(&site, *kind)?;
            let mut sitting = cases::Sitting {
                server: &mut server,
                disk_cold: options.disk_cold,
                only: options.only.as_deref(),
                column,
                table: &mut table,
            };
            cases::all(&mut sitting)?;
        }
        table.print();
    }
    Ok(())
}
