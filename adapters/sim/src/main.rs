//! `postier-sim`: many worlds, or one of them in every detail. See `--help`.

fn main() -> std::process::ExitCode {
    postier_sim_cli::main()
}

#[path = "cli.rs"]
mod postier_sim_cli;
