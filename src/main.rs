//! The `aigw` command: parses the command line, runs it and exits with its code.

/// 7 % less CPU for a chat than with glibc's allocator, 18 % less for a prompt of 200 KB
/// (`benches/RESULTS.md`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    aigw::cli::main()
}
