//! Packets on their way through devices, and nodes at work.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::arena::{Packet, PacketId, PacketKind, header_len};
use crate::attack::TapVerdict;
use crate::digest::digest;
use crate::ecn::Ecn;
use crate::engine::{Core, Event};
use crate::fault::DropCause;
use crate::id::{Direction, NodeId};
use crate::nat::nat64;
use crate::node::{NetChange, RxMeta, Tx};
use crate::time::Time;
use crate::trace::RecordKind;
use crate::world::device::{Host, Kind};
use crate::world::{RunError, World};

/// The initial hop limit of packets.
const HOPS: u8 = 64;

/// Datagrams that a node may send in a row at one time, before the run fails.
const BURST_LIMIT: u32 = 1 << 20;

/// The length of a "packet too big" signal: headers and the beginning of the packet that it is about (RFC 792).
const SIGNAL_LEN: u32 = 56;
/// An IPv6 header is longer than one of IPv4 by so much.
const NAT64_GROWTH: u32 = 20;

impl World {
    /// Starts what has not been started.
    pub(crate) fn start(&mut self) {
        if self.started {
            return;
        }
        self.started = true;
        self.announce_nats();
        for number in 0..u32::try_from(self.devices.len()).unwrap_or(u32::MAX) {
            let id = NodeId(number);
            let now = self.core.now;
            let Some(host) = self.host_mut(id) else { continue };
            if !host.started {
                host.started = true;
                let local = host.clock.local(now);
                host.node.on_start(local);
                self.poll_host(id);
            }
        }
        self.flush_signals();
    }

    /// A packet leaves a device by a port.
    pub(crate) fn leave(&mut self, id: NodeId, port: u16, packet: PacketId) {
        let lane = self.port_lane(id, port);
        match lane.and_then(|lane| self.lanes.get_mut(lane as usize)) {
            Some(lane) => lane.enter(&mut self.core, packet),
            None => self.core.lose(packet, DropCause::NoRoute, (id.0, false)),
        }
    }

    /// A packet comes to a device by a port.
    pub(crate) fn arrive(&mut self, id: NodeId, port: u16, packet: PacketId) {
        let Some(device) = self.devices.get_mut(id.0 as usize) else { return };
        let here = (id.0, false);
        let core = &mut self.core;
        let way = match &mut device.kind {
            Kind::Host(_) => return self.receive(id, port, packet),
            Kind::Router(router) => router.routes.lookup(core.arena.get(packet).dst.ip()).ok_or(DropCause::NoRoute),
            Kind::Nat(nat) => translate(nat, core, port, packet),
            Kind::Firewall(firewall) => {
                let seen = core.arena.get(packet);
                firewall.pass(core.now, port != 0, (seen.src, seen.dst), seen.kind).map(|()| 1 - port.min(1))
            }
            Kind::Tap(_) => return self.tap(id, port, packet),
        };
        let hops = &mut core.arena.get_mut(packet).hops;
        match way {
            Err(cause) => core.lose(packet, cause, here),
            Ok(_) if *hops == 0 => core.lose(packet, DropCause::HopLimit, here),
            Ok(out) => {
                *hops -= 1;
                core.record(RecordKind::Forwarded, here, Some(packet));
                self.leave(id, out, packet);
            }
        }
    }

    fn tap(&mut self, id: NodeId, port: u16, packet: PacketId) {
        let Some(Kind::Tap(tap)) = self.devices.get_mut(id.0 as usize).map(|device| &mut device.kind) else { return };
        let core = &mut self.core;
        let direction = if port == 0 { Direction::Forward } else { Direction::Backward };
        let out = 1 - port.min(1);
        let seen = *core.arena.get(packet);
        let bytes = core.arena.bytes_mut(packet);
        let old_len = bytes.len();
        let verdict = tap.logic.on_packet(core.now, direction, &seen, bytes);
        core.arena.changed(packet, old_len);
        match verdict {
            TapVerdict::Pass => {
                core.record(RecordKind::Forwarded, (id.0, false), Some(packet));
                self.leave(id, out, packet);
            }
            TapVerdict::Drop => core.lose(packet, DropCause::Tapped, (id.0, false)),
            TapVerdict::Delay(span) => {
                core.wheel.push(core.now + span, Event::Release { node: id.0, port: out, packet });
            }
        }
        self.tap_inject(id);
    }

    /// Lets a tap inject what it wants to, and sets its timer.
    fn tap_inject(&mut self, id: NodeId) {
        for _ in 0..BURST_LIMIT {
            let now = self.core.now;
            let Some(Kind::Tap(tap)) = self.devices.get_mut(id.0 as usize).map(|device| &mut device.kind) else {
                return;
            };
            let Some(injected) = tap.logic.poll_inject(now) else {
                let wanted = tap.logic.poll_timeout();
                if tap.armed != wanted {
                    tap.armed = wanted;
                    tap.generation = tap.generation.wrapping_add(1);
                    if let Some(at) = wanted {
                        let event = Event::Timer { node: id.0, generation: tap.generation };
                        self.core.wheel.push(at.max(now), event);
                    }
                }
                return;
            };
            self.core.arena.next_buffer().extend_from_slice(&injected.bytes);
            let buffer = self.core.arena.take_buffer();
            let wire_len = u32::try_from(injected.bytes.len()).unwrap_or(u32::MAX).saturating_add(28);
            let packet = Packet { ecn: injected.ecn, ..self.blank(injected.src, injected.dst, buffer, wire_len) };
            let packet = self.put(id, packet);
            self.leave(id, if injected.direction == Direction::Forward { 1 } else { 0 }, packet);
        }
    }

    #[inline]
    fn blank(&self, src: SocketAddr, dst: SocketAddr, buffer: u32, wire_len: u32) -> Packet {
        Packet {
            src,
            dst,
            kind: PacketKind::Datagram,
            ecn: Ecn::NotEct,
            dont_fragment: true,
            hops: HOPS,
            copy: 0,
            uid: self.core.counters.sent + self.core.counters.signals,
            ordinal: 0,
            sent: self.core.now,
            entered: self.core.now,
            wire_len,
            digest: 0,
            epoch: 0,
            buffer,
        }
    }

    /// Makes a packet real: counted, hashed and recorded as sent by a device.
    #[inline]
    fn put(&mut self, id: NodeId, mut packet: Packet) -> PacketId {
        let core = &mut self.core;
        let bytes = core.arena.buffer_mut(packet.buffer);
        packet.digest = digest(bytes);
        core.counters.sent += 1;
        core.counters.sent_bytes += bytes.len() as u64;
        let packet = core.arena.insert(packet);
        core.record(RecordKind::Sent, (id.0, false), Some(packet));
        packet
    }

    /// Sends the signals that links have asked for.
    pub(crate) fn flush_signals(&mut self) {
        while let Some(((id, port), about, mtu)) = self.core.signals.pop() {
            if about.kind != PacketKind::Datagram {
                continue; // RFC 1122 §3.2.2: no error about an error.
            }
            self.core.arena.next_buffer();
            let buffer = self.core.arena.take_buffer();
            let packet =
                Packet { kind: PacketKind::TooBig { mtu }, ..self.blank(about.dst, about.src, buffer, SIGNAL_LEN) };
            self.core.counters.signals += 1;
            let packet = self.core.arena.insert(packet);
            self.core.record(RecordKind::Sent, (id.0, false), Some(packet));
            // The device itself sends it back the way that the packet came; it never was on the link.
            match self.devices.get_mut(id.0 as usize).map(|device| &mut device.kind) {
                Some(Kind::Host(_)) => self.receive(id, port, packet),
                Some(Kind::Nat(nat)) if port == 0 => {
                    // The packet had been translated already.
                    match nat.inbound_signal(self.core.now, about.src) {
                        Ok(inside) => {
                            self.core.arena.get_mut(packet).dst = inside;
                            match nat.inside.lookup(inside.ip()) {
                                Some(out) => self.leave(id, out, packet),
                                None => self.core.lose(packet, DropCause::NoRoute, (id.0, false)),
                            }
                        }
                        Err(cause) => self.core.lose(packet, cause, (id.0, false)),
                    }
                }
                Some(_) => self.arrive(id, port, packet),
                None => {}
            }
        }
    }

    /// A packet has come to a host.
    fn receive(&mut self, id: NodeId, port: u16, packet: PacketId) {
        let core = &mut self.core;
        let Some(Kind::Host(host)) = self.devices.get_mut(id.0 as usize).map(|device| &mut device.kind) else { return };
        let to = core.arena.get(packet).dst.ip();
        // Mostly without a look at the interfaces, which would be a cache miss of its own.
        if host.sole != Some(to)
            && let Some(cause) = host.cold.refusal(port, to, core.now)
        {
            return core.lose(packet, cause, (id.0, false));
        }
        if host.clock.is_frozen() {
            let held: usize = host.cold.socket.iter().map(|&(packet, _)| core.arena.bytes(packet).len()).sum();
            if held + core.arena.bytes(packet).len() > host.cold.socket_limit {
                return core.lose(packet, DropCause::SocketBuffer, (id.0, false));
            }
            host.cold.socket.push_back((packet, port));
            return;
        }
        self.deliver(id, port, packet);
        self.poll_host(id);
    }

    /// Hands a packet to its node.
    pub(crate) fn deliver(&mut self, id: NodeId, port: u16, packet: PacketId) {
        let core = &mut self.core;
        let Some(Kind::Host(host)) = self.devices.get_mut(id.0 as usize).map(|device| &mut device.kind) else { return };
        core.record(RecordKind::Delivered, (id.0, false), Some(packet));
        core.counters.delivered += 1;
        let seen = *core.arena.get(packet);
        let local = host.clock.local(core.now);
        match seen.kind {
            PacketKind::TooBig { mtu } => {
                host.node.on_network_change(local, NetChange::TooBig { remote: seen.src, mtu });
            }
            PacketKind::Datagram => {
                let meta = RxMeta { interface: port, local: seen.dst, remote: seen.src, ecn: seen.ecn };
                let bytes = core.arena.bytes_mut(packet);
                core.counters.delivered_bytes += bytes.len() as u64;
                host.node.on_datagram(local, &meta, bytes);
            }
        }
        core.arena.remove(packet);
    }

    /// A timer event came.
    pub(crate) fn on_timer(&mut self, id: NodeId, generation: u32) {
        let limit = self.config.livelock_limit;
        let now = self.core.now;
        let Some(device) = self.devices.get_mut(id.0 as usize) else { return };
        match &mut device.kind {
            Kind::Tap(tap) if tap.generation == generation => {
                tap.armed = None;
                self.tap_inject(id);
            }
            Kind::Host(host) if host.generation == generation => {
                host.armed = Time::NEVER;
                let local = host.clock.local(now);
                // A deadline that has moved away since is only set again.
                if !host.clock.is_frozen() && host.node.poll_timeout().is_some_and(|deadline| deadline <= local) {
                    if host.busy_at == now {
                        host.busy += 1;
                    } else {
                        (host.busy_at, host.busy) = (now, 0);
                    }
                    if host.busy > limit {
                        let what = "wanting a timeout";
                        self.failure = Some(RunError::Livelock { node: device.wiring.name.clone(), at: now, what });
                        return;
                    }
                    host.node.on_timeout(local);
                    self.core.record(RecordKind::Timeout, (id.0, false), None);
                }
                self.poll_host(id);
            }
            Kind::Host(_) | Kind::Router(_) | Kind::Nat(_) | Kind::Firewall(_) | Kind::Tap(_) => {}
        }
    }

    /// Takes what a node wants to send, then sets its timer.
    pub(crate) fn poll_host(&mut self, id: NodeId) {
        let Some(device) = self.devices.get_mut(id.0 as usize) else { return };
        let Kind::Host(host) = &mut device.kind else { return };
        if host.clock.is_frozen() || !host.started {
            return;
        }
        let local = host.clock.local(self.core.now);
        for sent in 0.. {
            let Some(device) = self.devices.get_mut(id.0 as usize) else { return };
            let Kind::Host(host) = &mut device.kind else { return };
            // Looked at where it is: to copy as one what the node has just written in parts costs a stall.
            let tx = host.node.poll_transmit(local, self.core.arena.next_buffer());
            let Some(tx) = &tx else { break };
            if sent >= BURST_LIMIT {
                let (node, at) = (device.wiring.name.clone(), self.core.now);
                self.failure = Some(RunError::Livelock { node, at, what: "sending" });
                return;
            }
            let (out, from) = match route(host, tx) {
                Ok((port, from)) => (Ok(port), from),
                Err(cause) => (Err(cause), IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            };
            self.send(id, tx, out, from);
        }
        self.rearm(id);
    }

    #[inline]
    fn send(&mut self, id: NodeId, tx: &Tx, out: Result<u16, DropCause>, from: IpAddr) {
        let buffer = self.core.arena.take_buffer();
        let len = u32::try_from(self.core.arena.buffer_mut(buffer).len()).unwrap_or(u32::MAX);
        let wire_len = len.saturating_add(header_len(&tx.dst)).saturating_add(tx.padding);
        let mut packet = Packet {
            ecn: tx.ecn,
            dont_fragment: tx.dont_fragment,
            ..self.blank(SocketAddr::new(from, tx.port), tx.dst, buffer, wire_len)
        };
        if let Some(forged) = tx.forged
            && self.host_mut(id).is_some_and(|host| host.cold.raw)
        {
            packet.src = forged.src;
            if let Some(mtu) = forged.too_big {
                packet.kind = PacketKind::TooBig { mtu };
            }
        }
        let packet = self.put(id, packet);
        match out {
            Ok(port) => self.leave(id, port, packet),
            Err(cause) => self.core.lose(packet, cause, (id.0, false)),
        }
    }

    /// Sets a host's timer to its node's deadline.
    pub(crate) fn rearm(&mut self, id: NodeId) {
        let now = self.core.now;
        let Some(host) = self.host_mut(id) else { return };
        let Some(wanted) = host.node.poll_timeout().and_then(|local| host.clock.world(local)) else { return };
        let at = wanted.max(now);
        // An event that comes too early does no harm: then the timer is set again. One that is late would.
        if host.armed <= at {
            return;
        }
        host.armed = at;
        host.generation = host.generation.wrapping_add(1);
        let event = Event::Timer { node: id.0, generation: host.generation };
        self.core.wheel.push(at, event);
    }
}

/// By which interface, and from which address, a datagram leaves its host.
fn route(host: &Host, tx: &Tx) -> Result<(u16, IpAddr), DropCause> {
    if let Some(address) = host.sole
        && address.is_ipv4() == tx.dst.is_ipv4()
        && tx.interface.is_none_or(|interface| interface == 0)
    {
        return Ok((0, address));
    }
    let fits = |port: u16| {
        let interface = host.cold.interfaces.get(usize::from(port))?;
        let address = interface.addresses.iter().find(|address| address.is_ipv4() == tx.dst.is_ipv4())?;
        interface.up.then_some((port, *address))
    };
    if let Some(port) = tx.interface {
        return fits(port).ok_or(DropCause::InterfaceDown);
    }
    if let Some(way) = host.cold.routes.lookup(tx.dst.ip()).and_then(fits) {
        return Ok(way);
    }
    (0..).take(host.cold.interfaces.len()).find_map(fits).ok_or(DropCause::InterfaceDown)
}

/// A NAT's work on a packet: by which port it goes on.
fn translate(nat: &mut crate::nat::Nat, core: &mut Core, port: u16, id: PacketId) -> Result<u16, DropCause> {
    let now = core.now;
    let packet = core.arena.get_mut(id);
    let is_signal = packet.kind != PacketKind::Datagram;
    if port == 0 {
        if !nat.is_own(packet.dst.ip()) {
            return Err(DropCause::NoRoute);
        }
        packet.dst =
            if is_signal { nat.inbound_signal(now, packet.dst)? } else { nat.inbound(now, packet.src, packet.dst)? };
        return go_in(nat, packet);
    }
    // Between two inside ports it only routes.
    if let Some(out) = nat.inside.lookup(packet.dst.ip()) {
        return Ok(out);
    }
    if nat.is_nat64() {
        packet.dst = nat64::extract(packet.dst).ok_or(DropCause::NoRoute)?;
        packet.wire_len -= NAT64_GROWTH;
    }
    let (src, dst) = (packet.src, packet.dst);
    if nat.is_own(dst.ip()) {
        if is_signal {
            packet.dst = nat.inbound_signal(now, dst)?;
        } else {
            (packet.src, packet.dst) = nat.hairpin(now, src, dst)?;
        }
        return go_in(nat, packet);
    }
    packet.src =
        if is_signal { nat.existing(now, src, dst).ok_or(DropCause::NoMapping)? } else { nat.outbound(now, src, dst)? };
    Ok(0)
}

/// To which inside port a packet goes whose destination is an inside one by now.
fn go_in(nat: &crate::nat::Nat, packet: &mut Packet) -> Result<u16, DropCause> {
    if nat.is_nat64() {
        packet.src = nat64::embed(packet.src);
        packet.wire_len += NAT64_GROWTH;
    }
    nat.inside.lookup(packet.dst.ip()).ok_or(DropCause::NoRoute)
}
