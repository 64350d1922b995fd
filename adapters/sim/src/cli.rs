//! The command line: worlds on all cores, a progress bar, a summary; a failure in every detail.

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::ops::Range;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Parser;
use postier_sim::plant::Plant;
use postier_sim::scenario::Scenario;
use postier_sim::trace::Trace;
use postier_sim::world::{self, Report};
use postier_sim::{shrink, world::run};

/// Runs postier's core in simulated worlds and looks for anything that may not be.
#[derive(Parser, Debug)]
#[command(
    name = "postier-sim",
    version,
    after_help = "Exit status: 0 all is well, 1 a world has failed, 2 the command line is wrong.\n\nExamples:\n  postier-sim --seeds 0..10000\n  postier-sim --seed 4711 --trace\n  postier-sim --seed 4711 --shrink\n  postier-sim --seed 4711 --drop 0-3,9 --trace\n  postier-sim --post 10000"
)]
struct Arguments {
    /// Worlds to run: the first seed, and the one after the last
    #[arg(long, value_name = "FIRST..END", value_parser = seeds, conflicts_with = "seed", default_value = "0..1000")]
    seeds: Range<u64>,
    /// One world
    #[arg(long)]
    seed: Option<u64>,
    /// Print everything that happens in it
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Leave these items of its scenario out, e.g. 1,4-9
    #[arg(long, requires = "seed", value_name = "ITEMS", value_parser = shrink::from_text, default_value = "")]
    drop: BTreeSet<usize>,
    /// If it fails, leave out what the failure does not need
    #[arg(long, requires = "seed")]
    shrink: bool,
    /// Plant a fault, to see that it is found
    #[arg(long, value_parser = plant)]
    plant: Option<Plant>,
    /// Plant each fault in so many worlds, and print a table of how often it is found
    #[arg(long, value_name = "WORLDS", conflicts_with_all = ["seed", "seeds", "plant"])]
    plants: Option<u64>,
    /// So many mails to 100 domains where one connection, query or domain in ten has its faults; see what became of each
    #[arg(long, value_name = "MAILS", conflicts_with_all = ["seed", "seeds", "plants"])]
    post: Option<usize>,
    /// Threads; one for each core if not given
    #[arg(long, value_name = "COUNT")]
    threads: Option<usize>,
    /// Go on after failures, and print one line for each
    #[arg(long)]
    keep_going: bool,
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let (first, end) = text.split_once("..").ok_or("a range looks like 0..10000")?;
    let number = |text: &str| text.parse::<u64>().map_err(|error| format!("{text:?}: {error}"));
    let range = number(first)?..number(end)?;
    if range.is_empty() { Err("the range is empty".into()) } else { Ok(range) }
}

fn plant(text: &str) -> Result<Plant, String> {
    let found = Plant::ALL.iter().find(|(_, name, _)| *name == text);
    let names = || Plant::ALL.iter().map(|(_, name, _)| *name).collect::<Vec<_>>().join(", ");
    found.map(|(plant, ..)| *plant).ok_or_else(|| format!("one of: {}", names()))
}

pub(super) fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let well = match (arguments.seed, arguments.plants, arguments.post) {
        (Some(seed), ..) => one(seed, &arguments),
        (None, Some(worlds), _) => plants(worlds),
        (None, None, Some(mails)) => post(mails, arguments.plant),
        (None, None, None) => many(&arguments),
    };
    if well { ExitCode::SUCCESS } else { ExitCode::from(1) }
}

fn one(seed: u64, arguments: &Arguments) -> bool {
    let mut dropped = arguments.drop.clone();
    if arguments.shrink {
        dropped.extend(shrink::shrink(seed, arguments.plant, 400, |kept, tries| {
            eprint!("\r{kept} items left after {tries} worlds ");
        }));
        eprintln!();
    }
    let scenario = Scenario::generate(seed, &dropped);
    if arguments.trace {
        println!("{scenario:#?}");
    }
    let report = run(scenario, Trace::keeping(arguments.trace), arguments.plant);
    if report.violations.is_empty() {
        println!("seed {seed}: all is well; {} steps, hash {:016x}", report.steps, report.hash);
        return true;
    }
    describe(seed, &dropped, &report, !arguments.trace);
    false
}

/// What became of many mails.
fn post(mails: usize, plant: Option<Plant>) -> bool {
    let report = run(Scenario::post_office(0, mails), Trace::default(), plant);
    let [delivered, sent_back, silent, neither] = report.post;
    println!(
        "{mails} mails: of their recipients {delivered} delivered, {sent_back} sent back to the writer, {silent} given up without a word because the writer wanted none, {neither} neither; {:.1} simulated hours",
        report.micros as f64 / 3_600e6
    );
    report.violations.iter().for_each(|violation| println!("  {violation}"));
    report.violations.is_empty()
}

/// How often each fault that can be planted is found: the table of [`postier_sim::plant`].
fn plants(worlds: u64) -> bool {
    println!(
        "| fault | found in {worlds} worlds | first at seed | has to be found within |\n|---|---:|---:|---:|"
    );
    let mut well = true;
    for (plant, name, within) in Plant::ALL {
        let fails = |seed: &u64| {
            let report = run(Scenario::generate(*seed, &BTreeSet::new()), Trace::default(), Some(*plant));
            !report.violations.is_empty()
        };
        let found: Vec<u64> = (0..worlds).filter(fails).collect();
        let first = found.first().map_or("-".into(), u64::to_string);
        println!("| {name} | {} | {first} | {within} |", found.len());
        well &= found.first().is_some_and(|first| first < within);
    }
    well
}

/// A failure, for a person.
fn describe(seed: u64, dropped: &BTreeSet<usize>, report: &Report, with_last: bool) {
    println!("seed {seed} fails at step {} (hash {:016x}):", report.steps, report.hash);
    for violation in &report.violations {
        println!("  {violation}");
    }
    if with_last {
        println!("the last events:");
        report.last.iter().for_each(|line| println!("  {line}"));
    }
    let drop =
        if dropped.is_empty() { String::new() } else { format!(" --drop {}", shrink::to_text(dropped)) };
    println!("everything: postier-sim --seed {seed}{drop} --trace");
    if dropped.is_empty() {
        println!("less of it: postier-sim --seed {seed} --shrink");
    }
}

/// What all threads know.
struct Progress {
    next: AtomicU64,
    done: AtomicU64,
    micros: AtomicU64,
    steps: AtomicU64,
    stop: AtomicBool,
    failed: Mutex<Vec<(u64, String)>>,
}

fn many(arguments: &Arguments) -> bool {
    let Range { start, end } = arguments.seeds;
    let count = || std::thread::available_parallelism().map_or(1, usize::from);
    let threads = arguments.threads.unwrap_or_else(count).max(1);
    let zero = || AtomicU64::new(0);
    let progress = Progress {
        next: AtomicU64::new(start),
        done: zero(),
        micros: zero(),
        steps: zero(),
        stop: AtomicBool::new(false),
        failed: Mutex::new(Vec::new()),
    };
    let began = Instant::now();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| work(&progress, end, arguments))).collect();
        while workers.iter().any(|worker| !worker.is_finished()) {
            show(&progress, end - start, began, false);
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    show(&progress, end - start, began, true);
    let mut failed = progress.failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    failed.sort();
    for (seed, what) in &failed {
        println!("seed {seed} fails: {what}");
    }
    if let Some((seed, _)) = failed.first().filter(|_| !arguments.keep_going) {
        let none = BTreeSet::new();
        let report = run(Scenario::generate(*seed, &none), Trace::keeping(false), arguments.plant);
        describe(*seed, &none, &report, true);
    }
    failed.is_empty()
}

fn work(progress: &Progress, end: u64, arguments: &Arguments) {
    loop {
        let seed = progress.next.fetch_add(1, Ordering::Relaxed);
        if seed >= end || progress.stop.load(Ordering::Relaxed) {
            return;
        }
        let scenario = Scenario::generate(seed, &BTreeSet::new());
        let plant = arguments.plant;
        let report = std::panic::catch_unwind(|| world::run(scenario, Trace::default(), plant));
        let failure = match report {
            Ok(report) => {
                progress.micros.fetch_add(report.micros, Ordering::Relaxed);
                progress.steps.fetch_add(report.steps, Ordering::Relaxed);
                report.violations.into_iter().next()
            }
            Err(_) => Some("a panic".to_owned()),
        };
        progress.done.fetch_add(1, Ordering::Relaxed);
        if let Some(what) = failure {
            progress.failed.lock().unwrap_or_else(PoisonError::into_inner).push((seed, what));
            progress.stop.fetch_or(!arguments.keep_going, Ordering::Relaxed);
        }
    }
}

fn show(progress: &Progress, all: u64, began: Instant, last: bool) {
    if !last && !std::io::stderr().is_terminal() {
        return;
    }
    let done = progress.done.load(Ordering::Relaxed);
    let seconds = began.elapsed().as_secs_f64().max(0.001);
    let days = progress.micros.load(Ordering::Relaxed) as f64 / 86_400e6;
    let steps = progress.steps.load(Ordering::Relaxed);
    let bar = (30 * done / all.max(1)) as usize;
    let line = format!(
        "\r[{}{}] {done}/{all} worlds, {:.0} a minute, {:.1} simulated days per second ",
        "#".repeat(bar),
        "-".repeat(30 - bar),
        done as f64 * 60.0 / seconds,
        days / seconds,
    );
    let mut err = std::io::stderr();
    // A progress bar that cannot be shown is no reason to stop.
    let _ = err.write_all(line.as_bytes()).and_then(|()| err.flush());
    if last {
        let failed = progress.failed.lock().unwrap_or_else(PoisonError::into_inner).len();
        eprintln!();
        println!("{done} worlds, {failed} failed; {steps} steps, {days:.1} simulated days in {seconds:.1} s");
    }
}
