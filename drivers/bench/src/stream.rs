//! A one-way stream of messages, as fast as it goes: the application at either end.

use core::time::Duration;

use rtmfp_core::{
    App, Bytes, CloseMode, Endpoint, Event, FlowOptions, Instant, Priority, SendFlowHandle, SessionHandle,
};

use super::usage::cpu_time;

/// What is sent.
#[derive(Clone, Debug)]
pub(super) struct Content {
    /// Twice a message, so that a message can begin anywhere in its first half.
    noise: Bytes,
    size: usize,
    /// Whether each message is another.
    distinct: bool,
}

impl Content {
    pub(super) fn new(size: usize, distinct: bool) -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let noise = core::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[0]
        });
        Self { noise: noise.take(size * 2).collect(), size, distinct }
    }

    /// The message of that number: a part of the noise that begins elsewhere each time, and its number in front.
    fn message(&self, number: u64) -> Bytes {
        let part = self.part(number);
        if !self.distinct {
            return part;
        }
        let mut message = part.to_vec();
        for (byte, value) in message.iter_mut().zip(number.to_le_bytes()) {
            *byte = value;
        }
        message.into()
    }

    fn part(&self, number: u64) -> Bytes {
        let turn = if self.distinct { number } else { 0 };
        let begin = usize::try_from(turn % self.size as u64).unwrap_or(0);
        self.noise.slice(begin..begin + self.size)
    }

    /// Whether a message is the one of that number.
    fn is(&self, number: u64, message: &[u8]) -> bool {
        let (part, number) = (self.part(number), number.to_le_bytes());
        let head = number.len().min(self.size);
        message.len() == self.size
            && message.get(..head) == number.get(..head)
            && message.get(head..) == part.get(head..)
    }
}

/// When a sender stops.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    pub(super) bytes: u64,
    pub(super) time: Option<Duration>,
}

/// One end of the stream.
#[derive(Debug)]
pub(super) struct Stream {
    content: Content,
    /// None: this end receives.
    sends: Option<Limit>,
    flow: Option<SendFlowHandle>,
    number: u64,
    began: Option<(Instant, Duration)>,
    /// Bytes written or read.
    pub(super) bytes: u64,
    /// Messages that were not what they should be.
    pub(super) wrong: u64,
    /// From the opening of the session to the last byte, on the clock and of the processor.
    pub(super) took: Option<(Duration, Duration)>,
    over: bool,
    /// Whether the session was lost, or never opened.
    pub(super) failed: bool,
}

impl Stream {
    pub(super) const fn new(content: Content, sends: Option<Limit>) -> Self {
        Self {
            content,
            sends,
            flow: None,
            number: 0,
            began: None,
            bytes: 0,
            wrong: 0,
            took: None,
            over: false,
            failed: false,
        }
    }

    fn opened(&mut self, now: Instant, endpoint: &mut Endpoint, session: SessionHandle) {
        self.began = Some((now, cpu_time()));
        if self.sends.is_some() {
            let options = FlowOptions::new("bench").priority(Priority::Bulk);
            self.flow = endpoint.session_mut(now, session).and_then(|mut session| session.open_flow(options).ok());
            self.fill(now, endpoint);
        }
    }

    /// Writes as much as there is room for.
    fn fill(&mut self, now: Instant, endpoint: &mut Endpoint) {
        let (Some(limit), Some(handle), Some((began, _))) = (self.sends, self.flow, self.began) else { return };
        let Some(mut flow) = endpoint.send_flow_mut(now, handle) else { return };
        let late = limit.time.is_some_and(|time| now.saturating_duration_since(began) >= time);
        while self.bytes < limit.bytes && !late {
            if flow.write(self.content.message(self.number)).is_err() {
                return;
            }
            self.number += 1;
            self.bytes += self.content.size as u64;
        }
        flow.close();
    }

    fn ended(&mut self, now: Instant) {
        if let Some((began, cpu)) = self.began {
            self.took = Some((now.saturating_duration_since(began), cpu_time().saturating_sub(cpu)));
        }
    }
}

impl App for Stream {
    #[expect(clippy::wildcard_enum_match_arm, reason = "an application acts on the events that it knows of")]
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, event: Event) {
        match event {
            Event::SessionOpened { session } => self.opened(now, endpoint, session),
            Event::FlowWritable { .. } => self.fill(now, endpoint),
            Event::FlowReadable { flow } => {
                let Some(mut flow) = endpoint.recv_flow_mut(now, flow) else { return };
                while let Some(message) = flow.read() {
                    self.bytes += message.data.len() as u64;
                    if self.content.distinct {
                        self.wrong += u64::from(!self.content.is(self.number, &message.data));
                    }
                    self.number += 1;
                }
            }
            Event::FlowFinished { .. } => self.ended(now),
            Event::FlowCompleted { flow, .. } => {
                self.ended(now);
                if let Some(mut session) = endpoint.session_mut(now, flow.session()) {
                    session.close(CloseMode::Orderly);
                }
            }
            Event::SessionClosed { .. } | Event::SessionFailed { .. } => {
                self.over = true;
                self.failed = self.took.is_none();
            }
            _ => {}
        }
    }

    fn is_done(&self) -> bool {
        self.over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_message_is_noticed() {
        for size in [1, 8, 9, 1_000] {
            let content = Content::new(size, true);
            for number in [0, 1, 2_000] {
                let message = content.message(number);
                assert!(content.is(number, &message));
                for at in [0, size / 2, size - 1] {
                    let mut wrong = message.to_vec();
                    wrong[at] ^= 1;
                    assert!(!content.is(number, &wrong));
                }
                assert!(size < 8 || !content.is(number + 1, &message));
            }
        }
    }
}
