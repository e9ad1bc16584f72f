//! Ranges and matrices: one file, many runs.
#![expect(clippy::wildcard_enum_match_arm, reason = "only tables and lists have something below")]

use super::limits::CASES;
use super::{Scenario, ScenarioError};

/// One run of a matrix.
#[derive(Clone, PartialEq, Debug)]
pub struct Case {
    /// The values that make it: `link.wan.up.loss=random 1%`.
    pub settings: Vec<(String, String)>,
    /// The scenario with them, and without a matrix.
    pub scenario: Scenario,
}

impl Case {
    /// Its settings on one line, empty if there are none.
    #[must_use]
    pub fn label(&self) -> String {
        let parts: Vec<String> = self.settings.iter().map(|(key, value)| format!("{key}={value}")).collect();
        parts.join(" ")
    }
}

/// Reads `7`, `1..5` (without 5), `1..=5`.
///
/// # Errors
/// If it is none of these, or empty, or of more than a million.
pub fn seeds(text: &str) -> Result<Vec<u64>, ScenarioError> {
    let wrong = || ScenarioError(format!("`{text}` should be a seed or a range: 7, 1..5, 1..=5"));
    let number = |part: &str| part.trim().parse::<u64>().map_err(|_| wrong());
    let (from, to) = if let Some((from, to)) = text.split_once("..=") {
        (number(from)?, number(to)?.checked_add(1).ok_or_else(wrong)?)
    } else if let Some((from, to)) = text.split_once("..") {
        (number(from)?, number(to)?)
    } else {
        let one = number(text)?;
        (one, one.checked_add(1).ok_or_else(wrong)?)
    };
    if from >= to || to - from > 1_000_000 {
        return Err(wrong());
    }
    Ok((from..to).collect())
}

/// Puts `value` at the dotted `path` of a table; numbers in the path are places in arrays.
fn put(root: &mut toml::Value, path: &str, value: toml::Value) -> Result<(), ScenarioError> {
    let mut at = root;
    let mut parts = path.split('.').peekable();
    while let Some(part) = parts.next() {
        let last = parts.peek().is_none();
        at = match at {
            toml::Value::Table(table) => {
                let empty = toml::Value::Table(toml::Table::new());
                table.entry(part).or_insert(empty)
            }
            toml::Value::Array(list) => part
                .parse::<usize>()
                .ok()
                .and_then(|index| list.get_mut(index))
                .ok_or_else(|| ScenarioError(format!("`{path}`: `{part}` is no place in that list")))?,
            _ => return Err(ScenarioError(format!("`{path}`: there is nothing below `{part}`"))),
        };
        if last {
            *at = value;
            return Ok(());
        }
    }
    Err(ScenarioError(format!("`{path}` names nothing")))
}

impl Scenario {
    /// The scenario with a key set, as in `--set link.wan.up.loss="random 1%"`. Values that are no TOML are strings.
    ///
    /// # Errors
    /// If the key or the value does not fit.
    pub fn set(&self, key: &str, value: &str) -> Result<Self, ScenarioError> {
        let parsed =
            toml::from_str::<toml::Table>(&format!("v = {value}")).ok().and_then(|mut table| table.remove("v"));
        self.with_value(key, parsed.unwrap_or_else(|| toml::Value::String(value.to_owned())))
    }

    fn with_value(&self, key: &str, value: toml::Value) -> Result<Self, ScenarioError> {
        let mut root = toml::Value::try_from(self).map_err(|error| ScenarioError(error.to_string()))?;
        put(&mut root, key, value)?;
        // Through text, so that what is wrong is said in the same words as of a file.
        let text = toml::to_string(&root).map_err(|error| ScenarioError(error.to_string()))?;
        Self::parse(&text)
    }

    /// Every combination of the matrix's values, the last key turning fastest. Seeds are not among them; see
    /// [`seed_range`](Self::seed_range).
    ///
    /// # Errors
    /// If a key or value does not fit.
    pub fn cases(&self) -> Result<Vec<Case>, ScenarioError> {
        let bare = Self { matrix: std::collections::BTreeMap::new(), ..self.clone() };
        let lists = self.matrix.values().filter_map(toml::Value::as_array);
        let count = lists.fold(1_usize, |count, list| count.saturating_mul(list.len()));
        if count > CASES {
            return Err(ScenarioError(format!("{count} cases are too many; {CASES} are allowed")));
        }
        let mut cases = vec![Case { settings: Vec::new(), scenario: bare }];
        for (key, values) in self.matrix.iter().filter(|(key, _)| *key != "seeds") {
            let toml::Value::Array(values) = values else {
                return Err(ScenarioError(format!("matrix: `{key}` should be a list of values")));
            };
            let mut next = Vec::new();
            for case in &cases {
                for value in values {
                    let scenario = case.scenario.with_value(key, value.clone())?;
                    let mut settings = case.settings.clone();
                    let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    settings.push((key.clone(), shown));
                    next.push(Case { settings, scenario });
                }
            }
            cases = next;
        }
        Ok(cases)
    }

    /// The seeds of the matrix, or the scenario's own.
    ///
    /// # Errors
    /// If `matrix.seeds` is no range.
    pub fn seed_range(&self) -> Result<Vec<u64>, ScenarioError> {
        match self.matrix.get("seeds") {
            Some(toml::Value::String(text)) => seeds(text),
            Some(_) => Err(ScenarioError("matrix.seeds should be text such as \"1..=20\"".to_owned())),
            None => Ok(vec![self.seed]),
        }
    }
}
