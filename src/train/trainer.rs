//! The trainer: what is trained, on what, and how.

use tch::Kind;

use super::average::Average;
use super::evaluation::{AsTrained, Evaluation};
use super::order::Order;
use super::regulariser::Regularisers;
use super::stage::Stage;
use super::{GradientSync, Method, Objective, OneProcess, Optimizer, Position, TrainError, TrainingConfig};
use crate::data::{AugmentationKey, Batch, Samples, measure_standardization};
use crate::error::Result;
use crate::network::SpikingSequential;

/// Trains a network by one of the [methods](super::Method), epoch by epoch. It can be stopped and saved between any two
/// steps.
///
/// Samples, objective, gradient synchronisation and evaluation are traits with default implementations: [`Samples`],
/// [`Objective`], [`GradientSync`], [`Evaluation`]. As rates, constant samples are trained at their constant rates; for
/// samples that vary in time, synapses filter from a zero state (see
/// [`rates_activity`](SpikingSequential::rates_activity)).
///
/// ```
/// use std::sync::atomic::AtomicBool;
///
/// use tch::nn::VarStore;
/// use tch::{Device, Kind, Tensor};
/// use tch_spiking::data::Labelled;
/// use tch_spiking::network::{Builder, NeuronSpec};
/// use tch_spiking::neuron::Lif;
/// use tch_spiking::train::{Trainer, TrainingConfig};
///
/// // Which of two numbers is larger?
/// let images = Tensor::arange(200, (Kind::Float, Device::Cpu)).sin().reshape([100, 2]);
/// let labels = images.argmax(1, false);
/// let lif = NeuronSpec::new(Lif { amplitude: 0.01, ..Lif::default() }).tuned(100.0, 0.0);
/// let network = Builder::new([2]).linear(20).layer(lif).linear(2).build(&VarStore::new(Device::Cpu).root(), 0)?;
///
/// let config = TrainingConfig { epochs: 20, batch_size: 10, learning_rate: 0.01, ..TrainingConfig::default() };
/// let mut trainer = Trainer::new(network, config, 0, Labelled { images, labels })?;
/// trainer.run(&mut (), &AtomicBool::new(false))?;
/// let accuracy = trainer.position().history[19].train_accuracy;
/// assert!(accuracy > Some(0.9), "{accuracy:?}");
/// # Ok::<(), tch_spiking::Error>(())
/// ```
#[derive(Debug)]
pub struct Trainer {
    pub(super) network: SpikingSequential,
    pub(super) config: TrainingConfig,
    pub(super) stages: Vec<Stage>,
    /// The stage that the position is in.
    pub(super) stage: Stage,
    pub(super) seed: u64,
    pub(super) dataset: Option<String>,
    pub(super) experiment: Option<String>,
    pub(super) training: Box<dyn Samples + Send>,
    validation: Option<Box<dyn Samples + Send>>,
    pub(super) objective: Box<dyn Objective>,
    /// Whether the program gave the objective, which then is that of all stages.
    pub(super) own_objective: bool,
    pub(super) regularisers: Regularisers,
    /// Whether samples stay the same over time.
    pub(super) still: bool,
    pub(super) sync: Box<dyn GradientSync>,
    pub(super) evaluation: Box<dyn Evaluation>,
    pub(super) optimizer: Optimizer,
    pub(super) average: Option<Average>,
    pub(super) position: Position,
}

impl Trainer {
    /// A trainer of `network` on the samples `training`, from the start, with the objective of `config`, in one
    /// process. `seed` determines the order of the samples. Layers that standardise by the statistics of the training
    /// samples get them here.
    ///
    /// # Errors
    /// If `config` is not valid, its method cannot train these neurons, there are no samples, or they do not match the
    /// network.
    pub fn new(
        network: SpikingSequential,
        config: TrainingConfig,
        seed: u64,
        training: impl Samples + Send + 'static,
    ) -> Result<Self> {
        config.validate()?;
        if training.is_empty() {
            return Err(TrainError::NoSamples.into());
        }
        let batch_of = |size: usize| i64::try_from(size).unwrap_or(i64::MAX).min(training.len());
        let stages = Stage::all(&config);
        for stage in &stages {
            stage.check(&network)?;
            let steps = stage.config.method.steps(&network).unwrap_or(1);
            network.check_pass(batch_of(stage.config.batch_size), steps, true)?;
        }
        training.check(&network)?;
        measure_standardization(&network, &training)?;
        for augmentation in stages.iter().filter_map(|stage| stage.config.augmentation.as_ref()) {
            let key = AugmentationKey { seed, epoch: 0 };
            augmentation.batch(&training, &[0], key, network.device(), network.kind())?;
        }
        let still = !training.batch(&[0], network.device(), network.kind())?.input.is_varying();
        let stage = stages[0].clone();
        Ok(Self {
            optimizer: Optimizer::new(stage.config.optimizer, network.named_parameters())?,
            average: stage.average(&network),
            objective: stage.config.objective.for_samples(still).make()?,
            own_objective: false,
            regularisers: Regularisers::new(&stage.config.regularisers, &network)?,
            still,
            training: Box::new(training),
            validation: None,
            sync: Box::new(OneProcess),
            evaluation: Box::new(AsTrained),
            position: Position::default(),
            dataset: None,
            stages,
            stage,
            experiment: None,
            network,
            config,
            seed,
        })
    }

    /// Sets the validation samples, evaluated after every epoch.
    ///
    /// # Errors
    /// If they do not match the network.
    pub fn with_validation(mut self, samples: impl Samples + Send + 'static) -> Result<Self> {
        samples.check(&self.network)?;
        self.validation = Some(Box::new(samples)).filter(|samples| !samples.is_empty()).map(|samples| samples as _);
        Ok(self)
    }

    /// Replaces the objective of the config, in all stages.
    pub fn with_objective(mut self, objective: impl Objective + 'static) -> Self {
        self.objective = Box::new(objective);
        self.own_objective = true;
        self
    }

    /// Sets the gradient synchronisation with other processes.
    ///
    /// # Errors
    /// If a batch has fewer samples than there are processes.
    pub fn with_sync(mut self, sync: impl GradientSync + 'static) -> Result<Self> {
        let smallest = |stage: &Stage| Order::smallest(self.training.len(), stage.config.batch_size);
        let (processes, smallest) = (sync.size(), self.stages.iter().map(smallest).min().unwrap_or(1));
        if processes > smallest {
            return Err(TrainError::Shares { processes, smallest }.into());
        }
        self.sync = Box::new(sync);
        Ok(self)
    }

    /// Replaces the evaluation at the end of an epoch ([`AsTrained`]).
    pub fn with_evaluation(mut self, evaluation: impl Evaluation + 'static) -> Self {
        self.evaluation = Box::new(evaluation);
        self
    }

    /// Sets the name of the data. Checkpoints record it; checkpoints of other data are rejected.
    pub fn with_dataset(mut self, name: impl Into<String>) -> Self {
        self.dataset = Some(name.into());
        self
    }

    /// The training configuration.
    pub fn config(&self) -> &TrainingConfig {
        &self.config
    }

    /// The total number of epochs.
    pub fn epochs(&self) -> u64 {
        self.stages.iter().map(|stage| stage.config.epochs).fold(0, u64::saturating_add)
    }

    /// The number of the current stage, from 1, and its complete configuration.
    pub fn stage(&self) -> (usize, &TrainingConfig) {
        (self.stage.index + 1, &self.stage.config)
    }

    /// The seed of the order of the samples.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The name of the data, if set.
    pub fn dataset(&self) -> Option<&str> {
        self.dataset.as_deref()
    }

    /// The network being trained; see [`with_average`](Self::with_average) for the average of its weights.
    pub fn network(&self) -> &SpikingSequential {
        &self.network
    }

    /// Returns the network in its current state of training; see [`with_average`](Self::with_average).
    pub fn into_network(self) -> SpikingSequential {
        self.network
    }

    /// The training samples.
    pub fn training(&self) -> &dyn Samples {
        &*self.training
    }

    /// The validation samples, if any.
    pub fn validation(&self) -> Option<&dyn Samples> {
        self.validation.as_deref().map(|samples| samples as &dyn Samples)
    }

    /// The objective.
    pub fn objective(&self) -> &dyn Objective {
        &*self.objective
    }

    /// How the neurons compute in a training step of the current stage.
    pub fn method(&self) -> Method {
        self.stage.config.method
    }

    /// The position of the training.
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// The kind of the inputs of a training step.
    fn input_kind(&self) -> Kind {
        self.stage.config.precision.input_kind(self.network.kind())
    }

    /// These samples to train on.
    pub(super) fn batch(&self, rows: &[i64]) -> Result<Batch> {
        let (device, kind) = (self.network.device(), self.input_kind());
        match &self.stage.config.augmentation {
            Some(augmentation) => {
                let key = AugmentationKey { seed: self.seed, epoch: self.position.epoch };
                augmentation.batch(&*self.training, rows, key, device, kind)
            }
            None => self.training.batch(rows, device, kind),
        }
    }

    /// The order of the samples in this epoch.
    pub(super) fn order(&self, epoch: u64) -> Order {
        Order::new(self.training.len(), self.stage.config.batch_size, self.seed, epoch)
    }
}
