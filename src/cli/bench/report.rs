//! What a run found out, as text for people or as JSON for scripts.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
};

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use super::{Target, driver::Measured, server::Memory};

/// One run of one workload.
pub struct Report {
    workload: &'static str,
    bootstrap: String,
    settings: String,
    measured: Measured,
    memory: Option<Memory>,
    figures: Vec<Figure>,
}

/// What only this workload has.
struct Figure {
    /// For scripts: ends with the unit.
    key: &'static str,
    label: &'static str,
    value: f64,
}

impl Report {
    /// `settings` says in words what was done.
    pub fn new(workload: &'static str, target: &Target, settings: String, measured: Measured) -> anyhow::Result<Self> {
        let memory = target.server().map(|server| server.memory()).transpose()?;
        let bootstrap = target.bootstrap.clone();
        Ok(Self { workload, bootstrap, settings, measured, memory, figures: Vec::new() })
    }

    /// Adds a figure that the other workloads do not have.
    pub fn figure(mut self, key: &'static str, label: &'static str, value: f64) -> Self {
        self.figures.push(Figure { key, label, value });
        self
    }

    pub fn print(&self, json: bool) -> io::Result<()> {
        let text = if json { format!("{}\n", self.json()) } else { self.text() };
        io::stdout().write_all(text.as_bytes())
    }

    fn json(&self) -> Value {
        let counts = self.measured.counts;
        let mut object = Map::new();
        let mut put = |key: &str, value: Value| object.insert(key.to_owned(), value);
        put("workload", json!(self.workload));
        put("bootstrap", json!(self.bootstrap));
        put("settings", json!(self.settings));
        put("seconds", json!(self.seconds()));
        put("requests", json!(counts.requests));
        put("records", json!(counts.records));
        put("bytes", json!(counts.bytes));
        put("requests_per_second", json!(self.per_second(counts.requests)));
        put("records_per_second", json!(self.per_second(counts.records)));
        put("mib_per_second", json!(self.mib_per_second()));
        for (quantile, value) in self.latencies_ms() {
            put(&format!("latency_{quantile}_ms"), json!(value));
        }
        put("client_cpu_seconds", json!(self.measured.client_cpu.as_secs_f64()));
        if let Some(cpu) = self.measured.server_cpu {
            put("server_cpu_seconds", json!(cpu.as_secs_f64()));
            put("server_cpu_us_per_request", json!(ratio(cpu.as_secs_f64() * 1e6, counts.requests as f64)));
            put("server_cpu_seconds_per_gib", json!(ratio(cpu.as_secs_f64(), counts.bytes as f64 / GIB)));
        }
        if let Some(memory) = self.memory {
            put("server_resident_kib", json!(memory.resident));
            put("server_anonymous_kib", json!(memory.anonymous));
            put("server_high_water_kib", json!(memory.high_water));
        }
        for figure in &self.figures {
            put(figure.key, json!(figure.value));
        }
        Value::Object(object)
    }

    fn text(&self) -> String {
        let counts = self.measured.counts;
        let mut out = format!("{}: {}; {:.1} s\n", self.workload, self.settings, self.seconds());
        // Writing to a string cannot fail.
        let _ = write!(out, "  {:.0} requests/s", self.per_second(counts.requests));
        if counts.bytes > 0 {
            let records = self.per_second(counts.records);
            let _ = write!(out, "  {records:.0} records/s  {:.1} MiB/s", self.mib_per_second());
        }
        let latencies: String =
            self.latencies_ms().iter().map(|(name, value)| format!("  {name} {value:.3}")).collect();
        let _ = writeln!(out, "\n  latency, ms{latencies}");
        for figure in &self.figures {
            let _ = writeln!(out, "  {} {:.3}", figure.label, figure.value);
        }
        if let Some(cpu) = self.measured.server_cpu {
            let seconds = cpu.as_secs_f64();
            let _ = write!(out, "  broker CPU {seconds:.2} s");
            let _ = write!(out, ", {:.1} µs/request", ratio(seconds * 1e6, counts.requests as f64));
            if counts.bytes > 0 {
                let _ = write!(out, ", {:.3} s/GiB", ratio(seconds, counts.bytes as f64 / GIB));
            }
            let _ = writeln!(out, "; this program's own {:.2} s", self.measured.client_cpu.as_secs_f64());
        }
        if let Some(memory) = self.memory {
            let [resident, anonymous, high_water] =
                [memory.resident, memory.anonymous, memory.high_water].map(|kib| kib as f64 / 1024.0);
            let _ = writeln!(
                out,
                "  broker memory {resident:.1} MiB ({anonymous:.1} anonymous), at most {high_water:.1} MiB so far"
            );
        }
        out
    }

    fn latencies_ms(&self) -> [(&'static str, f64); 6] {
        latencies_ms(&self.measured.latency_ns)
    }

    fn seconds(&self) -> f64 {
        self.measured.time.as_secs_f64()
    }

    fn per_second(&self, count: u64) -> f64 {
        ratio(count as f64, self.seconds())
    }

    fn mib_per_second(&self) -> f64 {
        self.per_second(self.measured.counts.bytes) / (1 << 20) as f64
    }
}

fn latencies_ms(latency_ns: &Histogram<u64>) -> [(&'static str, f64); 6] {
    let at = |quantile| latency_ns.value_at_quantile(quantile) as f64 / 1e6;
    let max = latency_ns.max() as f64 / 1e6;
    [
        ("p50", at(0.5)),
        ("p90", at(0.9)),
        ("p99", at(0.99)),
        ("p999", at(0.999)),
        ("max", max),
        ("mean", latency_ns.mean() / 1e6),
    ]
}

/// Nothing per something is nothing.
fn ratio(amount: f64, per: f64) -> f64 {
    if per > 0.0 { amount / per } else { 0.0 }
}

const GIB: f64 = (1_u64 << 30) as f64;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{
        super::driver::{Counts, histogram},
        *,
    };

    fn report() -> Report {
        let mut latency_ns = histogram().unwrap();
        for ms in 1..=100 {
            latency_ns.record(ms * 1_000_000).unwrap();
        }
        let measured = Measured {
            time: Duration::from_secs(2),
            counts: Counts { requests: 1000, records: 64_000, bytes: 512 << 20 },
            latency_ns,
            server_cpu: Some(Duration::from_millis(500)),
            client_cpu: Duration::from_millis(100),
        };
        let memory = Some(Memory { resident: 10_240, anonymous: 5120, high_water: 20_480 });
        Report {
            workload: "produce",
            bootstrap: "127.0.0.1:9092".to_owned(),
            settings: "4 connections".to_owned(),
            measured,
            memory,
            figures: Vec::new(),
        }
    }

    #[test]
    fn rates_and_costs_are_per_unit_of_work() {
        let json = report().figure("passes", "passes", 3.0).json();
        for (key, expected) in [
            ("requests_per_second", 500.0),
            ("records_per_second", 32_000.0),
            ("mib_per_second", 256.0),
            ("server_cpu_us_per_request", 500.0),
            ("server_cpu_seconds_per_gib", 1.0),
            ("passes", 3.0),
        ] {
            assert_eq!(json[key].as_f64(), Some(expected), "{key}");
        }
        for (key, expected) in [("latency_p50_ms", 50.0), ("latency_p99_ms", 99.0), ("latency_max_ms", 100.0)] {
            let value = json[key].as_f64().unwrap();
            assert!((value - expected).abs() <= expected * 0.001, "{key} {value}");
        }
    }

    #[test]
    fn the_text_has_every_figure() {
        let text = report().figure("passes", "passes", 3.0).text();
        for part in [
            "produce: 4 connections; 2.0 s",
            "500 requests/s",
            "256.0 MiB/s",
            "p99 99",
            "500.0 µs/request",
            "1.000 s/GiB",
            "10.0 MiB (5.0 anonymous), at most 20.0 MiB",
            "passes 3.000",
        ] {
            assert!(text.contains(part), "no '{part}' in\n{text}");
        }
    }

    #[test]
    fn an_empty_run_divides_by_nothing() {
        let mut report = report();
        report.measured.counts = Counts::default();
        report.measured.time = Duration::ZERO;
        let json = report.json();
        assert_eq!(json["requests_per_second"].as_f64(), Some(0.0));
        assert_eq!(json["server_cpu_us_per_request"].as_f64(), Some(0.0));
    }
}
