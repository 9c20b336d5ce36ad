//! `tidegate doctor`: reads a data directory that no gateway uses, and says what is wrong with it.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::Args;

use crate::{
    catalog::StoredCatalog,
    config::DynamicConfigs,
    log::{self, Inspected, InspectedTopic},
    model::TopicPartition,
    storage::{
        Finding, SegmentStore, Severity, ShardId,
        disk::{DataDirLock, DiskSegments, journal, strangers},
    },
};

#[derive(Args, Clone, Debug)]
pub struct DoctorFlags {
    /// Directory of the disk backend
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
}

pub(super) fn run(flags: &DoctorFlags) -> ExitCode {
    let mut report = Report { out: io::stdout().lock(), damages: 0, notes: 0 };
    match check(&flags.data_dir, &mut report) {
        Ok(()) if report.damages == 0 => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(io::stderr(), "tidegate: {error:#}");
            ExitCode::from(EXIT_CANNOT_TELL)
        }
    }
}

/// Findings go out as they come: a large directory takes a while.
struct Report<W> {
    out: W,
    damages: u64,
    notes: u64,
}

impl<W: Write> Report<W> {
    fn add(&mut self, finding: &Finding) {
        match finding.severity {
            Severity::Damage => self.damages += 1,
            Severity::Note => self.notes += 1,
        }
        // Whoever closed the pipe has seen enough; the exit code still tells.
        let _ = writeln!(self.out, "{finding}");
    }
}

fn check<W: Write>(data_dir: &Path, report: &mut Report<W>) -> anyhow::Result<()> {
    if !data_dir.join("journal").is_dir() && !data_dir.join("topics").is_dir() {
        anyhow::bail!("{} is not the data directory of a gateway", data_dir.display());
    }
    let _lock = DataDirLock::hold(data_dir)?;
    strangers(data_dir)?.iter().for_each(|finding| report.add(finding));
    let inspection = journal::inspect(data_dir, ShardId::CATALOG).context("cannot read the journal")?;
    inspection.findings.iter().for_each(|finding| report.add(finding));
    let catalog = match inspection.entries.map(StoredCatalog::read).transpose() {
        Ok(catalog) => catalog,
        Err(error) => {
            report.add(&Finding::damage("journal", None, error.to_string(), "the gateway refuses to start"));
            None
        }
    };
    let store = DiskSegments::read_only(data_dir);
    let mut stored = if data_dir.join("topics").is_dir() { store.partitions()? } else { Vec::new() };
    stored.sort_unstable_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
    let is_lost = !stored.is_empty() && !journal::is_begun(data_dir)?;
    if is_lost {
        report.add(&Finding::damage(
            "journal",
            None,
            "is missing, and there are records",
            "the gateway refuses to start",
        ));
    }
    let catalog = catalog.filter(|_| !is_lost);
    let partitions = stored.len();
    let mut total = Inspected::default();
    for partition in stored {
        let done = check_partition(&store, &partition, catalog.as_ref(), report)
            .with_context(|| format!("cannot read {partition}"))?;
        total.segments += done.segments;
        total.batches += done.batches;
        total.bytes += done.bytes;
    }
    let Report { damages, notes, .. } = *report;
    let Inspected { segments, batches, bytes } = total;
    let _ = writeln!(
        report.out,
        "checked {} appends of the journal, {partitions} partitions, {segments} segments, {batches} batches, {bytes} \
         bytes: {damages} damaged, {notes} notes",
        inspection.appends
    );
    Ok(())
}

fn check_partition<W: Write>(
    store: &DiskSegments,
    partition: &TopicPartition,
    catalog: Option<&StoredCatalog>,
    report: &mut Report<W>,
) -> anyhow::Result<Inspected> {
    let topic = match catalog {
        None => None,
        Some(catalog) => {
            let topic = catalog.snapshot.topic(&partition.topic);
            let Some(topic) = topic.filter(|topic| topic.has_partition(partition.partition)) else {
                let directory = format!("topics/{}-{}", partition.topic, partition.partition);
                report.add(&Finding::note(directory, None, "belongs to no topic", "removed at the start"));
                return Ok(Inspected::default());
            };
            let policy = topic.configs.get(CLEANUP_POLICY).or_else(|| default_policy(&catalog.dynamic_configs));
            Some(InspectedTopic {
                topic_id: topic.id,
                log_start_offset: *catalog.log_starts.get(&(topic.id, partition.partition)).unwrap_or(&0),
                is_compacted: policy.is_some_and(|policy| policy.contains("compact")),
            })
        }
    };
    Ok(log::inspect(store, partition, topic.as_ref(), &mut |finding| report.add(&finding))?)
}

/// What was set on the running broker; a settings file is not looked at.
fn default_policy(configs: &DynamicConfigs) -> Option<&String> {
    configs.broker.get(DEFAULT_CLEANUP_POLICY).or_else(|| configs.cluster.get(DEFAULT_CLEANUP_POLICY))
}

const EXIT_CANNOT_TELL: u8 = 2;
const CLEANUP_POLICY: &str = "cleanup.policy";
const DEFAULT_CLEANUP_POLICY: &str = "log.cleanup.policy";
