//! `rtmfp serve`

mod beside;

use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, Ordering};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rtmfp_core::{EndpointConfig, InterfaceId};
use rtmfp_meet::probe::ProbePlace;
use rtmfp_meet::{Everybody, ServerEvent};
use rtmfp_server::{Config, Http, ProbeAddress, Server, Status, Tokens, Totals};
use rtmfp_std::Driver;

use super::{announce_at, conclude};
use crate::args::{Listen, Serve};
use crate::failure::{Code, Failure};
use crate::identity::{Identity, Part};
use crate::json::Line;
use crate::net::{self, Interrupt};
use crate::output;
use crate::report::Report;
use crate::trace::TraceFile;

use beside::{Beside, Started};

pub(super) fn run(args: &Serve, mut report: Report, trace: &mut TraceFile) -> Result<(), Failure> {
    let config = config(args)?;
    let mut listen = args.listen.clone();
    listen.listen.clone_from(&config.listen);
    listen.identity.clone_from(&config.identity);
    let (identity, flash) = identities(args, &listen, &config)?;
    let further: Vec<SocketAddr> = config.probe_listen.iter().map(|probe| probe.listen).collect();
    let driver =
        net::listen_with(&listen.listen, &further, &identity, settings(args, &config, &identity), Some(trace))?;
    let places = places(&driver, &config.probe_listen);
    let interrupt = Interrupt::watch(driver.waker())?;
    let tokens = config.tokens.as_deref().map(tokens).transpose()?;
    let mut server = new_server(driver, &config, places.clone(), tokens.clone())?;
    let flash = flash.map(|identity| Beside::new(args, &config, identity, tokens)).transpose()?;
    // Before anything is announced: who waits for that may look at once.
    let http = http(&config, [Some(server.status()), flash.as_ref().map(Beside::status)].into_iter().flatten())?;
    let mut addresses = net::local_addresses(server.driver());
    addresses.truncate(addresses.len().saturating_sub(places.len()));
    announce_at(&addresses, &identity, &listen, &mut report)?;
    flash.iter().for_each(|flash| flash.announce(&mut report));
    announce_more(&config, &places, http.as_ref(), &mut report);
    let ends = Arc::new(AtomicBool::new(false));
    let flash = flash.map(|flash| flash.start(&args.common, &ends)).transpose()?;
    let mut report = report.limited();
    let result = serve(&mut server, &interrupt, &ends, None, &mut report);
    conclude(server.driver(), &args.common, &mut report);
    let beside = flash.map_or(Ok(()), Started::end);
    result.and(beside)
}

/// Who the server is, and who it is in the Flash profile if it serves both.
fn identities(args: &Serve, listen: &Listen, config: &Config) -> Result<(Identity, Option<Identity>), Failure> {
    if config.listen_flash.is_empty() {
        let part = Part::Server { lasting: true, listen: Some(listen) };
        return Ok((Identity::new(&args.common, part)?, None));
    }
    let [modern, flash] = Identity::of_both(&args.common, listen)?;
    Ok((modern, Some(flash)))
}

/// The tokens of a file. If it changes, and cannot be used then, whoever runs the server is told.
fn tokens(file: &Path) -> Result<Tokens, Failure> {
    let name = file.display().to_string();
    let complain = move |error| {
        output::complain(
            "rtmfp",
            format_args!("{name} has changed and cannot be used, so all stays as it was: {error}"),
        );
    };
    Tokens::open(file, complain).map_err(|e| Failure::new(Code::Local, format!("{}: {e}", file.display())))
}

/// A server for everybody, or for those who show a token.
fn new_server(driver: Driver, config: &Config, places: Vec<ProbePlace>, tokens: Option<Tokens>) -> io::Result<Server> {
    match tokens {
        Some(tokens) => Server::new(driver, config.rendezvous(), places, tokens),
        None => Server::new(driver, config.rendezvous(), places, Everybody),
    }
}

/// Settings of the server's endpoint.
fn settings(args: &Serve, config: &Config, identity: &Identity) -> EndpointConfig {
    let mut endpoint = net::config(identity, args.common.timeout, true);
    config.apply(&mut endpoint);
    endpoint
}

/// Tells what the server offers beside introductions.
fn announce_more(config: &Config, places: &[ProbePlace], http: Option<&Http>, report: &mut Report) {
    for ProbePlace { address, .. } in places {
        report.either(
            || Line::new("probes").text("address", &address.to_string()),
            || format!("probes from {address}, for rtmfp doctor"),
        );
    }
    if let Some(http) = http {
        let address = http.local_addr();
        report.either(
            || Line::new("http").text("address", &address.to_string()),
            || format!("metrics and health at http://{address}/"),
        );
    }
    if config.tokens.is_some() {
        report.either(|| Line::new("tokens"), || "asks clients for a token".to_owned());
    }
    if config.relay.is_some() {
        report.either(|| Line::new("relays"), || "relays datagrams between clients".to_owned());
    }
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
    if !args.listen_flash.is_empty() {
        config.listen_flash.clone_from(&args.listen_flash);
    }
    if !args.probe_listen.is_empty() {
        config.probe_listen.clone_from(&args.probe_listen);
    }
    config.identity = args.listen.identity.clone().or(config.identity);
    config.tokens = args.tokens.clone().or(config.tokens);
    config.http = args.http.or(config.http);
    if args.relay {
        config.relay.get_or_insert_default();
    }
    config.max_sessions = args.max_sessions.unwrap_or(config.max_sessions);
    config.idle = args.idle.unwrap_or(config.idle);
    Ok(config)
}

fn http(config: &Config, servers: impl Iterator<Item = Arc<Status>>) -> Result<Option<Http>, Failure> {
    let Some(address) = config.http else { return Ok(None) };
    let http = Http::serve(address, servers);
    http.map(Some).map_err(|e| Failure::local(format_args!("cannot serve HTTP on {address}"), e))
}

/// Serves until the user interrupts, or the server beside this one ends. Then until all sessions have ended in order, or the
/// time for that is over. `profile`: the name of the profile, if lines are to have it.
fn serve(
    server: &mut Server,
    interrupt: &Interrupt,
    ends: &AtomicBool,
    profile: Option<&str>,
    report: &mut Report,
) -> Result<(), Failure> {
    let mut rounds = || -> io::Result<()> {
        while !server.is_drained() {
            server.step(|driver, event| report_event(driver, event, profile, report))?;
            if interrupt.is_set() || ends.load(Ordering::SeqCst) {
                server.drain(net::DRAIN)?;
            }
        }
        Ok(())
    };
    let result = rounds();
    ends.store(true, Ordering::SeqCst);
    sum(server, profile, report);
    Ok(result?)
}

/// A line, with the name of the profile if it is to have one.
fn line_of(event: &str, profile: Option<&str>) -> Line {
    profile.into_iter().fold(Line::new(event), |line, profile| line.text("profile", profile))
}

/// The same for people: before a line.
fn before(profile: Option<&str>) -> String {
    profile.map_or_else(String::new, |profile| format!("{profile}: "))
}

/// What there was in all.
fn sum(server: &Server, profile: Option<&str>, report: &mut Report) {
    let sessions = server.driver().pump().endpoint().stats().sessions_opened;
    let Totals { introduced, numbers_given, refused, circuits_opened, .. } = server.totals();
    report.either(
        || {
            let line = line_of("served", profile).number("sessions", sessions).number("introduced", introduced);
            line.number("numbers", numbers_given).number("circuits", circuits_opened).number("refused", refused)
        },
        || {
            format!(
                "{}{sessions} sessions, {introduced} introductions, {numbers_given} numbers, {circuits_opened} circuits, \
                 {refused} requests refused",
                before(profile)
            )
        },
    );
}

/// A line for what happened.
#[expect(clippy::wildcard_enum_match_arm, reason = "the others are not worth a line")]
fn report_event(driver: &Driver, event: ServerEvent, profile: Option<&str>, report: &mut Report) {
    let address = |session| {
        let path = driver.pump().endpoint().session(session).and_then(|session| session.path());
        path.map_or_else(|| "unknown".to_owned(), |path| path.remote.to_string())
    };
    let (name, peer, human) = match event {
        ServerEvent::Joined { session } => ("joined", address(session), "asks for help to meet"),
        ServerEvent::NumberGiven { session } => ("number", address(session), "has a number"),
        ServerEvent::Sought { session, found: true } => ("found", address(session), "has found somebody"),
        ServerEvent::Sought { session, found: false } => ("nobody", address(session), "has found nobody"),
        ServerEvent::TokenShown { session, accepted: false } => {
            ("token-rejected", address(session), "shows a token that is not accepted")
        }
        ServerEvent::Refused { session, .. } => ("refused", address(session), "is refused"),
        ServerEvent::CircuitOpened { ends: [asker, _], .. } => ("circuit", address(asker), "has a circuit to a peer"),
        ServerEvent::Hello { from, introduced: true } => ("introduced", from.to_string(), "is introduced"),
        ServerEvent::Hello { from, introduced: false } => {
            ("unknown", from.to_string(), "asks for somebody who is not here, or too often")
        }
        _ => return,
    };
    report
        .either_of_far(|| line_of(name, profile).text("peer", &peer), || format!("{}{peer} {human}", before(profile)));
}
