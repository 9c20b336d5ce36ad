//! `tidegate serve`: settings, logging and runtime, then the server until a signal.

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{error, warn};
use tracing_subscriber::EnvFilter;

use crate::{
    config::{self, Settings},
    server::{self, Addresses},
};

use super::flags::ServeFlags;

pub(super) fn run(flags: &ServeFlags) -> ExitCode {
    let settings = match flags.settings(config::environment()) {
        Ok(settings) => settings,
        Err(error) => return refuse(&error),
    };
    let filter = match EnvFilter::try_new(&settings.log_filter) {
        Ok(filter) => filter,
        Err(error) => return refuse(&format_args!("log filter '{}': {error}", settings.log_filter)),
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        // A line that cannot be written is lost. Complaining about it on stderr, where it failed, would panic, and a
        // log file on a full disk would end what keeps the records.
        .log_internal_errors(false)
        .init();
    match serve(settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve(settings: Settings) -> anyhow::Result<()> {
    raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("tidegate").build()?;
    let result = runtime.block_on(server::run(settings, announce));
    // Whatever still blocks was told to stop and had its time.
    runtime.shutdown_background();
    result
}

/// A connection and an open segment are a descriptor each, and the usual soft limit is 1024.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        warn!(%error, current = ?limit.current, "cannot raise the limit of open files");
    }
}

/// The lines that scripts wait for; a closed stdout is nobody's loss.
fn announce(addresses: &Addresses) {
    let mut stdout = io::stdout().lock();
    let _ = writeln!(stdout, "tidegate listening on {}", addresses.kafka);
    let _ = writeln!(stdout, "tidegate admin on http://{}", addresses.admin);
    let _ = stdout.flush();
}

fn refuse(error: &dyn std::fmt::Display) -> ExitCode {
    let _ = writeln!(io::stderr(), "tidegate: {error}");
    ExitCode::from(EXIT_WRONG_SETTING)
}

const EXIT_WRONG_SETTING: u8 = 2;
