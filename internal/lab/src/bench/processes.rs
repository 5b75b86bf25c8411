//! What processes have used, from `/proc`. Where there is none, nothing is known.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Of `/proc/*/stat`; source: `USER_HZ` is 100 on every architecture of Linux that we build for.
const TICKS_PER_S: f64 = 100.0;

/// Whose use is told apart.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Processes {
    /// The parent of PostgreSQL's processes, if they are on this machine.
    pub(super) postmaster: Option<u32>,
    /// The broker, if it is a process of its own on this machine.
    pub(super) kafka: Option<u32>,
}

/// CPU seconds since the processes began.
#[derive(Debug, Clone, Default)]
pub(super) struct Cpu {
    pub(super) palinode: f64,
    pub(super) postgres: f64,
    pub(super) kafka: f64,
    /// Of this process, by the name of the thread.
    pub(super) by_thread: BTreeMap<String, f64>,
    /// Of PostgreSQL, by database; processes of the server itself by their names.
    pub(super) by_database: BTreeMap<String, f64>,
    /// Of the machine: in use, and in all.
    pub(super) machine: (f64, f64),
}

/// Resident memory in MiB.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Memory {
    pub(super) palinode: f64,
    pub(super) postgres: f64,
    pub(super) kafka: f64,
}

impl Processes {
    /// Finds them: PostgreSQL by one of its backends, Kafka by the port it listens at.
    pub(super) fn find(backend: u32, kafka: Option<&str>) -> Self {
        let local = |host: &str| matches!(host, "127.0.0.1" | "localhost" | "::1" | "[::1]");
        let port = kafka
            .and_then(|address| address.rsplit_once(':'))
            .filter(|(host, _)| local(host))
            .and_then(|(_, port)| port.parse().ok());
        let stat = stat(Path::new("/proc").join(backend.to_string()).as_path());
        Self {
            postmaster: stat
                .filter(|stat| stat.name.starts_with("postgres"))
                .map(|stat| stat.parent),
            kafka: port.and_then(listener),
        }
    }

    pub(super) fn cpu(&self) -> Cpu {
        let mut cpu = Cpu {
            machine: machine(),
            ..Cpu::default()
        };
        let own = |pid: u32| stat(&Path::new("/proc").join(pid.to_string()));
        cpu.palinode = own(std::process::id()).map_or(0.0, |stat| stat.own_s);
        for thread in entries(Path::new("/proc/self/task")) {
            if let Some(stat) = stat(&thread) {
                let name = stat
                    .name
                    .trim_end_matches(|c: char| c.is_ascii_digit() || c == '-');
                *cpu.by_thread.entry(name.to_owned()).or_default() += stat.own_s;
            }
        }
        cpu.kafka = self.kafka.and_then(own).map_or(0.0, |stat| stat.own_s);
        if let Some(postmaster) = self.postmaster.and_then(own) {
            // children that have ended are in the account of their parent
            cpu.postgres = postmaster.own_s + postmaster.ended_children_s;
            cpu.by_database
                .insert("ended".to_owned(), postmaster.ended_children_s);
        }
        for (pid, stat) in self.backends() {
            cpu.postgres += stat.own_s;
            *cpu.by_database.entry(title(pid)).or_default() += stat.own_s;
        }
        cpu
    }

    pub(super) fn memory(&self) -> Memory {
        let mut shared: f64 = 0.0;
        let mut postgres = 0.0;
        let postmaster = self.postmaster.into_iter();
        for pid in postmaster.chain(self.backends().map(|(pid, _)| pid)) {
            let (alone, common) = resident(pid);
            postgres += alone;
            shared = shared.max(common); // they all map the same
        }
        let all = |pid| {
            let (alone, common) = resident(pid);
            alone + common
        };
        Memory {
            palinode: all(std::process::id()),
            postgres: postgres + shared,
            kafka: self.kafka.map_or(0.0, all),
        }
    }

    fn backends(&self) -> impl Iterator<Item = (u32, Stat)> {
        let postmaster = self.postmaster;
        let all = postmaster.map(|_| entries(Path::new("/proc")));
        all.into_iter().flatten().filter_map(move |folder| {
            let pid = folder.file_name()?.to_str()?.parse().ok()?;
            let stat = stat(&folder)?;
            (Some(stat.parent) == postmaster).then_some((pid, stat))
        })
    }
}

/// CPU seconds of a process since it began; `None`: there is none, or no `/proc`.
pub(super) fn cpu_of(pid: u32) -> Option<f64> {
    stat(&Path::new("/proc").join(pid.to_string())).map(|stat| stat.own_s)
}

struct Stat {
    name: String,
    parent: u32,
    own_s: f64,
    ended_children_s: f64,
}

fn stat(folder: &Path) -> Option<Stat> {
    let text = fs::read_to_string(folder.join("stat")).ok()?;
    let (head, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    // numbered from 3 in proc(5): state, parent, …
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let seconds = |a: usize, b: usize| Some(seconds(field(a)? + field(b)?));
    Some(Stat {
        name: head.split_once('(')?.1.to_owned(),
        parent: u32::try_from(field(4)?).ok()?,
        own_s: seconds(14, 15)?,
        ended_children_s: seconds(16, 17)?,
    })
}

#[expect(
    clippy::cast_precision_loss,
    reason = "ticks of a machine's life are exact"
)]
fn seconds(ticks: u64) -> f64 {
    ticks as f64 / TICKS_PER_S
}

fn entries(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

/// What a backend serves, from the title that PostgreSQL gives it:
/// `postgres: palinode: user database host(port) idle`, or `postgres: palinode: walwriter`.
fn title(pid: u32) -> String {
    let title = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<&str> = title.split(['\0', ' ']).filter(|w| !w.is_empty()).collect();
    let database = words.iter().find(|word| word.starts_with("palinode_"));
    if let Some(database) = database {
        return (*database).to_owned();
    }
    let of = words.iter().rposition(|word| word.ends_with(':'));
    let rest = of.map_or(&words[..], |of| &words[of + 1..]);
    if title.contains("autovacuum worker") {
        return "autovacuum worker".to_owned();
    }
    rest.join(" ")
        .split('(')
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// Resident memory of a process in MiB: its own, and what others map too.
fn resident(pid: u32) -> (f64, f64) {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mib = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        let kib = line.and_then(|line| line.split_whitespace().nth(1));
        kib.and_then(|kib| kib.parse::<f64>().ok())
            .map_or(0.0, |kib| kib / 1024.0)
    };
    (mib("RssAnon:"), mib("RssFile:") + mib("RssShmem:"))
}

fn machine() -> (f64, f64) {
    machine_of(&fs::read_to_string("/proc/stat").unwrap_or_default())
}

fn machine_of(stat: &str) -> (f64, f64) {
    let first = stat.lines().next().unwrap_or_default();
    // user nice system idle iowait irq softirq steal; what guests use is in user already
    let fields: Vec<u64> = first
        .split_whitespace()
        .skip(1)
        .take(8)
        .filter_map(|field| field.parse().ok())
        .collect();
    let all: u64 = fields.iter().sum();
    let idle: u64 = fields.iter().skip(3).take(2).sum();
    (seconds(all - idle), seconds(all))
}

/// The process that listens at a TCP port of this machine.
fn listener(port: u16) -> Option<u32> {
    const LISTENS: &str = "0A";
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"]
        .into_iter()
        .find_map(|file| {
            let text = fs::read_to_string(file).ok()?;
            text.lines().skip(1).find_map(|line| {
                let fields: Vec<&str> = line.split_whitespace().collect();
                let (_, at) = fields.get(1)?.rsplit_once(':')?;
                let here = u16::from_str_radix(at, 16).ok()? == port && *fields.get(3)? == LISTENS;
                here.then(|| fields.get(9).map(|inode| format!("socket:[{inode}]")))?
            })
        })?;
    entries(Path::new("/proc")).into_iter().find_map(|folder| {
        let pid = folder.file_name()?.to_str()?.parse().ok()?;
        let links = entries(&folder.join("fd"));
        let holds = links
            .iter()
            .any(|link| fs::read_link(link).is_ok_and(|to| to.as_os_str() == inode.as_str()));
        holds.then_some(pid)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_that_listens_is_found_and_uses_cpu_and_memory() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        assert_eq!(listener(port), Some(std::process::id()));
        let found = Processes::find(std::process::id(), Some(&format!("127.0.0.1:{port}")));
        assert_eq!(found.kafka, Some(std::process::id()));
        assert_eq!(found.postmaster, None);
        assert!(found.memory().palinode > 1.0);
        let before = found.cpu();
        while found.cpu().palinode <= before.palinode {
            std::hint::spin_loop();
        }
    }

    /// The machine's account is not the process's: it is kept by ticks, and comes later.
    #[test]
    fn the_machine_is_in_use_when_it_neither_idles_nor_waits() {
        let stat = "cpu  100 20 300 4000 500 6 70 8 9 10\ncpu0 1 2 3 4 5 6 7 8 9 10\n";
        let (used, all) = machine_of(stat);
        assert!((used - 5.04).abs() < 1e-9, "{used}");
        assert!((all - 50.04).abs() < 1e-9, "{all}");
        assert_eq!(machine_of(""), (0.0, 0.0));
    }
}
