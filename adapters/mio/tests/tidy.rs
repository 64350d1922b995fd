//! Keeps the house: what stands at the top, how long a file may be, what core may link.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Lines of a source file without its tests.
const FILE_LINES_MAX: usize = 700;
/// Lines above which a file says why it is so long, here.
const LONG_FILES: [(&str, &str); 0] = [];

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the workspace is two levels up").into()
}

fn tracked() -> Vec<String> {
    let listed = Command::new("git").arg("ls-files").current_dir(top()).output();
    match listed {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8(output.stdout).expect("names are UTF-8");
            text.lines().map(str::to_owned).collect()
        }
        // A copy of the sources without its history: everything but build products counts.
        Ok(_) | Err(_) => {
            let mut files = Vec::new();
            walk(&top(), &top(), &mut files);
            files
        }
    }
}

fn walk(top: &Path, dir: &Path, files: &mut Vec<String>) {
    for entry in fs::read_dir(dir).expect("a readable directory").flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let skipped = ["target", ".git", "postier-try", "corpus", "artifacts"].iter().any(|s| name == *s);
        if skipped {
            continue;
        }
        if path.is_dir() {
            walk(top, &path, files);
        } else if let Ok(relative) = path.strip_prefix(top) {
            files.push(relative.to_string_lossy().into_owned());
        }
    }
}

#[test]
fn nothing_else_stands_at_the_top() {
    let allowed = [
        "Cargo.toml",
        "Cargo.lock",
        "README.md",
        "LICENSE-APACHE",
        "LICENSE-MIT",
        "rustfmt.toml",
        ".gitignore",
        ".ci",
        "core",
        "adapters",
        "fuzz",
        "benches",
    ];
    for file in tracked() {
        let first = file.split('/').next().unwrap_or(&file);
        assert!(
            allowed.contains(&first),
            "{file}: the top level is fixed; docs live in README.md and the crates"
        );
    }
}

#[test]
fn a_file_reads_in_one_sitting() {
    for file in tracked().iter().filter(|file| file.ends_with(".rs") && !file.contains("tests")) {
        let text = fs::read_to_string(top().join(file)).unwrap_or_default();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(&text);
        let lines = code.lines().count();
        let excused = LONG_FILES.iter().any(|(name, why)| name == file && !why.is_empty());
        assert!(
            lines <= FILE_LINES_MAX || excused,
            "{file}: {lines} lines without its tests: split it by concept"
        );
    }
}

#[test]
fn core_never_reaches_for_std() {
    // The compiler refuses `std` in a no_std crate; what it cannot refuse is a crate that links it for all builds.
    let lib = fs::read_to_string(top().join("core/src/lib.rs")).expect("core has a lib.rs");
    let linked = lib.lines().zip(lib.lines().skip(1)).find(|(_, line)| line.starts_with("extern crate std"));
    assert!(linked.is_none_or(|(before, _)| before == "#[cfg(test)]"), "core links std outside of its tests");
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "-p", "postier-core", "--no-default-features", "-e", "normal,features"])
        .current_dir(top())
        .output()
        .expect("cargo tree runs");
    let tree = String::from_utf8_lossy(&tree.stdout).into_owned();
    assert!(tree.contains("postier-core"), "cargo tree says nothing");
    assert!(!tree.contains("\"std\""), "a dependency of core has its std feature on:\n{tree}");
}

#[test]
fn core_forbids_unsafe_code_and_wants_docs() {
    let lib = fs::read_to_string(top().join("core/src/lib.rs")).expect("core has a lib.rs");
    for attribute in ["#![no_std]", "#![forbid(unsafe_code)]", "#![deny(missing_docs)]"] {
        assert!(lib.contains(attribute), "core/src/lib.rs lacks {attribute}");
    }
}
