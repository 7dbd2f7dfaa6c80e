//! Stages of a training: the `[[training.stages]]` of an experiment.

use serde::{Deserialize, Serialize};

use super::average::Average;
use super::regulariser::Regularisers;
use super::{
    Clipping, Method, ObjectiveConfig, Optimizer, OptimizerConfig, Precision, Regulariser, Schedule, TrainError,
    Trainer, TrainingConfig,
};
use crate::data::Augmentation;
use crate::error::Result;
use crate::network::SpikingSequential;

/// A stage of a training. What it does not say is taken from `[training]`.
///
/// ```
/// use tch_spiking::Experiment;
///
/// let experiment = Experiment::from_toml(
///     "
///     [training]
///     batch_size = 100
///     [[training.stages]]
///     epochs = 10
///     [[training.stages]]
///     epochs = 2
///     learning_rate = 1e-4
///     method = { type = 'surrogate', steps = 8 }
///     ",
/// )?;
/// let stages = experiment.training.in_stages();
/// assert_eq!((stages[0].learning_rate, stages[1].learning_rate, stages[1].batch_size), (0.001, 1e-4, 100));
/// assert_eq!(experiment.training.total_epochs(), 12);
/// # Ok::<(), tch_spiking::Error>(())
/// ```
///
/// The learning rate's schedule and warm-up begin again with every stage. The optimiser goes on with its state (moments,
/// number of steps) where a stage has the same optimiser with the same parameters as the one before, and starts afresh
/// otherwise; the same holds for the moving average of the weights and its decay.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StageConfig {
    /// The number of epochs of this stage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epochs: Option<u64>,
    /// The number of samples per step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_size: Option<usize>,
    /// The learning rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
    /// The number of epochs of warm-up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warm_up: Option<f64>,
    /// The decay of the average of the weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ema: Option<f64>,
    /// The number format.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub precision: Option<Precision>,
    /// The objective.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objective: Option<ObjectiveConfig>,
    /// How the neurons compute in a training step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<Method>,
    /// The optimiser.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub optimizer: Option<OptimizerConfig>,
    /// The learning rate schedule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// The random transformations of training images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub augmentation: Option<Augmentation>,
    /// The largest gradient of a step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clipping: Option<Clipping>,
    /// Penalties on the neurons' activity, in place of those of `[training]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regularisers: Option<Vec<Regulariser>>,
}

impl StageConfig {
    /// The complete configuration of this stage.
    fn of(&self, training: &TrainingConfig) -> TrainingConfig {
        TrainingConfig {
            epochs: self.epochs.unwrap_or(training.epochs),
            batch_size: self.batch_size.unwrap_or(training.batch_size),
            learning_rate: self.learning_rate.unwrap_or(training.learning_rate),
            warm_up: self.warm_up.unwrap_or(training.warm_up),
            ema: self.ema.unwrap_or(training.ema),
            precision: self.precision.unwrap_or(training.precision),
            objective: self.objective.as_ref().unwrap_or(&training.objective).clone(),
            method: self.method.unwrap_or(training.method),
            optimizer: self.optimizer.unwrap_or(training.optimizer),
            schedule: self.schedule.unwrap_or(training.schedule),
            augmentation: self.augmentation.as_ref().or(training.augmentation.as_ref()).cloned(),
            clipping: self.clipping.unwrap_or(training.clipping),
            regularisers: self.regularisers.as_ref().unwrap_or(&training.regularisers).clone(),
            stages: vec![],
        }
    }
}

impl TrainingConfig {
    /// The complete configuration of every stage, without stages in it; one of the same values if there are none.
    pub fn in_stages(&self) -> Vec<TrainingConfig> {
        match self.stages.is_empty() {
            true => vec![self.clone()],
            false => self.stages.iter().map(|stage| stage.of(self)).collect(),
        }
    }
}

/// A stage at its place in a training.
#[derive(Clone, Debug)]
pub(super) struct Stage {
    /// Its number, from 0.
    pub(super) index: usize,
    /// The number of epochs before it.
    pub(super) start: u64,
    /// Its complete configuration.
    pub(super) config: TrainingConfig,
}

impl Stage {
    /// The stages of `config`, in order.
    pub(super) fn all(config: &TrainingConfig) -> Vec<Self> {
        let mut start = 0_u64;
        let place = |(index, config): (usize, TrainingConfig)| {
            let stage = Self { index, start, config };
            start = start.saturating_add(stage.config.epochs);
            stage
        };
        config.in_stages().into_iter().enumerate().map(place).collect()
    }

    /// Checks that it can train `network`.
    pub(super) fn check(&self, network: &SpikingSequential) -> Result<(), TrainError> {
        self.config.method.check(network)?;
        Regularisers::new(&self.config.regularisers, network).map(|_| ())
    }

    /// The average of the weights at its start, if it has one.
    pub(super) fn average(&self, network: &SpikingSequential) -> Option<Average> {
        (self.config.ema > 0.0).then(|| Average::new(self.config.ema, network.named_parameters()))
    }
}

impl Trainer {
    /// The stage of an epoch, from 0; after the last epoch, the last stage.
    pub(super) fn stage_of(&self, epoch: u64) -> &Stage {
        self.stages.iter().rev().find(|stage| stage.start <= epoch).unwrap_or(&self.stage)
    }

    /// Enters the stage of `epoch`, if it is another than the current one.
    pub(super) fn enter_stage_of(&mut self, epoch: u64) -> Result<()> {
        let stage = self.stage_of(epoch).clone();
        if stage.index == self.stage.index {
            return Ok(());
        }
        let objective = stage.config.objective.for_samples(self.still).make()?;
        let regularisers = Regularisers::new(&stage.config.regularisers, &self.network)?;
        if stage.config.optimizer != self.optimizer.config() {
            self.optimizer = Optimizer::new(stage.config.optimizer, self.network.named_parameters())?;
        }
        if stage.config.ema != self.stage.config.ema {
            self.average = stage.average(&self.network);
        }
        if !self.own_objective {
            self.objective = objective;
        }
        self.regularisers = regularisers;
        self.stage = stage;
        Ok(())
    }

    /// Calls `work` while the network's weights are their moving average, if the training has one, and puts the trained
    /// ones back: for evaluating and saving.
    ///
    /// # Errors
    /// Those of `work`, or if memory runs out.
    pub fn with_average<T>(&self, work: impl FnOnce(&Self) -> Result<T>) -> Result<T> {
        let Some(average) = &self.average else { return work(self) };
        let trained = average.put_in()?;
        let result = work(self);
        average.put_back(&trained)?;
        result
    }
}
