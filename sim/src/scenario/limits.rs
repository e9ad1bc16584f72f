//! How large a scenario may be: a slip of the keyboard must not take all memory.

use super::{Scenario, WorkKind};

/// Nodes of all crowds, which is also how many addresses there are.
const NODES: u64 = 50_000;
/// Works of all crowds.
const WORKS: u64 = 500_000;
/// Restarts of all crowds.
const RESTARTS: u64 = 100_000;
/// Messages of all works. What is known of each takes some 40 bytes.
const MESSAGES: u64 = 20_000_000;
/// Flows of a work.
const FLOWS: u32 = 10_000;
/// Cases of a matrix.
pub(super) const CASES: usize = 100_000;

/// What is too large, and a text in the file that it is about.
pub(super) struct TooLarge {
    pub(super) message: String,
    pub(super) about: String,
}

fn within(total: u64, most: u64, what: &str, about: &str) -> Result<(), TooLarge> {
    if total <= most {
        return Ok(());
    }
    Err(TooLarge { message: format!("{total} {what} are too many; {most} are allowed"), about: about.to_owned() })
}

impl Scenario {
    /// Adds up what its crowds and works make, without making it.
    pub(super) fn check_size(&self) -> Result<(), TooLarge> {
        let (mut nodes, mut works, mut restarts, mut messages) = (0_u64, 0_u64, 0_u64, 0_u64);
        for work in &self.work {
            messages = messages.saturating_add(work.total());
            within(messages, MESSAGES, "messages", &work.name)?;
        }
        for (name, crowd) in &self.crowd {
            let about = format!("crowd.{name}");
            let count = u64::from(crowd.count);
            nodes = nodes.saturating_add(count);
            within(nodes, NODES, "nodes", &about)?;
            works = works.saturating_add(count.saturating_mul(crowd.work.len() as u64));
            within(works, WORKS, "works", &about)?;
            for work in &crowd.work {
                messages = messages.saturating_add(count.saturating_mul(work.total()));
            }
            within(messages, MESSAGES, "messages", &about)?;
            restarts = restarts.saturating_add(crowd.restarts(self.duration.0));
            within(restarts, RESTARTS, "restarts", &about)?;
        }
        for work in self.work.iter().chain(self.crowd.values().flat_map(|crowd| &crowd.work)) {
            let flows = work.flows.filter(|_| work.kind != WorkKind::Open).unwrap_or(1);
            within(flows.into(), FLOWS.into(), "flows of one work", "flows")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
name = "many"
duration = "10s"
work = [
    { kind = "messages", name = "chat", from = "s", to = "t", count = 3, flows = 2 },
]
[node.s]
[node.t]
[link.wan]
path = ["s", "t"]
[crowd.peer]
count = 4
link = { path = ["*", "net"] }
work = [{ kind = "bulk", to = "s", bytes = "1MB", size = "1kB" }]
restart-every = "1s"
"#;

    #[test]
    fn what_would_take_all_memory_is_refused_with_its_line() {
        Scenario::parse(TEXT).unwrap();
        for (written, too_much, said) in [
            ("count = 3", "count = 5000000000", "line 5: 5000000000 messages are too many; 20000000 are allowed"),
            ("flows = 2", "flows = 4000000000", "4000000000 flows of one work are too many; 10000 are allowed"),
            ("count = 4", "count = 5000000", "line 11: 5000000 nodes are too many; 50000 are allowed"),
            ("1MB", "10GB", "line 11: 40000003 messages are too many"),
            ("\"1s\"", "\"1ns\"", "line 11: 10000000000 restarts are too many; 100000 are allowed"),
        ] {
            let error = Scenario::parse(&TEXT.replace(written, too_much)).expect_err(too_much).to_string();
            assert!(error.contains(said), "{too_much}: {error}");
        }
        let works = "work = [".to_owned() + &"{ to = \"s\" },".repeat(11) + "]\n";
        let text =
            TEXT.replace("count = 4", "count = 50000").replace("work = [{ kind = \"bulk\"", "x = [{ kind = \"bulk\"");
        let text =
            text.lines().filter(|line| !line.starts_with("x = ")).map(|line| format!("{line}\n")).collect::<String>();
        let error = Scenario::parse(&(text + &works)).unwrap_err().to_string();
        assert!(error.contains("550000 works are too many"), "{error}");
    }

    #[test]
    fn a_matrix_with_too_many_cases_is_refused() {
        let lists = (0..6).map(|n| format!("\"node.s.k{n}\" = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]\n")).collect::<String>();
        let scenario = Scenario::parse(&format!("{TEXT}[matrix]\n{lists}")).unwrap();
        let error = scenario.cases().unwrap_err().to_string();
        assert!(error.contains("1000000 cases are too many; 100000 are allowed"), "{error}");
    }
}
