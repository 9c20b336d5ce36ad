//! What the broker's process costs, from /proc.

use std::{fs, time::Duration};

use anyhow::Context;

/// A process on this machine.
#[derive(Clone, Copy, Debug)]
pub struct Server {
    pid: u32,
}

/// In KiB, as /proc/PID/status has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    pub resident: u64,
    pub anonymous: u64,
    pub high_water: u64,
}

impl Server {
    pub fn new(pid: u32) -> Self {
        Self { pid }
    }

    /// Processor time so far, in user and kernel, of all threads.
    pub fn cpu(self) -> anyhow::Result<Duration> {
        cpu_of(&self.pid.to_string())
    }

    pub fn memory(self) -> anyhow::Result<Memory> {
        let status = read(&format!("/proc/{}/status", self.pid))?;
        memory(&status).context("/proc/PID/status has no memory")
    }
}

/// Processor time of this process itself: what the load generator takes from the same machine.
pub fn own_cpu() -> anyhow::Result<Duration> {
    cpu_of("self")
}

fn cpu_of(process: &str) -> anyhow::Result<Duration> {
    let ticks = cpu_ticks(&read(&format!("/proc/{process}/stat"))?).context("/proc/PID/stat has no processor time")?;
    Ok(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}

/// utime and stime; the name before them may hold anything, also parentheses.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11);
    Some(times.next()?.parse::<u64>().ok()? + times.next()?.parse::<u64>().ok()?)
}

fn memory(status: &str) -> Option<Memory> {
    let field = |name: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().strip_suffix("kB")?.trim().parse().ok()
    };
    Some(Memory { resident: field("VmRSS")?, anonymous: field("RssAnon")?, high_water: field("VmHWM")? })
}

fn read(path: &str) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("{path}: is --server-pid the broker's process?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_found_behind_any_name() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 7 8 20 0 3 0 12345 1000 200";
        assert_eq!(cpu_ticks(stat), Some(300));
        assert_eq!(cpu_ticks("42 (cut) S 1"), None);
    }

    #[test]
    fn memory_is_found_by_its_names() {
        let status = "Name:\tx\nVmHWM:\t    3000 kB\nVmRSS:\t    2000 kB\nRssAnon:\t    1000 kB\nRssFile:\t 1 kB\n";
        assert_eq!(memory(status), Some(Memory { resident: 2000, anonymous: 1000, high_water: 3000 }));
        assert_eq!(memory("Name:\tkthreadd\n"), None);
    }

    #[test]
    fn this_process_has_memory_and_time() {
        let server = Server::new(std::process::id());
        assert!(server.memory().unwrap().resident > 0);
        server.cpu().unwrap();
        own_cpu().unwrap();
    }
}
