//! Whether everything in a scenario fits together.

use std::collections::BTreeSet;

use super::expect::Subject;
use super::limits::TooLarge;
use super::{Action, CAPABILITIES, Scenario, ScenarioError};

/// Something wrong: what it says, and a text in the file that it is about.
pub(super) struct Problem {
    message: String,
    about: String,
}

impl From<TooLarge> for Problem {
    fn from(TooLarge { message, about }: TooLarge) -> Self {
        Self { message, about }
    }
}

fn problem<T>(about: &str, message: String) -> Result<T, Problem> {
    Err(Problem { message, about: about.to_owned() })
}

/// Names the first line of the file that has what the problem is about.
pub(super) fn locate(text: &str, problem: &Problem) -> ScenarioError {
    let line = text.lines().position(|line| line.contains(&problem.about));
    match line.and_then(|at| text.lines().nth(at).map(|line| (at + 1, line))) {
        Some((number, line)) => ScenarioError(format!("line {number}: {}\n  | {}", problem.message, line.trim())),
        None => ScenarioError(problem.message.clone()),
    }
}

impl Scenario {
    /// Checks names, paths, and all words that are not checked by being read.
    pub(super) fn validate(&self) -> Result<(), Problem> {
        for need in &self.needs {
            if !CAPABILITIES.iter().any(|known| known.name == *need) {
                return problem(need, format!("`{need}` is no capability; `rtmfp-sim list` shows them"));
            }
        }
        self.check_links()?;
        self.check_roles()?;
        self.check_work()?;
        self.check_events()?;
        for fault in &self.faults {
            let link = &fault.0.link;
            if !self.link.contains_key(link.split_once('#').map_or(link.as_str(), |(name, _)| name)) {
                return problem(&fault.to_string(), format!("there is no link `{link}`"));
            }
        }
        for expect in &self.expect {
            self.check_subject(expect.takes(), &expect.subject).or_else(|message| problem(&expect.subject, message))?;
        }
        Ok(())
    }

    fn check_links(&self) -> Result<(), Problem> {
        let mut connected = BTreeSet::new();
        for (name, link) in &self.link {
            link.spec().or_else(|message| problem(&format!("link.{name}"), format!("link `{name}`: {message}")))?;
            let [first, middle @ .., last] = link.path.as_slice() else {
                return problem(&format!("link.{name}"), format!("link `{name}`: a path has at least two ends"));
            };
            for end in [first, last] {
                if !self.node.contains_key(end) && end != "net" {
                    return problem(end, format!("link `{name}` ends at `{end}`, which is no node (and not `net`)"));
                }
            }
            for nat in middle {
                if !self.nat.contains_key(nat) && !self.tap.contains_key(nat) {
                    return problem(nat, format!("link `{name}` passes `{nat}`, which is no NAT and no tap"));
                }
            }
            connected.extend(link.path.iter().cloned());
        }
        for (name, nat) in &self.nat {
            let address = core::net::IpAddr::V4(core::net::Ipv4Addr::LOCALHOST);
            let right = if nat.is_firewall() { nat.firewall().map(drop) } else { nat.spec(address, &[]).map(drop) };
            right.or_else(|message| problem(&format!("nat.{name}"), format!("nat `{name}`: {message}")))?;
        }
        for name in self.node.keys() {
            if self.nat.contains_key(name) || self.tap.contains_key(name) || name == "net" {
                return problem(name, format!("`{name}` is the name of two things"));
            }
            if !connected.contains(name) {
                return problem(&format!("node.{name}"), format!("node `{name}` is on no link"));
            }
        }
        Ok(())
    }

    fn check_roles(&self) -> Result<(), Problem> {
        let runs = |name: &String| self.node.get(name).map(|node| !node.silent && node.plays.is_none());
        for (name, node) in &self.node {
            let Some(role) = &node.plays else { continue };
            for named in role.names() {
                if !self.node.contains_key(named) {
                    return problem(named, format!("node `{name}`: there is no node `{named}`"));
                }
            }
            let is_sink = |to: &String| self.node.get(to).is_some_and(|to| to.plays == Some(super::Role::Sink));
            if let Some(to) = role.sink().filter(|to| !is_sink(to)) {
                return problem(to, format!("node `{name}`: `{to}` plays no sink"));
            }
            let victim = role.names().first().copied().filter(|_| role.forges());
            if let Some(victim) = victim.filter(|victim| runs(victim) == Some(false)) {
                return problem(victim, format!("node `{name}`: `{victim}` runs no endpoint that could be attacked"));
            }
        }
        for work in &self.work {
            if runs(&work.from) == Some(false) {
                return problem(&work.from, format!("work `{}`: `{}` runs no endpoint", work.label(), work.from));
            }
        }
        Ok(())
    }

    fn check_work(&self) -> Result<(), Problem> {
        for work in &self.work {
            for end in [&work.from, &work.to].into_iter().chain(&work.candidates).chain(&work.via) {
                if !self.node.contains_key(end) {
                    return problem(end, format!("work `{}`: there is no node `{end}`", work.label()));
                }
            }
            if work.from == work.to {
                return problem(&work.from, format!("`{}` sends to itself", work.from));
            }
        }
        Ok(())
    }

    fn check_events(&self) -> Result<(), Problem> {
        for at in &self.at {
            let (name, known) = match &at.action {
                Action::Rebind { node, .. }
                | Action::Freeze { node }
                | Action::Thaw { node, .. }
                | Action::ClockStep { node, .. }
                | Action::Restart { node }
                | Action::Close { node, .. }
                | Action::Suspend { node }
                | Action::Resume { node } => (node, self.node.contains_key(node)),
                Action::LinkDown { link } | Action::LinkUp { link, .. } | Action::LinkChange { link, .. } => {
                    (link, self.link.contains_key(link))
                }
                Action::NatFlush { nat } => (nat, self.nat.contains_key(nat)),
                Action::Heal => continue,
            };
            if !known {
                return problem(name, format!("at {}: there is no `{name}`", at.t.0));
            }
            if let Action::LinkChange { link: name, preset, both, up, down } = &at.action {
                let wrong = |message| problem("link-change", format!("at {}: {message}", at.t.0));
                if preset.is_none() && [both, up, down].iter().all(|lane| lane.is_empty()) {
                    return wrong("link-change needs `both`, `up`, `down` or `preset`".to_owned());
                }
                let changed = self.link.get(name).and_then(|link| at.action.changed(link));
                changed.map_or(Ok(()), |(link, _)| link.spec().map(drop)).or_else(wrong)?;
            }
        }
        Ok(())
    }

    fn check_subject(&self, takes: Subject, subject: &str) -> Result<(), String> {
        match takes {
            Subject::All => Ok(()),
            Subject::Node if self.node.contains_key(subject) => Ok(()),
            Subject::Node => Err(format!("there is no node `{subject}`")),
            Subject::Lane => match subject.rsplit_once('.') {
                Some((link, "up" | "down")) if self.link.contains_key(link) => Ok(()),
                _ => Err(format!("`{subject}` should be LINK.up or LINK.down")),
            },
            Subject::Pair | Subject::Work => {
                let matches =
                    |work: &&super::Work| work.label() == subject || format!("{}->{}", work.from, work.to) == subject;
                match self.work.iter().filter(matches).count() {
                    0 => Err(format!("there is no work `{subject}`")),
                    1 => Ok(()),
                    _ if takes == Subject::Pair => Ok(()),
                    n => Err(format!("`{subject}` is {n} works; give each a name")),
                }
            }
        }
    }
}
