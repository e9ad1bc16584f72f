//! What an end may not send of its flows: what has expired, and anything of a flow that is complete.

use std::collections::BTreeMap;

use datagram_sim::Time;
use rtmfp_core::wire::option::USER_METADATA;
use rtmfp_core::wire::{FragmentControl, NextUserData, Options, RawOption, UserData};

/// A fragment, of either kind of chunk.
#[derive(Clone, Copy, Debug)]
pub(super) struct SentFragment<'a> {
    pub(super) flow: u64,
    pub(super) sequence: u64,
    pub(super) control: FragmentControl,
    pub(super) abandon: bool,
    pub(super) last: bool,
    pub(super) options: Option<&'a [u8]>,
    pub(super) data: &'a [u8],
}

impl<'a> SentFragment<'a> {
    pub(super) const fn of(data: &UserData<'a>) -> Self {
        Self {
            flow: data.flow_id,
            sequence: data.sequence_number,
            control: data.control,
            abandon: data.abandon,
            last: data.last,
            options: data.options,
            data: data.data,
        }
    }

    /// The fragment of a chunk that goes on after this one (RFC 7016 §2.3.12).
    pub(super) const fn next(&self, data: &NextUserData<'a>) -> Self {
        Self {
            flow: self.flow,
            sequence: self.sequence + 1,
            control: data.control,
            abandon: data.abandon,
            last: data.last,
            options: data.options,
            data: data.data,
        }
    }

    const fn begins(&self) -> bool {
        matches!(self.control, FragmentControl::Begin | FragmentControl::Whole)
    }
}

/// The flows of one end.
#[derive(Debug, Default)]
pub(super) struct SentFlows(BTreeMap<u64, SentFlow>);

#[derive(Debug, Default)]
struct SentFlow {
    /// The work that its metadata names.
    work: Option<u32>,
    /// When the message of each fragment expires, where it does.
    expiries: BTreeMap<u64, Time>,
    last: Option<u64>,
    complete: bool,
}

impl SentFlows {
    /// Judges a fragment that is sent at `now`; `expiry` tells when a message of a work expires.
    pub(super) fn sends(
        &mut self,
        fragment: &SentFragment<'_>,
        now: Time,
        expiry: impl Fn(u32, u64) -> Option<Time>,
    ) -> Option<String> {
        let flow = self.0.entry(fragment.flow).or_default();
        let sequence = fragment.sequence;
        if flow.complete {
            let what = format!("sends {sequence} of flow {}, which is complete", fragment.flow);
            return Some(format!("I10 (RFC 7016 §3.6.2): {what}"));
        }
        flow.work = flow.work.or_else(|| named_work(fragment.options));
        if fragment.last {
            flow.last = Some(sequence);
        }
        if fragment.abandon {
            return None;
        }
        if !flow.expiries.contains_key(&sequence) {
            let expires = match (fragment.begins(), fragment.data.first_chunk::<8>(), flow.work) {
                (true, Some(index), Some(work)) => expiry(work, u64::from_be_bytes(*index)),
                (true, ..) => None,
                (false, ..) => flow.expiries.get(&sequence.wrapping_sub(1)).copied(),
            };
            flow.expiries.extend(expires.map(|at| (sequence, at)));
        }
        let expired = flow.expiries.get(&sequence).filter(|&&at| now > at)?;
        let what = format!("sends {sequence} of flow {} at {now}, which expired at {expired}", fragment.flow);
        Some(format!("I2 (RFC 7016 §3.6.2.7): {what} by its clock"))
    }

    /// The far end has everything up to `cumulative`.
    pub(super) fn acknowledged(&mut self, flow: u64, cumulative: u64) {
        if let Some(flow) = self.0.get_mut(&flow) {
            flow.expiries.retain(|&sequence, _| sequence >= cumulative);
            flow.complete |= flow.last.is_some_and(|last| cumulative >= last);
        }
    }
}

/// Flows of works are named by the number of the work.
fn named_work(options: Option<&[u8]>) -> Option<u32> {
    Options::new(options?).find_map(|option| match option {
        Ok(RawOption::Option { kind: USER_METADATA, value }) => {
            value.first_chunk().map(|work| u32::from_be_bytes(*work))
        }
        Ok(RawOption::Option { .. } | RawOption::Marker) | Err(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use datagram_sim::Duration;

    const METADATA: [u8; 10] = [9, USER_METADATA as u8, 0, 0, 0, 7, 0, 0, 0, 0];

    fn fragment(sequence: u64, control: FragmentControl, data: &[u8]) -> SentFragment<'_> {
        SentFragment { flow: 3, sequence, control, abandon: false, last: false, options: Some(&METADATA), data }
    }

    fn at(millis: u64) -> Time {
        Time::ZERO + Duration::millis(millis)
    }

    #[test]
    fn what_expired_may_not_be_sent_again() {
        let mut flows = SentFlows::default();
        let index = 5_u64.to_be_bytes();
        let expiry = |work, index| ((work, index) == (7, 5)).then(|| at(100));
        let begin = fragment(1, FragmentControl::Begin, &index);
        let end = fragment(2, FragmentControl::End, &[]);
        assert_eq!(flows.sends(&begin, at(50), expiry), None);
        assert_eq!(flows.sends(&end, at(100), expiry), None);
        for fragment in [begin, end] {
            let said = flows.sends(&fragment, at(101), expiry);
            assert!(said.is_some_and(|said| said.starts_with("I2 ")));
            // Its place may be named as abandoned for ever.
            assert_eq!(flows.sends(&SentFragment { abandon: true, ..fragment }, at(101), expiry), None);
        }
        let other = 6_u64.to_be_bytes();
        assert_eq!(flows.sends(&fragment(3, FragmentControl::Whole, &other), at(900), expiry), None);
    }

    #[test]
    fn a_complete_flow_is_over() {
        let mut flows = SentFlows::default();
        let mut last = fragment(1, FragmentControl::Whole, &[]);
        last.last = true;
        for _ in 0..2 {
            assert_eq!(flows.sends(&last, at(1), |_, _| None), None);
        }
        flows.acknowledged(3, 1);
        assert!(flows.sends(&last, at(2), |_, _| None).is_some_and(|said| said.starts_with("I10 ")));
    }
}
