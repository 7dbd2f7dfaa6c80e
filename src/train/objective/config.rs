//! Objectives by name, and their registry.

use std::fmt;
use std::sync::Arc;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::super::TrainError;
use super::{ClassSquaredError, CountSquaredError, CrossEntropy, MeanSquaredError, Objective, Over, Tet};
use crate::registry::{Registry, unknown};

type Make = Arc<dyn Fn() -> Box<dyn Objective> + Send + Sync>;

static REGISTERED: Registry<Make> = Registry::new();

const BUILT_IN: [&str; 5] =
    [CrossEntropy::NAME, Tet::NAME, ClassSquaredError::NAME, CountSquaredError::NAME, MeanSquaredError::NAME];

/// Registers an objective for `training.objective`, for the whole process. `make` creates it,
/// and its [`name`](Objective::name) is the registered name. Call this before reading such an experiment.
///
/// ```
/// use tch::Tensor;
/// use tch_spiking::Experiment;
/// use tch_spiking::data::Target;
/// use tch_spiking::engine::Activity;
/// use tch_spiking::train::{MeanSquaredError, Objective, register_objective};
///
/// #[derive(Debug)]
/// struct RootMeanSquare;
///
/// impl Objective for RootMeanSquare {
///     fn name(&self) -> &str {
///         "root_mean_square"
///     }
///     fn loss(&self, output: &Activity, target: &Target) -> tch_spiking::Result<Tensor> {
///         Ok(MeanSquaredError.loss(output, target)?.f_sqrt()?)
///     }
/// }
///
/// register_objective(|| Box::new(RootMeanSquare))?;
/// let experiment = Experiment::from_toml("training = { objective = 'root_mean_square' }")?;
/// assert_eq!(experiment.training.objective.make()?.name(), "root_mean_square");
/// # Ok::<(), tch_spiking::Error>(())
/// ```
///
/// # Errors
/// If the name is empty or already in use, by an objective of the library or an earlier call.
pub fn register_objective(make: impl Fn() -> Box<dyn Objective> + Send + Sync + 'static) -> Result<(), TrainError> {
    let name = make().name().to_string();
    match !name.is_empty() && !BUILT_IN.contains(&name.as_str()) && REGISTERED.add(&name, Arc::new(make)) {
        true => Ok(()),
        false => Err(TrainError::ObjectiveName { name, known: all_names() }),
    }
}

fn all_names() -> Vec<String> {
    BUILT_IN.iter().map(ToString::to_string).chain(REGISTERED.names()).collect()
}

/// An objective with its parameters: `training.objective`, a name, or a table with the name as `type`.
///
/// | name | loss | parameters (default) |
/// |---|---|---|
/// | `cross_entropy` | [`CrossEntropy`] | `over` (by the samples), `label_smoothing` (0) |
/// | `tet` | [`Tet`] | `lambda` (0.05) |
/// | `mse` | [`ClassSquaredError`] | `over` (`"mean"`), `on` (1), `off` (0) |
/// | `mse_count` | [`CountSquaredError`] | `correct_rate` (1), `incorrect_rate` (0) |
/// | `mean_squared_error` | [`MeanSquaredError`] | |
/// | a registered name | [`register_objective`] | |
#[derive(Clone, Debug, PartialEq)]
pub enum ObjectiveConfig {
    /// Cross-entropy of the output over time.
    CrossEntropy(CrossEntropy),
    /// Cross-entropy of every timestep.
    Tet(Tet),
    /// Squared error of the output, for classes.
    Mse(ClassSquaredError),
    /// Squared error of spike counts, for classes.
    MseCount(CountSquaredError),
    /// Squared error of values.
    MeanSquaredError(MeanSquaredError),
    /// A registered objective.
    Registered(String),
}

/// Those of the library, as a table.
#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum Table {
    CrossEntropy(CrossEntropy),
    Tet(Tet),
    Mse(ClassSquaredError),
    MseCount(CountSquaredError),
    MeanSquaredError {},
}

impl Default for ObjectiveConfig {
    fn default() -> Self {
        Self::CrossEntropy(CrossEntropy::default())
    }
}

impl ObjectiveConfig {
    /// The objective of this name, with default parameters, if there is one.
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            CrossEntropy::NAME => Self::CrossEntropy(CrossEntropy::default()),
            Tet::NAME => Self::Tet(Tet::default()),
            ClassSquaredError::NAME => Self::Mse(ClassSquaredError::default()),
            CountSquaredError::NAME => Self::MseCount(CountSquaredError::default()),
            MeanSquaredError::NAME => Self::MeanSquaredError(MeanSquaredError),
            name => Self::Registered(REGISTERED.get(name).map(|_| name.to_string())?),
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::CrossEntropy(_) => CrossEntropy::NAME,
            Self::Tet(_) => Tet::NAME,
            Self::Mse(_) => ClassSquaredError::NAME,
            Self::MseCount(_) => CountSquaredError::NAME,
            Self::MeanSquaredError(_) => MeanSquaredError::NAME,
            Self::Registered(name) => name,
        }
    }

    /// The same with what it leaves to the samples decided: whether they are `still`, or vary in time.
    pub(in crate::train) fn for_samples(&self, still: bool) -> Self {
        match self {
            Self::CrossEntropy(objective) => {
                let over = objective.over.unwrap_or(if still { Over::Mean } else { Over::Last });
                Self::CrossEntropy(CrossEntropy { over: Some(over), ..*objective })
            }
            other => other.clone(),
        }
    }

    /// # Errors
    /// If a parameter is not valid; the error names it.
    pub fn validate(&self) -> Result<(), TrainError> {
        let share = |key, value: f64| match (0.0..=1.0).contains(&value) {
            true => Ok(()),
            false => Err(TrainError::config("training.objective", key, value, "a number from 0 to 1")),
        };
        let finite = |key, value: f64| match value.is_finite() {
            true => Ok(()),
            false => Err(TrainError::config("training.objective", key, value, "a finite number")),
        };
        match self {
            Self::CrossEntropy(objective) => share("label_smoothing", objective.label_smoothing),
            Self::Tet(objective) => share("lambda", objective.lambda),
            Self::Mse(objective) => finite("on", objective.on).and(finite("off", objective.off)),
            Self::MseCount(objective) => {
                share("correct_rate", objective.correct_rate).and(share("incorrect_rate", objective.incorrect_rate))
            }
            Self::MeanSquaredError(_) | Self::Registered(_) => Ok(()),
        }
    }

    /// Creates the objective.
    ///
    /// # Errors
    /// If the name is not registered; names read from a file are already checked.
    pub fn make(&self) -> Result<Box<dyn Objective>, TrainError> {
        Ok(match self {
            Self::CrossEntropy(objective) => Box::new(*objective),
            Self::Tet(objective) => Box::new(*objective),
            Self::Mse(objective) => Box::new(*objective),
            Self::MseCount(objective) => Box::new(*objective),
            Self::MeanSquaredError(objective) => Box::new(*objective),
            Self::Registered(name) => match REGISTERED.get(name) {
                Some(make) => make(),
                None => return Err(TrainError::ObjectiveName { name: name.clone(), known: all_names() }),
            },
        })
    }

    /// Whether it is the default, which is omitted in files.
    pub(in crate::train) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl From<Table> for ObjectiveConfig {
    fn from(table: Table) -> Self {
        match table {
            Table::CrossEntropy(objective) => Self::CrossEntropy(objective),
            Table::Tet(objective) => Self::Tet(objective),
            Table::Mse(objective) => Self::Mse(objective),
            Table::MseCount(objective) => Self::MseCount(objective),
            Table::MeanSquaredError {} => Self::MeanSquaredError(MeanSquaredError),
        }
    }
}

impl Serialize for ObjectiveConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let table = match self {
            default if Self::named(self.name()).as_ref() == Some(default) => {
                return serializer.serialize_str(self.name());
            }
            Self::CrossEntropy(objective) => Table::CrossEntropy(*objective),
            Self::Tet(objective) => Table::Tet(*objective),
            Self::Mse(objective) => Table::Mse(*objective),
            Self::MseCount(objective) => Table::MseCount(*objective),
            Self::MeanSquaredError(_) => Table::MeanSquaredError {},
            Self::Registered(name) => return serializer.serialize_str(name),
        };
        table.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ObjectiveConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameOrTable;
        impl<'de> Visitor<'de> for NameOrTable {
            type Value = ObjectiveConfig;
            fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
                formatter.write_str("the name of an objective, or a table with its type and parameters")
            }
            fn visit_str<E: de::Error>(self, name: &str) -> Result<Self::Value, E> {
                ObjectiveConfig::named(name).ok_or_else(|| E::custom(unknown("objective", name, &all_names())))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                Ok(Table::deserialize(MapAccessDeserializer::new(map))?.into())
            }
        }
        deserializer.deserialize_any(NameOrTable)
    }
}
