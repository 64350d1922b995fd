//! The postier server.

mod cli;
mod server;

fn main() -> std::process::ExitCode {
    cli::main()
}
