//! The training loop.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tch::{Device, Kind, Tensor};

use super::evaluation::{AsRates, Evaluation};
use super::order::{Order, share};
use super::sums::Sums;
use super::{
    EpochMetrics, GradientSync, Objective, Observer, OneProcess, Optimizer, Outcome, Position, Progress, TrainError,
    TrainingConfig,
};
use crate::data::{Batch, Samples};
use crate::error::Result;
use crate::network::SpikingSequential;

/// The interval in steps at which sums are read from the device, which blocks the host. (On the CPU there is no wait.)
const STEPS_BETWEEN_READS: u64 = 50;

/// Trains a network as rates, epoch by epoch. It can be stopped and saved between any two steps.
///
/// Samples, objective, gradient synchronisation and evaluation are traits with default implementations: [`Samples`],
/// [`Objective`], [`GradientSync`], [`Evaluation`]. Constant samples are trained at their constant rates; for samples
/// that vary in time, synapses filter from a zero state (see [`rates_activity`](SpikingSequential::rates_activity)).
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
    pub(super) seed: u64,
    pub(super) dataset: Option<String>,
    pub(super) experiment: Option<String>,
    pub(super) training: Box<dyn Samples + Send>,
    validation: Option<Box<dyn Samples + Send>>,
    pub(super) objective: Box<dyn Objective>,
    sync: Box<dyn GradientSync>,
    evaluation: Box<dyn Evaluation>,
    pub(super) optimizer: Optimizer,
    pub(super) position: Position,
}

impl Trainer {
    /// A trainer of `network` on the samples `training`, from the start, with the objective of `config`, in one
    /// process. `seed` determines the order of the samples.
    ///
    /// # Errors
    /// If `config` is not valid, there are no samples, or they do not match the network.
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
        let batch = i64::try_from(config.batch_size).unwrap_or(i64::MAX).min(training.len());
        network.check_pass(batch, 1, true)?;
        training.check(&network)?;
        Ok(Self {
            optimizer: Optimizer::new(config.optimizer, network.named_parameters())?,
            objective: config.objective.make()?,
            training: Box::new(training),
            validation: None,
            sync: Box::new(OneProcess),
            evaluation: Box::new(AsRates),
            position: Position::default(),
            dataset: None,
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

    /// Replaces the objective of the config.
    pub fn with_objective(mut self, objective: impl Objective + 'static) -> Self {
        self.objective = Box::new(objective);
        self
    }

    /// Sets the gradient synchronisation with other processes.
    ///
    /// # Errors
    /// If a batch has fewer samples than there are processes.
    pub fn with_sync(mut self, sync: impl GradientSync + 'static) -> Result<Self> {
        let (processes, smallest) = (sync.size(), Order::smallest(self.training.len(), self.config.batch_size));
        if processes > smallest {
            return Err(TrainError::Shares { processes, smallest }.into());
        }
        self.sync = Box::new(sync);
        Ok(self)
    }

    /// Replaces the evaluation at the end of an epoch ([`AsRates`]).
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

    /// The seed of the order of the samples.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The name of the data, if set.
    pub fn dataset(&self) -> Option<&str> {
        self.dataset.as_deref()
    }

    /// The network being trained.
    pub fn network(&self) -> &SpikingSequential {
        &self.network
    }

    /// Returns the network in its current state of training.
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

    /// The position of the training.
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// The kind of the inputs of a training step.
    fn input_kind(&self) -> Kind {
        self.config.precision.input_kind(self.network.kind())
    }

    /// These samples to train on.
    pub(super) fn batch(&self, rows: &[i64]) -> Result<Batch> {
        self.training.batch(rows, self.network.device(), self.input_kind())
    }

    /// The order of the samples in this epoch.
    pub(super) fn order(&self, epoch: u64) -> Order {
        Order::new(self.training.len(), self.config.batch_size, self.seed, epoch)
    }

    /// Trains until all epochs are completed, or until `stop` is set; the current step is then completed.
    ///
    /// # Errors
    /// If the loss is not finite, memory runs out, or samples, objective, synchronisation or observer fail.
    pub fn run(&mut self, observer: &mut dyn Observer, stop: &AtomicBool) -> Result<Outcome> {
        self.config.precision.set_up();
        while self.position.epoch < self.config.epochs {
            if self.run_epoch(observer, stop)? == Outcome::Interrupted {
                return Ok(Outcome::Interrupted);
            }
            let metrics = self.finish_epoch()?;
            observer.epoch(self, &metrics)?;
        }
        Ok(Outcome::Finished)
    }

    fn run_epoch(&mut self, observer: &mut dyn Observer, stop: &AtomicBool) -> Result<Outcome> {
        let (epoch, epochs) = (self.position.epoch, self.config.epochs);
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
        let output = self.network.rates_activity(&batch.input, Some(self.position.epoch * order.batches() + index))?;
        let loss = self.objective.loss(&output, &batch.target)?;
        weighted(&loss, own.len() as i64 * self.sync.size(), whole.len() as i64)?.f_backward()?;
        self.sync.reduce(&self.optimizer.gradients())?;
        self.optimizer.step(self.learning_rate(index as f64 / order.batches() as f64))?;
        self.position.step += 1;
        let right = tch::no_grad(|| self.objective.right(&output, &batch.target))?;
        Ok(sums.add(own.len() as i64, &loss, right)?)
    }

    /// The learning rate at the fraction `part` of the current epoch.
    fn learning_rate(&self, part: f64) -> f64 {
        let done = self.position.epoch as f64 + part;
        self.config.learning_rate * self.config.schedule.factor(done, self.config.epochs as f64)
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
        let layer = self.network.first_non_finite_layer(&self.batch(rows)?.input)?;
        Err(TrainError::NonFinite {
            loss: self.position.running.loss,
            epoch: self.position.epoch + 1,
            step: self.position.step,
            layer: layer.map_or("none (only a gradient was not finite)".to_string(), |layer| layer.name().to_string()),
        }
        .into())
    }

    fn finish_epoch(&mut self) -> Result<EpochMetrics> {
        let learning_rate = self.learning_rate(1.0);
        let running = std::mem::take(&mut self.position.running);
        self.position.epoch += 1;
        self.position.step = 0;
        let evaluated = self.evaluation.evaluate(self)?;
        let metrics = EpochMetrics {
            epoch: self.position.epoch,
            loss: running.mean_loss(),
            train_accuracy: running.accuracy(),
            validation_accuracy: evaluated.validation_accuracy,
            spiking_accuracy: evaluated.spiking_accuracy,
            validation_loss: evaluated.validation_loss,
            spiking_loss: evaluated.spiking_loss,
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
