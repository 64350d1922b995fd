//! What the store builds on where it does not sync a file before it names it (`Op::Order`): whatever the moment at which
//! the power goes, a name is not there without its octets. The journal is written at that moment and data is not, which
//! leaves nearly all files empty that were renamed without more ado.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use postier_core::disk::{Disk as Files, Errno, Handle, Op, Outcome, Task};
use postier_host::disk::{DiskExecutor, Ended, drive};

use crate::harness::{Disk, Site, eventually, in_own_mounts};

const WRITERS: usize = 4;
/// Files that are named before the power goes.
const NAMED: usize = 2_000;

fn carry_out<T>(mut task: Task<T>) -> T {
    match drive(&mut task, &mut DiskExecutor::default()) {
        Ended::Done(value) => value,
        Ended::NeedInput | Ended::Wait(_) => panic!("it wants more than files"),
    }
}

/// Names one file after the other, and syncs none, until the disk is gone.
async fn name_files(disk: Files, path: Vec<u8>, writer: usize, named: Arc<AtomicUsize>) -> Result<(), Errno> {
    let root = disk.open_root(&path, false).await?;
    let (tmp, new) = (disk.open_dir(root, b"tmp").await?, disk.open_dir(root, b"new").await?);
    let mut number = 0;
    while name_one(&disk, (tmp, new), writer, number).await.is_ok() {
        number += 1;
        named.fetch_add(1, Ordering::Relaxed);
    }
    for handle in [tmp, new, root] {
        disk.close(handle).await;
    }
    Ok(())
}

async fn name_one(
    disk: &Files,
    (tmp, new): (Handle, Handle),
    writer: usize,
    number: usize,
) -> Result<(), Errno> {
    let octets = 1 + (writer * 131 + number * 977) % 20_000;
    let name = format!("{writer}.{number},S={octets}").into_bytes();
    let file = disk.create(tmp, &name).await?;
    let mut result = disk.write(file, vec![b'x'; octets]).await;
    if result.is_ok() {
        result = match disk.run(Op::Order { file }).await {
            Ok(Outcome::Flag(true)) => Ok(()),
            Ok(other) => panic!("this file system is to keep the order, and says {other:?}"),
            Err(errno) => Err(errno),
        };
    }
    disk.close(file).await;
    result?;
    disk.rename(tmp, &name, new, &name).await
}

fn no_name_without_its_octets(make: &[&str]) {
    let site = Site::new();
    let disk = Disk::new(&site, make, 512 << 20);
    for part in ["tmp", "new"] {
        fs::create_dir(disk.path().join(part)).unwrap();
    }
    fs::File::open(disk.path()).unwrap().sync_all().unwrap();
    let named = Arc::new(AtomicUsize::new(0));
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (path, named) = (disk.path().as_os_str().as_encoded_bytes().to_vec(), named.clone());
            scope.spawn(move || carry_out(Task::new(|disk| name_files(disk, path, writer, named))).unwrap());
        }
        eventually("files are named", || (named.load(Ordering::Relaxed) >= NAMED).then_some(()));
        disk.cut(1);
    });
    disk.remount();
    let mut left = 0;
    for entry in fs::read_dir(disk.path().join("new")).unwrap() {
        let path = entry.unwrap().path();
        let octets: usize = path.to_str().unwrap().rsplit_once("S=").unwrap().1.parse().unwrap();
        assert!(fs::read(&path).unwrap() == vec![b'x'; octets], "{path:?}");
        left += 1;
    }
    assert!(left >= NAMED, "of {NAMED} names {left} are left: the journal was written");
    println!("{left} names, each with its octets");
}

#[test]
#[ignore = "needs root, a loop device and mkfs.ext4; cuts the power of its disk"]
fn ext4_keeps_octets_ahead_of_names() {
    if in_own_mounts("order::ext4_keeps_octets_ahead_of_names") {
        no_name_without_its_octets(&["mkfs.ext4", "-q", "-F"]);
    }
}

#[test]
#[ignore = "needs root, a loop device and mkfs.xfs; cuts the power of its disk"]
fn xfs_keeps_octets_ahead_of_names() {
    if in_own_mounts("order::xfs_keeps_octets_ahead_of_names") {
        no_name_without_its_octets(&["mkfs.xfs", "-q", "-f"]);
    }
}

async fn keeps_order(disk: Files, path: Vec<u8>) -> Result<Outcome, Errno> {
    let root = disk.open_root(&path, false).await?;
    let file = disk.create(root, b"file").await?;
    let answer = disk.run(Op::Order { file }).await;
    disk.close(file).await;
    disk.close(root).await;
    answer
}

#[test]
#[ignore = "needs root, a loop device and mkfs.ext4"]
fn without_a_journal_no_order_is_promised() {
    if in_own_mounts("order::without_a_journal_no_order_is_promised") {
        let site = Site::new();
        let disk = Disk::new(&site, &["mkfs.ext4", "-q", "-F", "-O", "^has_journal"], 64 << 20);
        let path = disk.path().as_os_str().as_encoded_bytes().to_vec();
        assert_eq!(carry_out(Task::new(|disk| keeps_order(disk, path))), Ok(Outcome::Flag(false)));
    }
}
