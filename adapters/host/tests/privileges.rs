//! Giving up root and reading root's files afterwards. Forking and changing users want a process with one thread, which
//! a test harness is not: this file is its own harness. Without root it says so, and checks what is left.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;

use postier_host::files::{DirectFiles, ReadFiles};
use postier_host::identity::Identity;
use postier_host::privileged::PrivilegedReader;

fn main() {
    let dir = tempfile::tempdir().unwrap();
    let (key, other, open) = (dir.path().join("key"), dir.path().join("other"), dir.path().join("open"));
    for path in [&key, &other] {
        fs::write(path, "first").unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    fs::write(&open, "open").unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let lax = dir.path().join("lax");
    fs::create_dir(&lax).unwrap();
    fs::set_permissions(&lax, fs::Permissions::from_mode(0o777)).unwrap();
    let trap = lax.join("trap");
    std::os::unix::fs::symlink(&other, &trap).unwrap();

    let reader = PrivilegedReader::start(vec![open.clone(), key.clone(), trap.clone()]).unwrap();
    assert_eq!(reader.read(&open).unwrap().octets, b"open");
    let me = Identity::current().unwrap();
    me.assume().unwrap();
    if me.uid != 0 {
        let root = Identity::lookup("root").unwrap().expect("every system has root");
        assert_eq!(root.assume().unwrap_err().kind(), ErrorKind::PermissionDenied);
        assert_eq!(reader.read(&key).unwrap().octets, b"first");
        println!("not root: becoming another user was not tested");
        return;
    }

    let nobody = Identity::lookup("nobody").unwrap().expect("every system has nobody");
    fs::write(&key, "second").unwrap();
    nobody.assume().unwrap();
    assert!(Identity::current().unwrap().is_current() && nobody.is_current());
    assert_eq!(DirectFiles.read(&key).unwrap_err().kind(), ErrorKind::PermissionDenied);
    let text = reader.read(&key).unwrap();
    assert_eq!((text.octets.as_slice(), text.mode & 0o777), (&b"second"[..], 0o600));
    // Not one of its paths; and one that others could have pointed elsewhere.
    for path in [trap, other] {
        assert_eq!(reader.read(&path).unwrap_err().kind(), ErrorKind::PermissionDenied, "{}", path.display());
    }
    assert_eq!(reader.read(&dir.path().join("no")).unwrap_err().kind(), ErrorKind::NotFound);

    // The process ends with its socket.
    drop(reader);
    let mut status = 0;
    // SAFETY: waits for the only child.
    assert!(unsafe { libc::wait(&mut status) } > 0);
    assert_eq!(status, 0);
}
