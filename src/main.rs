use std::process::ExitCode;

// jemalloc hands out address space without touching it, and gives memory back after a burst: a second line behind the
// wire's own limits (docs/decisions/).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    tidegate::cli::run()
}
