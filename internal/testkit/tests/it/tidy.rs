//! The rules of the house that a machine can see: who names whom, and what a file may hold.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use serde_json::Value;

mod table;

use table::{
    ALONE, KERNEL, KERNEL_LIBRARIES, LINES_MAX, NO_SEAMS, PLATFORM, SEAMS, Seam, TEST_PEERS, TESTS,
    TESTS_USERS,
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .unwrap()
        .to_owned()
}

/// A crate of the workspace: its folder (`internal/order`), and what it depends on.
struct Crate {
    folder: String,
    normal: BTreeSet<String>,
    dev: BTreeSet<String>,
}

impl Crate {
    /// The last part of its folder, which the tables go by.
    fn name(&self) -> &str {
        self.folder.rsplit('/').next().unwrap()
    }

    fn is_command(&self) -> bool {
        self.folder.starts_with("cmd/")
    }

    /// What is in no table is a service: it may name platform and kernel, and no other service.
    fn is_service(&self) -> bool {
        let name = self.name();
        let listed = |table: &[(&str, &[&str])]| table.iter().any(|(listed, _)| *listed == name);
        let is_for_tests = TESTS.contains(&name) || TESTS_USERS.contains(&name);
        !self.is_command() && !is_for_tests && !listed(&PLATFORM) && !listed(&KERNEL)
    }
}

fn crates() -> Vec<Crate> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut metadata = Command::new(cargo);
    metadata.args(["metadata", "--format-version=1", "--no-deps", "--offline"]);
    let output = metadata.current_dir(root()).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(read_crate)
        .collect()
}

fn read_crate(package: &Value) -> Crate {
    let manifest = Path::new(package["manifest_path"].as_str().unwrap());
    let folder = manifest.parent().unwrap().strip_prefix(root()).unwrap();
    let (mut normal, mut dev) = (BTreeSet::new(), BTreeSet::new());
    for dependency in package["dependencies"].as_array().unwrap() {
        let name = dependency["name"].as_str().unwrap().to_owned();
        // A build script's dependencies count like the crate's own.
        let kind = if dependency["kind"] == "dev" {
            &mut dev
        } else {
            &mut normal
        };
        kind.insert(name);
    }
    Crate {
        folder: folder.to_str().unwrap().to_owned(),
        normal,
        dev,
    }
}

/// The crates of ours among some dependencies, by folder.
fn ours(dependencies: &BTreeSet<String>) -> impl Iterator<Item = &str> {
    dependencies
        .iter()
        .filter_map(|name| name.strip_prefix("palinode-"))
}

/// What a crate's own code may name; `None` for everything.
fn allowed(krate: &Crate) -> Option<BTreeSet<&str>> {
    let name = krate.name();
    let kernel = || KERNEL.iter().map(|(name, _)| *name);
    let platform = || PLATFORM.iter().map(|(name, _)| *name);
    if krate.is_command() {
        // A process is its service in the harness, or the relay; the tool is everything.
        return (!TESTS_USERS.contains(&name)).then(|| BTreeSet::from([name, "service"]));
    }
    if TESTS_USERS.contains(&name) {
        return None;
    }
    if krate.is_service() || TESTS.contains(&name) {
        return Some(platform().chain(kernel()).collect());
    }
    if let Some((_, edges)) = KERNEL.iter().find(|(of, _)| *of == name) {
        return Some(edges.iter().copied().collect());
    }
    let (_, edges) = PLATFORM
        .iter()
        .find(|(of, _)| *of == name)
        .expect("what is neither kernel nor service is platform");
    let kernel = kernel().filter(|_| !ALONE.contains(&name));
    Some(edges.iter().copied().chain(kernel).collect())
}

#[test]
fn dependencies_point_down() {
    let mut wrong = Vec::new();
    for krate in crates() {
        let Some(mut allowed) = allowed(&krate) else {
            continue;
        };
        let edges = ours(&krate.normal).filter(|name| !allowed.contains(name));
        wrong.extend(edges.map(|name| format!("{} -> {name}", krate.folder)));
        // Its tests may use the kit for tests besides.
        allowed.extend(TESTS);
        let peers = TEST_PEERS.iter().filter(|(of, _)| *of == krate.name());
        allowed.extend(peers.map(|(_, peer)| *peer));
        let edges = ours(&krate.dev).filter(|name| !allowed.contains(name));
        wrong.extend(edges.map(|name| format!("{} -> {name} (in its tests)", krate.folder)));
    }
    assert!(
        wrong.is_empty(),
        "edges that tidy/table.rs does not list:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn the_kernel_is_pure() {
    let kernel = KERNEL.map(|(name, _)| name);
    let mut wrong = Vec::new();
    for krate in crates()
        .iter()
        .filter(|krate| kernel.contains(&krate.name()))
    {
        let libraries = krate
            .normal
            .iter()
            .filter(|name| !name.starts_with("palinode-"));
        let libraries = libraries.filter(|name| !KERNEL_LIBRARIES.contains(&name.as_str()));
        wrong.extend(libraries.map(|name| format!("{} depends on {name}", krate.folder)));
        for file in sources(&krate.folder) {
            let lines = code_of(&file)
                .into_iter()
                .filter(|(_, line)| has_word(line, "async"));
            wrong.extend(lines.map(|(number, _)| format!("{}:{number} is async", shown(&file))));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn libraries_stay_behind_their_seams() {
    let mut wrong = Vec::new();
    for krate in crates()
        .iter()
        .filter(|krate| !NO_SEAMS.contains(&krate.name()))
    {
        for file in sources(&krate.folder)
            .into_iter()
            .filter(|file| !is_test(file))
        {
            for seam in SEAMS.iter().filter(|seam| !is_open(seam, krate, &file)) {
                let lines = code_of(&file);
                let lines = lines
                    .into_iter()
                    .filter(|(_, line)| names(line, seam.library));
                let line = |(number, _)| format!("{}:{number}: {}", shown(&file), seam.library);
                wrong.extend(lines.map(line));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "named outside the rooms in tidy/table.rs:\n{}",
        wrong.join("\n")
    );
}

/// Tests that stand in a crate's source, to see what it keeps to itself, may look anywhere.
fn is_test(file: &Path) -> bool {
    file.iter()
        .any(|part| part == "tests" || part == "tests.rs")
}

fn is_open(seam: &Seam, krate: &Crate, file: &Path) -> bool {
    let name = krate.name();
    let tool_only = krate.is_command() && seam.library == "anyhow";
    let in_room = |room: &&str| {
        let source = root().join(&krate.folder).join("src");
        file.starts_with(source.join(room)) || file == source.join(format!("{room}.rs"))
    };
    tool_only
        || (!krate.is_command() && seam.crates.contains(&name))
        || (krate.is_service() && seam.rooms.iter().any(in_room))
}

#[test]
fn files_are_short_and_name_no_machine() {
    // Put together here, so that this file does not name one.
    let machines = ["work", "root", "Users", "home"].map(|folder| format!("/{folder}/"));
    let mut wrong = Vec::new();
    for file in text_files(&root()) {
        let Ok(text) = fs::read_to_string(&file) else {
            continue;
        };
        let count = text.lines().count();
        // what a tool or somebody else has written is as long as it is
        let is_written = file.extension().is_some_and(|kind| kind == "lock")
            || file.ends_with("docs/reference/openapi.json")
            || file.starts_with(root().join("proto/third_party"));
        if count > LINES_MAX && !is_written {
            wrong.push(format!("{} has {count} lines", shown(&file)));
        }
        for (number, line) in (1..).zip(text.lines()) {
            // Where Homebrew lives on every Linux is no machine of ours.
            let line = line.replace("/home/linuxbrew/", "");
            if machines.iter().any(|path| line.contains(path.as_str())) {
                wrong.push(format!(
                    "{}:{number} names a path of one machine",
                    shown(&file)
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_test_is_switched_off_or_expected_to_panic() {
    let marks = ["ignore", "should_panic"].map(|name| format!("#[{name}"));
    let files = text_files(&root());
    let files = files
        .into_iter()
        .filter(|file| file.extension().is_some_and(|kind| kind == "rs"));
    let mut wrong = Vec::new();
    for file in files {
        let lines = fs::read_to_string(&file).unwrap();
        let marked = |line: &str| {
            marks
                .iter()
                .any(|mark| line.trim().starts_with(mark.as_str()))
        };
        let lines = (1..).zip(lines.lines()).filter(|(_, line)| marked(line));
        wrong.extend(lines.map(|(number, _)| format!("{}:{number}", shown(&file))));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_search_sees_what_it_should() {
    assert!(names("use sqlx::PgConnection;", "sqlx"));
    assert!(names("use sqlx;", "sqlx"));
    assert!(names("    fn f(tx: &mut ::sqlx::PgConnection) {}", "sqlx"));
    assert!(names("use {tonic as rpc, axum};", "tonic"));
    assert!(!names("use tonic_health::server;", "tonic"));
    assert!(!names("let sqlx = 1;", "sqlx"));
    assert!(has_word("pub async fn step()", "async"));
    assert!(!has_word("asynchronous", "async"));
}

/// True when a line of code names the library: as a path, or in a `use`.
fn names(line: &str, library: &str) -> bool {
    let path = line.match_indices(library).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = &line[at + library.len()..];
        !before.is_some_and(is_word) && after.starts_with("::")
    });
    path || (line.trim_start().starts_with("use ") && has_word(line, library))
}

fn has_word(line: &str, word: &str) -> bool {
    line.split(|c| !is_word(c)).any(|part| part == word)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The numbered lines of a file that are code: no comments, and nothing from its unit tests on,
/// which stand last.
fn code_of(file: &Path) -> Vec<(usize, String)> {
    let text = fs::read_to_string(file).unwrap();
    (1..)
        .zip(text.lines())
        .take_while(|(_, line)| line.trim() != "#[cfg(test)]")
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(number, line)| (number, line.to_owned()))
        .collect()
}

/// The Rust files below `src/` of a crate, but for files of unit tests.
fn sources(folder: &str) -> Vec<PathBuf> {
    let mut files = text_files(&root().join(folder).join("src"));
    files.retain(|file| {
        let name = file.file_name().unwrap();
        file.extension().is_some_and(|kind| kind == "rs") && name != "tests.rs"
    });
    files
}

/// All files below a folder that people write: no build output, no history, no query data.
fn text_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let skipped = [".git", ".sqlx", "node_modules", "target"];
            if entry.file_type().unwrap().is_dir() {
                if !skipped.iter().any(|skipped| name == *skipped) {
                    folders.push(path);
                }
            } else {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// A path as it reads in a message.
fn shown(file: &Path) -> String {
    file.strip_prefix(root())
        .unwrap_or(file)
        .display()
        .to_string()
}
