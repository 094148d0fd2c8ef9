//! The direction of dependency, read from the `use` lines and paths of the source.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What each module may use. A module that is missing here fails the test.
const ALLOWED: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("clock", &[]),
    ("poke", &[]),
    ("secrets", &["clock"]),
    ("certificates", &["secrets"]),
    ("config", &["domain"]),
    ("store", &["domain", "clock", "secrets"]),
    ("engine", &["domain", "secrets", "clock"]),
    ("postgres", &["domain", "secrets"]),
    (
        "operations",
        &["domain", "store", "engine", "postgres", "clock", "poke", "secrets", "certificates"],
    ),
    (
        "monitor",
        &["domain", "store", "operations", "clock", "poke", "engine", "postgres", "certificates"],
    ),
    ("gateway", &["domain", "store", "clock", "poke", "secrets"]),
    ("web", &["domain", "store", "operations", "clock", "poke", "secrets", "config"]),
];

/// Only these see everything: they put the parts together.
const ROOTS: &[&str] = &["app", "main", "lib", "cli", "recover"];

#[test]
fn modules_use_only_what_their_layer_may() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.iter().copied().collect();
    let mut wrong = vec![];
    for file in rust_files(&source) {
        let relative = file.strip_prefix(&source).unwrap();
        let module = relative
            .components()
            .next()
            .unwrap()
            .as_os_str()
            .to_str()
            .unwrap()
            .trim_end_matches(".rs")
            .to_owned();
        if ROOTS.contains(&module.as_str()) {
            continue;
        }
        let Some(may) = allowed.get(module.as_str()) else {
            wrong.push(format!("{module}: not in the table of layers"));
            continue;
        };
        let text = fs::read_to_string(&file).unwrap();
        for used in used_modules(&text) {
            if used != module && !may.contains(&used.as_str()) {
                wrong.push(format!("{}: {module} may not use {used}", relative.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "wrong arrows:\n{}", wrong.join("\n"));
}

/// Of the layers above it the web may use only the door to operations; it never reaches a Docker Engine.
#[test]
fn the_web_uses_operations_only_to_submit() {
    let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/web");
    for file in rust_files(&web) {
        let text = fs::read_to_string(&file).unwrap();
        for line in text.lines().filter(|line| line.contains("crate::operations")) {
            let fine = [
                "crate::operations::submit",
                // Asked by plain writes, in the transaction that writes.
                "crate::operations::guard",
                "crate::operations::access::secret",
                "crate::operations::kinds",
                // Checks and seals what a form says of a host; asks an engine only who it is, before a host with members is led
                // to another address.
                "crate::operations::host_entry",
                // Pure: what a change would do, for the page that asks before it.
                "crate::operations::scale_plan",
                "crate::operations::scale::ScaleInput",
                "crate::operations::rolling_plan::Way",
                // What a form asks for at the door.
                "crate::operations::ask_restore::NewRestore",
                // Pure: why a backup cannot be deleted, for the button.
                "crate::operations::backup::delete::deletable",
            ]
            .iter()
            .any(|path| line.contains(path));
            assert!(fine, "{}: {line}", file.display());
        }
        assert!(!text.contains("bollard"), "{}", file.display());
    }
}

fn used_modules(text: &str) -> Vec<String> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(|line| line.split("crate::").skip(1).map(first_word).collect::<Vec<_>>())
        .filter(|word| word.chars().next().is_some_and(char::is_lowercase))
        .collect()
}

fn first_word(text: &str) -> String {
    text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
}

pub fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = vec![];
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
    files
}

/// The house limit: a file beyond 500 lines has two nouns in it.
#[test]
fn no_source_file_passes_500_lines() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let long: Vec<_> = rust_files(&source)
        .into_iter()
        .map(|file| (fs::read_to_string(&file).unwrap().lines().count(), file))
        .filter(|(lines, _)| *lines > 500)
        .collect();
    assert!(long.is_empty(), "{long:?}");
}
