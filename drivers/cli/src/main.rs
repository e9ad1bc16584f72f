//! The `rtmfp` program. See `rtmfp --help`.

use std::process::ExitCode;

use clap::Parser;
use rtmfp_cli::args::{Cli, Command};
use rtmfp_cli::commands;
use rtmfp_cli::report::Report;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let json = match &cli.command {
        Command::Demo(_) | Command::Password(_) => false,
        Command::Receive(args) => args.common.json,
        Command::Send(args) => args.common.json,
        Command::Echo(args) => args.common.json,
        Command::Ping(args) => args.common.json,
        Command::Bench(args) => args.subject.common().json,
    };
    match commands::run(&cli.command, Report::new(json)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            Report::new(json).failure(&failure);
            ExitCode::from(failure.code as u8)
        }
    }
}
