//! The training loop.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tch::{Device, Tensor};

use super::order::{Order, share, share_start};
use super::sums::Sums;
use super::watch::Watch;
use super::{EpochMetrics, Method, Observer, Outcome, Progress, TrainError, Trainer};
use crate::engine::TrainingStep;
use crate::error::Result;

/// The interval in steps at which sums are read from the device, which blocks the host. (On the CPU there is no wait.)
const STEPS_BETWEEN_READS: u64 = 50;

/// The number of the first trained sample, for the noise of noisy neurons: that of evaluations is another.
const FIRST_TRAINED: u64 = 1 << 40;

impl Trainer {
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
