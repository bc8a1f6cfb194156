//! The binary: a page.

fn main() -> std::process::ExitCode {
    aigw::cli::main()
}
