//! What differs between a run and what its checkpoint was made by.

use std::collections::BTreeMap;

use super::Experiment;
use crate::train::MadeBy;

/// Keys that may change between two parts of a run: they do not change what was computed so far, or (epochs) only make
/// the run longer.
const FREE: [&str; 3] = ["training.epochs", "data.path", "simulation."];

/// The differences, one sentence each; none if the run goes on as it began.
pub(super) fn changes(then: &MadeBy, now: &MadeBy) -> Vec<String> {
    let mut changes = Vec::new();
    if let (Some(then), Some(now)) = (&then.experiment, &now.experiment) {
        let (then, now) = (values(then), values(now));
        // As with `training.epochs`: the last stage may become longer.
        let last =
            (0..).take_while(|stage| now.keys().any(|key| key.starts_with(&format!("training.stages.{stage}."))));
        let longer = last.last().map(|stage| format!("training.stages.{stage}.epochs"));
        let keys = then.keys().chain(now.keys().filter(|key| !then.contains_key(*key)));
        let free = |key: &str| FREE.iter().any(|free| key.starts_with(free)) || longer.as_deref() == Some(key);
        for key in keys.filter(|key| !free(key)) {
            let (then, now) = (then.get(key), now.get(key));
            if then != now {
                let shown = |value: Option<&String>| value.cloned().unwrap_or_else(|| "not set".to_string());
                changes.push(format!("{key} = {} then, {} now", shown(then), shown(now)));
            }
        }
    }
    if then.device != now.device {
        changes.push(format!("on the device {} then, {} now (--device {})", then.device, now.device, then.device));
    } else if then.threads != now.threads && now.device == "cpu" {
        changes.push(format!("with {} threads then, {} now (--threads {})", then.threads, now.threads, then.threads));
    }
    changes
}

/// The values of an experiment in TOML by their whole keys, such as `network.layers.0.kernel`.
fn values(toml: &str) -> BTreeMap<String, String> {
    // With every key of this version, whatever version wrote it.
    let whole = Experiment::from_toml(toml).and_then(|experiment| experiment.to_toml());
    let table = whole.as_deref().unwrap_or(toml).parse::<toml::Table>().unwrap_or_default();
    let mut values = BTreeMap::new();
    flatten("", &toml::Value::Table(table), &mut values);
    values
}

fn flatten(key: &str, value: &toml::Value, into: &mut BTreeMap<String, String>) {
    let below = |part: &str| if key.is_empty() { part.to_string() } else { format!("{key}.{part}") };
    match value {
        toml::Value::Table(table) => table.iter().for_each(|(part, value)| flatten(&below(part), value, into)),
        toml::Value::Array(list) if list.iter().any(toml::Value::is_table) => {
            list.iter().enumerate().for_each(|(index, value)| flatten(&below(&index.to_string()), value, into));
        }
        value => {
            into.insert(key.to_string(), value.to_string());
        }
    }
}
