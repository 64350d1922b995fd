//! Mail for other servers: postier beside Postfix, to the same servers, in one sitting, as a table.
//!
//! ```text
//! cargo build --release -p postier
//! cargo bench -p postier-benches --bench outbound -- [--messages 3000] [--runs 3] [--destinations 1,100] [--dir DIRECTORY]
//! ```
//!
//! It installs nothing: without Postfix, or not as root, without whom Postfix does not run, it measures postier alone, and
//! says so. Each server has its own directory, which is removed at the end, its queue in it, and the defaults of its
//! authors, but for what is needed to run beside another one; and Postfix is not told to slow its clients down
//! (`in_flow_delay = 0`). The mails have 4 KiB and one recipient each, and come over [`SESSIONS`] connections. They go to
//! domains each of which has a server of its own in this program, which offers PIPELINING, takes everything and counts: a
//! mail that does not come, or comes twice, ends the sitting. Both servers are told the domains' servers in a table
//! (`[routes]`, `transport_maps`); no DNS is asked.
//!
//! | row | what it is |
//! |---|---|
//! | queue | all mails wait in the queue, for no server of a domain was up; then all are, and the queue is told to try: from that to the last mail |
//! | relay | from the first command of who hands the mails in to the last mail's arrival at the other servers |
//! | memory | the most PSS that was seen of all processes of the server, looked at ten times a second during both |

#[path = "../peers.rs"]
mod peers;
#[path = "../report.rs"]
#[expect(dead_code, reason = "another table has units that this one has not")]
mod report;
mod servers;
mod sink;
mod source;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use report::{Table, Unit};
use servers::{Kind, Server};
use sink::Sinks;

/// Connections that hand mail in.
const SESSIONS: usize = 10;
/// How long all mails may take.
const PATIENCE: Duration = Duration::from_secs(300);

struct Options {
    messages: usize,
    runs: usize,
    destinations: Vec<usize>,
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
        Options { messages: 3000, runs: 3, destinations: vec![1, 100], dir: std::env::temp_dir() };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} wants a value"));
        let number = |text: &str| text.parse().map_err(|error| format!("{text}: {error}"));
        match argument.as_str() {
            // cargo bench says so to every bench,
            "--bench" => {}
            // and this asks whether they run at all.
            "--test" => (options.messages, options.runs) = (100, 1),
            "--messages" => options.messages = number(&value()?)?,
            "--runs" => options.runs = number(&value()?)?.max(1),
            "--destinations" => {
                options.destinations = value()?.split(',').map(number).collect::<Result<_, _>>()?;
            }
            "--dir" => options.dir = value()?.into(),
            _ => {
                return Err(format!(
                    "unknown option {argument}; the manual is at the top of outbound/main.rs"
                ));
            }
        }
    }
    Ok(options)
}

/// What one sitting of a server has come to: messages a second, and kilobytes.
struct Figures {
    queue: f64,
    relay: f64,
    memory: f64,
}

fn run(options: &Options) -> Result<(), String> {
    let kinds = servers::available()?;
    for &destinations in &options.destinations {
        let title = format!("{} messages, {destinations} destinations", options.messages);
        let mut table = Table::new(title, kinds.iter().map(|kind| kind.name()));
        // In turn, so that a change of the machine's mood hits all.
        let mut all: Vec<Vec<Figures>> = kinds.iter().map(|_| Vec::new()).collect();
        for _ in 0..options.runs {
            for (kind, figures) in kinds.iter().zip(&mut all) {
                figures.push(sitting(*kind, destinations.max(1), options)?);
            }
        }
        for (column, figures) in all.iter().enumerate() {
            let median = |pick: fn(&Figures) -> f64| {
                let mut values: Vec<f64> = figures.iter().map(pick).collect();
                values.sort_by(f64::total_cmp);
                values[values.len() / 2]
            };
            table.note(column, "queue", Unit::Messages, median(|figures| figures.queue));
            table.note(column, "relay", Unit::Messages, median(|figures| figures.relay));
            table.note(column, "memory", Unit::Kilobytes, median(|figures| figures.memory));
        }
        table.print();
    }
    Ok(())
}

fn sitting(kind: Kind, destinations: usize, options: &Options) -> Result<Figures, String> {
    let mut sinks = Sinks::new(destinations, options.messages)?;
    let server = Server::start(kind, &options.dir, sinks.ports())?;
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut most: f64 = 0.0;
            while !over.load(Ordering::Relaxed) {
                most = most.max(server.memory());
                thread::sleep(Duration::from_millis(100));
            }
            most
        });
        let rates = rates(&server, &mut sinks, options.messages);
        over.store(true, Ordering::Relaxed);
        let memory = watch.join().map_err(|_| "the memory could not be watched")?;
        let (queue, relay) = rates.map_err(|problem| format!("{}: {problem}", kind.name()))?;
        Ok(Figures { queue, relay, memory })
    })
}

/// Messages a second: from the queue, and through the server.
fn rates(server: &Server, sinks: &mut Sinks, messages: usize) -> Result<(f64, f64), String> {
    let destinations = sinks.ports().len();
    source::hand_in(server.port(), destinations, messages, SESSIONS)?;
    server.wait_until_quiet()?;
    sinks.open()?;
    let start = Instant::now();
    server.flush()?;
    sinks.wait_for_all(PATIENCE)?;
    let queue = messages as f64 / start.elapsed().as_secs_f64();
    // What is left to be noted is no part of what comes next.
    server.wait_until_quiet()?;
    sinks.forget();
    let start = Instant::now();
    source::hand_in(server.port(), destinations, messages, SESSIONS)?;
    sinks.wait_for_all(PATIENCE)?;
    let relay = messages as f64 / start.elapsed().as_secs_f64();
    server.wait_until_quiet()?;
    sinks.check()?;
    Ok((queue, relay))
}
