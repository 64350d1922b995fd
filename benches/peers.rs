//! Servers as processes: ours and others', their ports, their memory, their end.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// The built binary: `$POSTIER`, or what `cargo build --release` has made where this program lies.
pub(crate) fn postier() -> Result<PathBuf, String> {
    if let Some(path) = std::env::var_os("POSTIER") {
        return Ok(path.into());
    }
    let here = std::env::current_exe().map_err(|error| error.to_string())?;
    let binary = here.ancestors().nth(2).unwrap_or(Path::new("/")).join("postier");
    let missing = || format!("{} is missing: cargo build --release -p postier", binary.display());
    if binary.is_file() { Ok(binary) } else { Err(missing()) }
}

pub(crate) fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(|error| error.to_string())?;
    listener.local_addr().map(|address| address.port()).map_err(|error| error.to_string())
}

/// Gives a directory with all that is in it to a user.
pub(crate) fn give(path: &Path, (uid, gid): (u32, u32)) -> std::io::Result<()> {
    chown(path, Some(uid), Some(gid))?;
    if path.symlink_metadata()?.is_dir() {
        for entry in fs::read_dir(path)? {
            give(&entry?.path(), (uid, gid))?;
        }
    }
    Ok(())
}

/// A process and all that it has started.
pub(crate) fn family(pid: u32) -> Vec<u32> {
    let (mut family, mut at) = (vec![pid], 0);
    while let Some(pid) = family.get(at) {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        family.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        at += 1;
    }
    family
}

/// PSS of a process and all that it has started, in kilobytes.
pub(crate) fn memory(pid: u32) -> f64 {
    let pss = |pid| {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
        line.trim().trim_end_matches(" kB").parse::<f64>().ok()
    };
    family(pid).into_iter().filter_map(pss).map(|kib| kib * 1.024).sum()
}

/// Ends a server in order.
pub(crate) fn stop(child: &mut Child) {
    let _ = Command::new("kill").arg(child.id().to_string()).status();
    let start = Instant::now();
    while matches!(child.try_wait(), Ok(None)) && start.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(10));
    }
    let _ = child.kill();
    let _ = child.wait();
}
