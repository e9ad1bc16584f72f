//! Reading the lists.

use std::collections::BTreeMap;
use std::fmt;

/// Keywords that a statement may carry. `NUMBER` is for statements that carry a number and no keyword, and `RULE` for those
/// of a specification without keywords.
const KEYWORDS: [&str; 11] = [
    "MUST",
    "MUST_NOT",
    "SHALL",
    "SHALL_NOT",
    "SHOULD",
    "SHOULD_NOT",
    "MAY",
    "REQUIRED",
    "RECOMMENDED",
    "NOT_RECOMMENDED",
    "OPTIONAL",
];

/// How often each keyword stands in each section: (section, keyword) to number.
pub(crate) type Counts = BTreeMap<(String, String), usize>;

/// One statement of an RFC.
#[derive(Debug, Default)]
pub(crate) struct Statement {
    /// The section, as `3.5.2`.
    pub(crate) section: String,
    /// Its ordinal or ordinals in the section, as written.
    pub(crate) label: String,
    /// The ordinals of its keywords within the section, each with its keyword; empty for numbers and rules.
    pub(crate) keywords: Vec<(usize, String)>,
    /// What it says, in our words.
    pub(crate) says: String,
    /// `path::item` of the code that does it.
    pub(crate) code: Vec<String>,
    /// `path::name` of the tests that show it.
    pub(crate) tests: Vec<String>,
    /// Why there is no code for it.
    pub(crate) reason: Option<String>,
}

impl Statement {
    /// Code without a test or the reverse, unless a reason says why.
    pub(crate) fn half_done(&self) -> Option<String> {
        (self.reason.is_none() && self.code.is_empty() != self.tests.is_empty()).then(|| self.to_string())
    }

    /// Whether nothing is told about it yet.
    pub(crate) fn is_pending(&self) -> bool {
        self.reason.is_none() && self.code.is_empty() && self.tests.is_empty()
    }
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "§{} #{}: {}", self.section, self.label, self.says)
    }
}

/// Reads a list, in the form that `main.rs` tells.
pub(crate) fn parse(text: &str) -> Result<Vec<Statement>, String> {
    let mut section = None;
    let mut list: Vec<Statement> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let wrong = |what: &str| format!("line {}: {what}: {line}", at + 1);
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix("= ") {
            section = Some(name.trim().to_owned());
        } else if let Some(detail) = line.strip_prefix("  ") {
            let statement = list.last_mut().ok_or_else(|| wrong("a detail before any statement"))?;
            let (kind, value) = detail.split_once(' ').ok_or_else(|| wrong("a detail without a value"))?;
            match kind {
                "code" => statement.code.push(value.to_owned()),
                "test" => statement.tests.push(value.to_owned()),
                "reason" => statement.reason = Some(value.to_owned()),
                _ => return Err(wrong("not code, test or reason")),
            }
        } else {
            let section = section.clone().ok_or_else(|| wrong("a statement before any section"))?;
            let statement = statement(section, line).ok_or_else(|| wrong("not a statement"))?;
            list.push(statement);
        }
    }
    Ok(list)
}

/// `1 MUST Says`, `2-3 MAY,MUST_NOT Says`, `n1 NUMBER Says`, or `r1 RULE Says`.
fn statement(section: String, line: &str) -> Option<Statement> {
    let mut words = line.splitn(3, ' ');
    let (label, level, says) = (words.next()?, words.next()?, words.next()?);
    let mut keywords = Vec::new();
    if let Some((_, letter)) = [("NUMBER", 'n'), ("RULE", 'r')].into_iter().find(|(name, _)| *name == level) {
        label.strip_prefix(letter)?.parse::<usize>().ok()?;
    } else {
        let (first, last) = label.split_once('-').unwrap_or((label, label));
        let ordinals = first.parse::<usize>().ok()?..=last.parse::<usize>().ok()?;
        let names: Vec<&str> = level.split(',').collect();
        if ordinals.clone().count() != names.len() || !names.iter().all(|name| KEYWORDS.contains(name)) {
            return None;
        }
        keywords = ordinals.zip(names.into_iter().map(str::to_owned)).collect();
    }
    Some(Statement { section, label: label.to_owned(), keywords, says: says.to_owned(), ..Statement::default() })
}

/// Reads what `count.py` wrote: a section a line, `2.1.2 MAY=1 MUST_NOT=2`.
pub(crate) fn parse_counts(text: &str) -> Result<Counts, String> {
    let mut counts = Counts::new();
    for line in text.lines() {
        let mut words = line.split(' ');
        let section = words.next().ok_or_else(|| format!("no section: {line}"))?;
        for word in words {
            let (keyword, number) = word.split_once('=').ok_or_else(|| format!("not a count: {line}"))?;
            let number = number.parse().map_err(|e| format!("{line}: {e}"))?;
            counts.insert((section.to_owned(), keyword.to_owned()), number);
        }
    }
    Ok(counts)
}

#[test]
fn a_list_is_read() {
    let text = "# note\n= 1.2\n1-2 MAY,MUST_NOT One.\n  code a.rs::f\n  test a.rs::g\n  test a.rs::h\nn1 NUMBER Two.\n";
    let list = parse(text).expect("a good list");
    assert_eq!(list.len(), 2);
    assert_eq!(list[0].keywords, [(1, "MAY".to_owned()), (2, "MUST_NOT".to_owned())]);
    assert_eq!((list[0].code.len(), list[0].tests.len()), (1, 2));
    assert!(!list[0].is_pending() && list[0].half_done().is_none());
    assert!(list[1].is_pending() && list[1].keywords.is_empty());
}

#[test]
fn a_bad_list_is_refused() {
    for text in [
        "1 MUST x",
        "= 1\n1 MIGHT x",
        "= 1\n1-2 MUST x",
        "= 1\n  code a.rs::f",
        "= 1\n1 MUST x\n  maybe y",
        "= 1\nn NUMBER x",
        "= 1\nn1 RULE x",
    ] {
        assert!(parse(text).is_err(), "taken: {text}");
    }
}
