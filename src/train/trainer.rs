//! The training loop.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tch::{Device, Kind, Tensor};

use super::average::Average;
use super::evaluation::{AsTrained, Evaluation};
use super::order::{Order, share, share_start};
use super::regulariser::Regularisers;
use super::stage::Stage;
use super::sums::Sums;
use super::watch::Watch;
use super::{
    EpochMetrics, GradientSync, Method, Objective, Observer, OneProcess, Optimizer, Outcome, Position, Progress,
    TrainError, TrainingConfig,
};
use crate::data::{AugmentationKey, Batch, Samples, measure_standardization};
use crate::engine::TrainingStep;
use crate::error::Result;
use crate::network::SpikingSequential;

/// The interval in steps at which sums are read from the device, which blocks the host. (On the CPU there is no wait.)
const STEPS_BETWEEN_READS: u64 = 50;

/// The number of the first trained sample, for the noise of noisy neurons: that of evaluations is another.
const FIRST_TRAINED: u64 = 1 << 40;

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
    sync: Box<dyn GradientSync>,
    evaluation: Box<dyn Evaluation>,
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

    /// Trains until all epochs are completed, or until `stop` is set; the current step is then completed.
    ///
    /// # Errors
    /// If the loss is not finite, memory runs out, or samples, objective, synchronisation or observer fail.
    pub fn run(&mut self, observer: &mut dyn Observer, stop: &AtomicBool) -> Result<Outcome> {
        while self.position.epoch < self.epochs() {
            self.stage.config.precision.set_up();
            if self.run_epoch(observer, stop)? == Outcome::Interrupted {
                return Ok(Outcome::Interrupted);
            }
            let metrics = self.finish_epoch()?;
            // Before the observer saves a checkpoint, which is to hold the state of the optimiser of its own stage.
            self.enter_stage_of(self.position.epoch)?;
            observer.epoch(self, &metrics)?;
        }
        Ok(Outcome::Finished)
    }

    fn run_epoch(&mut self, observer: &mut dyn Observer, stop: &AtomicBool) -> Result<Outcome> {
        let (epoch, epochs) = (self.position.epoch, self.epochs());
        let device = self.network.device();
        let order = self.order(epoch);
        let mut sums = Sums::new(device)?;
        let mut since = Instant::now();
        while self.position.step < order.batches() {
            if stop.load(Ordering::Relaxed) {
                self.read(&mut sums, &mut since)?;
                return Ok(Outcome::Interrupted);
            }
            self.step(&order, &mut sums)?;
            let last = self.position.step == order.batches();
            if device == Device::Cpu || last || self.position.step.is_multiple_of(STEPS_BETWEEN_READS) {
                self.read(&mut sums, &mut since)?;
                self.check_finite(&order)?;
            }
            let (step, running) = (self.position.step, &self.position.running);
            observer.step(&Progress { epoch: epoch + 1, epochs, step, steps: order.batches(), running });
        }
        Ok(Outcome::Finished)
    }

    fn step(&mut self, order: &Order, sums: &mut Sums) -> Result<()> {
        let index = self.position.step;
        let whole = order.rows(index);
        let own = share(whole, self.sync.rank(), self.sync.size());
        let batch = self.batch(own)?;
        self.optimizer.zero_grad();
        let training = TrainingStep { number: self.position.epoch * order.batches() + index };
        let presented = FIRST_TRAINED + self.position.epoch * order.samples() + order.before(index);
        let first = presented + share_start(whole, self.sync.rank(), self.sync.size()) as u64;
        let mut watch = Watch::new(&self.network, self.objective.readout()).and_layers(self.regularisers.layers());
        let output = watch.run(self.method(), &self.network, &batch.input, Some(training), first)?;
        let loss = self.objective.loss(&output, &batch.target)?;
        let loss = self.regularisers.add_to(loss, &self.network, &watch.outputs)?;
        drop(watch);
        weighted(&loss, own.len() as i64 * self.sync.size(), whole.len() as i64)?.f_backward()?;
        let gradients = self.optimizer.gradients();
        self.sync.reduce(&gradients)?;
        self.stage.config.clipping.apply(&gradients)?;
        let part = 1.0 / order.batches() as f64;
        self.optimizer.step(self.learning_rate(index as f64 / order.batches() as f64, part))?;
        if let Some(average) = &mut self.average {
            average.update()?;
        }
        self.position.step += 1;
        let right = tch::no_grad(|| self.objective.right(&output, &batch.target))?;
        Ok(sums.add(own.len() as i64, &loss, right)?)
    }

    /// The learning rate at the fraction `part` of the current epoch, for a step that takes the fraction `step` of it.
    fn learning_rate(&self, part: f64, step: f64) -> f64 {
        let done = (self.position.epoch - self.stage.start) as f64 + part;
        self.stage.config.learning_rate * self.stage.config.factor(done, step)
    }

    /// Adds the sums on the device to the sums of the epoch.
    fn read(&mut self, sums: &mut Sums, since: &mut Instant) -> Result<()> {
        let running = &mut self.position.running;
        sums.move_to(running)?;
        running.seconds += since.elapsed().as_secs_f64();
        *since = Instant::now();
        Ok(())
    }

    fn check_finite(&self, order: &Order) -> Result<()> {
        if self.position.running.loss.is_finite() {
            return Ok(());
        }
        let rows = share(order.rows(self.position.step - 1), self.sync.rank(), self.sync.size());
        let layer = self.method().first_non_finite_layer(&self.network, &self.batch(rows)?.input)?;
        Err(TrainError::NonFinite {
            loss: self.position.running.loss,
            epoch: self.position.epoch + 1,
            step: self.position.step,
            layer: layer.map_or("none (only a gradient was not finite)".to_string(), |layer| layer.name().to_string()),
        }
        .into())
    }

    fn finish_epoch(&mut self) -> Result<EpochMetrics> {
        let learning_rate = self.learning_rate(1.0, 0.0);
        let running = std::mem::take(&mut self.position.running);
        self.position.epoch += 1;
        self.position.step = 0;
        let evaluated = self.with_average(|trainer| trainer.evaluation.evaluate(trainer))?;
        let metrics = EpochMetrics {
            epoch: self.position.epoch,
            stage: (self.stages.len() > 1).then_some(self.stage.index as u64 + 1),
            loss: running.mean_loss(),
            train_accuracy: running.accuracy(),
            validation_accuracy: evaluated.validation_accuracy,
            spiking_accuracy: evaluated.spiking_accuracy,
            spiking_steps: evaluated.spiking_steps,
            spikes_per_image: evaluated.spikes_per_image,
            validation_loss: evaluated.validation_loss,
            spiking_loss: evaluated.spiking_loss,
            trained_as_spikes: self.method() != Method::Rate,
            learning_rate,
            images_per_second: running.images_per_second(),
            seconds: running.seconds,
        };
        self.position.add(metrics.clone());
        Ok(metrics)
    }
}

/// Scales the loss of `own` rows of a batch of `whole` rows, so that the mean of the processes' gradients is that of
/// the batch.
fn weighted(loss: &Tensor, own: i64, whole: i64) -> Result<Tensor, tch::TchError> {
    match own == whole {
        true => Ok(loss.shallow_clone()),
        false => loss.f_mul_scalar(own as f64 / whole as f64),
    }
}
