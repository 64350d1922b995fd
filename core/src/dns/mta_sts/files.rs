//! Policies on disk, so that a restart forgets none: a file for each domain, `DOMAIN.policy`, written as `DOMAIN.t` first.
//!
//! All of it can be deleted at any moment: what is missing is fetched again.

use alloc::format;
use alloc::vec::Vec;

use super::{Kept, POLICY_BYTES_MAX};
use crate::disk::{Disk, Errno};
use crate::dns::name::DomainName;
use crate::maildir::context::{At, Root, StoreError};
use crate::maildir::durable::make_above_sure;
use crate::maildir::scope::Scope;

/// Octets of a file that are read.
const FILE_BYTES_MAX: usize = 2 * POLICY_BYTES_MAX;

/// What an earlier process has kept. What cannot be read is removed.
///
/// # Errors
/// [`StoreError`] if the directory cannot be made or listed.
pub async fn load(disk: Disk, root: Root) -> Result<Vec<(DomainName, Kept)>, StoreError> {
    let mut scope = Scope::new(disk);
    let result = load_in(&mut scope, &root).await;
    scope.finish().await;
    result
}

async fn load_in(scope: &mut Scope, root: &Root) -> Result<Vec<(DomainName, Kept)>, StoreError> {
    let dir = scope.disk.open_root(&root.path, true).await.at(&root.path)?;
    let dir = scope.hold(dir);
    let disk = &scope.disk;
    make_above_sure(disk, root).await?;
    let mut found = Vec::new();
    for entry in disk.list(dir).await.at(&root.path)? {
        let name = core::str::from_utf8(&entry.name).ok();
        let domain = name.and_then(|name| DomainName::parse(name.strip_suffix(".policy")?));
        let file = disk.read_file(dir, &entry.name, FILE_BYTES_MAX).await.ok();
        match (domain, file.and_then(|(octets, _)| Kept::from_file(&octets))) {
            (Some(domain), Some(kept)) => found.push((domain, kept)),
            _ => {
                let _ = disk.unlink(dir, &entry.name).await;
            }
        }
    }
    Ok(found)
}

/// Writes a domain's policy durably, or removes it. One at a time.
///
/// # Errors
/// [`StoreError`]; the old one stands.
pub async fn save(disk: Disk, root: Root, domain: DomainName, kept: Option<Kept>) -> Result<(), StoreError> {
    let mut scope = Scope::new(disk);
    let result = save_in(&mut scope, &root, &domain, kept).await;
    scope.finish().await;
    result
}

async fn save_in(
    scope: &mut Scope,
    root: &Root,
    domain: &DomainName,
    kept: Option<Kept>,
) -> Result<(), StoreError> {
    let dir = scope.disk.open_root(&root.path, true).await.at(&root.path)?;
    let dir = scope.hold(dir);
    // A domain that can have a policy is short enough for a file's name.
    let name = format!("{domain}.policy").into_bytes();
    let temporary = format!("{domain}.t").into_bytes();
    match kept {
        Some(kept) => scope.replace_file(dir, &temporary, &name, kept.to_file()).await?,
        None => match scope.disk.unlink(dir, &name).await {
            Ok(()) | Err(Errno::NotFound) => {}
            Err(errno) => return Err(errno).at(&name),
        },
    }
    scope.disk.sync_dir(dir).await.at(&root.path)
}

#[cfg(test)]
mod tests {
    use super::super::{Mode, Policy};
    use super::*;
    use crate::maildir::memdisk::MemDisk;

    fn name(text: &str) -> DomainName {
        DomainName::parse(text).unwrap()
    }

    fn kept(id: &str) -> Kept {
        let policy = Policy { mode: Mode::Enforce, max_age: 100, mx: Vec::from(["mx.a.test".into()]) };
        Kept { id: id.into(), fetched: 7, policy: policy.into() }
    }

    fn put(disk: &mut MemDisk, domain: &str, kept: Option<Kept>) -> Option<Result<(), StoreError>> {
        let (root, domain) = (Root::new(b"/s"), name(domain));
        disk.run(Vec::new(), |disk| save(disk, root, domain, kept))
    }

    fn look(disk: &mut MemDisk) -> Vec<(DomainName, Kept)> {
        disk.run(Vec::new(), |disk| load(disk, Root::new(b"/s"))).unwrap().unwrap()
    }

    fn disk() -> MemDisk {
        let mut disk = MemDisk::empty();
        disk.make_root(b"/s");
        disk.settle();
        disk
    }

    #[test]
    fn what_is_saved_is_found_and_what_is_removed_is_not() {
        let mut disk = disk();
        let long = "a.".repeat(122) + "b";
        for domain in ["a.test", "b.policy", &long] {
            put(&mut disk, domain, Some(kept("1"))).unwrap().unwrap();
        }
        put(&mut disk, "a.test", Some(kept("2"))).unwrap().unwrap();
        put(&mut disk, "b.policy", None).unwrap().unwrap();
        put(&mut disk, "never.test", None).unwrap().unwrap();
        assert_eq!(look(&mut disk), [(name(&long), kept("1")), (name("a.test"), kept("2"))]);
    }

    #[test]
    fn what_cannot_be_read_goes() {
        let mut disk = disk();
        for (file, octets) in [("a.test.policy", &b"nonsense"[..]), ("b.test.t", b""), ("..policy", b"")] {
            disk.put_file(&format!("/s/{file}"), octets);
        }
        assert_eq!(look(&mut disk), []);
        assert!(disk.names("/s").is_empty());
    }

    #[test]
    fn the_power_may_go_at_any_step() {
        for step in 0..20 {
            let mut disk = disk();
            put(&mut disk, "a.test", Some(kept("1"))).unwrap().unwrap();
            disk.crash_at = Some(step);
            let saved = put(&mut disk, "a.test", Some(kept("2"))).is_some();
            disk.restart();
            let found = look(&mut disk);
            let [(_, found)] = found.as_slice() else { panic!("step {step}: {found:?}") };
            assert!(*found == kept("2") || (*found == kept("1") && !saved), "step {step}");
        }
    }
}
