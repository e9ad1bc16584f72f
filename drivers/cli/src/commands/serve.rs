//! `rtmfp serve`

use core::net::SocketAddr;
use std::path::PathBuf;

use rtmfp_core::InterfaceId;
use rtmfp_meet::probe::ProbePlace;
use rtmfp_meet::{Everybody, ServerEvent};
use rtmfp_server::{Config, Http, ProbeAddress, Server, Totals};
use rtmfp_std::Driver;

use super::{announce_at, conclude};
use crate::args::Serve;
use crate::failure::{Code, Failure};
use crate::identity::{Identity, Part};
use crate::json::Line;
use crate::net::{self, Interrupt};
use crate::report::Report;
use crate::trace::TraceFile;

pub(super) fn run(args: &Serve, mut report: Report, trace: &mut TraceFile) -> Result<(), Failure> {
    let config = config(args)?;
    let mut listen = args.listen.clone();
    listen.listen.clone_from(&config.listen);
    listen.identity.clone_from(&config.identity);
    let identity = Identity::new(&args.common, Part::Server { lasting: true, listen: Some(&listen) })?;
    let mut endpoint = net::config(&identity, args.common.timeout, true);
    config.apply(&mut endpoint);
    let further: Vec<SocketAddr> = config.probe_listen.iter().map(|probe| probe.listen).collect();
    let driver = net::listen_with(&listen.listen, &further, &identity, endpoint, Some(trace))?;
    let places = places(&driver, &config.probe_listen);
    let interrupt = Interrupt::watch(driver.waker())?;
    let mut server = Server::new(driver, config.rendezvous(), places.clone(), Everybody)?;
    // Before anything is announced: who waits for that may look at once.
    let http = http(&config, &server)?;
    let mut addresses = net::local_addresses(server.driver());
    addresses.truncate(addresses.len().saturating_sub(places.len()));
    announce_at(&addresses, &identity, &listen, &mut report)?;
    for ProbePlace { address, .. } in &places {
        report.either(
            || Line::new("probes").text("address", &address.to_string()),
            || format!("probes from {address}, for rtmfp doctor"),
        );
    }
    if let Some(http) = &http {
        let address = http.local_addr();
        report.either(
            || Line::new("http").text("address", &address.to_string()),
            || format!("metrics and health at http://{address}/"),
        );
    }
    if config.relay.is_some() {
        report.either(|| Line::new("relays"), || "relays datagrams between clients".to_owned());
    }
    let mut report = report.limited();
    let result = serve(&mut server, &interrupt, &mut report);
    let sessions = server.driver().pump().endpoint().stats().sessions_opened;
    sum(&server.totals(), sessions, &mut report);
    conclude(server.driver(), &args.common, &mut report);
    result
}

/// The sockets for probes, which are the last of the driver's.
fn places(driver: &Driver, probes: &[ProbeAddress]) -> Vec<ProbePlace> {
    let sockets: Vec<_> = driver.pump().sockets().map(|(interface, socket)| (interface, socket.local_addr())).collect();
    let first = sockets.len().saturating_sub(probes.len());
    let place = |((interface, local), probe): (&(InterfaceId, SocketAddr), &ProbeAddress)| ProbePlace {
        interface: *interface,
        address: probe.public.unwrap_or(*local),
    };
    sockets.iter().skip(first).zip(probes).map(place).collect()
}

/// The settings of the file, if there is one, and of the command line before them.
fn config(args: &Serve) -> Result<Config, Failure> {
    let read = |file: &PathBuf| {
        Config::read(file).map_err(|error| Failure::new(Code::Usage, format!("{}: {error}", file.display())))
    };
    let mut config = args.config.as_ref().map(read).transpose()?.unwrap_or_default();
    if !args.listen.listen.is_empty() {
        config.listen.clone_from(&args.listen.listen);
    }
    if !args.probe_listen.is_empty() {
        config.probe_listen.clone_from(&args.probe_listen);
    }
    config.identity = args.listen.identity.clone().or(config.identity);
    config.http = args.http.or(config.http);
    if args.relay {
        config.relay.get_or_insert_default();
    }
    config.max_sessions = args.max_sessions.unwrap_or(config.max_sessions);
    config.idle = args.idle.unwrap_or(config.idle);
    Ok(config)
}

fn http(config: &Config, server: &Server) -> Result<Option<Http>, Failure> {
    let start = |address| {
        Http::serve(address, server.status())
            .map_err(|e| Failure::local(format_args!("cannot serve HTTP on {address}"), e))
    };
    config.http.map(start).transpose()
}

/// Serves until the user interrupts, and then until all sessions have ended in order, or the time for that is over.
fn serve(server: &mut Server, interrupt: &Interrupt, report: &mut Report) -> Result<(), Failure> {
    while !server.is_drained() {
        server.step(|driver, event| report_event(driver, event, report))?;
        if interrupt.is_set() {
            server.drain(net::DRAIN)?;
        }
    }
    Ok(())
}

/// What there was in all.
fn sum(totals: &Totals, sessions: u64, report: &mut Report) {
    let Totals { introduced, numbers_given, refused, circuits_opened, .. } = *totals;
    report.either(
        || {
            let line = Line::new("served").number("sessions", sessions).number("introduced", introduced);
            line.number("numbers", numbers_given).number("circuits", circuits_opened).number("refused", refused)
        },
        || {
            format!(
                "{sessions} sessions, {introduced} introductions, {numbers_given} numbers, {circuits_opened} circuits, \
                 {refused} requests refused"
            )
        },
    );
}

/// A line for what happened.
#[expect(clippy::wildcard_enum_match_arm, reason = "the others are not worth a line")]
fn report_event(driver: &Driver, event: ServerEvent, report: &mut Report) {
    let address = |session| {
        let path = driver.pump().endpoint().session(session).and_then(|session| session.path());
        path.map_or_else(|| "unknown".to_owned(), |path| path.remote.to_string())
    };
    let (name, peer, human) = match event {
        ServerEvent::Joined { session } => ("joined", address(session), "asks for help to meet"),
        ServerEvent::NumberGiven { session } => ("number", address(session), "has a number"),
        ServerEvent::Sought { session, found: true } => ("found", address(session), "has found somebody"),
        ServerEvent::Sought { session, found: false } => ("nobody", address(session), "has found nobody"),
        ServerEvent::Refused { session, .. } => ("refused", address(session), "is refused"),
        ServerEvent::CircuitOpened { ends: [asker, _], .. } => ("circuit", address(asker), "has a circuit to a peer"),
        ServerEvent::Hello { from, introduced: true } => ("introduced", from.to_string(), "is introduced"),
        ServerEvent::Hello { from, introduced: false } => {
            ("unknown", from.to_string(), "asks for somebody who is not here, or too often")
        }
        _ => return,
    };
    report.either_of_far(|| Line::new(name).text("peer", &peer), || format!("{peer} {human}"));
}
