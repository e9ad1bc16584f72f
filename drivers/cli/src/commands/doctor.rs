//! `rtmfp doctor`

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;
use std::fs::File;
use std::io::Read as _;
use std::net::UdpSocket;
use std::path::Path;

use rtmfp_core::{EndpointConfig, InterfaceId, Path as Way, Target};
use rtmfp_meet::probe::{Doctor as App, Findings, Incomplete, KeptFor, Lifetime, Report as Found, will_meet};
use rtmfp_std::Driver;

use super::{conclude, write_whole};
use crate::args::{Doctor, Via};
use crate::failure::{Code, Failure};
use crate::identity::{Destination, Identity, Part, destination};
use crate::json::Line;
use crate::nearby::GatewayTest;
use crate::report::Report;
use crate::trace::TraceFile;
use crate::{diagnosis, explain, net, output};

/// The pauses after which mappings are looked for, in seconds.
const PAUSES: [u64; 6] = [15, 30, 60, 120, 180, 300];
/// Hellos for others that wait: those of probes.
const HELLOS: usize = 64;

pub(super) fn run(args: &Doctor, mut report: Report, trace: &mut TraceFile) -> Result<(), Failure> {
    if args.connect.pin {
        let message = "the doctor pins nobody: leave out --pin, and use `rtmfp identity pin`";
        return Err(Failure::new(Code::Usage, message));
    }
    // Before anything else takes its time.
    let others = args.with.iter().map(|file| read(file)).collect::<Result<Vec<_>, _>>()?;
    if let [one, two] = others.as_slice() {
        if args.explain.is_some() || args.via.is_some() || args.save.is_some() {
            let message =
                "with two reports nothing is looked at here: leave out --via, --save and --explain, or one report";
            return Err(Failure::new(Code::Usage, message));
        }
        let names: Vec<String> = args.with.iter().map(|file| file.display().to_string()).collect();
        let [first, second] = [0, 1].map(|place| names.get(place).map_or("", String::as_str));
        tell_of_two((first, one), (second, two), &mut report);
        return Ok(());
    }
    if args.explain.is_none() && args.paths.is_given() {
        let message = "a token, and which paths may be taken, is for meeting a far end: name it with --explain";
        return Err(Failure::new(Code::Usage, message));
    }
    let Some(uri) = &args.via else {
        tell_routes(&mut report);
        let message = "without a server nothing else can be told: name one that `rtmfp serve` runs, with --via \
                       rtmfp://HOST:PORT/";
        return Err(Failure::new(Code::Usage, message));
    };
    let identity = Identity::new(&args.common, Part::Guest)?;
    let to = destination(&args.common, &args.connect, uri, &identity)?;
    let addresses = uri.resolve(identity.kind().default_port()).map_err(|e| {
        Failure::local(format_args!("no address of {} could be found", uri.host), format_args!("{e}; check the name"))
    })?;
    // Beside the rest: silence takes four seconds.
    let gateway = GatewayTest::begin()?;
    let mut examination = Examination { args, identity, to, trace: Some(trace), failure: None };
    let first = |is_ipv6| addresses.iter().copied().find(|address| address.is_ipv6() == is_ipv6);
    let mut found = Found::default();
    found.v4 = first(false).map(|remote| examination.examine(remote, &mut report)).transpose()?.flatten();
    found.v6 = first(true).map(|remote| examination.examine(remote, &mut report)).transpose()?.flatten();
    found.port_mapping = gateway.end();
    tell(&found, &mut report);
    if let Some(file) = &args.save {
        write_whole(file, &format!("{}\n", diagnosis::to_line(&found).end()))?;
    }
    for (file, other) in args.with.iter().zip(&others) {
        tell_of_two(("this end", &found), (&file.display().to_string(), other), &mut report);
    }
    if let Some(whom) = &args.explain {
        let via = Via {
            via: Some(uri.clone()),
            via_fingerprint: args.connect.fingerprint.clone(),
            paths: args.paths.clone(),
            map_port: false,
        };
        return explain::run(&via, uri, whom, &args.common, &examination.identity, &mut report);
    }
    match examination.failure {
        Some(failure) if found.families().next().is_none() => Err(failure),
        _ => Ok(()),
    }
}

/// What it takes to look at the network over one family of addresses after the other.
struct Examination<'a> {
    args: &'a Doctor,
    identity: Identity,
    to: Destination,
    /// Only the first driver has one.
    trace: Option<&'a mut TraceFile>,
    /// The last reason why there is no session with the server.
    failure: Option<Failure>,
}

impl Examination<'_> {
    fn config(&self) -> EndpointConfig {
        let mut config = net::config(&self.identity, self.args.common.timeout, false);
        (config.max_unmatched_hellos, config.max_unmatched_hellos_per_source) = (HELLOS, HELLOS);
        config
    }

    /// What is found out with the server at this address; `None` if it does not answer.
    fn examine(&mut self, remote: SocketAddr, report: &mut Report) -> Result<Option<Findings>, Failure> {
        let mut driver = match net::fresh(remote, 2, &self.identity, self.config(), self.trace.take()) {
            Ok(driver) => driver,
            // Not every machine has both families, and what is known of the other is told.
            Err(failure) => {
                self.failure = Some(failure);
                return Ok(None);
            }
        };
        let now = driver.pump().clock().now();
        let target = Target::new(self.to.discriminator.clone(), Way::new(InterfaceId(0), remote));
        let session = driver.pump_mut().endpoint_mut().open(now, target).map_err(|e| Failure::local(remote, e))?;
        let local = driver.pump().sockets().next().map(|(_, socket)| socket.local_addr().port());
        let local = address_towards(remote).zip(local).map(|(ip, port)| SocketAddr::new(ip, port));
        let mut app = App::new(session, Some(InterfaceId(1)), local);
        let mut progress = super::send::Opening::new(session);
        let result = net::run(&mut driver, &mut app, |driver| {
            progress.look(driver);
        });
        conclude(&driver, &self.args.common, report);
        result?;
        match app.incomplete() {
            Some(Incomplete::NotOpened(reason)) => {
                let pinned = self.to.pinned.is_some();
                self.failure = Some(Failure::not_opened(reason, progress.reached, &remote.to_string(), pinned));
                return Ok(None);
            }
            Some(other) => {
                output::complain("rtmfp", format_args!("with {remote}, not all could be found out: {other}"))
            }
            None => {}
        }
        let mut findings = *app.findings();
        if self.args.lifetime && findings.seen.is_some() {
            findings.kept = self.kept_for(remote, report)?;
        }
        Ok(Some(findings))
    }

    /// For how long a mapping is kept: all pauses at the same time.
    fn kept_for(&self, remote: SocketAddr, report: &mut Report) -> Result<Option<KeptFor>, Failure> {
        let longest = PAUSES.into_iter().max().unwrap_or_default();
        report.either(
            || Line::new("waiting").number("seconds", longest),
            || format!("finding out for how long a mapping is kept takes {longest} seconds"),
        );
        let mut driver = net::fresh(remote, PAUSES.len(), &self.identity, self.config(), None)?;
        let pauses = (0..).zip(PAUSES).map(|(number, seconds)| (InterfaceId(number), Duration::from_secs(seconds)));
        let mut app = Lifetime::new(self.to.discriminator.clone(), remote, pauses);
        net::run(&mut driver, &mut app, |_: &Driver| {})?;
        if let Some(incomplete) = app.incomplete() {
            output::complain("rtmfp", format_args!("for how long a mapping is kept was not found out: {incomplete}"));
        }
        Ok(app.kept_for())
    }
}

/// The local address from which the system sends to this one. Nothing is sent.
fn address_towards(remote: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = if remote.is_ipv6() { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(remote).ok()?;
    socket.local_addr().ok().map(|local| local.ip())
}

/// What this machine knows by itself: from where it would send to the rest of the world. The addresses are those for
/// documentation (RFC 5737, RFC 3849), to which nothing is sent.
fn tell_routes(report: &mut Report) {
    let v4 = SocketAddr::from(([192, 0, 2, 1], 9));
    let v6 = SocketAddr::from((Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 9));
    for (family, remote) in [("IPv4", v4), ("IPv6", v6)] {
        let local = address_towards(remote).filter(|ip| !ip.is_loopback());
        let shown = local.map_or_else(|| "no route to others".to_owned(), |ip| format!("sends from {ip}"));
        report.either(
            || {
                let line = Line::new("route").text("family", family);
                match local {
                    Some(ip) => line.text("address", &ip.to_string()),
                    None => line,
                }
            },
            || format!("{family}: {shown}"),
        );
    }
}

fn tell(found: &Found, report: &mut Report) {
    report.either(
        || diagnosis::to_line(found),
        || {
            let rows = diagnosis::table(found);
            let widest = rows.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
            let lines = rows.into_iter().map(|(name, value)| format!("\n{name:widest$}  {value}"));
            diagnosis::summary(found) + &lines.collect::<String>()
        },
    );
}

/// Says whether two ends meet. The verdict calls them the first and the second.
fn tell_of_two((first, one): (&str, &Found), (second, two): (&str, &Found), report: &mut Report) {
    let verdict = will_meet(one, two);
    report.either(
        || {
            Line::new("meeting")
                .text("how", diagnosis::how_name(verdict.how))
                .text("reason", &verdict.reason.to_string())
                .text("first", first)
                .text("second", second)
        },
        || format!("{}\n(the first: {first}; the second: {second})", diagnosis::verdict(&verdict)),
    );
}

/// The report in a file.
fn read(file: &Path) -> Result<Found, Failure> {
    let unreadable = |e: std::io::Error| Failure::local(format_args!("{} could not be read", file.display()), e);
    let mut text = String::new();
    let limit = diagnosis::LONGEST as u64;
    File::open(file).and_then(|file| file.take(limit).read_to_string(&mut text)).map_err(unreadable)?;
    diagnosis::from_text(&text).ok_or_else(|| {
        let message = format!("{} is no report: make one with `rtmfp doctor --via URI --save FILE`", file.display());
        Failure::new(Code::Usage, message)
    })
}
