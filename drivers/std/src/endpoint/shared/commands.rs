//! Commands on their way to the endpoint.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use rtmfp_meet::Failure;

use super::{Command, CoreCommand, MeetingCommand, RecvCommand, SendCommand, SendShared, SessionCommand, Within, lock};
use crate::endpoint::Error;

/// So many commands wait without a look at whether they have become void.
const LEAST: usize = 1_024;
/// Introducers that core keeps of each session: those named before are void.
const INTRODUCERS: usize = 4;

/// Commands that wait for the endpoint. Void ones are taken out before they are more than the others: so the queue is
/// limited by what the program holds, though nobody may run the endpoint.
#[derive(Debug, Default)]
pub(crate) struct Commands {
    waiting: VecDeque<Command>,
    /// How many there were after the last look.
    left: usize,
}

impl Commands {
    /// Appends a command. Gives back those that are void, to be dropped when nothing is locked.
    pub(crate) fn push(&mut self, command: Command) -> Vec<Command> {
        self.waiting.push_back(command);
        if self.waiting.len() < LEAST.max(2 * self.left) {
            return Vec::new();
        }
        let void = self.take_void();
        self.left = self.waiting.len();
        void
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// All of them.
    pub(crate) fn take(&mut self) -> VecDeque<Command> {
        core::mem::take(self).waiting
    }

    fn take_void(&mut self) -> Vec<Command> {
        let objects = Objects::of(&self.waiting);
        let (mut void, mut later) = (Vec::new(), BTreeMap::new());
        // From the last on: a setting is void if another comes later.
        for command in core::mem::take(&mut self.waiting).into_iter().rev() {
            let repeated = command.setting().is_some_and(|(setting, most)| {
                let count = later.entry(setting).or_insert(0);
                *count += 1;
                *count > most
            });
            if repeated || objects.are_void(&command) || command.is_void() {
                void.push(command);
            } else {
                self.waiting.push_front(command);
            }
        }
        void
    }
}

/// Sessions, flows and registrations that begin and end in the queue.
#[derive(Default)]
struct Objects {
    /// Sessions that are released before they are opened, and in which nothing was opened; and registrations.
    void: BTreeSet<usize>,
    /// How many commands are of each flow to a far end.
    flows: BTreeMap<usize, usize>,
}

impl Objects {
    fn of(commands: &VecDeque<Command>) -> Self {
        let (mut begun, mut used, mut this) = (BTreeSet::new(), BTreeSet::new(), Self::default());
        for command in commands {
            match command {
                Command::Open(session, ..) => drop(begun.insert(address(session))),
                Command::Register(registration, ..) => drop(begun.insert(address(registration))),
                Command::OpenFlow(flow, within, _) => {
                    *this.flows.entry(address(flow)).or_default() += 1;
                    if let Within::Session(session) = within {
                        used.insert(address(session));
                    }
                }
                Command::SendFlow(flow, _) => *this.flows.entry(address(flow)).or_default() += 1,
                Command::Session(session, SessionCommand::Release) if lock(&session.0).owner.strong_count() == 0 => {
                    this.void.extend(begun.get(&address(session)));
                }
                Command::Unregister(registration) => this.void.extend(begun.get(&address(registration))),
                Command::Meeting(meeting, MeetingCommand::Join(..)) => drop(begun.insert(address(meeting))),
                Command::Meeting(meeting, MeetingCommand::Leave) => this.void.extend(begun.get(&address(meeting))),
                Command::Session(..)
                | Command::RecvFlow(..)
                | Command::Sleep(..)
                | Command::ForgetSleep(_)
                | Command::Stats(_)
                | Command::Introduce(..)
                | Command::Meeting(..)
                | Command::StopAccepting
                | Command::Shutdown(_)
                | Command::ReleaseAll => {}
            }
        }
        this.void.retain(|object| !used.contains(object));
        this
    }

    fn are_void(&self, command: &Command) -> bool {
        match command {
            Command::Open(session, ..) | Command::Session(session, _) => self.void.contains(&address(session)),
            Command::Register(registration, ..) | Command::Unregister(registration) => {
                self.void.contains(&address(registration))
            }
            Command::Meeting(meeting, _) => self.void.contains(&address(meeting)),
            Command::OpenFlow(flow, ..) | Command::SendFlow(flow, _) => self.is_unused(flow),
            Command::RecvFlow(..)
            | Command::Sleep(..)
            | Command::ForgetSleep(_)
            | Command::Stats(_)
            | Command::Introduce(..)
            | Command::StopAccepting
            | Command::Shutdown(_)
            | Command::ReleaseAll => false,
        }
    }

    /// Whether a flow is not open, nobody holds it, and nothing was sent on it: the far end would not hear of it.
    fn is_unused(&self, flow: &Arc<SendShared>) -> bool {
        let unheld = self.flows.get(&address(flow)) == Some(&Arc::strong_count(flow));
        let state = lock(&flow.0);
        unheld && state.handle.is_none() && state.messages.is_empty()
    }
}

/// What tells objects apart.
fn address<T>(object: &Arc<T>) -> usize {
    Arc::as_ptr(object).addr()
}

impl Command {
    /// What it sets, if a later command sets the same, and how many of those count.
    fn setting(&self) -> Option<((usize, u8), usize)> {
        let (object, kind) = match self {
            Self::SendFlow(flow, SendCommand::SetPriority(_)) => (address(flow), 0),
            Self::SendFlow(_, SendCommand::Abandon(receipt)) => (address(receipt), 0),
            Self::RecvFlow(flow, command) => {
                let kind = match command {
                    RecvCommand::Receive => 0,
                    RecvCommand::Suspend | RecvCommand::Resume => 1,
                    RecvCommand::Order(_) => 2,
                    RecvCommand::Window(_) => 3,
                    RecvCommand::Reject(_) | RecvCommand::Stats(_) => return None,
                };
                (address(flow), kind)
            }
            Self::Session(session, command) => {
                let kind = match command {
                    SessionCommand::Close(_) => 0,
                    SessionCommand::Drain(_) => 1,
                    SessionCommand::Release => 2,
                    SessionCommand::Core(CoreCommand::Ping) => 3,
                    SessionCommand::Core(CoreCommand::Prove) => 4,
                    SessionCommand::Core(CoreCommand::IntroduceAt(_)) => 5,
                    SessionCommand::Core(CoreCommand::MaxRate(_)) => 7,
                    SessionCommand::Core(CoreCommand::AddIntroducer(_)) => {
                        return Some(((address(session), 6), INTRODUCERS));
                    }
                    SessionCommand::Core(CoreCommand::Nonces(_) | CoreCommand::Stats(_)) => return None,
                };
                (address(session), kind)
            }
            Self::Meeting(meeting, command) => {
                let kind = match command {
                    MeetingCommand::Token(_) => 0,
                    MeetingCommand::Number(_) | MeetingCommand::ReleaseNumber => 1,
                    MeetingCommand::Mapped(_) => 2,
                    MeetingCommand::ForgetWithdrawn => 3,
                    MeetingCommand::Join(..)
                    | MeetingCommand::Leave
                    | MeetingCommand::Find(..)
                    | MeetingCommand::Connect(..) => return None,
                };
                (address(meeting), kind)
            }
            Self::Shutdown(_) => (0, 0),
            Self::Open(..)
            | Self::OpenFlow(..)
            | Self::SendFlow(..)
            | Self::Sleep(..)
            | Self::ForgetSleep(_)
            | Self::Stats(_)
            | Self::Introduce(..)
            | Self::Register(..)
            | Self::Unregister(_)
            | Self::StopAccepting
            | Self::ReleaseAll => return None,
        };
        Some(((object, kind), 1))
    }

    /// Nobody carries it out: whoever waits for a session is told.
    #[expect(clippy::wildcard_enum_match_arm, reason = "nobody waits for the others")]
    pub(super) fn void(self) {
        match self {
            Self::Open(session, ..) => session.end(Error::Closed),
            // As when the meeting is left before the session is open.
            Self::Meeting(_, command) => command.void(Error::NotMet(Failure::Left)),
            _ => {}
        }
    }

    /// Whether nobody waits for it any more.
    fn is_void(&self) -> bool {
        match self {
            Self::Stats(asked) => asked.is_void(),
            Self::Session(_, SessionCommand::Core(CoreCommand::Stats(asked))) => asked.is_void(),
            Self::Session(_, SessionCommand::Core(CoreCommand::Nonces(asked))) => asked.is_void(),
            Self::SendFlow(_, SendCommand::Stats(asked)) | Self::RecvFlow(_, RecvCommand::Stats(asked)) => {
                asked.is_void()
            }
            Self::SendFlow(_, SendCommand::WaitForRoom(receipt)) => !lock(&receipt.0).waits,
            Self::Meeting(_, MeetingCommand::Find(_, asked)) => asked.is_void(),
            Self::Meeting(_, MeetingCommand::Connect(session, ..)) => lock(&session.0).owner.strong_count() == 0,
            Self::Sleep(sleep, _) => lock(&sleep.0).given_up,
            // It has not begun, or is over.
            Self::ForgetSleep(sleep) => lock(&sleep.0).place.is_none(),
            Self::Open(..)
            | Self::Session(..)
            | Self::OpenFlow(..)
            | Self::SendFlow(..)
            | Self::RecvFlow(..)
            | Self::Introduce(..)
            | Self::Register(..)
            | Self::Unregister(_)
            | Self::Meeting(..)
            | Self::StopAccepting
            | Self::Shutdown(_)
            | Self::ReleaseAll => false,
        }
    }
}
