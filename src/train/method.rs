//! The method of training: how the neurons compute in a training step.

use serde::{Deserialize, Serialize};
use tch_spiking_core::surrogate::Surrogate;

use super::TrainError;
use crate::engine::{Activity, FirstNonFinite, Mode, Observer, Pass, TrainingStep, forward};
use crate::error::Result;
use crate::network::{Layer, LayerKind, SpikingSequential};

/// The most timesteps of a training step: the gradient of all of them is kept in memory.
const MOST_STEPS: i64 = 10_000;

/// How the neurons compute in a training step: `training.method`.
///
/// ```toml
/// [training]
/// method = { type = "surrogate", steps = 8, surrogate = { type = "atan", alpha = 2.0 }, truncate = 4 }
/// ```
///
/// The methods over time run each batch for `steps` timesteps from a fresh state; the objective reads the output
/// `[T, B, output]`. Without `steps`, they take the network's own number. Samples that vary in time have their own
/// number of timesteps, whatever `steps` says.
///
/// | method | forward | backward | for |
/// |---|---|---|---|
/// | `rate` | the rate of each neuron | its derivative | models with a rate; the cheapest (Hunsberger & Eliasmith 2016) |
/// | `spiking_aware` | spikes | the derivative of the rate, at each timestep by itself | models with a rate; closes the gap to spikes (KerasSpiking) |
/// | `surrogate` | spikes | through time, a surrogate for the derivative of the spike | every model; few timesteps, recurrence (Neftci et al. 2019) |
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Table", into = "Table")]
pub enum Method {
    /// Rates, without time for still samples.
    #[default]
    Rate,
    /// Spikes forward, the gradient of the rate at each timestep backward.
    SpikingAware {
        /// Number of timesteps of a still sample.
        steps: Option<i64>,
    },
    /// Spikes forward, gradients through time backward.
    Surrogate {
        /// Number of timesteps of a still sample.
        steps: Option<i64>,
        /// The derivative of the spike.
        surrogate: Surrogate,
        /// The number of timesteps after which the gradient is cut: none flows into the state before the steps
        /// `0, truncate, 2 truncate, ..`.
        truncate: Option<i64>,
    },
}

/// The same in a file. (Of a variant without fields, serde would take any.)
#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum Table {
    Rate {},
    SpikingAware {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        steps: Option<i64>,
    },
    Surrogate {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        steps: Option<i64>,
        #[serde(default)]
        surrogate: Surrogate,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        truncate: Option<i64>,
    },
}

impl From<Table> for Method {
    fn from(table: Table) -> Self {
        match table {
            Table::Rate {} => Self::Rate,
            Table::SpikingAware { steps } => Self::SpikingAware { steps },
            Table::Surrogate { steps, surrogate, truncate } => Self::Surrogate { steps, surrogate, truncate },
        }
    }
}

impl From<Method> for Table {
    fn from(method: Method) -> Self {
        match method {
            Method::Rate => Self::Rate {},
            Method::SpikingAware { steps } => Self::SpikingAware { steps },
            Method::Surrogate { steps, surrogate, truncate } => Self::Surrogate { steps, surrogate, truncate },
        }
    }
}

impl Method {
    /// The name in an experiment file, such as `rate`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::SpikingAware { .. } => "spiking_aware",
            Self::Surrogate { .. } => "surrogate",
        }
    }

    /// The number of timesteps of a still sample with `network`; `None` for rates.
    pub fn steps(self, network: &SpikingSequential) -> Option<i64> {
        match self {
            Self::Rate => None,
            Self::SpikingAware { steps } | Self::Surrogate { steps, .. } => Some(steps.unwrap_or(network.spec().steps)),
        }
    }

    /// # Errors
    /// If a parameter is not valid; the error names it.
    pub fn validate(self) -> Result<(), TrainError> {
        let fail = |key, value: i64, expected| Err(TrainError::config("training.method", key, value as f64, expected));
        let (steps, truncate) = match self {
            Self::Rate => (None, None),
            Self::SpikingAware { steps } => (steps, None),
            Self::Surrogate { steps, surrogate, truncate } => {
                surrogate.validate().map_err(|error| TrainError::Method(error.to_string()))?;
                (steps, truncate)
            }
        };
        match (steps, truncate) {
            (Some(steps), _) if !(1..=MOST_STEPS).contains(&steps) => fail("steps", steps, "1 to 10000 timesteps"),
            (_, Some(truncate)) if truncate < 1 => fail("truncate", truncate, "1 timestep or more"),
            _ => Ok(()),
        }
    }

    /// Checks that the neurons of `network` can be trained so.
    ///
    /// # Errors
    /// If the method needs a rate and a layer's neurons have none; the error says which methods work.
    pub fn check(self, network: &SpikingSequential) -> Result<(), TrainError> {
        let without = first_without_rate(network);
        match (self, without) {
            (Self::Rate | Self::SpikingAware { .. }, Some((layer, model))) => Err(TrainError::Method(format!(
                "the method {} needs neurons with a rate, and those of {layer}, of type {model}, have none: expected \
                 training.method = {{ type = \"surrogate\" }}",
                self.name()
            ))),
            _ => Ok(()),
        }
    }

    /// Whether it is the default, which is omitted in files.
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The computation of neurons in a pass.
    fn mode(self) -> Mode {
        match self {
            Self::Rate => Mode::Rates,
            Self::SpikingAware { .. } => Mode::SpikingAware,
            Self::Surrogate { surrogate, truncate, .. } => Mode::Surrogate { surrogate, truncate },
        }
    }

    /// Runs `network` on `input` as this method trains it, from a fresh state. `first_sample` is the number of the first
    /// sample, on which the noise of noisy neurons depends.
    pub(super) fn forward(
        self,
        network: &SpikingSequential,
        input: &Activity,
        training: Option<TrainingStep>,
        first_sample: u64,
        observer: Option<&mut dyn Observer>,
    ) -> Result<Activity> {
        let Some(steps) = self.steps(network) else {
            return forward(network, input, None, &mut Pass { training, observer, ..Pass::rates() });
        };
        let steps = input.steps().unwrap_or(steps);
        let mut state = network.zero_state(input.batch())?;
        state.set_first_sample(first_sample);
        forward(network, input, Some(&mut state), &mut Pass { mode: self.mode(), steps, training, observer })
    }

    /// The first layer whose output contains a NaN or an infinity for this input, if any.
    pub(super) fn first_non_finite_layer<'a>(
        self,
        network: &'a SpikingSequential,
        input: &Activity,
    ) -> Result<Option<&'a Layer>> {
        let _without_gradient = tch::no_grad_guard();
        let mut found = FirstNonFinite::default();
        self.forward(network, input, None, 0, Some(&mut found))?;
        Ok(found.index.map(|index| &network.layers()[index]))
    }
}

/// The name and neuron model of the first layer whose neurons have no rate.
fn first_without_rate(network: &SpikingSequential) -> Option<(&str, &'static str)> {
    network.layers().iter().find_map(|layer| match layer.kind() {
        LayerKind::Neuron(spec) if spec.model.rate().is_none() => Some((layer.name(), spec.model.name())),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_read_as_the_documentation_writes_them() {
        let read = |text: &str| toml::from_str::<Method>(text);
        let full = "type = 'surrogate'\nsteps = 8\nsurrogate = { type = 'atan', alpha = 2.0 }\ntruncate = 4";
        let expected =
            Method::Surrogate { steps: Some(8), surrogate: Surrogate::Atan { alpha: 2.0 }, truncate: Some(4) };
        assert_eq!(read(full).unwrap(), expected);
        assert_eq!(toml::from_str::<Method>(&toml::to_string(&expected).unwrap()).unwrap(), expected);
        assert_eq!(read("type = 'spiking_aware'").unwrap(), Method::SpikingAware { steps: None });
        let error = read("type = 'rate'\nsteps = 3").unwrap_err().to_string();
        assert!(error.contains("unknown field `steps`"), "{error}");
    }

    #[test]
    fn parameters_are_checked_by_name() {
        let surrogate = |steps, alpha, truncate| Method::Surrogate {
            steps: Some(steps),
            surrogate: Surrogate::Atan { alpha },
            truncate: Some(truncate),
        };
        surrogate(10_000, 2.0, 1).validate().unwrap();
        for (method, expected) in [
            (surrogate(0, 2.0, 1), "steps = 0"),
            (surrogate(10_001, 2.0, 1), "steps = 10001"),
            (surrogate(1, -1.0, 1), "alpha = -1"),
            (surrogate(1, 2.0, 0), "truncate = 0"),
            (Method::SpikingAware { steps: Some(-3) }, "steps = -3"),
        ] {
            let error = method.validate().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
