//! The `rtmfp` program. See `rtmfp --help`.

use std::process::ExitCode;

use clap::Parser;
use rtmfp_cli::args::{Cli, Command};
use rtmfp_cli::report::Report;
use rtmfp_cli::{commands, output};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let json = match &cli.command {
        Command::Demo(_) | Command::Password(_) | Command::Token(_) | Command::Identity(_) => false,
        Command::Receive(args) => args.common.json,
        Command::Send(args) => args.common.json,
        Command::Echo(args) => args.common.json,
        Command::Ping(args) => args.common.json,
        Command::Serve(args) => args.common.json,
        Command::Doctor(args) => args.common.json,
    };
    let result = commands::run(&cli.command, Report::new(json));
    if let Err(failure) = &result {
        Report::new(json).failure(failure);
    }
    output::exit_code("rtmfp", &result)
}
