//! The postier server.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
