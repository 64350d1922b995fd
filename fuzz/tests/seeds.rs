//! Every seed through its target, by any toolchain; and no seed, file or word without its target.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use postier_fuzz::TARGETS;

/// What is in a directory of this package.
fn entries(directory: impl AsRef<Path>) -> Vec<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let entries = std::fs::read_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// The names in a directory, without what follows the last dot.
fn stems(directory: &str) -> BTreeSet<String> {
    entries(directory).iter().map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect()
}

/// Every start of a seed is an input too.
#[test]
fn all_seeds_pass() {
    for (name, target) in TARGETS {
        let seeds = entries(Path::new("seeds").join(name));
        assert!(!seeds.is_empty(), "{name} has no seed");
        for path in seeds {
            println!("{}", path.display());
            let seed = std::fs::read(&path).unwrap();
            target(&seed);
            (0..seed.len().min(200)).for_each(|len| target(&seed[..len]));
        }
    }
}

/// The seeds of each target are inputs of all the others: any octets are.
#[test]
fn any_octets_are_an_input() {
    for (directory, _) in TARGETS {
        for path in entries(Path::new("seeds").join(directory)) {
            let seed = std::fs::read(&path).unwrap();
            for (name, target) in TARGETS {
                println!("{name} {}", path.display());
                target(&seed);
            }
        }
    }
}

#[test]
fn lists_agree() {
    let listed: BTreeSet<String> = TARGETS.iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(stems("seeds"), listed, "fuzz/seeds");
    assert_eq!(stems("fuzz_targets"), listed, "fuzz/fuzz_targets");
    let manifest = include_str!("../Cargo.toml");
    let binaries = manifest.lines().filter_map(|line| line.strip_prefix("path = \"fuzz_targets/"));
    let binaries = binaries.map(|rest| rest.trim_end_matches(".rs\"").to_string());
    assert_eq!(binaries.collect::<BTreeSet<_>>(), listed, "fuzz/Cargo.toml");
    let modules = listed.iter().map(|name| name.split('_').next().unwrap().to_string());
    assert_eq!(stems("dictionaries"), modules.collect(), "fuzz/dictionaries");
}
