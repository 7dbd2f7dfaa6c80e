//! The report of a matching, for the user to check.

use std::fmt;

use tch::Kind;

use crate::network::shape::show;

/// The assignment of a file's tensors to the parameters of a network. It is displayed as a table.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Matching {
    /// One entry per parameter that got a tensor, in network order.
    pub matches: Vec<Match>,
    /// Parameters that are not in the file and keep the specification's values: biases of neurons.
    pub kept: Vec<String>,
    /// Whether all tensors have the names of their parameters.
    pub by_name: bool,
    /// Further notes, such as tensors that were left out.
    pub notes: Vec<String>,
}

/// One parameter and its tensor.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Match {
    /// The parameter's name: `conv1.weight`.
    pub parameter: String,
    /// The tensor's name in the file: `features.0.weight`.
    pub tensor: String,
    /// The shape of both, in the network's layout.
    pub shape: Vec<i64>,
    /// If the numbers were converted: from which dtype to which.
    pub converted: Option<(Kind, Kind)>,
}

impl Default for Matching {
    fn default() -> Self {
        Self { matches: vec![], kept: vec![], by_name: true, notes: vec![] }
    }
}

impl Matching {
    /// Returns whether there is nothing to report: all names are equal and no number was changed.
    pub fn is_plain(&self) -> bool {
        let changed = self.matches.iter().any(|matched| matched.converted.is_some());
        self.by_name && !changed && self.kept.is_empty() && self.notes.is_empty()
    }
}

impl fmt::Display for Matching {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let width = |of: fn(&Match) -> &str| self.matches.iter().map(|row| of(row).chars().count()).max().unwrap_or(0);
        let (left, right) = (width(|row| &row.parameter), width(|row| &row.tensor));
        let mut lines = vec!["weights matched:".to_string()];
        for row in &self.matches {
            let converted = row.converted.map(|(from, to)| format!("  {from:?} to {to:?}")).unwrap_or_default();
            let Match { parameter, tensor, shape, .. } = row;
            lines.push(format!("  {parameter:<left$} = {tensor:<right$}  {}{converted}", show(shape)));
        }
        if !self.kept.is_empty() {
            lines.push(format!("  not in the file, as the specification has them: {}", self.kept.join(", ")));
        }
        lines.extend(self.notes.iter().map(|note| format!("  {note}")));
        f.write_str(&lines.join("\n"))
    }
}
