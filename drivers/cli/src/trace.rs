//! `--trace FILE`: what the endpoint does, as [qlog](rtmfp_qlog).

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rtmfp_core::Trace;
use rtmfp_qlog::{Header, QlogFile, VantagePoint};

use crate::args::{Command, Common, TRACE_MEBIBYTES};
use crate::failure::{Chain, Code, Failure};
use crate::output;

/// The file of `--trace`, if it was asked for.
#[derive(Debug)]
pub struct TraceFile {
    wanted: Option<Wanted>,
    /// Once it is created.
    file: Option<QlogFile>,
}

/// What the command line says of a trace.
#[derive(Clone, Debug)]
struct Wanted {
    path: PathBuf,
    title: &'static str,
    vantage_point: VantagePoint,
    max_bytes: u64,
    /// Files that the command reads, which the trace must not replace.
    read: Vec<PathBuf>,
}

impl TraceFile {
    /// What a command asks for. Nothing is created before all else on the command line is known to be right.
    pub(crate) fn of(command: &Command) -> Self {
        let common = |common: &Common, title, vantage_point, files: &[PathBuf]| {
            Some(Wanted {
                path: common.trace.clone()?,
                title,
                vantage_point,
                max_bytes: common.trace_limit << 20,
                read: files.iter().chain(&common.password_file).cloned().collect(),
            })
        };
        let (client, server) = (VantagePoint::Client, VantagePoint::Server);
        let wanted = match command {
            Command::Demo(args) => args.trace.clone().map(|path| Wanted {
                path,
                title: "rtmfp demo",
                vantage_point: client,
                max_bytes: TRACE_MEBIBYTES << 20,
                read: Vec::new(),
            }),
            Command::Receive(args) => common(&args.common, "rtmfp receive", server, &[]),
            // The URI among them is no file, or one that is no harm to keep.
            Command::Send(args) => common(&args.common, "rtmfp send", client, &args.paths),
            Command::Echo(args) => common(&args.common, "rtmfp echo", server, &[]),
            Command::Ping(args) => common(&args.common, "rtmfp ping", client, &[]),
            Command::Serve(args) => common(&args.common, "rtmfp serve", server, &[]),
            Command::Doctor(args) => common(&args.common, "rtmfp doctor", client, &args.with),
            Command::Password(_) | Command::Token(_) | Command::Identity(_) => None,
        };
        Self { wanted, file: None }
    }

    /// Creates the file, if it is wanted. The sink is for the endpoint, whose clock begins now.
    ///
    /// # Errors
    /// The file cannot be created, or the command reads it.
    #[expect(
        clippy::disallowed_methods,
        reason = "the time of day, for people who compare files; nothing depends on it"
    )]
    pub(crate) fn start(&mut self) -> Result<Option<Box<dyn Trace>>, Failure> {
        let Some(wanted) = &self.wanted else { return Ok(None) };
        let header =
            Header { title: wanted.title, vantage_point: wanted.vantage_point, began: Some(SystemTime::now()) };
        let name = wanted.path.display().to_string();
        if wanted.read.iter().any(|other| is_same(other, &wanted.path)) {
            return Err(Failure::new(Code::Usage, format!("the trace would replace {name}: give it another name")));
        }
        // At once: a server may run for long after, and nothing more is written.
        let failed = move |error: &std::io::Error| {
            output::complain("rtmfp", format_args!("the trace {name} ends here: {error}"));
        };
        let (file, sink) = QlogFile::create(&wanted.path, &header, wanted.max_bytes, failed)
            .map_err(|e| Failure::local(format_args!("the trace {} could not be created", wanted.path.display()), e))?;
        self.file = Some(file);
        Ok(Some(Box::new(sink)))
    }

    /// Waits until all is written; the endpoint is gone by now. A file that is not complete is a failure of this end, but
    /// what the command came to counts first.
    pub(crate) fn finish(self, result: Result<(), Failure>) -> Result<(), Failure> {
        let (Some(wanted), Some(file)) = (self.wanted, self.file) else { return result };
        let Err(error) = file.finish() else { return result };
        let message = format!("the trace {} is incomplete: {}", wanted.path.display(), Chain(&error));
        if result.is_err() {
            output::complain("rtmfp", message);
            return result;
        }
        Err(Failure::new(Code::Local, message))
    }
}

/// Whether two paths lead to one file, which is there.
fn is_same(one: &Path, other: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        // By another name, too.
        let identity = |path: &Path| fs::metadata(path).map(|file| (file.dev(), file.ino())).ok();
        identity(one).is_some_and(|found| identity(other) == Some(found))
    }
    #[cfg(not(unix))]
    {
        fs::canonicalize(one).is_ok_and(|found| fs::canonicalize(other).is_ok_and(|other| other == found))
    }
}
