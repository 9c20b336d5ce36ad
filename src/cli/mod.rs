//! The command line: a file or a folder for each subcommand.

mod bench;
mod doctor;
pub mod flags;
mod serve;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use doctor::DoctorFlags;
use flags::ServeFlags;

/// Runs the subcommand that the command line names.
///
/// Exit codes: 0 after an orderly stop, 1 when something failed at run time, 2 for a wrong command line or setting. Of
/// `doctor`: 0 when nothing is damaged, 1 when something is, 2 when that could not be told.
pub fn run() -> ExitCode {
    match Cli::parse().command {
        Command::Serve(flags) => serve::run(&flags),
        Command::Bench(flags) => bench::run(&flags),
        Command::Doctor(flags) => doctor::run(&flags),
    }
}

#[derive(Parser)]
#[command(name = "tidegate", version, about, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve Kafka clients until SIGTERM or SIGINT
    Serve(ServeFlags),
    /// Put any Kafka broker under load and say what it does
    Bench(bench::BenchFlags),
    /// Check a data directory that no gateway uses; changes nothing
    Doctor(DoctorFlags),
}
