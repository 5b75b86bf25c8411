use std::io::{self, Write};
use std::path::Path;

use anyhow::Context;
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::Value as Json;

use super::machine::Machine;
use super::plot::Plot;

/// Names are padded to this.
const NAME_WIDTH: usize = 28;

/// Names and values, in the order in which they were put in.
#[derive(Debug, Clone, Default)]
pub struct Figures(Vec<(String, Json)>);

impl Figures {
    /// Puts a value in, in place of the one of that name.
    pub fn put(&mut self, name: &str, value: impl Into<Json>) {
        let value = rounded(value.into());
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    /// The value of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Json> {
        let mut all = self.0.iter();
        all.find(|(known, _)| known == name).map(|(_, value)| value)
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        for (name, value) in &self.0 {
            match value {
                Json::Array(rows) if rows.iter().any(Json::is_object) => {
                    writeln!(out, "  {name}")?;
                    for row in rows {
                        writeln!(out, "    {}", words(row))?;
                    }
                }
                value => writeln!(out, "  {name:<NAME_WIDTH$} {}", words(value))?,
            }
        }
        Ok(())
    }
}

impl Serialize for Figures {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// What a bench found.
#[derive(Debug, Clone)]
pub struct Report {
    bench: &'static str,
    machine: Machine,
    /// What was set.
    pub settings: Figures,
    /// What was measured.
    pub figures: Figures,
    /// What must hold and does not; empty when all is well.
    pub violations: Vec<String>,
    /// Pictures of it.
    pub plots: Vec<Plot>,
}

impl Report {
    /// A report without figures yet.
    #[must_use]
    pub fn new(bench: &'static str, machine: Machine) -> Self {
        Self {
            bench,
            machine,
            settings: Figures::default(),
            figures: Figures::default(),
            violations: Vec::new(),
            plots: Vec::new(),
        }
    }

    /// Whether nothing was violated.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.violations.is_empty()
    }

    /// Writes it for people.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "bench {}", self.bench)?;
        if self.machine.is_debug_build {
            writeln!(
                out,
                "THIS IS A DEBUG BUILD: its figures say nothing; cargo build --release"
            )?;
        }
        writeln!(out, "machine")?;
        self.machine.figures().write(out)?;
        writeln!(out, "settings")?;
        self.settings.write(out)?;
        writeln!(out, "figures")?;
        self.figures.write(out)?;
        if self.is_good() {
            return writeln!(out, "no violations");
        }
        writeln!(out, "VIOLATIONS")?;
        for violation in &self.violations {
            writeln!(out, "  {violation}")?;
        }
        Ok(())
    }

    /// Writes it as one line of JSON.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_json(&self, out: &mut impl Write) -> anyhow::Result<()> {
        writeln!(out, "{}", serde_json::to_string(self)?)?;
        Ok(())
    }

    /// Draws its plots into a folder, as `<bench>-<plot>.svg`.
    ///
    /// # Errors
    /// The folder or a file cannot be written.
    pub fn draw(&self, dir: &Path) -> anyhow::Result<()> {
        std::fs::create_dir_all(dir)
            .with_context(|| format!("the folder {} cannot be made", dir.display()))?;
        for plot in &self.plots {
            let file = dir.join(format!("{}-{}.svg", self.bench, plot.name));
            let drawn = plot.svg().and_then(|svg| Ok(std::fs::write(&file, svg)?));
            drawn.with_context(|| format!("{} cannot be drawn", file.display()))?;
        }
        Ok(())
    }
}

impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("bench", self.bench)?;
        map.serialize_entry("violations", &self.violations)?;
        for (name, value) in &self.figures.0 {
            map.serialize_entry(name, value)?;
        }
        map.serialize_entry("settings", &self.settings)?;
        map.serialize_entry("machine", &self.machine.figures())?;
        map.end()
    }
}

/// Numbers with as many digits as mean something.
fn rounded(value: Json) -> Json {
    match value {
        Json::Number(number) if number.is_f64() => {
            let number = number.as_f64().unwrap_or_default();
            let scale = if number.abs() < 10.0 { 1_000.0 } else { 10.0 };
            Json::from((number * scale).round() / scale)
        }
        Json::Array(list) => list.into_iter().map(rounded).collect(),
        Json::Object(map) => map
            .into_iter()
            .map(|(name, value)| (name, rounded(value)))
            .collect(),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => value,
    }
}

fn words(value: &Json) -> String {
    match value {
        Json::Null => "-".to_owned(),
        Json::String(text) => text.clone(),
        Json::Array(list) => list.iter().map(words).collect::<Vec<_>>().join(" "),
        Json::Object(map) => map
            .iter()
            .map(|(name, value)| format!("{name} {}", words(value)))
            .collect::<Vec<_>>()
            .join(", "),
        Json::Bool(_) | Json::Number(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn figures_stand_at_the_top_in_their_order() {
        let mut report = Report::new("sagas", Machine::default());
        report.figures.put("per_s", 1234.567);
        report
            .figures
            .put("by_size", json!([{"at": 10, "per_s": 1.23456}]));
        report.figures.put("per_s", 2.0);
        report.settings.put("in_flight", 400);
        let mut line = Vec::new();
        report.write_json(&mut line).unwrap();
        let line = String::from_utf8(line).unwrap();
        let start = r#"{"bench":"sagas","violations":[],"per_s":2.0,"by_size":[{"at":10,"per_s":1.235}],"settings":{"in_flight":400},"machine":{"#;
        assert!(line.starts_with(start), "{line}");
        assert_eq!(line.lines().count(), 1);
    }
}
