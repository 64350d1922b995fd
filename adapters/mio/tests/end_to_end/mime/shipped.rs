//! The test mail that other programs ship: the mail-parser crate's (in cargo's registry, since the benches are measured beside it)
//! and Python's (Debian's libpython3*-testsuite).

use std::fs;
use std::path::{Path, PathBuf};

use super::Case;

/// All messages, by path.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let crates = registry_sources().into_iter().flat_map(|dir| children(&dir));
    let crates = crates.filter(|dir| name(dir).starts_with("mail-parser-"));
    let parser = crates.map(|dir| dir.join("resources")).find(|dir| dir.is_dir());
    read_all(&parser.expect("`cargo fetch` brings mail-parser's sources"), "mail-parser", &mut cases);
    let pythons = children(Path::new("/usr/lib")).into_iter().filter(|dir| name(dir).starts_with("python3"));
    let python = pythons.map(|dir| dir.join("test/test_email/data")).find(|dir| dir.is_dir());
    read_all(&python.expect("apt has libpython3.11-testsuite"), "python", &mut cases);
    assert!(cases.len() > 100, "only {}", cases.len());
    cases
}

fn registry_sources() -> Vec<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    children(&home.expect("HOME is set").join("registry/src"))
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// What is in a directory, sorted; nothing when there is none.
fn children(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// Mail under a directory: what is no description of it (JSON), licence or picture.
fn read_all(dir: &Path, source: &str, cases: &mut Vec<Case>) {
    for path in children(dir) {
        let name = name(&path);
        let is = |end: &str| Path::new(&name).extension().is_some_and(|extension| extension == end);
        if path.is_dir() {
            read_all(&path, &format!("{source}/{name}"), cases);
        } else if is("eml")
            || is("txt")
            || name.contains(":2,")
            || name.contains(",S=")
            || name.contains(";2,")
        {
            cases.push(Case { name: format!("{source}/{name}"), message: fs::read(&path).unwrap() });
        }
    }
}
