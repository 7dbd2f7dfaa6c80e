//! An experiment: everything that a run depends on, in one TOML file.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::data::DataConfig;
use crate::error::{Error, Result};
use crate::network::NetworkSpec;
use crate::text_file::read_text;
use crate::train::TrainingConfig;

/// The content of an experiment file. Every key has a default; an empty file is the reference recipe.
///
/// ```
/// use tch_spiking::Experiment;
///
/// let mut experiment = Experiment::from_toml("seed = 7\n[training]\nepochs = 3")?;
/// experiment.set("training.learning_rate=0.002")?;
/// assert_eq!((experiment.training.epochs, experiment.training.batch_size), (3, 200));
/// let error = Experiment::from_toml("[training]\nepoch = 3").unwrap_err().to_string();
/// assert!(error.contains("did you mean `epochs`?"), "{error}");
/// # Ok::<(), tch_spiking::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Experiment {
    /// The seed of everything random: weights, initial voltages, the order of samples, dropout, built-in digits.
    pub seed: u64,
    /// The data set.
    pub data: DataConfig,
    /// The training configuration.
    pub training: TrainingConfig,
    /// The simulation configuration.
    pub simulation: SimulationConfig,
    /// The network specification.
    pub network: NetworkSpec,
}

impl Default for Experiment {
    fn default() -> Self {
        Self {
            seed: 0,
            data: DataConfig::default(),
            training: TrainingConfig::default(),
            simulation: SimulationConfig::default(),
            network: NetworkSpec::reference(),
        }
    }
}

/// The `[simulation]` section: the evaluation as spikes during training. (Timestep and number of steps belong to the
/// network.)
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SimulationConfig {
    /// The number of validation images to run as spikes after every epoch.
    pub sample: usize,
    /// The approximate memory budget of a simulation (MiB).
    pub memory_mib: usize,
}

impl Default for SimulationConfig {
    fn default() -> Self {
        Self { sample: 500, memory_mib: 16 }
    }
}

/// An experiment could not be parsed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ExperimentError {
    /// The TOML is not a valid experiment.
    #[error("{0}")]
    Parse(String),
    /// An assignment that is not `key=value`.
    #[error("`{0}` is not an assignment: expected key=value, such as training.learning_rate=0.002")]
    Assignment(String),
    /// An assignment to a key inside a value that is not a section.
    #[error("`{key}`: `{part}` is a value, not a section")]
    NotASection {
        /// The complete key.
        key: String,
        /// The part of it that is not a section.
        part: String,
    },
}

impl Experiment {
    /// Reads an experiment from TOML.
    ///
    /// # Errors
    /// If it is not valid, with the position; for an unknown key, with the nearest valid one.
    pub fn from_toml(text: &str) -> Result<Self> {
        toml::from_str(text).map_err(|error| Error::from(parse_error(&error)))
    }

    /// Reads an experiment from a file.
    ///
    /// # Errors
    /// If the file cannot be read or is not a valid experiment.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = read_text(path)?;
        toml::from_str(&text).map_err(|error| {
            let ExperimentError::Parse(cause) = parse_error(&error) else { return parse_error(&error).into() };
            ExperimentError::Parse(format!("{}: {cause}", path.display())).into()
        })
    }

    /// Writes the experiment as TOML, with every key.
    ///
    /// # Errors
    /// If the network contains Rust code, or `data.path` is not UTF-8, which a file cannot hold.
    pub fn to_toml(&self) -> Result<String> {
        if let Some(path) = self.data.path.as_ref().filter(|path| path.to_str().is_none()) {
            let path = path.display();
            return Err(ExperimentError::Parse(format!(
                "data.path = {path}: expected a path in UTF-8, which the configuration can hold: rename the folder, or \
                 set TCH_SPIKING_DATA to it"
            ))
            .into());
        }
        toml::to_string(self).map_err(|error| ExperimentError::Parse(error.to_string()).into())
    }

    /// Sets one key from an assignment such as `training.learning_rate=0.002` or `data.dataset=fashion`. Layers are
    /// given by number, from 0: `network.layers.0.out_channels=16`.
    ///
    /// # Errors
    /// If it is not an assignment, the key is unknown (the error suggests the nearest valid one), or the value is not
    /// valid; nothing is changed then.
    pub fn set(&mut self, assignment: &str) -> Result<()> {
        let not_one = || ExperimentError::Assignment(assignment.to_string());
        let (key, text) = assignment.split_once('=').ok_or_else(not_one)?;
        let (key, text) = (key.trim(), text.trim());
        if key.is_empty() {
            return Err(not_one().into());
        }
        let mut table = toml::Value::try_from(&*self).map_err(|error| ExperimentError::Parse(error.to_string()))?;
        let parts: Vec<&str> = key.split('.').collect();
        let mut place = &mut table;
        for (depth, part) in parts.iter().enumerate() {
            let no_section = || ExperimentError::NotASection { key: key.to_string(), part: parts[..depth].join(".") };
            place = match place {
                // A missing key may be valid but unset; the parser of the result decides.
                toml::Value::Table(section) => section.entry(*part).or_insert_with(|| toml::Table::new().into()),
                toml::Value::Array(list) => {
                    part.parse().ok().and_then(|index: usize| list.get_mut(index)).ok_or_else(no_section)?
                }
                _ => return Err(no_section().into()),
            };
        }
        *place = parse_value(text);
        *self = table.try_into().map_err(|error| match parse_error(&error) {
            ExperimentError::Parse(cause) => ExperimentError::Parse(format!("--set {assignment}: {cause}")),
            other => other,
        })?;
        Ok(())
    }
}

/// A TOML value, or a string with the text itself if it is not valid TOML (so that `data.dataset=fashion` needs no
/// quotes).
fn parse_value(text: &str) -> toml::Value {
    match toml::from_str::<toml::Table>(&format!("value = {text}")) {
        Ok(mut table) if table.len() == 1 => table.remove("value").unwrap_or_else(|| text.into()),
        _ => text.into(),
    }
}

/// The parser's error; for an unknown name, with the nearest known one.
fn parse_error(error: &toml::de::Error) -> ExperimentError {
    let text = error.to_string();
    let text = text.trim_end();
    match nearest_known(error.message()) {
        Some(nearest) => ExperimentError::Parse(format!("{text}\ndid you mean `{nearest}`?")),
        None => ExperimentError::Parse(text.to_string()),
    }
}

/// From serde's "unknown field `epoch`, expected one of `epochs`, `seed`", the most similar candidate.
fn nearest_known(message: &str) -> Option<&str> {
    let unknown = message.split("unknown ").nth(1)?;
    let mut quoted = unknown.split('`').skip(1).step_by(2);
    let found = quoted.next()?;
    let distance = |known: &&str| strsim::damerau_levenshtein(found, known);
    quoted.min_by_key(distance).filter(|known| distance(known) <= found.len().max(3) / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_is_the_reference_recipe_and_survives_the_round_trip() {
        let default = Experiment::from_toml("").unwrap();
        let again = Experiment::from_toml(&default.to_toml().unwrap()).unwrap();
        assert_eq!(default.to_toml().unwrap(), again.to_toml().unwrap());
        assert_eq!((default.training.epochs, default.training.batch_size, default.network.steps), (10, 200, 30));
    }

    #[test]
    fn any_key_can_be_set() {
        let mut experiment = Experiment::default();
        for assignment in [
            "data.train_images=2000",
            "data.dataset=fashion",
            "training.optimizer={ type = 'sgd', momentum = 0.9 }",
            "network.layers.1.amplitude=0.02",
            "network.layers.0.init=he_normal",
            "network.initial_voltage=0",
            "simulation.sample = 10",
        ] {
            experiment.set(assignment).unwrap();
        }
        let text = experiment.to_toml().unwrap();
        for expected in
            ["train_images = 2000", "dataset = \"fashion\"", "momentum = 0.9", "amplitude = 0.02", "he_normal"]
        {
            assert!(text.contains(expected), "{expected} in {text}");
        }
    }

    #[test]
    fn unknown_keys_and_wrong_values_are_named_and_change_nothing() {
        let mut experiment = Experiment::default();
        let before = experiment.to_toml().unwrap();
        for (assignment, expected) in [
            ("training.learning_rat=1", "did you mean `learning_rate`?"),
            ("trainin.epochs=1", "did you mean `training`?"),
            ("training.epochs=many", "epochs"),
            ("training.epochs.x=1", "`training.epochs` is a value"),
            ("network.layers.99.p=1", "network.layers"),
            ("network.layers.0.kernal=5", "did you mean `kernel`?"),
            ("network.layers.1.amplitud=5", "did you mean `amplitude`?"),
            ("network.layers.0.type=conv3d", "did you mean `conv2d`?"),
            ("training.epochs", "expected key=value"),
            ("=3", "expected key=value"),
        ] {
            let error = experiment.set(assignment).unwrap_err().to_string();
            assert!(error.contains(expected), "{assignment}: {error}");
        }
        assert_eq!(before, experiment.to_toml().unwrap());
    }
}
