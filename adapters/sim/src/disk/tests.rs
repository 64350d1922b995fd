use super::*;

fn world() -> Disk {
    world_on(Disk::new(false))
}

fn world_on(mut disk: Disk) -> Disk {
    for dir in ["a", "b"] {
        disk.make_dir(dir).unwrap();
    }
    disk.sync("");
    disk
}

/// What is in `a` and `b` after power cuts of many chances.
fn outcomes(disk: &Disk) -> std::collections::BTreeSet<String> {
    let after = |seed| {
        let mut disk = disk.clone();
        disk.crash(&mut crate::rng::Rng::new(seed));
        let side = |dir: &str| {
            let names = disk.names(dir).into_iter();
            let with_content = names.map(|name| {
                let content = disk.contents(&format!("{dir}/{name}")).unwrap_or_default();
                format!("{name}={}", String::from_utf8_lossy(content))
            });
            with_content.collect::<Vec<_>>().join(",")
        };
        format!("{}|{}", side("a"), side("b"))
    };
    (0..2000).map(after).collect()
}

fn list(of: &[&str]) -> std::collections::BTreeSet<String> {
    of.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn a_synced_file_keeps_its_octets_but_not_its_name() {
    let mut disk = world();
    disk.create("a/f", b"xy").unwrap();
    disk.sync("a/f");
    assert_eq!(outcomes(&disk), list(&["|", "f=xy|"]));
    disk.sync("a");
    assert_eq!(outcomes(&disk), list(&["f=xy|"]));
}

#[test]
fn a_name_without_a_synced_file_keeps_anything() {
    let mut disk = world();
    disk.create("a/f", b"xy").unwrap();
    disk.sync("a");
    assert_eq!(outcomes(&disk), list(&["f=|", "f=xy|", "f=\0\0|"]));
}

#[test]
fn octets_are_ahead_of_a_later_name_where_the_disk_keeps_that_order() {
    for (keeps_order, doomed) in [(true, false), (true, true), (false, false)] {
        let mut disk = world_on(Disk::new(keeps_order));
        disk.create("a/f", b"xy").unwrap();
        let ino = disk.find(disk.find(0, b"a").unwrap(), b"f").unwrap();
        assert_eq!(disk.order(ino), keeps_order);
        if doomed {
            disk.doom(ino);
        }
        disk.move_file("a/f", "b/g").unwrap();
        let after = outcomes(&disk);
        let torn = after.iter().any(|outcome| outcome.contains("g=") && !outcome.contains("g=xy"));
        assert_eq!(torn, !keeps_order, "{after:?}");
        disk.sync("b");
        assert_eq!(outcomes(&disk) == list(&["|g=xy"]), keeps_order);
    }
}

#[test]
fn a_rename_is_there_or_not_and_never_neither() {
    let mut disk = world();
    disk.create("a/f", b"").unwrap();
    disk.sync("a/f");
    disk.sync("a");
    disk.move_file("a/f", "b/g").unwrap();
    assert_eq!(outcomes(&disk), list(&["f=|", "|g="]));
    disk.sync("b");
    assert_eq!(outcomes(&disk), list(&["|g="]));
}

#[test]
fn directories_survive_in_any_order_and_each_in_its_own() {
    let mut disk = world();
    for file in ["a/1", "a/2", "b/3"] {
        disk.create(file, b"").unwrap();
        disk.sync(file);
    }
    let wanted = ["|", "1=|", "1=,2=|", "|3=", "1=|3=", "1=,2=|3="];
    assert_eq!(outcomes(&disk), list(&wanted));
}

#[test]
fn a_sync_brings_what_has_to_come_before_it() {
    let mut disk = world();
    disk.create("a/f", b"").unwrap();
    disk.sync("a/f");
    disk.move_file("a/f", "b/g").unwrap();
    disk.create("a/late", b"").unwrap();
    disk.sync("a/late");
    disk.sync("b");
    assert_eq!(outcomes(&disk), list(&["|g=", "late=|g="]));
}

#[test]
fn a_failed_sync_is_not_made_good_by_the_next() {
    let mut disk = world();
    disk.create("a/f", b"x").unwrap();
    disk.sync("a");
    disk.doom(disk.resolve("a/f").unwrap());
    disk.sync("a/f");
    assert_eq!(outcomes(&disk), list(&["f=|"]));
}

#[test]
fn a_listing_beside_a_rename_misses_or_doubles_and_shows_the_rest() {
    use super::exec::Descriptors;
    use postier_core::disk::{Op, Outcome};
    use postier_core::machine::Now;
    let mut disk = world();
    for file in ["a/f", "a/still"] {
        disk.create(file, b"").unwrap();
    }
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let (mut disk, mut rng) = (disk.clone(), crate::rng::Rng::new(seed));
        let mut fds = Descriptors::new(9);
        let root = Op::OpenRoot { path: b"/a".to_vec(), create: false };
        let begun = disk.begin(&fds, &root);
        let opened = disk.finish(&mut fds, root, begun, Now::default(), &mut rng);
        let Ok(Outcome::Opened(dir)) = opened else { panic!("{opened:?}") };
        let begun = disk.begin(&fds, &Op::List { dir });
        disk.move_file("a/f", "a/g").unwrap();
        let listed = disk.finish(&mut fds, Op::List { dir }, begun, Now::default(), &mut rng);
        let Ok(Outcome::Names(names)) = listed else { panic!("{listed:?}") };
        let mut names: Vec<_> =
            names.iter().map(|name| String::from_utf8_lossy(&name.name).into_owned()).collect();
        names.sort();
        seen.insert(names.join(","));
    }
    assert_eq!(seen, list(&["still", "f,still", "g,still", "f,g,still"]));
}
