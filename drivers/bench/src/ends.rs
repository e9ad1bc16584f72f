//! The two ends of a measurement: endpoints, and starting the far one as a process of its own.

use core::net::{Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rtmfp_core::profile::CryptoProfile;
use rtmfp_core::profile::flash::{self, FlashProfile, Group, Protection};
use rtmfp_core::profile::modern::{self, ModernProfile};
use rtmfp_core::profile::plain::PlainProfile;
use rtmfp_core::{App, Bytes, Endpoint, EndpointConfig, InterfaceId, Path, SessionHandle, Target};
use rtmfp_std::{Clock, Driver, Pump, Socket, Waker, system_rng};

use super::args::BenchCommon;
use super::usage;
use rtmfp_cli::args::Profile;
use rtmfp_cli::failure::{Code, Failure};
use rtmfp_cli::output;

/// The far end's name in the plain profile.
const FAR: &[u8] = b"far";
const URI: &[u8] = b"rtmfp://bench/";

/// Settings for measurements: nothing but the work itself limits.
pub(super) fn config(common: &BenchCommon) -> EndpointConfig {
    let mut config = EndpointConfig::default();
    config.max_sessions = 1 << 20;
    config.max_opening = 1 << 20;
    // All come from one address.
    config.max_hello_replies_per_second = u32::MAX;
    config.max_hello_replies_per_source = u32::MAX;
    config.max_excess_reply_bytes = u32::MAX;
    config.max_excess_reply_bytes_per_source = u32::MAX;
    config.max_keying_units_per_second = u32::MAX;
    config.max_keying_units_per_source = u32::MAX;
    config.max_waiting_key_agreements = common.key_agreements;
    config.session.max_datagram = common.datagram.into();
    config.session.congestion = common.cc.clone();
    config.session.recv_buffer = 4 << 20;
    config.session.send_buffer = 1 << 20;
    config
}

/// An identity, and whether it can be reached by the name that everybody knows.
pub(super) fn profile(common: &BenchCommon, reached: bool) -> Result<Arc<dyn CryptoProfile>, Failure> {
    let mut rng = system_rng()?;
    if common.profile == Profile::Plain {
        let mut name = [0; 8];
        rng.fill_bytes(&mut name);
        return Ok(Arc::new(PlainProfile::new(if reached { FAR } else { &name })));
    }
    if common.profile == Profile::Modern {
        let builder = with_provider(ModernProfile::builder().accept_ancillary(reached));
        return Ok(Arc::new(builder.build(&mut *rng).map_err(|e| Failure::local("identity", e))?));
    }
    let group = Group::from_id(common.group).unwrap_or(Group::Modp2048);
    let mut builder = FlashProfile::builder().accept_ancillary(reached).groups(&[group]);
    if common.no_hmac {
        builder = builder.hmac(Protection::never());
    }
    let profile = builder.build(&mut *rng).map_err(|e| Failure::local("identity", e))?;
    Ok(Arc::new(profile))
}

#[cfg(feature = "accelerated")]
fn with_provider(builder: modern::Builder) -> modern::Builder {
    builder.provider(Arc::new(rtmfp_std::Accelerated))
}

#[cfg(not(feature = "accelerated"))]
const fn with_provider(builder: modern::Builder) -> modern::Builder {
    builder
}

/// An endpoint on a loopback port of its own, and whether it is the one that others open sessions to.
pub(super) fn pump(common: &BenchCommon, config: EndpointConfig, reached: bool) -> Result<Pump, Failure> {
    pump_on(common, config, reached, Socket::bind((Ipv4Addr::LOCALHOST, 0).into())?)
}

/// One of many endpoints, each on a loopback address of its own where the system has so many.
pub(super) fn driver_among(common: &BenchCommon, config: EndpointConfig, number: u32) -> Result<Driver, Failure> {
    let address = Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + (1 << 16) + number);
    let socket = Socket::bind((address, 0).into()).or_else(|_| Socket::bind((Ipv4Addr::LOCALHOST, 0).into()))?;
    Ok(Driver::new(pump_on(common, config, false, socket)?)?)
}

pub(super) fn pump_on(
    common: &BenchCommon,
    config: EndpointConfig,
    reached: bool,
    socket: Socket,
) -> Result<Pump, Failure> {
    let clock = Clock::new();
    let endpoint = Endpoint::new(config, profile(common, reached)?, system_rng()?, clock.now())
        .map_err(|e| Failure::local("settings", e))?;
    let mut pump = Pump::new(endpoint, clock, vec![socket]);
    pump.set_segmentation(!common.no_segmentation);
    Ok(pump)
}

/// The same with a driver.
pub(super) fn driver(common: &BenchCommon, config: EndpointConfig, reached: bool) -> Result<Driver, Failure> {
    Ok(Driver::new(pump(common, config, reached)?)?)
}

/// Where to find the far end, and by which name.
pub(super) fn target(common: &BenchCommon, remote: SocketAddr) -> Target {
    let discriminator: Bytes = match common.profile {
        Profile::Plain => Bytes::from_static(FAR),
        Profile::Flash => flash::Discriminator::new().ancillary_data(URI).to_bytes().into(),
        Profile::Modern => modern::Discriminator::new().ancillary_data(URI).to_bytes().into(),
    };
    Target::new(discriminator, Path::new(InterfaceId(0), remote))
}

/// Begins a session with the far end.
pub(super) fn open(pump: &mut Pump, common: &BenchCommon, remote: SocketAddr) -> Result<SessionHandle, Failure> {
    let now = pump.clock().now();
    pump.endpoint_mut().open(now, target(common, remote)).map_err(|e| Failure::local("session", e))
}

/// Runs until the application is done, or too long.
pub(super) fn run(driver: &mut Driver, app: &mut dyn App, limit: Duration) -> Result<(), Failure> {
    let clock = *driver.pump().clock();
    let end = clock.now() + limit;
    while !driver.step(app, Some(Duration::from_secs(1)))? {
        if clock.now() > end {
            return Err(Failure::new(Code::Lost, "the far end of the measurement does not answer: run it again"));
        }
    }
    Ok(())
}

/// Figures that one end tells the other, by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures(BTreeMap<String, u64>);

impl Figures {
    pub(super) fn set(&mut self, name: &str, value: u64) {
        self.0.insert(name.to_owned(), value);
    }

    pub(super) fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// Counters of a pump.
    pub(super) fn count(&mut self, pump: &Pump) {
        let (pumped, stats) = (pump.stats(), pump.endpoint().stats());
        self.set("sends", pumped.sends);
        self.set("receives", pumped.receives);
        self.set("packets_sent", stats.datagrams_sent);
        self.set("packets_received", stats.datagrams_received);
        self.set("memory", usage::memory("VmHWM"));
    }

    fn line(&self) -> String {
        self.0.iter().fold("figures".to_owned(), |line, (name, value)| format!("{line} {name}={value}"))
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        words.next().filter(|word| *word == "figures")?;
        let figures = words.map(|word| {
            let (name, value) = word.split_once('=')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        figures.collect::<Option<_>>().map(Self)
    }
}

/// The far end, as seen by the process that started it.
pub(super) struct Far {
    child: Child,
    lines: BufReader<ChildStdout>,
    /// Where it listens.
    pub(super) address: SocketAddr,
}

impl Far {
    /// Starts this program again with the same arguments and some more, as the far end.
    pub(super) fn start(more: &[&str]) -> Result<Self, Failure> {
        let program = std::env::current_exe()?;
        let mut child = Command::new(program)
            .args(std::env::args_os().skip(1))
            .arg("--far")
            .args(more)
            .envs(usage::for_the_far_end())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let Some(lines) = child.stdout.take() else { return Err(Failure::new(Code::Local, "no far end")) };
        let mut far = Self { child, lines: BufReader::new(lines), address: (Ipv4Addr::LOCALHOST, 0).into() };
        let address = far.line()?;
        far.address = address.trim().parse().map_err(|e| Failure::local("far end", e))?;
        Ok(far)
    }

    fn line(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        self.lines.read_line(&mut line)?;
        Ok(line)
    }

    /// The figures that it tells of next.
    pub(super) fn figures(&mut self) -> Result<Figures, Failure> {
        let line = self.line()?;
        Figures::parse(&line).ok_or_else(|| Failure::new(Code::Local, "the far end of the measurement failed"))
    }

    /// Asks for figures on the way.
    pub(super) fn ask(&mut self) -> Result<Figures, Failure> {
        if let Some(input) = &mut self.child.stdin {
            input.write_all(b"?")?;
        }
        self.figures()
    }

    /// Ends it, and returns its last figures.
    pub(super) fn end(mut self) -> Result<Figures, Failure> {
        drop(self.child.stdin.take());
        self.figures()
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// What the far end hears from the process that started it: questions for figures, and that it is to end.
#[derive(Clone, Debug, Default)]
pub(super) struct Orders {
    asked: Arc<AtomicBool>,
    ended: Arc<AtomicBool>,
}

impl Orders {
    /// Listens on standard input; `wake` is called when something came.
    pub(super) fn listen(waker: Option<Waker>) -> Self {
        let orders = Self::default();
        let heard = orders.clone();
        std::thread::spawn(move || {
            let mut input = std::io::stdin();
            let mut byte = [0];
            while input.read(&mut byte).is_ok_and(|read| read > 0) {
                heard.asked.store(true, Ordering::SeqCst);
                waker.iter().for_each(Waker::wake);
            }
            heard.ended.store(true, Ordering::SeqCst);
            waker.iter().for_each(Waker::wake);
        });
        orders
    }

    /// Whether figures were asked for since the last call.
    pub(super) fn asked(&self) -> bool {
        self.asked.swap(false, Ordering::SeqCst)
    }

    /// Whether this process is to end.
    pub(super) fn ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }
}

/// Is the far end: runs the application until told to end, and tells figures when asked and at the end.
pub(super) fn serve<A: App>(
    mut driver: Driver,
    app: &mut A,
    figures: impl Fn(&Driver, &A) -> Figures,
) -> Result<(), Failure> {
    let address = driver.local_addr(InterfaceId(0)).unwrap_or_else(|| (Ipv4Addr::LOCALHOST, 0).into());
    let orders = Orders::listen(Some(driver.waker()));
    output::line(&address.to_string());
    while !orders.ended() {
        driver.step(app, None)?;
        if orders.asked() {
            tell_figures(&figures(&driver, app));
        }
    }
    tell_figures(&figures(&driver, app));
    Ok(())
}

/// Tells the process that started this one.
pub(super) fn tell_figures(figures: &Figures) {
    output::line(&figures.line());
}
