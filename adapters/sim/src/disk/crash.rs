//! The power goes: what is left.

use super::{Body, Disk, FileBody, Ino};
use crate::rng::Rng;

/// What is lost or kept together: a sector.
const SECTOR: usize = 512;

impl Disk {
    /// The power goes. What was not synced survives as chance has it, within the rules of the module's manual.
    pub fn crash(&mut self, rng: &mut Rng) {
        self.keep_some_names(rng);
        for inode in &mut self.inodes {
            inode.links = 0;
            match &mut inode.body {
                Body::Directory(body) => {
                    body.entries.clone_from(&body.durable);
                    inode.mtime_ns = body.durable_mtime_ns;
                }
                Body::File(body) => {
                    if body.dirty {
                        inode.mtime_ns = if rng.chance(50) { inode.mtime_ns } else { body.durable_mtime_ns };
                        body.bytes = survivor(body, rng);
                        body.durable.clone_from(&body.bytes);
                    }
                    (body.dirty, body.doomed, body.durable_mtime_ns) = (false, false, inode.mtime_ns);
                    body.ordered = None;
                    body.lengths.clear();
                }
            }
            inode.ctime_ns = inode.mtime_ns;
        }
        self.touched.clear();
        self.count_links();
    }

    /// In each directory the oldest changes survive up to some point; a change of two directories survives in both.
    fn keep_some_names(&mut self, rng: &mut Rng) {
        // Now and then everything survives, or nothing: a journal that had just been written, or long ago.
        let cut_percent = *rng.pick(&[0, 10, 30, 50, 100]);
        let mut cut: Vec<Ino> = Vec::new();
        for pending in std::mem::take(&mut self.pending) {
            let (one, other) = pending.change.directories();
            if cut.contains(&one) || cut.contains(&other) || rng.chance(cut_percent) {
                cut.extend([one, other]);
            } else {
                self.settle(&pending);
            }
        }
    }

    fn count_links(&mut self) {
        let all: Vec<Ino> = self
            .inodes
            .iter()
            .flat_map(|inode| match &inode.body {
                Body::Directory(body) => body.entries.values().copied().collect(),
                Body::File(_) => Vec::new(),
            })
            .collect();
        self.inodes[0].links = 1;
        for ino in all {
            self.inodes[ino].links += 1;
        }
    }
}

/// What is left of a file that was not synced in full.
fn survivor(body: &FileBody, rng: &mut Rng) -> Vec<u8> {
    let (old, new) = (&body.durable, &body.bytes);
    if body.doomed {
        return old.clone();
    }
    let same = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    match rng.below(10) {
        0..4 => old.clone(),
        4..6 => new.clone(),
        // The length came to the platter with one of the writes, or with a sector.
        6..8 => {
            let sectors = (1..).map(|sector| sector * SECTOR).take_while(|at| *at < new.len());
            let cuts: Vec<usize> = sectors
                .chain(body.lengths.iter().copied())
                .filter(|at| (same..=new.len()).contains(at))
                .collect();
            let cut = if cuts.is_empty() { new.len() } else { *rng.pick(&cuts) };
            new.get(..cut).unwrap_or_default().to_vec()
        }
        // The length came to the platter, and no octet.
        8 => {
            let mut torn = new.clone();
            torn.get_mut(same..).unwrap_or_default().fill(0);
            torn
        }
        _ => {
            let mut torn = new.clone();
            for (index, sector) in torn.chunks_mut(SECTOR).enumerate() {
                let start = index * SECTOR;
                if start + sector.len() > same && rng.chance(50) {
                    for (offset, byte) in sector.iter_mut().enumerate() {
                        *byte = old.get(start + offset).copied().unwrap_or(0);
                    }
                }
            }
            torn
        }
    }
}
