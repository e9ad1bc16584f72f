//! Many nodes of one kind, written once.

use std::borrow::Cow;
use std::collections::BTreeMap;

use datagram_sim::Duration;
use serde::{Deserialize, Serialize};

use super::{Action, At, Dur, Expect, Link, Nat, NodeText, Scenario, Work};

/// Stands for the member itself where a node is named; `*+3` is the third after it, and after the last comes the first.
const SELF: &str = "*";

/// As many nodes as said, named after the crowd: `peer1`, `peer2` and so on, each with its own link of the same name,
/// and its work. In expectations, the crowd's name stands for each of them, and `peer+3` for the third after it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Crowd {
    /// How many.
    pub count: u32,
    /// What each is.
    #[serde(skip_serializing_if = "super::is_default")]
    pub node: NodeText,
    /// The link of each, in whose path `*` is the member.
    pub link: Link,
    /// What members are behind, in turn, as NATs of their own: each goes into the link's path, next to the member. One
    /// of the preset `none` is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nats: Vec<Nat>,
    /// What each does; `from` is the member if it is not said, and other nodes may be named as `*+1`. A `name` becomes
    /// `peer1.name` and so on; in expectations `peer.name` stands for each of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub work: Vec<Work>,
    /// The members begin their work one after the other, over this time.
    #[serde(skip_serializing_if = "super::is_default")]
    pub spread: Dur,
    /// One after the other is switched off and on, so often.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_every: Option<Dur>,
    /// When the first is. Default: at once.
    #[serde(skip_serializing_if = "super::is_default")]
    pub restart_from: Dur,
}

/// A crowd by its name.
struct Members<'a> {
    name: &'a str,
    count: u32,
}

impl Members<'_> {
    fn name(&self, index: u32) -> String {
        format!("{}{}", self.name, index % self.count.max(1) + 1)
    }

    /// Whom `written` names, where `me` is the crowd's word for the member of this index.
    fn resolve(&self, written: &str, me: &str, index: u32) -> Option<String> {
        let rest = written.strip_prefix(me)?;
        let ahead = if rest.is_empty() { 0 } else { rest.strip_prefix('+')?.parse().ok()? };
        Some(self.name(index.checked_add(ahead)?))
    }

    fn put(&self, names: &mut [String], index: u32) {
        for name in names {
            self.put_one(name, index);
        }
    }

    fn put_one(&self, name: &mut String, index: u32) {
        if let Some(member) = self.resolve(name, SELF, index) {
            *name = member;
        }
    }
}

impl Crowd {
    fn add_to(&self, scenario: &mut Scenario, name: &str) {
        let members = Members { name, count: self.count };
        for index in 0..self.count {
            let me = members.name(index);
            scenario.node.insert(me.clone(), self.node.clone());
            let mut link = self.link.clone();
            let turn = index as usize % self.nats.len().max(1);
            let nat = self.nats.get(turn).filter(|nat| nat.preset.as_deref() != Some("none"));
            if let (Some(nat), Some(at)) = (nat, link.path.iter().position(|end| end == SELF)) {
                let nat_name = format!("{me}-nat");
                link.path.insert(if at == 0 { 1 } else { at }, nat_name.clone());
                scenario.nat.insert(nat_name, nat.clone());
            }
            members.put(&mut link.path, index);
            scenario.link.insert(me.clone(), link);
            let delay = self.spread.0.0 / u64::from(self.count) * u64::from(index);
            for work in &self.work {
                let mut work = work.clone();
                if work.from.is_empty() {
                    SELF.clone_into(&mut work.from);
                }
                members.put_one(&mut work.from, index);
                members.put_one(&mut work.to, index);
                members.put(&mut work.via, index);
                members.put(&mut work.candidates, index);
                if !work.name.is_empty() {
                    work.name = format!("{me}.{}", work.name);
                }
                work.start = Dur(work.start.0 + Duration(delay));
                scenario.work.push(work);
            }
        }
        let Some(every) = self.restart_every else { return };
        for (time, index) in (0..self.restarts(scenario.duration.0)).zip((0..self.count).cycle()) {
            let t = Dur(self.restart_from.0 + Duration(every.0.0 * time));
            scenario.at.push(At { t, action: Action::Restart { node: members.name(index) } });
        }
    }

    /// How often a member is switched off and on in a run of this length.
    pub(super) fn restarts(&self, duration: Duration) -> u64 {
        match self.restart_every {
            Some(every) if every.0 > Duration::ZERO && self.count > 0 => {
                duration.saturating_sub(self.restart_from.0).0.div_ceil(every.0.0)
            }
            _ => 0,
        }
    }

    /// The expectation for each member, if it names this crowd.
    fn expected(&self, name: &str, expect: &Expect) -> Option<Vec<Expect>> {
        let members = Members { name, count: self.count };
        let part = |written: &str, index| members.resolve(written, name, index);
        let each = |index| -> Option<Expect> {
            let subject = match expect.subject.split_once("->") {
                Some((from, to)) => match (part(from, index), part(to, index)) {
                    (None, None) => None,
                    (a, b) => Some(format!(
                        "{}->{}",
                        a.unwrap_or_else(|| from.to_owned()),
                        b.unwrap_or_else(|| to.to_owned())
                    )),
                },
                None => match expect.subject.rsplit_once('.') {
                    Some((link, way)) => part(link, index).map(|link| format!("{link}.{way}")),
                    None => part(&expect.subject, index),
                },
            }?;
            let mut member = expect.clone();
            member.subject = subject;
            member.written_for_crowd = Some(expect.to_string());
            Some(member)
        };
        (0..self.count).map(each).collect()
    }
}

impl Scenario {
    /// The same with the members of its crowds.
    #[must_use]
    pub fn expanded(&self) -> Cow<'_, Self> {
        if self.crowd.is_empty() {
            return Cow::Borrowed(self);
        }
        let mut whole = Self { crowd: BTreeMap::new(), expect: Vec::new(), ..self.clone() };
        for (name, crowd) in &self.crowd {
            crowd.add_to(&mut whole, name);
        }
        for expect in &self.expect {
            let each = self.crowd.iter().find_map(|(name, crowd)| crowd.expected(name, expect));
            whole.expect.extend(each.unwrap_or_else(|| vec![expect.clone()]));
        }
        Cow::Owned(whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
name = "crowd"
duration = "10s"
expect = [
    "opens(peer->peer+1) == 1",
    "sessions(s) == 3",
    "dropped(peer.up) == 0",
    "sessions(peer) >= 1",
    "messages(peer.chat) == 3",
    "messages(peer+1.file) == 1",
]

[node.s]
[link.s]
path = ["s", "net"]

[crowd.peer]
count = 3
spread = "3s"
link = { path = ["*", "net"] }
nats = [{ preset = "none" }, { preset = "full-cone" }]
work = [
    { kind = "open", to = "s" },
    { kind = "open", to = "*+1", via = ["s"], start = "5s" },
    { kind = "messages", name = "chat", to = "s", count = 3 },
    { kind = "bulk", name = "file", to = "s", bytes = "1kB" },
]
restart-every = "4s"
restart-from = "1s"
"#;

    #[test]
    fn a_crowd_is_its_members() {
        let scenario = Scenario::parse(TEXT).unwrap();
        let whole = scenario.expanded();
        assert_eq!(whole.node.keys().collect::<Vec<_>>(), ["peer1", "peer2", "peer3", "s"]);
        assert_eq!(whole.nat.keys().collect::<Vec<_>>(), ["peer2-nat"]);
        assert_eq!(whole.link["peer1"].path, ["peer1", "net"]);
        assert_eq!(whole.link["peer2"].path, ["peer2", "peer2-nat", "net"]);
        let works: Vec<_> = whole.work.iter().map(|work| (work.label(), work.start.0.0 / 1_000_000_000)).collect();
        let expected = [
            ("peer1->s", 0),
            ("peer1->peer2", 5),
            ("peer1.chat", 0),
            ("peer1.file", 0),
            ("peer2->s", 1),
            ("peer2->peer3", 6),
            ("peer2.chat", 1),
            ("peer2.file", 1),
            ("peer3->s", 2),
            ("peer3->peer1", 7),
            ("peer3.chat", 2),
            ("peer3.file", 2),
        ];
        assert_eq!(works, expected.map(|(label, start)| (label.to_owned(), start)));
        let restarts: Vec<_> = whole.at.iter().map(|at| (at.t.0.0 / 1_000_000_000, at.action.clone())).collect();
        let restart = |node: &str| Action::Restart { node: node.to_owned() };
        assert_eq!(restarts, [(1, restart("peer1")), (5, restart("peer2")), (9, restart("peer3"))]);
        let expects: Vec<_> = whole.expect.iter().map(ToString::to_string).collect();
        assert_eq!(expects.len(), 3 + 1 + 3 + 3 + 3 + 3);
        assert_eq!(expects[2], "opens(peer3->peer1) == 1");
        assert_eq!(expects[4], "dropped(peer1.up) == 0");
        assert_eq!(
            expects[10..14].join(" "),
            "messages(peer1.chat) == 3 messages(peer2.chat) == 3 messages(peer3.chat) == 3 messages(peer2.file) == 1"
        );
        assert_eq!(whole.expect[10].written_for_crowd.as_deref(), Some("messages(peer.chat) == 3"));
    }

    #[test]
    fn what_is_wrong_with_a_member_is_wrong_with_the_crowd() {
        let wrong = TEXT.replace("to = \"s\"", "to = \"nobody\"");
        assert!(Scenario::parse(&wrong).unwrap_err().to_string().contains("nobody"));
    }
}
