//! `--trace FILE`: what the endpoint does, as [qlog](rtmfp_qlog).

use std::path::PathBuf;
use std::time::SystemTime;

use rtmfp_core::Trace;
use rtmfp_qlog::{Header, QlogFile, VantagePoint};

use crate::args::Command;
use crate::failure::{Code, Failure};
use crate::output;

/// Where an endpoint is to tell what it does.
pub type Sink = Box<dyn Trace>;

/// The file of `--trace`, if it was asked for.
#[derive(Debug)]
pub(crate) struct TraceFile(Option<(PathBuf, QlogFile)>);

impl TraceFile {
    /// Creates the file that a command asks for. The sink is for its endpoint.
    ///
    /// # Errors
    /// The file cannot be created.
    #[expect(
        clippy::disallowed_methods,
        reason = "the time of day, for people who compare files; nothing depends on it"
    )]
    pub(crate) fn of(command: &Command) -> Result<(Self, Option<Sink>), Failure> {
        let (path, title, vantage_point) = match command {
            Command::Demo(args) => (&args.trace, "rtmfp demo", VantagePoint::Client),
            Command::Receive(args) => (&args.common.trace, "rtmfp receive", VantagePoint::Server),
            Command::Send(args) => (&args.common.trace, "rtmfp send", VantagePoint::Client),
            Command::Echo(args) => (&args.common.trace, "rtmfp echo", VantagePoint::Server),
            Command::Ping(args) => (&args.common.trace, "rtmfp ping", VantagePoint::Client),
            Command::Password(_) => return Ok((Self(None), None)),
        };
        let Some(path) = path.clone() else { return Ok((Self(None), None)) };
        let header = Header { title, vantage_point, began: Some(SystemTime::now()) };
        let name = path.display().to_string();
        // At once: a server may run for long after, and nothing more is written.
        let failed = move |error: &std::io::Error| {
            output::complain("rtmfp", format_args!("the trace {name} ends here: {error}"));
        };
        let (file, sink) = QlogFile::create(&path, &header, failed)
            .map_err(|e| Failure::local(format_args!("the trace {} could not be created", path.display()), e))?;
        Ok((Self(Some((path, file))), Some(Box::new(sink))))
    }

    /// Waits until all is written; the endpoint is gone by now. A file that is not complete is a failure of this end, but
    /// what the command came to counts first.
    pub(crate) fn finish(self, result: Result<(), Failure>) -> Result<(), Failure> {
        let Some((path, file)) = self.0 else { return result };
        let Err(error) = file.finish() else { return result };
        let message = format!("the trace {} is incomplete: {error}", path.display());
        if result.is_err() {
            output::complain("rtmfp", message);
            return result;
        }
        Err(Failure::new(Code::Local, message))
    }
}
