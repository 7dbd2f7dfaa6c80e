//! The training loop.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use tch::nn::VarStore;
use tch::{Device, Kind, Reduction, Tensor};

use super::batches::{Order, labelled};
use super::{EpochMetrics, Optimizer, Running, TrainError};
use crate::data::{Dataset, Source};
use crate::error::Result;
use crate::evaluate::{Labelled, rate_accuracy, spiking};
use crate::experiment::Experiment;
use crate::network::SpikingSequential;

/// How often the sums on a device are read, which makes the host wait for it. (On the CPU there is nothing to wait for.)
const STEPS_BETWEEN_READS: u64 = 50;

/// Trains a network on images as rates, epoch by epoch, and can be stopped and saved between any two steps.
#[derive(Debug)]
pub struct Trainer {
    pub(super) experiment: Experiment,
    pub(super) source: Source,
    pub(super) network: SpikingSequential,
    pub(crate) optimizer: Optimizer,
    pub(crate) position: Position,
    pub(super) training: Labelled,
    validation: Labelled,
    test: Labelled,
}

/// How far a training has come: with weights and optimiser state all that a resumed run needs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// Epochs done.
    pub epoch: u64,
    /// Steps done in the epoch under way.
    pub step: u64,
    /// The sums of the epoch under way.
    pub running: Running,
    /// The epochs done.
    pub history: Vec<EpochMetrics>,
}

/// How a call of [`Trainer::run`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All epochs are done.
    Finished,
    /// Stopped between two steps, as asked.
    Interrupted,
}

/// What a training tells while it runs. Every method does nothing by default.
pub trait Observer {
    /// A step was done.
    fn step(&mut self, _progress: &Progress) {}
    /// An epoch was done and evaluated.
    ///
    /// # Errors
    /// End the training.
    fn epoch(&mut self, _trainer: &Trainer, _metrics: &EpochMetrics) -> Result<()> {
        Ok(())
    }
}

/// Nobody watches.
impl Observer for () {}

/// Where a training is.
#[derive(Clone, Debug)]
pub struct Progress<'a> {
    /// The epoch under way, counted from 1.
    pub epoch: u64,
    /// How many epochs there will be.
    pub epochs: u64,
    /// Steps done in this epoch.
    pub step: u64,
    /// Steps in an epoch.
    pub steps: u64,
    /// The epoch's sums so far.
    pub running: &'a Running,
}

impl Trainer {
    /// A training from the start.
    ///
    /// # Errors
    /// If the experiment is not valid or the network does not fit the data.
    pub fn new(experiment: Experiment, data: &Dataset, device: Device) -> Result<Self> {
        experiment.training.validate()?;
        let vs = VarStore::new(device);
        let network = SpikingSequential::new(&vs.root(), &experiment.network, experiment.seed)?;
        let optimizer = Optimizer::new(experiment.training.optimizer, network.named_parameters())?;
        if data.train.is_empty() {
            return Err(TrainError::Misfit("there are no training images".to_string()).into());
        }
        Ok(Self {
            training: labelled(&data.train, &network)?,
            validation: labelled(&data.validation, &network)?,
            test: labelled(&data.test, &network)?,
            source: data.source.clone(),
            position: Position::default(),
            experiment,
            network,
            optimizer,
        })
    }

    /// The experiment being run.
    pub fn experiment(&self) -> &Experiment {
        &self.experiment
    }

    /// Which data it trains on.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The network being trained.
    pub fn network(&self) -> &SpikingSequential {
        &self.network
    }

    /// How many images it trains on.
    pub fn training_images(&self) -> i64 {
        self.training.len()
    }

    /// The test images; not looked at in training.
    pub fn test(&self) -> &Labelled {
        &self.test
    }

    /// How far it has come.
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// About how much memory (bytes) a simulation may take.
    pub fn memory(&self) -> usize {
        self.experiment.simulation.memory_mib.saturating_mul(1 << 20)
    }

    /// The kind of the images that a training step takes.
    pub(super) fn input_kind(&self) -> Kind {
        self.experiment.training.precision.input_kind(self.network.kind())
    }

    /// Trains until all epochs are done, or `stop` is set: then the step under way is finished.
    ///
    /// # Errors
    /// If the loss is not finite any more, memory runs out, or the observer fails.
    pub fn run(&mut self, observer: &mut dyn Observer, stop: &AtomicBool) -> Result<Outcome> {
        self.experiment.training.precision.set_up();
        while self.position.epoch < self.experiment.training.epochs {
            if self.run_epoch(observer, stop)? == Outcome::Interrupted {
                return Ok(Outcome::Interrupted);
            }
            let metrics = self.finish_epoch()?;
            observer.epoch(self, &metrics)?;
        }
        Ok(Outcome::Finished)
    }

    fn run_epoch(&mut self, observer: &mut dyn Observer, stop: &AtomicBool) -> Result<Outcome> {
        let Experiment { seed, ref training, .. } = self.experiment;
        let (epoch, epochs, batch) = (self.position.epoch, training.epochs, training.batch_size);
        let device = self.network.device();
        let order = Order::new(self.training.len(), batch, seed, epoch, device)?;
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
        let (images, labels) = order.batch(&self.training, index, self.input_kind())?;
        self.optimizer.zero_grad();
        let output = self.network.forward_training(&images, self.position.epoch * order.batches() + index)?;
        let loss = cross_entropy(&output, &labels)?;
        loss.f_backward()?;
        self.optimizer.step(self.learning_rate(index as f64 / order.batches() as f64))?;
        self.position.step += 1;
        sums.add(&output, &loss, &labels)
    }

    /// The learning rate at `part` of the epoch under way.
    fn learning_rate(&self, part: f64) -> f64 {
        let training = &self.experiment.training;
        let done = self.position.epoch as f64 + part;
        training.learning_rate * training.schedule.factor(done, training.epochs as f64)
    }

    /// Adds the device's sums to the epoch's.
    fn read(&mut self, sums: &mut Sums, since: &mut Instant) -> Result<()> {
        let running = &mut self.position.running;
        running.loss += sums.loss.f_double_value(&[])?;
        running.right += sums.right.f_int64_value(&[])?;
        running.images += sums.images;
        running.seconds += since.elapsed().as_secs_f64();
        *sums = Sums::new(sums.loss.device())?;
        *since = Instant::now();
        Ok(())
    }

    fn check_finite(&self, order: &Order) -> Result<()> {
        if self.position.running.loss.is_finite() {
            return Ok(());
        }
        let (images, _) = order.batch(&self.training, self.position.step - 1, self.input_kind())?;
        let layer = self.network.first_non_finite_layer(&crate::engine::Activity::Constant(images))?;
        Err(TrainError::NonFinite {
            loss: self.position.running.loss,
            epoch: self.position.epoch + 1,
            step: self.position.step,
            layer: layer.map_or("none now (only the gradient was)".to_string(), |layer| layer.name().to_string()),
        }
        .into())
    }

    fn finish_epoch(&mut self) -> Result<EpochMetrics> {
        let learning_rate = self.learning_rate(1.0);
        let running = std::mem::take(&mut self.position.running);
        self.position.epoch += 1;
        self.position.step = 0;
        let sample = match self.validation.is_empty() {
            true => &self.training,
            false => &self.validation,
        }
        .first(self.experiment.simulation.sample as i64);
        let validation_accuracy = match self.validation.is_empty() {
            true => None,
            false => Some(rate_accuracy(&self.network, &self.validation)?),
        };
        let spiking_accuracy = match sample.is_empty() {
            true => None,
            false => {
                let steps = self.network.spec().steps;
                Some(spiking(&self.network, &sample, steps, self.memory(), &mut |_| {})?.accuracy())
            }
        };
        let metrics = EpochMetrics {
            epoch: self.position.epoch,
            loss: running.mean_loss(),
            train_accuracy: running.accuracy(),
            validation_accuracy,
            spiking_accuracy,
            learning_rate,
            images_per_second: running.images_per_second(),
            seconds: running.seconds,
        };
        self.position.history.push(metrics.clone());
        Ok(metrics)
    }
}

/// Cross-entropy of `output` `[B, classes]` (as logits) against `labels` `[B]`, mean over the batch.
pub(super) fn cross_entropy(output: &Tensor, labels: &Tensor) -> Result<Tensor, tch::TchError> {
    const NO_IGNORED_CLASS: i64 = -100;
    output.f_cross_entropy_loss(labels, None::<Tensor>, Reduction::Mean, NO_IGNORED_CLASS, 0.0)
}

/// Sums kept on the device, so that no step waits for them.
struct Sums {
    loss: Tensor,
    right: Tensor,
    images: i64,
}

impl Sums {
    fn new(device: Device) -> Result<Self, tch::TchError> {
        Ok(Self {
            loss: Tensor::f_zeros([] as [i64; 0], (Kind::Double, device))?,
            right: Tensor::f_zeros([] as [i64; 0], (Kind::Int64, device))?,
            images: 0,
        })
    }

    fn add(&mut self, output: &Tensor, loss: &Tensor, labels: &Tensor) -> Result<()> {
        let _without_gradient = tch::no_grad_guard();
        let images = labels.size()[0];
        self.loss = self.loss.f_add(&loss.f_to_kind(Kind::Double)?.f_mul_scalar(images)?)?;
        let right = output.f_argmax(-1, false)?.f_eq_tensor(labels)?.f_sum(Kind::Int64)?;
        self.right = self.right.f_add(&right)?;
        self.images += images;
        Ok(())
    }
}
