//! An experiment with its trainer.

use std::sync::atomic::AtomicBool;

use tch::Device;
use tch::nn::VarStore;

use super::until::Until;
use super::{Experiment, RatesAndSpikes, Summary};
use crate::data::{Dataset, DatasetName, Samples, Source, Splits, Target, has_rates, load_splits};
use crate::error::Result;
use crate::evaluate::rate_accuracy;
use crate::network::SpikingSequential;
use crate::train::{Observer, Outcome, Trainer, score_rates};

/// A running experiment: its trainer and test samples.
///
/// A registered data set (see [`register`](crate::data::register)) is used by its name:
///
/// ```
/// use tch::{Device, Kind, Tensor};
/// use tch_spiking::data::{self, Batch, Samples, Splits, Target};
/// use tch_spiking::engine::Activity;
/// use tch_spiking::run::Run;
/// use tch_spiking::{Experiment, Result};
///
/// /// One sine, and its square.
/// #[derive(Debug)]
/// struct Squares;
///
/// impl Samples for Squares {
///     fn len(&self) -> i64 {
///         64
///     }
///     fn batch(&self, rows: &[i64], to: Device, kind: Kind) -> Result<Batch> {
///         let sine = Tensor::f_from_slice(rows)?.f_unsqueeze(-1)?.f_to_kind(kind)?.f_to_device(to)?.f_sin()?;
///         Ok(Batch { target: Target::Values(&sine * &sine), input: Activity::Constant(sine) })
///     }
/// }
///
/// data::register("squares", |_, _| Ok(Splits { train: Box::new(Squares), validation: None, test: None }))?;
/// let experiment = Experiment::from_toml(
///     "
///     [data]
///     dataset = 'squares'
///     [training]
///     epochs = 2
///     objective = 'mean_squared_error'
///     [network]
///     input = [1]
///     layers = [
///         { type = 'linear', out_features = 50 },
///         { type = 'lif', amplitude = 0.01, max_rate = 100 },
///         { type = 'linear', out_features = 1 },
///     ]
///     ",
/// )?;
/// let mut run = Run::load(experiment, Device::Cpu, &mut |_| {})?;
/// run.run(&mut (), &Default::default())?;
/// assert_eq!(run.trainer().position().history.len(), 2);
/// # Ok::<(), tch_spiking::Error>(())
/// ```
#[derive(Debug)]
pub struct Run {
    experiment: Experiment,
    source: Source,
    trainer: Trainer,
    test: Option<Box<dyn Samples + Send>>,
    /// The evaluation of samples.
    evaluation: RatesAndSpikes,
}

impl Run {
    /// Creates a run of `experiment` from the start, on the images of `data`.
    ///
    /// # Errors
    /// If the experiment is not valid or the network does not match the data.
    pub fn new(experiment: Experiment, data: &Dataset, device: Device) -> Result<Self> {
        let network = network(&experiment, device)?;
        let splits = Splits::of_images(data, &network)?;
        Self::with(experiment, network, data.source.clone(), splits)
    }

    /// Creates a run of `experiment` from the start, on its own data set; `notice` receives messages about loading
    /// it.
    ///
    /// # Errors
    /// As for [`new`](Self::new), and if the data is not available.
    pub fn load(experiment: Experiment, device: Device, notice: &mut dyn FnMut(&str)) -> Result<Self> {
        let network = network(&experiment, device)?;
        let (source, splits) = load_splits(&experiment.data, experiment.seed, &network, notice)?;
        Self::with(experiment, network, source, splits)
    }

    fn with(mut experiment: Experiment, network: SpikingSequential, source: Source, splits: Splits) -> Result<Self> {
        // The data set that was used, not the requested one: "auto" may resolve differently later.
        experiment.data.dataset = DatasetName::from(&source);
        let Splits { train, validation, test } = splits;
        let classes = match train.is_empty() {
            true => false,
            false => matches!(train.batch(&[0], network.device(), network.kind())?.target, Target::Classes(_)),
        };
        if let Some(test) = &test {
            test.check(&network)?;
        }
        let memory = experiment.simulation.memory_mib.saturating_mul(1 << 20);
        let evaluation = RatesAndSpikes { classes, sample: experiment.simulation.sample, memory };
        let mut trainer = Trainer::new(network, experiment.training.clone(), experiment.seed, train)?
            .with_dataset(source.name())
            .with_experiment(experiment.to_toml().ok())
            .with_evaluation(evaluation);
        if let Some(validation) = validation {
            trainer = trainer.with_validation(validation)?;
        }
        Ok(Self { experiment, source, trainer, test, evaluation })
    }

    /// The experiment.
    pub fn experiment(&self) -> &Experiment {
        &self.experiment
    }

    /// The data set that it trains on.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The trainer.
    pub fn trainer(&self) -> &Trainer {
        &self.trainer
    }

    /// The trainer, mutable.
    pub fn trainer_mut(&mut self) -> &mut Trainer {
        &mut self.trainer
    }

    /// Returns the trainer.
    pub fn into_trainer(self) -> Trainer {
        self.trainer
    }

    /// The test samples, if any.
    pub fn test_samples(&self) -> Option<&dyn Samples> {
        self.test.as_deref().filter(|samples| !samples.is_empty()).map(|samples| samples as &dyn Samples)
    }

    /// Trains the network, see [`Trainer::run`].
    ///
    /// # Errors
    /// As for [`Trainer::run`].
    pub fn run(&mut self, observer: &mut dyn Observer, stop: &AtomicBool) -> Result<Outcome> {
        self.trainer.run(observer, stop)
    }

    /// Tests the current weights, or their average if the training has one, as rates and as spikes, for the specification's number of timesteps; `None` without
    /// test samples. `progress` receives the number of samples completed as spikes.
    ///
    /// # Errors
    /// If memory runs out or the samples cannot be read.
    pub fn test(&self, progress: &mut dyn FnMut(i64)) -> Result<Option<Summary>> {
        self.test_until(progress, &AtomicBool::new(false))
    }

    /// The same, but ends with [`TrainError::Stopped`](crate::train::TrainError::Stopped) within a batch of samples
    /// once `stop` is set.
    ///
    /// # Errors
    /// As for [`test`](Self::test), and if stopped.
    pub fn test_until(&self, progress: &mut dyn FnMut(i64), stop: &AtomicBool) -> Result<Option<Summary>> {
        self.trainer.with_average(|_| self.test_weights(progress, stop))
    }

    fn test_weights(&self, progress: &mut dyn FnMut(i64), stop: &AtomicBool) -> Result<Option<Summary>> {
        let Some(samples) = self.test_samples() else { return Ok(None) };
        let test = &Until { samples, stop };
        let (network, objective) = (self.trainer.network(), self.trainer.objective());
        let (test_rate_accuracy, test_rate_loss) = match (has_rates(network, samples)?, self.evaluation.classes) {
            (true, true) => (Some(rate_accuracy(network, test)?), None),
            (true, false) => (None, Some(score_rates(network, test, objective)?.loss)),
            (false, _) => (None, None),
        };
        let all = RatesAndSpikes { sample: usize::MAX, ..self.evaluation };
        // All that it was trained for, if the network's own number of steps is lower.
        let steps = network.spec().steps.max(self.trainer.method().steps(network).unwrap_or(1));
        let spikes = all.spikes(network, test, objective, steps, progress)?;
        let position = self.trainer.position();
        Ok(Some(Summary {
            dataset: self.source.clone(),
            train_images: self.trainer.training().len(),
            epochs: position.epoch,
            seed: self.experiment.seed,
            device: format!("{:?}", network.device()).to_lowercase(),
            test_images: test.len(),
            test_rate_accuracy,
            test_spiking_accuracy: spikes.by_step.last().copied(),
            test_accuracy_by_step: spikes.by_step,
            test_rate_loss,
            test_spiking_loss: spikes.loss,
            training_seconds: position.history.iter().map(|metrics| metrics.seconds).sum(),
            version: env!("CARGO_PKG_VERSION").to_string(),
        }))
    }
}

/// The network of the experiment with initial weights.
fn network(experiment: &Experiment, device: Device) -> Result<SpikingSequential> {
    experiment.training.validate()?;
    SpikingSequential::new(&VarStore::new(device).root(), &experiment.network, experiment.seed)
}
