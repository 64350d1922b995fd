//! Memory that a server has used, and does not need to go on.
//!
//! * Work runs through a large part of the program now and then; the kernel maps the pages of it, with their neighbours,
//!   and keeps them mapped. [`give_back`] unmaps all of it: what runs on comes back from the page cache at the price of a
//!   page fault each, and the rest does not count for the process any more.
//! * glibc's malloc gives every thread a region of its own, up to eight for each core, and each keeps what its largest
//!   work has needed. With [`share_arenas`] there are as many as cores: of two cores, 50 sessions in a mailbox of 10,000
//!   messages whose envelopes were read took 13 MB instead of 28. [`give_back`] returns what is free in them.

use std::ffi::c_void;
use std::fs;
use std::io;

use rustix::mm::{Advice, madvise};

/// Keeps the allocator from a region for every thread. To be called before there are any.
pub fn share_arenas() {
    #[cfg(target_env = "gnu")]
    {
        let cores = std::thread::available_parallelism().map_or(1, usize::from).max(2);
        let arenas = libc::c_int::try_from(cores).unwrap_or(libc::c_int::MAX);
        // SAFETY: the call takes numbers, and touches the allocator's own settings under its own lock. Where it has no
        // such setting it says so, and nothing has changed.
        unsafe { libc::mallopt(libc::M_ARENA_MAX, arenas) };
    }
}

/// Gives memory back that is not in use: free memory of the allocator, and code until it runs again. Takes some
/// milliseconds; for a moment when nothing is to be done.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the call takes a number, and looks for free pages under the allocator's own locks.
    unsafe {
        libc::malloc_trim(0)
    };
    // Without /proc it stays mapped; nothing depends on it.
    let _ = forget_code();
}

/// Unmaps the pages of this program and its libraries that hold code, until they run again.
fn forget_code() -> io::Result<()> {
    for line in fs::read_to_string("/proc/self/maps")?.lines() {
        let Some((start, length)) = code_of_a_file(line) else { continue };
        // SAFETY: the mapping is private, of a file, and nobody can write to it, so that every page of it is the
        // file's; the kernel maps it again when it is touched, by whatever thread, at whatever time.
        unsafe { madvise(std::ptr::without_provenance_mut::<c_void>(start), length, Advice::LinuxDontNeed) }?;
    }
    Ok(())
}

/// Start and length of a mapping that can be executed, not written, and is a file's (proc_pid_maps(5)).
fn code_of_a_file(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let (permissions, path) = (fields.next()?, fields.nth(3)?);
    if permissions != "r-xp" || !path.starts_with('/') {
        return None;
    }
    let [start, end] = [start, end].map(|address| usize::from_str_radix(address, 16).ok());
    Some((start?, end?.checked_sub(start?)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_of_files_counts() {
        let line =
            |permissions, path| format!("55f2dca6c000-55f2dd02b000 {permissions} 001f0000 fe:00 77 {path}");
        assert_eq!(code_of_a_file(&line("r-xp", "/usr/bin/x y")), Some((0x55f2_dca6_c000, 0x5b_f000)));
        // What was relocated is written to, and not the file's any more.
        for (permissions, path) in [("r--p", "/usr/bin/x"), ("rwxp", "/x"), ("r-xp", "[vdso]"), ("r-xp", "")]
        {
            assert_eq!(code_of_a_file(&line(permissions, path)), None, "{permissions} {path}");
        }
    }

    /// Octets of this program's code that are mapped now.
    fn mapped() -> usize {
        let smaps = fs::read_to_string("/proc/self/smaps").unwrap();
        let mut code = false;
        let mut kib = 0;
        for line in smaps.lines() {
            match line.strip_prefix("Rss:") {
                Some(rss) if code => kib += rss.trim().trim_end_matches(" kB").parse::<usize>().unwrap(),
                Some(_) => {}
                None if line.contains('-') && line.split(' ').nth(1).is_some_and(|p| p.len() == 4) => {
                    code = code_of_a_file(line).is_some();
                }
                None => {}
            }
        }
        kib * 1024
    }

    #[test]
    fn code_that_has_run_is_let_go_and_runs_again() {
        let run = || {
            crate::password::hash_password(b"x").len()
                + crate::tls::self_signed(&["a.test"]).unwrap().key.len()
        };
        let first = run();
        let before = mapped();
        forget_code().unwrap();
        let after = mapped();
        assert!(after + 256 * 1024 < before, "{before} {after}");
        assert!(run() > first / 2);
    }
}
