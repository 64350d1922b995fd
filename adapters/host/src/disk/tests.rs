use super::*;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

struct Place {
    tmp: tempfile::TempDir,
    disk: DiskExecutor,
    dir: Handle,
}

fn place() -> Place {
    let tmp = tempfile::tempdir().unwrap();
    let mut disk = DiskExecutor::default();
    let path = path_bytes(tmp.path());
    let Ok(Outcome::Opened(dir)) = disk.execute(Op::OpenRoot { path, create: false }) else { panic!() };
    Place { tmp, disk, dir }
}

fn path_bytes(path: &Path) -> Vec<u8> {
    path.as_os_str().as_encoded_bytes().to_vec()
}

impl Place {
    fn file(&self, name: &str) -> std::path::PathBuf {
        self.tmp.path().join(name)
    }

    fn create(&mut self, name: &[u8], bytes: &[u8]) {
        let Ok(Outcome::Opened(file)) = self.disk.execute(Op::Create { dir: self.dir, name: name.into() })
        else {
            panic!("cannot create")
        };
        self.unit(Op::Write { file, bytes: bytes.into() });
        self.unit(Op::Sync { file });
        self.unit(Op::Close { handle: file });
    }

    fn unit(&mut self, op: Op) {
        assert_eq!(self.disk.execute(op.clone()), Ok(Outcome::Unit), "{op:?}");
    }

    fn fails(&mut self, op: Op, errno: Errno) {
        assert_eq!(self.disk.execute(op.clone()), Err(errno), "{op:?}");
    }

    fn rename(&self, name: &[u8], to_name: &[u8], replace: bool) -> Op {
        Op::Rename { dir: self.dir, name: name.into(), to_dir: self.dir, to_name: to_name.into(), replace }
    }
}

#[test]
fn a_file_is_written_read_renamed_linked_and_removed() {
    let mut at = place();
    let dir = at.dir;
    at.create(b"a", b"hello\n");
    at.fails(Op::Create { dir, name: b"a".to_vec() }, Errno::Exists);
    let Ok(Outcome::File(bytes, stat)) = at.disk.execute(Op::ReadFile { dir, name: b"a".to_vec(), max: 100 })
    else {
        panic!()
    };
    assert_eq!((&bytes[..], stat.size, stat.kind, stat.links), (&b"hello\n"[..], 6, Kind::File, 1));
    let cut = at.disk.execute(Op::ReadFile { dir, name: b"a".to_vec(), max: 3 });
    assert!(matches!(cut, Ok(Outcome::File(bytes, stat)) if bytes == b"hel" && stat.size == 6));

    at.create(b"b", b"other");
    let op = at.rename(b"a", b"b", false);
    at.fails(op, Errno::Exists);
    assert_eq!(std::fs::read(at.file("b")).unwrap(), b"other");
    let op = at.rename(b"a", b"b", true);
    at.unit(op);
    let op = at.rename(b"b", b"c", false);
    at.unit(op);
    at.unit(Op::Link { dir, name: b"c".to_vec(), to_dir: dir, to_name: b"d".to_vec() });
    at.fails(Op::Link { dir, name: b"c".to_vec(), to_dir: dir, to_name: b"d".to_vec() }, Errno::Exists);
    at.unit(Op::SyncDir { dir });
    at.unit(Op::Unlink { dir, name: b"c".to_vec() });
    at.fails(Op::Unlink { dir, name: b"c".to_vec() }, Errno::NotFound);
    assert_eq!(std::fs::read(at.file("d")).unwrap(), b"hello\n");
}

#[test]
fn a_rename_without_the_kernels_help_keeps_an_existing_target_too() {
    let mut at = place();
    at.create(b"a", b"1");
    at.create(b"b", b"2");
    at.unit(Op::MakeDir { dir: at.dir, name: b"x".to_vec() });
    at.unit(Op::MakeDir { dir: at.dir, name: b"y".to_vec() });
    let dir = fd(at.dir).unwrap();
    assert_eq!(rename_by_link(dir, b"a", dir, b"b"), Err(OsError::EXIST));
    assert_eq!(rename_by_link(dir, b"a", dir, b"c"), Ok(()));
    assert_eq!(rename_by_link(dir, b"x", dir, b"y"), Err(OsError::EXIST));
    assert_eq!(rename_by_link(dir, b"x", dir, b"z"), Ok(()));
    assert!(at.file("c").exists() && !at.file("a").exists() && at.file("z").is_dir());
}

#[test]
fn reads_are_whole_and_end_at_the_end() {
    let mut at = place();
    let dir = at.dir;
    let text: Vec<u8> = (0..200_000u32).map(|n| n as u8).collect();
    at.create(b"a", &text);
    let Ok(Outcome::OpenedFile(file, stat)) = at.disk.execute(Op::OpenFile { dir, name: b"a".to_vec() })
    else {
        panic!()
    };
    assert_eq!(stat.size, 200_000);
    let mut read = |offset, len| match at.disk.execute(Op::Read { file, offset, len }) {
        Ok(Outcome::Bytes(bytes)) => bytes,
        other => panic!("{other:?}"),
    };
    assert_eq!(read(100_000, 70_000), text[100_000..170_000]);
    assert_eq!(read(199_990, 100), text[199_990..]);
    assert_eq!(read(200_000, 100), b"");
    let mut buffer = [0; 10];
    assert_eq!(read_at(file, &mut buffer, 199_995), Ok(5));
    close(file);
    let Ok(Outcome::OpenedFile(file, _)) = at.disk.execute(Op::OpenAppend { dir, name: b"a".to_vec() })
    else {
        panic!()
    };
    at.unit(Op::Write { file, bytes: b"tail".to_vec() });
    at.unit(Op::Close { handle: file });
    assert!(std::fs::read(at.file("a")).unwrap().ends_with(b"tail"));
    at.unit(Op::Overwrite { dir, name: b"a".to_vec(), bytes: b"HEAD".to_vec() });
    let whole = std::fs::read(at.file("a")).unwrap();
    assert!(whole.starts_with(b"HEAD") && whole.len() == 200_004);
}

fn make_fifo(path: &std::path::Path) {
    let path = std::ffi::CString::new(path_bytes(path)).unwrap();
    rustix::fs::mknodat(fs::CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
}

#[test]
fn listings_name_everything_with_its_kind_however_often_asked() {
    let mut at = place();
    for n in 0..1000 {
        at.create(format!("1700000000.M{n}P1.a-host-with-a-long-name.example.org,S=1:2,").as_bytes(), b"");
    }
    at.unit(Op::MakeDir { dir: at.dir, name: b"sub".to_vec() });
    std::os::unix::fs::symlink("sub", at.file("link")).unwrap();
    make_fifo(&at.file("fifo"));
    for _ in 0..2 {
        let Ok(Outcome::Names(names)) = at.disk.execute(Op::List { dir: at.dir }) else { panic!() };
        assert_eq!(names.len(), 1003);
        let kind = |name: &[u8]| names.iter().find(|n| &*n.name == name).map(|n| n.kind);
        assert_eq!((kind(b"sub"), kind(b"link")), (Some(Kind::Directory), Some(Kind::Link)));
        assert_eq!(kind(b"fifo"), Some(Kind::Other));
        assert_eq!(names.iter().filter(|n| n.kind == Kind::File).count(), 1000);
    }
    at.fails(Op::RemoveDir { dir: at.dir, name: b"nothing".to_vec() }, Errno::NotFound);
    at.unit(Op::RemoveDir { dir: at.dir, name: b"sub".to_vec() });
}

#[test]
fn no_name_leaves_its_directory_and_no_link_is_followed() {
    let mut at = place();
    let dir = at.dir;
    at.create(b"secret", b"x");
    at.unit(Op::MakeDir { dir, name: b"in".to_vec() });
    std::os::unix::fs::symlink("secret", at.file("link")).unwrap();
    std::os::unix::fs::symlink("in", at.file("dirlink")).unwrap();
    for name in [&b"../x"[..], b"..", b".", b"", b"in/x", b"/etc/passwd"] {
        at.fails(Op::OpenFile { dir, name: name.into() }, Errno::Other(OsError::INVAL.raw_os_error()));
        at.fails(Op::Unlink { dir, name: name.into() }, Errno::Other(OsError::INVAL.raw_os_error()));
    }
    at.fails(Op::OpenFile { dir, name: b"link".to_vec() }, Errno::Loop);
    at.fails(Op::ReadFile { dir, name: b"link".to_vec(), max: 9 }, Errno::Loop);
    at.fails(Op::OpenDir { dir, name: b"dirlink".to_vec() }, Errno::NotDirectory);
    at.fails(Op::OpenFile { dir, name: b"in".to_vec() }, Errno::IsDirectory);
    let stat = at.disk.execute(Op::Stat { dir, name: b"link".to_vec() });
    assert!(matches!(stat, Ok(Outcome::Stat(stat)) if stat.kind == Kind::Link));
    make_fifo(&at.file("fifo"));
    at.fails(Op::OpenFile { dir, name: b"fifo".to_vec() }, Errno::Other(OsError::INVAL.raw_os_error()));
}

#[test]
fn modes_and_groups_come_from_the_directory() {
    let mut at = place();
    let dir = at.dir;
    let mode = |at: &Place, name: &str| at.file(name).metadata().unwrap().permissions().mode() & 0o7777;
    std::fs::set_permissions(at.tmp.path(), PermissionsExt::from_mode(0o700)).unwrap();
    at.create(b"private", b"");
    at.unit(Op::MakeDir { dir, name: b"privatedir".to_vec() });
    assert_eq!((mode(&at, "private"), mode(&at, "privatedir")), (0o600, 0o700));
    std::fs::set_permissions(at.tmp.path(), PermissionsExt::from_mode(0o2770)).unwrap();
    at.create(b"shared", b"");
    at.unit(Op::MakeDir { dir, name: b"shareddir".to_vec() });
    assert_eq!((mode(&at, "shared"), mode(&at, "shareddir")), (0o660, 0o2770));
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(at.tmp.path(), None, Some(8)).unwrap();
        std::fs::set_permissions(at.tmp.path(), PermissionsExt::from_mode(0o775)).unwrap();
        at.create(b"group", b"");
        at.unit(Op::MakeDir { dir, name: b"groupdir".to_vec() });
        assert_eq!((mode(&at, "group"), mode(&at, "groupdir")), (0o664, 0o775));
        assert_eq!(at.file("group").metadata().unwrap().gid(), 8);
        assert_eq!(at.file("groupdir").metadata().unwrap().gid(), 8);
    }
}

#[test]
fn a_root_is_made_with_its_parents() {
    let mut at = place();
    let path = path_bytes(&at.file("example.org/you"));
    at.fails(Op::OpenRoot { path: path.clone(), create: false }, Errno::NotFound);
    let Ok(Outcome::Opened(root)) = at.disk.execute(Op::OpenRoot { path: path.clone(), create: true }) else {
        panic!()
    };
    at.unit(Op::Close { handle: root });
    let mode = |name: &str| at.file(name).metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("example.org"), mode("example.org/you")), (0o700, 0o700));
    std::fs::set_permissions(at.tmp.path(), PermissionsExt::from_mode(0o2770)).unwrap();
    let path = path_bytes(&at.file("example.net/me"));
    let Ok(Outcome::Opened(root)) = at.disk.execute(Op::OpenRoot { path, create: true }) else { panic!() };
    at.unit(Op::Close { handle: root });
    let mode = |name: &str| at.file(name).metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("example.net"), mode("example.net/me")), (0o2770, 0o2770));
}

#[test]
fn whether_names_can_be_made_is_told_without_making_one() {
    let mut at = place();
    let dir = at.dir;
    at.unit(Op::Writable { dir });
    std::fs::set_permissions(at.tmp.path(), PermissionsExt::from_mode(0o500)).unwrap();
    if rustix::process::geteuid().is_root() {
        at.unit(Op::Writable { dir });
    } else {
        at.fails(Op::Writable { dir }, Errno::Access);
    }
    assert_eq!(std::fs::read_dir(at.tmp.path()).unwrap().count(), 0);
    at.fails(Op::Writable { dir: Handle(1 << 20) }, Errno::Other(OsError::BADF.raw_os_error()));
}

#[test]
fn times_processes_and_the_clock() {
    let mut at = place();
    let dir = at.dir;
    at.create(b"a", b"");
    for mtime_ns in [1_700_000_000_123_456_789, -1_500_000_000] {
        at.unit(Op::SetTime { dir, name: b"a".to_vec(), mtime_ns });
        let stat = at.disk.execute(Op::Stat { dir, name: b"a".to_vec() });
        assert!(matches!(stat, Ok(Outcome::Stat(stat)) if stat.mtime_ns == mtime_ns), "{stat:?}");
    }
    let mut alive = |pid| at.disk.execute(Op::ProcessAlive { pid }) == Ok(Outcome::Flag(true));
    assert!(alive(std::process::id()) && alive(1) && !alive(0) && !alive(u32::MAX) && !alive(0x3fff_ffff));
    assert!(matches!(at.disk.execute(Op::Clock), Ok(Outcome::Now(now)) if now.wall.secs > 1_700_000_000));
}

#[test]
fn a_bad_handle_is_an_error() {
    let mut disk = DiskExecutor::default();
    for handle in [Handle(1 << 20), Handle(u64::MAX), Handle(1 << 31)] {
        let outcome = disk.execute(Op::StatHandle { handle });
        assert_eq!(outcome, Err(Errno::Other(OsError::BADF.raw_os_error())));
    }
}

#[test]
fn drive_stops_where_a_task_wants_more_than_files() {
    use postier_core::disk::{Disk, TaskInput};
    let tmp = tempfile::tempdir().unwrap();
    let path = path_bytes(tmp.path());
    let mut task = Task::new(|disk: Disk| async move {
        let root = disk.open_root(&path, false).await?;
        let TaskInput::Chunk(bytes) = disk.input().await else { return Err(Errno::Io) };
        disk.wait(Duration::from_millis(3)).await;
        let file = disk.create(root, b"x").await?;
        disk.write(file, bytes).await?;
        disk.close(file).await;
        disk.close(root).await;
        Ok(())
    });
    let mut disk = DiskExecutor::default();
    assert!(matches!(drive(&mut task, &mut disk), Ended::NeedInput));
    task.push_input(TaskInput::Chunk(b"abc".to_vec()));
    assert!(matches!(drive(&mut task, &mut disk), Ended::Wait(wait) if wait.as_millis() == 3));
    assert!(matches!(drive(&mut task, &mut disk), Ended::Done(Ok(()))));
    assert_eq!(std::fs::read(tmp.path().join("x")).unwrap(), b"abc");
}
