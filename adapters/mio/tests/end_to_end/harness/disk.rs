//! File systems of a test's own. All of this needs root, and a mount namespace ([`super::in_own_mounts`]).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Site, eventually, good};

/// An image of a file system, mounted where a site has its mail.
pub(crate) struct Disk {
    device: String,
    mount: PathBuf,
}

impl Disk {
    /// `make` is the command that makes the file system, without the name of the image of so many octets.
    pub(crate) fn new(site: &Site, make: &[&str], size: u64) -> Self {
        let image = site.path("image");
        fs::File::create(&image).unwrap().set_len(size).unwrap();
        good(Command::new(make[0]).args(&make[1..]).arg(&image), "");
        let device = good(Command::new("losetup").args(["--find", "--show"]).arg(&image), "");
        let disk = Disk { device: device.trim().to_owned(), mount: site.path("mail") };
        fs::create_dir(&disk.mount).unwrap();
        disk.mount();
        disk
    }

    pub(crate) fn path(&self) -> &Path {
        &self.mount
    }

    fn mount(&self) {
        good(Command::new("mount").arg(&self.device).arg(&self.mount), "");
    }

    /// FS_IOC_SHUTDOWN: with 2 what is not synced is lost; with 1 the journal is written, and data is lost.
    pub(crate) fn cut(&self, how: usize) {
        let program = "import fcntl, os, struct, sys\n\
            fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack('I', int(sys.argv[2])))";
        good(Command::new("python3").args(["-c", program]).arg(&self.mount).arg(how.to_string()), "");
    }

    /// The machine is back.
    pub(crate) fn remount(&self) {
        eventually("nobody uses the disk", || {
            Command::new("umount").arg(&self.mount).status().unwrap().success().then_some(())
        });
        self.mount();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // The mount goes with its namespace, the device does not.
        let _ = Command::new("umount").arg("--lazy").arg(&self.mount).status();
        let _ = Command::new("losetup").arg("--detach").arg(&self.device).status();
    }
}
