//! Java, and the broker's jars: fetched once by Maven, kept in the cache folder.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::{Error, JAVA_MIN, VERSION};
use crate::Progress;
use crate::environment;

const POM: &str = include_str!("../../../../deploy/local/kafka/pom.xml");

/// What the download is, for the line that announces it.
const SIZE: &str = "46 jars, about 44 MB, once";

/// `java` of `JAVA_HOME`, else of `PATH`, if it is new enough. Blocks.
pub(super) fn java() -> Result<PathBuf, Error> {
    let program = match environment::variable("JAVA_HOME") {
        Some(home) => PathBuf::from(home).join("bin/java"),
        None => PathBuf::from("java"),
    };
    let output = Command::new(&program)
        .arg("-version")
        .output()
        .map_err(|_| Error::NoJava)?;
    match major_of(&String::from_utf8_lossy(&output.stderr)) {
        Some(found) if found < JAVA_MIN => Err(Error::OldJava { program, found }),
        Some(_) => Ok(program),
        None => Err(Error::NoJava),
    }
}

/// The major version in the answer to `java -version`: `"17.0.15"`, or `"1.8.0_422"` as long ago.
fn major_of(answer: &str) -> Option<u32> {
    let version = answer.split('"').nth(1)?;
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    match numbers.next()?.ok()? {
        1 => numbers.next()?.ok(),
        major => Some(major),
    }
}

/// The folder with the jars, fetched now if they are not there yet. Blocks.
pub(super) fn jars(progress: Progress) -> Result<PathBuf, Error> {
    let cache = environment::cache_dir().join("kafka");
    let unusable = |source| Error::Cache {
        path: cache.clone(),
        source,
    };
    environment::create_open_dir(&cache).map_err(unusable)?;
    let complete = cache.join(VERSION);

    // Of several processes one downloads; the others wait here and find it done.
    let lock = File::create(cache.join("lock")).map_err(unusable)?;
    lock.lock().map_err(unusable)?;
    if !complete.exists() {
        progress.say(&format!(
            "fetching Kafka {VERSION} ({SIZE}) into {}",
            complete.display()
        ));
        let bar = progress.bar(&format!("Kafka {VERSION}"));
        let partial = cache.join(format!("{VERSION}.partial"));
        fetch(&partial, unusable)?;
        // What has the final name is complete.
        fs::rename(&partial, &complete).map_err(unusable)?;
        bar.finish_and_clear();
    }
    Ok(complete)
}

fn fetch(folder: &Path, unusable: impl Fn(io::Error) -> Error) -> Result<(), Error> {
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(&unusable)?;
    }
    fs::create_dir(folder).map_err(&unusable)?;
    let pom = folder.join("pom.xml");
    fs::write(&pom, POM).map_err(&unusable)?;
    let mut maven = Command::new("mvn");
    maven.args([
        "-B",
        "-q",
        "-ntp",
        "dependency:copy-dependencies",
        "-DincludeScope=runtime",
    ]);
    maven
        .arg("-f")
        .arg(&pom)
        .arg(format!("-DoutputDirectory={}", folder.display()));
    match maven.stdin(Stdio::null()).output() {
        Ok(Output { status, .. }) if status.success() => Ok(()),
        Ok(output) => Err(Error::Fetch(beginning(&output.stdout))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Error::NoMaven),
        Err(error) => Err(Error::Fetch(error.to_string())),
    }
}

/// The first lines of Maven's complaint; the rest is advice on how to make it say more.
fn beginning(output: &[u8]) -> String {
    String::from_utf8_lossy(output)
        .lines()
        .take(4)
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_java_is_read_from_every_spelling() {
        let check = |text: &str, expect| assert_eq!(major_of(text), expect, "{text}");
        check(
            "openjdk version \"17.0.15\" 2025-04-15\nOpenJDK Runtime …",
            Some(17),
        );
        check("openjdk version \"21\" 2023-09-19", Some(21));
        check("openjdk version \"25-ea\" 2025-09-16", Some(25));
        check("java version \"1.8.0_422\"", Some(8));
        check("the operation couldn't be completed", None);
    }
}
