//! What the receiver has answered.

use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;

use rtmfp_core::wire::Malformed;
use rtmfp_core::{Endpoint, Instant, RecvFlowHandle};

use super::super::message::{FromReceiver, Have, Judged, Record, Records, Refused};
use super::{
    Failure, Fault, MAX_LANES, METADATA, STOPPED, Sender, State, StopCode, TransferEvent, Verdict, VerdictCode,
};
use crate::manifest::Manifest;
use crate::tree::GROUP;

/// Which files the receiver has the beginning of, and which it refuses: both in the order of the manifest.
#[derive(Debug, Default)]
pub(super) struct Answer {
    have: VecDeque<Have>,
    /// The last that was listed.
    last: Option<u64>,
    refused: Vec<Refused>,
    /// Entries that were judged after everything had arrived.
    late: BTreeSet<usize>,
}

impl Answer {
    pub(super) fn is_refused(&self, index: usize) -> bool {
        let index = index as u64;
        let behind = self.refused.partition_point(|refused| refused.first <= index);
        let range = behind.checked_sub(1).and_then(|at| self.refused.get(at));
        range.is_some_and(|range| index - range.first < range.count)
    }

    fn has(&self, index: usize) -> bool {
        self.have.binary_search_by_key(&(index as u64), |have| have.index).is_ok()
    }

    /// What the receiver has of a file. Files are asked for in their order.
    pub(super) fn take_have(&mut self, index: usize) -> Option<Have> {
        let index = index as u64;
        while self.have.front()?.index < index {
            self.have.pop_front();
        }
        if self.have.front()?.index == index { self.have.pop_front() } else { None }
    }

    fn add_have(&mut self, manifest: &Manifest, have: Have) -> Result<(), Fault> {
        let index = usize::try_from(have.index).map_err(|_| Fault::NoSuchFile)?;
        let size = manifest.entries.get(index).and_then(|entry| entry.size()).ok_or(Fault::NoSuchFile)?;
        if self.last.is_some_and(|last| last >= have.index) {
            return Err(Fault::Twice);
        }
        let is_whole = have.bytes == size || have.bytes.is_multiple_of(GROUP as u64);
        if have.bytes == 0 || have.bytes > size || !is_whole {
            return Err(Fault::NoSuchPrefix);
        }
        self.last = Some(have.index);
        self.have.push_back(have);
        Ok(())
    }

    fn add_refused(&mut self, manifest: &Manifest, refused: Refused) -> Result<(), Fault> {
        let end = refused.first.checked_add(refused.count);
        if refused.count == 0 || end.is_none_or(|end| end > manifest.entries.len() as u64) {
            return Err(Fault::NoSuchFile);
        }
        if self.refused.last().is_some_and(|last| last.first + last.count > refused.first) {
            return Err(Fault::Twice);
        }
        if refused.code == VerdictCode::Verified {
            return Err(Fault::EarlyVerdict);
        }
        self.refused.push(refused);
        Ok(())
    }
}

impl From<Malformed> for Fault {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

/// Reads all records of a list.
fn each<T: Record>(mut records: Records<'_>, mut take: impl FnMut(T) -> Result<(), Fault>) -> Result<(), Fault> {
    while let Some(record) = records.read()? {
        take(record)?;
    }
    Ok(())
}

impl Sender {
    pub(super) fn take_return_flow(&mut self, now: Instant, endpoint: &mut Endpoint, flow: RecvFlowHandle) -> bool {
        let Some(seen) = endpoint.recv_flow(flow).filter(|_| flow.session() == self.session) else { return false };
        let Some(answered) = seen.association().filter(|answered| self.owns(*answered)) else { return false };
        let is_ours = self.control.as_ref().is_some_and(|control| control.flow() == answered);
        if is_ours && seen.metadata().as_ref() == METADATA && self.answers.is_none() && !self.is_done() {
            self.answers = Some(flow);
        } else {
            if let Some(mut flow) = endpoint.recv_flow_mut(now, flow) {
                flow.reject(STOPPED + StopCode::Fault as u64);
            }
            self.fault(now, endpoint, Fault::TooManyFlows);
        }
        true
    }

    pub(super) fn read_answers(&mut self, now: Instant, endpoint: &mut Endpoint) {
        let Some(flow) = self.answers else { return };
        while let Some(message) = endpoint.recv_flow_mut(now, flow).and_then(|mut flow| flow.read()) {
            if self.is_done() {
                continue;
            }
            // Nothing is ever abandoned by a receiver: a gap is a fault too.
            let parsed = if message.gap { Err(Malformed) } else { FromReceiver::parse(&message.data) };
            let taken = parsed.map_err(Fault::from).and_then(|message| self.take_answer(now, endpoint, message));
            if let Err(fault) = taken {
                self.fault(now, endpoint, fault);
            }
        }
        self.run(now, endpoint);
    }

    fn take_answer(&mut self, now: Instant, endpoint: &mut Endpoint, answer: FromReceiver<'_>) -> Result<(), Fault> {
        match (answer, &self.state) {
            (FromReceiver::Have(records), State::Offered) => {
                each(records, |have| self.answer.add_have(&self.manifest, have))?;
            }
            (FromReceiver::Refuse(records), State::Offered) => {
                each(records, |refused| self.answer.add_refused(&self.manifest, refused))?;
            }
            (FromReceiver::Accept, State::Offered) => self.accepted(now, endpoint),
            (FromReceiver::Verdicts(records), State::Sending | State::Finishing) => {
                each(records, |judged: Judged| self.verdict(judged))?;
            }
            (FromReceiver::Finished, State::Finishing) => {
                self.close(now, endpoint);
                self.end(Ok(self.summary));
            }
            (FromReceiver::Decline(text), State::Offered) => {
                self.close(now, endpoint);
                self.end(Err(Failure::Declined(text)));
            }
            (FromReceiver::Stop(code, text), _) => {
                self.close(now, endpoint);
                self.end(Err(Failure::Stopped(code, text)));
            }
            (
                FromReceiver::Have(_)
                | FromReceiver::Refuse(_)
                | FromReceiver::Accept
                | FromReceiver::Decline(_)
                | FromReceiver::Verdicts(_)
                | FromReceiver::Finished,
                _,
            ) => return Err(Fault::OutOfPlace),
        }
        Ok(())
    }

    /// Content is wanted.
    fn accepted(&mut self, now: Instant, endpoint: &mut Endpoint) {
        self.state = State::Sending;
        self.events.push(TransferEvent::Accepted);
        let refused: Vec<(usize, VerdictCode)> = self
            .answer
            .refused
            .iter()
            .flat_map(|range| (range.first..range.first + range.count).map(|index| (index, range.code)))
            .filter_map(|(index, code)| Some((usize::try_from(index).ok()?, code)))
            .collect();
        for (index, code) in refused {
            self.summary.refused += 1;
            self.judge(index, Verdict::of(code), None);
        }
        if let Some(index) = self.unasked {
            let is_lost = self.answer.is_refused(index) || self.answer.has(index);
            let lane = self.lanes.first_mut();
            if let Some(lane) = lane.filter(|_| is_lost) {
                (lane.current, lane.unanswered) = (None, 0);
                self.unanswered.remove(&index);
                self.next = index;
            } else if let Some(sending) = self.lanes.first_mut().and_then(|lane| lane.current.as_mut()) {
                sending.accepted();
            }
        }
        let files = self.manifest.entries.iter().filter(|entry| entry.has_content()).take(MAX_LANES).count();
        self.open_lanes(now, endpoint, self.options.lanes.clamp(1, MAX_LANES).min(files.max(1)));
        if self.lanes.is_empty() {
            self.fail(now, endpoint, Failure::NoFlow, StopCode::Cancelled);
        }
    }

    fn verdict(&mut self, judged: Judged) -> Result<(), Fault> {
        let Judged { index, verdict } = judged;
        let index = usize::try_from(index).map_err(|_| Fault::NoSuchFile)?;
        let entry = self.manifest.entries.get(index).ok_or(Fault::NoSuchFile)?;
        if self.state == State::Finishing {
            // What could be put into its place only when all was there, such as a link.
            let is_judged = entry.has_content() || self.answer.is_refused(index);
            if is_judged || verdict.is_verified() || !self.answer.late.insert(index) {
                return Err(Fault::Twice);
            }
            self.summary.failed += 1;
            self.judge(index, verdict, None);
            return Ok(());
        }
        let fault = if entry.has_content() { Fault::Twice } else { Fault::NoSuchFile };
        let unanswered = self.unanswered.remove(&index).ok_or(fault)?;
        if verdict.is_verified() && (!unanswered.sent || unanswered.hash.is_none()) {
            return Err(Fault::EarlyVerdict);
        }
        if let Some(lane) = self.lanes.get_mut(unanswered.lane) {
            lane.unanswered = lane.unanswered.saturating_sub(1);
            // The receiver does not want the rest.
            lane.current = lane.current.take().filter(|sending| sending.index() != index);
        }
        self.summary.count(verdict.is_verified());
        self.judge(index, verdict, unanswered.hash);
        Ok(())
    }
}
