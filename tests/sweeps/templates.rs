//! Templates as text: every file is used, none passes the house limit, none escapes the escaping or
//! needs what the Content-Security-Policy forbids.

use std::fs;
use std::path::{Path, PathBuf};

fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.extension().is_some_and(|it| it == ending) {
            found.push(path);
        }
    }
    found
}

fn root(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)
}

fn templates() -> Vec<(String, String)> {
    let folder = root("templates");
    let name = |path: &PathBuf| path.strip_prefix(&folder).unwrap().to_str().unwrap().to_owned();
    let all = files(&folder, "html");
    assert!(all.len() > 20, "the templates were found");
    all.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

#[test]
fn every_template_is_drawn_by_a_handler_or_another_template() {
    let code: String = files(&root("src/web"), "rs")
        .iter()
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let all = templates();
    for (name, _) in &all {
        let quoted = format!("\"{name}\"");
        let used = code.contains(&quoted)
            || all.iter().any(|(other, text)| other != name && text.contains(&quoted));
        assert!(used, "{name} is drawn by nobody");
    }
}

#[test]
fn no_template_is_long() {
    for (name, text) in templates() {
        assert!(text.lines().count() <= 120, "{name} has two things in it");
    }
}

#[test]
fn nothing_escapes_the_escaping_or_the_policy() {
    let forbidden = [
        "|safe",
        "| safe",
        "escape(\"none\")",
        " style=\"",
        " onclick=",
        " onload=",
        "<script>",
        "javascript:",
    ];
    for (name, text) in templates() {
        for word in forbidden {
            assert!(!text.contains(word), "{name} has {word:?}");
        }
    }
}

/// A form without the token would be refused; one with another method would lose it in the address.
#[test]
fn every_form_that_changes_something_carries_its_token() {
    for (name, text) in templates() {
        for form in text.split("<form").skip(1) {
            let head = form.split_once('>').unwrap().0;
            if head.contains("method=\"post\"") {
                let body = form.split("</form>").next().unwrap();
                let is_macro = name == "macros/form.html";
                assert!(body.contains("csrf") || is_macro, "{name}: {head}");
            }
        }
    }
}
