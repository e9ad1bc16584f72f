//! What goes out: acknowledgements, Buffer Probes, user data.

use core::time::Duration;

use super::Delivery;
use crate::invariant::cannot_happen;
use crate::session::context::Context;
use crate::session::transport::Transport;
use crate::time::Instant;
use crate::wire::{BufferProbe, EcnReport, PacketWriter};

impl Delivery {
    /// Acknowledgements, as far as they are allowed.
    pub(in crate::session) fn write_acks(&mut self, packet: &mut PacketWriter<'_>, transport: &mut Transport) {
        if !self.flows.acks_due() {
            self.acks.all_sent();
            self.delayed_ack.clear();
            return;
        }
        let overhead = transport.overhead(self.window());
        if self.acks.update_allowed(overhead) {
            let before = packet.len();
            let limit = packet.limit_to(self.acks.allowance.bytes() - overhead);
            self.write_due_acks(packet, transport);
            packet.set_limit(limit);
            if packet.len() > before {
                self.acks.allowance.spend(packet.len() - before + overhead);
                self.acks.update_allowed(overhead);
            }
        }
    }

    /// RFC 7016 §3.6.3.4.5 and §3.6.3.4.6: with ACK_NOW the first is cut to fit; others come along if they fit whole.
    fn write_due_acks(&mut self, packet: &mut PacketWriter<'_>, transport: &mut Transport) {
        let mut truncate = self.acks.is_now();
        let mut report = transport.ecn.report();
        while let Some(slot) = self.flows.first_ack() {
            let mark = packet.mark();
            // Immediately before the first acknowledgement.
            let reported = report.is_none_or(|ce_count| packet.push(&EcnReport { ce_count }));
            let Some(flow) = self.flows.recv.get_mut(slot) else {
                return cannot_happen!((), "a flow that is over is in no queue");
            };
            if !reported || !flow.write_ack(packet, truncate, !self.peer_sends_bitmaps) {
                packet.rollback(mark);
                return;
            }
            if report.take().is_some() {
                transport.ecn.report_sent();
            }
            truncate = false;
            self.flows.reindex_recv(slot);
        }
        self.acks.all_sent();
        self.delayed_ack.clear();
    }

    /// RFC 7016 §3.6.2.9.1.
    pub(in crate::session) fn write_probes(&mut self, now: Instant, packet: &mut PacketWriter<'_>, erto: Duration) {
        while let Some(slot) = self.flows.first_probe() {
            let Some(flow) = self.flows.send.get_mut(slot) else {
                return cannot_happen!((), "a flow with a Buffer Probe to send is in its slot");
            };
            if !packet.push(&BufferProbe { flow_id: flow.flow_id() }) {
                return;
            }
            flow.probe_sent(now, erto);
            self.flows.reindex_send(slot);
        }
    }

    /// Fragments of the ready flows, the most urgent first, cut for plain packets of `base` bytes. Whether there are
    /// any.
    pub(in crate::session) fn write_data(
        &mut self,
        cx: &mut Context<'_>,
        packet: &mut PacketWriter<'_>,
        base: usize,
        erto: Duration,
    ) -> bool {
        let (mut any, mut time_critical) = (false, false);
        while self.may_send_data()
            && let Some((slot, _)) = self.flows.scheduler.peek()
        {
            let Some(flow) = self.flows.send.get_mut(slot) else {
                return cannot_happen!(any, "a flow that is ready is in its slot");
            };
            let budget = self.recovery.budget();
            let assembled = flow.assemble(cx.now, packet, &mut self.recovery.in_flight, budget, base);
            any |= assembled.fragments > 0;
            time_critical |= assembled.time_critical;
            let still_ready = flow.is_ready();
            self.flows.reindex_send(slot);
            if still_ready {
                // The packet is full, or the budget spent.
                if assembled.fragments > 0 {
                    self.flows.scheduler.rotate(slot);
                }
                break;
            }
        }
        if any {
            if time_critical {
                packet.set_time_critical();
                cx.time_critical.sent(cx.now);
            }
            self.recovery.on_data_sent(cx.now, time_critical);
            // RFC 7016 §3.6.2.6.
            self.timeout.set(cx.now + erto);
        }
        any
    }
}
