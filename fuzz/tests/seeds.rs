//! Every seed through its target, by any toolchain; and no seeds without a target, no target without seeds.

use std::collections::BTreeSet;
use std::path::Path;

use postier_fuzz::wire;

const TARGETS: &[(&str, fn(&[u8]))] = &[
    ("wire_base64", wire::wire_base64),
    ("wire_dot", wire::wire_dot),
    ("wire_eol", wire::wire_eol),
    ("wire_lines", wire::wire_lines),
    ("wire_mutf7", wire::wire_mutf7),
    ("wire_quoted_printable", wire::wire_quoted_printable),
    ("wire_xtext", wire::wire_xtext),
];

/// The names in a directory of this package, without what follows the last dot.
fn stems(directory: &str) -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let entries = std::fs::read_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    entries.map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned()).collect()
}

#[test]
fn all_seeds_pass() {
    for (name, target) in TARGETS {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(name);
        let mut seeds = 0;
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            println!("{}", path.display());
            target(&std::fs::read(&path).unwrap());
            seeds += 1;
        }
        assert!(seeds > 0, "{name} has no seed");
    }
}

/// All targets also take each other's seeds, and every start of each: any octets are an input.
#[test]
fn any_octets_are_an_input() {
    for (directory, _) in TARGETS {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(directory);
        for entry in std::fs::read_dir(&directory).unwrap() {
            let seed = std::fs::read(entry.unwrap().path()).unwrap();
            for (_, target) in TARGETS {
                (0..=seed.len().min(200)).for_each(|len| target(&seed[..len]));
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
}
