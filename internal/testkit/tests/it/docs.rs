//! What the documents say of this tree is there: the tests they name, the files they link to.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_folder.ancestors().nth(2).unwrap().to_owned()
}

/// Files below a folder with one of the endings, build output left out.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            if path.is_dir() {
                let is_output = [".git", "target", "node_modules"];
                if !is_output.iter().any(|output| name == *output) {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|of| of == ending) {
                found.push(path);
            }
        }
    }
    found
}

fn documents() -> Vec<(PathBuf, String)> {
    let mut paths = files(&root().join("docs"), "md");
    paths.push(root().join("README.md"));
    let read = |path: PathBuf| (path.clone(), fs::read_to_string(path).unwrap());
    paths.into_iter().map(read).collect()
}

/// What stands between backticks and looks like `crate::name_of_a_test`.
fn named_tests(text: &str) -> Vec<(&str, &str)> {
    let words = text.split('`').skip(1).step_by(2);
    words
        .filter_map(|word| word.split_once("::"))
        // tests are facts, with more words in their names than functions have
        .filter(|(_, name)| name.split('_').count() > 3 && !name.contains([':', '(', '.']))
        .collect()
}

/// The targets of a document's links that are no addresses.
fn links(text: &str) -> Vec<&str> {
    let targets = text
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    targets
        .filter(|target| !target.contains("://") && !target.starts_with('#'))
        .collect()
}

#[test]
fn every_test_that_a_document_names_is_there() {
    let mut missing = Vec::new();
    let mut count = 0;
    for (path, text) in documents() {
        for (krate, name) in named_tests(&text) {
            count += 1;
            let folders = ["internal", "cmd"].map(|layer| root().join(layer).join(krate));
            let sources = folders.iter().flat_map(|folder| files(folder, "rs"));
            let declared = format!("fn {name}(");
            let is_there = sources
                .into_iter()
                .any(|source| fs::read_to_string(source).unwrap().contains(&declared));
            if !is_there {
                missing.push(format!("{}: {krate}::{name}", path.display()));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
    assert!(
        count > 10,
        "the documents name {count} tests only: are they still found?"
    );
}

#[test]
fn every_file_that_a_document_links_to_is_there() {
    let mut missing = Vec::new();
    for (path, text) in documents() {
        for link in links(&text) {
            let file = link.split('#').next().unwrap_or_default();
            if !path.parent().unwrap().join(file).exists() {
                missing.push(format!("{}: {link}", path.display()));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn every_decision_is_in_the_list() {
    let folder = root().join("docs/adr");
    let list = fs::read_to_string(folder.join("README.md")).unwrap();
    for path in files(&folder, "md") {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(
            name == "README.md" || list.contains(name),
            "{name} is not in the list"
        );
    }
}

/// The blocks of Rust in a document.
fn rust_blocks(text: &str) -> Vec<&str> {
    let blocks = text.split("\n```rust\n").skip(1);
    blocks.filter_map(|rest| rest.split("```").next()).collect()
}

#[test]
fn the_plan_of_the_guide_is_the_one_that_is_explored() {
    let read = |path: &str| fs::read_to_string(root().join(path)).unwrap();
    let (guide, example) = (
        read("docs/guides/write-a-plan.md"),
        read("internal/explore/examples/book_trip.rs"),
    );
    let blocks = rust_blocks(&guide);
    assert_eq!(blocks.len(), 1, "the guide shows the plan");
    assert!(
        example.contains(blocks[0]),
        "book_trip.rs and the guide differ"
    );
}

#[test]
fn the_sample_of_the_guide_is_the_one_that_is_run() {
    let read = |path: &str| fs::read_to_string(root().join(path)).unwrap();
    let lines = |text: &str| -> String {
        let lines = text.lines().map(str::trim);
        lines
            .filter(|line| !line.is_empty())
            .collect::<Vec<_>>()
            .join("\n")
    };
    let guide = read("docs/guides/test-a-plan.md");
    let test = lines(&read("internal/explore/tests/it/guide.rs"));
    let blocks = rust_blocks(&guide);
    assert!(!blocks.is_empty(), "the guide shows a test");
    for block in blocks {
        assert!(
            test.contains(&lines(block)),
            "tests/it/guide.rs and the guide differ: {block}"
        );
    }
}
