//! The trainer on samples, objectives and processes of a program's own, and its checkpoints.

mod common;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex};

use common::{bits, distance, mixed};
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};
use tch_spiking::data::{self, Batch, DataConfig, DatasetName, Labelled, Samples, Splits, Target};
use tch_spiking::engine::Activity;
use tch_spiking::evaluate::{SpikingOptions, rate_accuracy, spiking_loss};
use tch_spiking::network::{Builder, Distribution, NeuronSpec};
use tch_spiking::neuron::Lif;
use tch_spiking::run::{Run, RunFolder};
use tch_spiking::train::{
    CrossEntropy, EpochMetrics, Evaluated, Evaluation, GradientSync, MeanSquaredError, Objective, Observer,
    OptimizerConfig, Outcome, Progress, Trainer, TrainingConfig, register_objective,
};
use tch_spiking::{Experiment, Result, SpikingSequential, Synapse, operation};

const SGD: OptimizerConfig = OptimizerConfig::Sgd { momentum: 0.0, nesterov: false, weight_decay: 0.0 };

/// Three arms of a spiral, `count` points each.
fn spirals(count: i64) -> Labelled {
    let labels = Tensor::arange(3, (Kind::Int64, Device::Cpu)).repeat_interleave_self_int(count, 0, None);
    let along = mixed(0.05, 1.0, &[3 * count], Kind::Float);
    let angle = &along * 5.0 + &labels * (std::f64::consts::TAU / 3.0);
    let images = Tensor::stack(&[&along * angle.cos(), &along * angle.sin()], 1).to_kind(Kind::Float);
    Labelled { images, labels }
}

fn lif() -> NeuronSpec {
    let intercepts = Distribution::Uniform { uniform: [-1.0, 0.5] };
    NeuronSpec::new(Lif { amplitude: 0.01, smoothing: 0.02, ..Lif::default() }).tuned(150.0, intercepts)
}

/// 2 inputs, 3 classes; with dropout, whose stream must be found again.
fn plane_network() -> SpikingSequential {
    let builder = Builder::new([2]).linear(64).layer(lif()).dropout(0.05).linear(3).lowpass(0.02);
    builder.build(&VarStore::new(Device::Cpu).root(), 5).unwrap()
}

fn config(epochs: u64, optimizer: OptimizerConfig) -> TrainingConfig {
    TrainingConfig { epochs, batch_size: 20, learning_rate: 0.01, optimizer, ..TrainingConfig::default() }
}

fn plane_trainer(epochs: u64, optimizer: OptimizerConfig) -> Trainer {
    Trainer::new(plane_network(), config(epochs, optimizer), 5, spirals(35)).unwrap()
}

fn train(trainer: &mut Trainer) {
    assert_eq!(trainer.run(&mut (), &AtomicBool::new(false)).unwrap(), Outcome::Finished);
}

/// All bits of all parameters.
fn weights(trainer: &Trainer) -> Vec<(String, Vec<u64>)> {
    let parameters = trainer.network().named_parameters().into_iter();
    parameters.map(|(name, tensor)| (name, bits(&tensor))).collect()
}

/// The history without what depends on the clock.
fn timeless(trainer: &Trainer) -> Vec<EpochMetrics> {
    let history = trainer.position().history.iter().cloned();
    history.map(|metrics| EpochMetrics { images_per_second: 0.0, seconds: 0.0, ..metrics }).collect()
}

/// Sines over time, `[T, B, 2]`, and what an alpha synapse makes of their product, `[T, B, 1]`.
#[derive(Debug)]
struct Products {
    steps: i64,
}

impl Samples for Products {
    fn len(&self) -> i64 {
        24
    }

    fn batch(&self, rows: &[i64], to: Device, kind: Kind) -> Result<Batch> {
        let time = Tensor::arange(self.steps, (Kind::Double, to)).view([-1, 1]) * 0.01;
        let rows = Tensor::from_slice(rows).to_kind(Kind::Double).to_device(to);
        let (x, y) = ((&time * 3.0 + &rows).sin(), (&time * 2.0 + &rows * 1.7).sin());
        let product = (&x * &y).unsqueeze(-1);
        let mut state = [product.get(0).zeros_like(), product.get(0).zeros_like()];
        let filtered = operation::filter(Synapse::Alpha { tau: 0.01 }, &product, 0.001, &mut state)?;
        let input = Activity::Varying(Tensor::stack(&[x, y], -1).to_kind(kind));
        Ok(Batch { input, target: Target::Sequence(filtered.to_kind(kind)) })
    }
}

fn sequence_network(kind: Kind) -> SpikingSequential {
    let mut vs = VarStore::new(Device::Cpu);
    vs.set_kind(kind);
    let builder = Builder::new([2]).linear(32).layer(lif()).linear(1).layer(Synapse::Alpha { tau: 0.01 });
    builder.build(&vs.root(), 2).unwrap()
}

fn sequence_trainer(epochs: u64) -> Trainer {
    let config = TrainingConfig { batch_size: 6, ..config(epochs, OptimizerConfig::adam()) };
    let trainer = Trainer::new(sequence_network(Kind::Float), config, 2, Products { steps: 50 }).unwrap();
    trainer.with_objective(MeanSquaredError).with_validation(Products { steps: 50 }).unwrap()
}

/// Stops a training after so many steps.
struct StopAfter<'a> {
    steps: u64,
    stop: &'a AtomicBool,
}

impl Observer for StopAfter<'_> {
    fn step(&mut self, _: &Progress) {
        self.steps -= 1;
        self.stop.store(self.steps == 0, Ordering::Relaxed);
    }
}

/// Trains to the end in pieces of so many steps, each in a trainer of its own that knows the last one's checkpoint
/// and history only.
fn in_pieces(make: impl Fn() -> Trainer, steps: u64) -> Trainer {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint.safetensors");
    make().save_checkpoint(&path).unwrap();
    let mut history = Vec::new();
    loop {
        let mut trainer = make();
        trainer.load_checkpoint(&path).unwrap();
        // Of the history, a checkpoint holds the latest epoch.
        assert_eq!(trainer.position().history.first(), history.last());
        trainer.restore_history(std::mem::take(&mut history));
        let stop = AtomicBool::new(false);
        match trainer.run(&mut StopAfter { steps, stop: &stop }, &stop).unwrap() {
            Outcome::Finished => return trainer,
            Outcome::Interrupted => {
                trainer.save_checkpoint(&path).unwrap();
                history = trainer.position().history.clone();
            }
        }
    }
}

#[test]
fn a_resumed_training_ends_bit_for_bit_as_a_straight_one() {
    for optimizer in [OptimizerConfig::default(), OptimizerConfig::adam(), SGD] {
        let make = || plane_trainer(3, optimizer).with_validation(spirals(10)).unwrap();
        let mut straight = make();
        train(&mut straight);
        // 6 steps an epoch: some of the pieces end within one, one at its end.
        for steps in [4, 6] {
            let resumed = in_pieces(make, steps);
            assert_eq!(weights(&resumed), weights(&straight), "{optimizer:?}, pieces of {steps}");
            assert_eq!(timeless(&resumed), timeless(&straight));
        }
    }
    let mut straight = sequence_trainer(2);
    train(&mut straight);
    let resumed = in_pieces(|| sequence_trainer(2), 3);
    assert_eq!(weights(&resumed), weights(&straight));
    assert_eq!(timeless(&resumed), timeless(&straight));
}

#[test]
fn a_checkpoint_that_does_not_fit_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let mut trainer = plane_trainer(1, OptimizerConfig::adam()).with_dataset("spirals");
    train(&mut trainer);
    trainer.save_checkpoint(&path("spirals")).unwrap();
    sequence_trainer(1).save_checkpoint(&path("sequences")).unwrap();
    plane_trainer(1, SGD).save_checkpoint(&path("sgd")).unwrap();
    plane_trainer(1, OptimizerConfig::adam()).with_dataset("others").save_checkpoint(&path("others")).unwrap();
    tch_spiking::weights::save_network(&path("weights"), trainer.network(), &trainer.provenance()).unwrap();
    let (before, position) = (weights(&trainer), trainer.position().clone());
    for (name, expected) in [
        ("sequences", "linear1.weight: expected 64x2, found 32x2"),
        ("sgd", "the saved state of the optimiser does not fit"),
        ("others", "others is a checkpoint of training on others, but the data is now spirals"),
        ("weights", "weights is not a checkpoint"),
        ("nothing", "nothing"),
    ] {
        let error = trainer.load_checkpoint(&path(name)).unwrap_err().to_string();
        assert!(error.contains(expected), "{name}: {error}");
        assert_eq!((weights(&trainer), trainer.position()), (before.clone(), &position), "{name}");
    }
    trainer.load_checkpoint(&path("spirals")).unwrap();
}

#[test]
fn spirals_are_learnt_and_classified_as_spikes() {
    let mut trainer = plane_trainer(60, OptimizerConfig::adam()).with_validation(spirals(30)).unwrap();
    train(&mut trainer);
    let last = trainer.position().history.last().unwrap();
    assert!(last.train_accuracy > Some(0.9) && last.validation_loss < Some(0.5), "{last:?}");
    assert_eq!(last.validation_accuracy, Some(rate_accuracy(trainer.network(), &spirals(30)).unwrap()));
    let options = SpikingOptions { steps: 100, ..SpikingOptions::default() };
    let spiking = tch_spiking::evaluate::spiking_with(trainer.network(), &spirals(30), options, &mut |_| {}).unwrap();
    assert!(spiking.accuracy() > 0.9, "{}", spiking.accuracy());
}

#[test]
fn a_regression_on_sequences_is_learnt_through_the_readout_filter() {
    let mut trainer = sequence_trainer(40);
    train(&mut trainer);
    let history = &trainer.position().history;
    let [first, last] = [&history[0], &history[39]];
    assert!(last.loss < 0.1 * first.loss && last.validation_loss < Some(0.1 * first.loss), "{first:?} {last:?}");
    assert_eq!((last.train_accuracy, last.validation_accuracy), (None, None));
    // As spikes, the same network with their noise.
    let samples = Products { steps: 50 };
    let spikes = spiking_loss(trainer.network(), &samples, &MeanSquaredError, SpikingOptions::default()).unwrap();
    assert!(spikes < 0.25 * first.loss, "{spikes} {first:?}");
}

#[test]
fn the_gradient_through_a_filter_is_that_of_its_kernel() {
    // The same network without its readout; the filter written as a matrix over time.
    let net = sequence_network(Kind::Double);
    let plain = Builder::new([2]).linear(32).layer(lif()).linear(1);
    let mut vs = VarStore::new(Device::Cpu);
    vs.set_kind(Kind::Double);
    let plain = plain.build(&vs.root(), 2).unwrap();
    let steps = 40;
    let input = mixed(-1.0, 1.0, &[steps, 3, 2], Kind::Double);
    let impulse = Tensor::eye(steps, (Kind::Double, Device::Cpu));
    let mut state = [impulse.get(0).zeros_like(), impulse.get(0).zeros_like()];
    let kernel = operation::filter(Synapse::Alpha { tau: 0.01 }, &impulse, 0.001, &mut state).unwrap();

    let ours = net.rates_activity(&Activity::Varying(input.shallow_clone()), Some(0)).unwrap().into_tensor();
    // Every timestep by itself, as one batch.
    let folded = plain.forward_training(&input.flatten(0, 1), 0).unwrap().view([steps, 3]);
    let theirs = kernel.matmul(&folded).unsqueeze(-1);
    assert!(distance(&ours, &theirs) < 1e-12);
    let weights = mixed(-1.0, 1.0, &ours.size(), Kind::Double);
    let gradients = |net: &SpikingSequential, output: &Tensor| {
        let parameters: Vec<Tensor> = net.named_parameters().into_iter().map(|(_, tensor)| tensor).collect();
        Tensor::run_backward(&[(output * &weights).sum(Kind::Double)], &parameters, false, false)
    };
    for (ours, theirs) in gradients(&net, &ours).iter().zip(&gradients(&plain, &theirs)) {
        assert!(distance(ours, theirs) < 1e-12, "{}", distance(ours, theirs));
    }
}

#[test]
fn mixed_precision_filters_sequences_without_losing_the_time_constant() {
    let net = sequence_network(Kind::Float);
    let input = mixed(-1.0, 1.0, &[400, 3, 2], Kind::Float);
    let output = |kind| {
        let output = net.rates_activity(&Activity::Varying(input.to_kind(kind)), Some(0)).unwrap().into_tensor();
        assert_eq!(output.kind(), Kind::Float);
        output
    };
    let (full, short) = (output(Kind::Float), output(Kind::BFloat16));
    let norm = |tensor: &Tensor| tensor.norm().double_value(&[]);
    assert!(norm(&(&short - &full)) < 0.03 * norm(&full), "{} of {}", norm(&(&short - &full)), norm(&full));
}

#[test]
fn a_constant_sequence_ends_at_the_rates_of_its_constant() {
    let net = sequence_network(Kind::Double);
    let input = mixed(-1.0, 1.0, &[3, 2], Kind::Double);
    let still = net.forward_rates(&input).unwrap();
    let sequence = Activity::Varying(input.unsqueeze(0).repeat([400, 1, 1]));
    let moving = net.rates_activity(&sequence, None).unwrap();
    assert_eq!(moving.steps(), Some(400));
    // 40 time constants.
    assert!(distance(&moving.last().unwrap(), &still) < 1e-12);
}

/// Halves every gradient, and knows how often and of what it was asked.
#[derive(Debug)]
struct Halving {
    calls: Arc<AtomicU64>,
    shapes: Vec<Vec<i64>>,
}

impl GradientSync for Halving {
    fn reduce(&mut self, gradients: &[Tensor]) -> Result<()> {
        assert_eq!(gradients.iter().map(Tensor::size).collect::<Vec<_>>(), self.shapes);
        for gradient in gradients {
            let _ = gradient.shallow_clone().f_mul_scalar_(0.5)?;
        }
        self.calls.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
    fn rank(&self) -> i64 {
        0
    }
    fn size(&self) -> i64 {
        1
    }
}

#[test]
fn all_gradients_are_reduced_once_a_step_before_the_optimiser_sees_them() {
    let calls = Arc::new(AtomicU64::new(0));
    let shapes = plane_network().named_parameters().iter().map(|(_, tensor)| tensor.size()).collect();
    let mut halved = plane_trainer(2, SGD).with_sync(Halving { calls: calls.clone(), shapes }).unwrap();
    train(&mut halved);
    // 105 samples in batches of 20.
    assert_eq!(calls.load(Ordering::Relaxed), 2 * 6);
    // Half of a gradient is half of a step, exactly.
    let half_rate = TrainingConfig { learning_rate: 0.005, ..config(2, SGD) };
    let mut slower = Trainer::new(plane_network(), half_rate, 5, spirals(35)).unwrap();
    train(&mut slower);
    assert_eq!(weights(&halved), weights(&slower));
}

/// Several threads that average their gradients in a common memory.
#[derive(Debug, Clone)]
struct Threads {
    rank: i64,
    size: i64,
    barrier: Arc<Barrier>,
    sums: Arc<Mutex<Vec<Tensor>>>,
}

impl GradientSync for Threads {
    fn reduce(&mut self, gradients: &[Tensor]) -> Result<()> {
        // In turn, so that the order of the sums is fixed.
        for rank in 0..self.size {
            if rank == self.rank {
                let mut sums = self.sums.lock().unwrap();
                match rank {
                    0 => *sums = gradients.iter().map(Tensor::copy).collect(),
                    _ => sums.iter_mut().zip(gradients).for_each(|(sum, gradient)| *sum += gradient),
                }
            }
            self.barrier.wait();
        }
        for (gradient, sum) in gradients.iter().zip(self.sums.lock().unwrap().iter()) {
            gradient.shallow_clone().copy_(&(sum / self.size as f64));
        }
        self.barrier.wait();
        Ok(())
    }
    fn rank(&self) -> i64 {
        self.rank
    }
    fn size(&self) -> i64 {
        self.size
    }
}

/// Without dropout, whose mask depends on how many rows a batch has.
fn shared_trainer(size: i64, rank: i64, sync: Option<Threads>) -> Trainer {
    let mut vs = VarStore::new(Device::Cpu);
    vs.set_kind(Kind::Double);
    let network = Builder::new([2]).linear(24).layer(lif()).linear(3).build(&vs.root(), 5).unwrap();
    let trainer = Trainer::new(network, config(3, OptimizerConfig::adam()), 5, spirals(35)).unwrap();
    match sync {
        Some(sync) => trainer.with_sync(Threads { rank, size, ..sync }).unwrap(),
        None => trainer,
    }
}

#[test]
fn processes_that_share_batches_take_the_steps_of_one() {
    let all = |trainer: &Trainer| -> Vec<Tensor> {
        trainer.network().named_parameters().into_iter().map(|(_, tensor)| tensor.detach().copy()).collect()
    };
    let mut alone = shared_trainer(1, 0, None);
    train(&mut alone);
    // Neither 20 nor the last batch's 5 rows can be shared out evenly among 3.
    let size = 3;
    let sync =
        Threads { rank: 0, size, barrier: Arc::new(Barrier::new(size as usize)), sums: Arc::new(Mutex::new(vec![])) };
    let run = |rank: i64| {
        let sync = sync.clone();
        std::thread::spawn(move || {
            let mut trainer = shared_trainer(size, rank, Some(sync));
            train(&mut trainer);
            trainer
        })
    };
    let together: Vec<Trainer> =
        (0..size).map(run).collect::<Vec<_>>().into_iter().map(|thread| thread.join().unwrap()).collect();
    let images: i64 = together.iter().map(|trainer| trainer.training().len()).sum();
    assert_eq!(images, 3 * 105);
    for trainer in &together {
        assert_eq!(weights(trainer), weights(&together[0]));
        for (ours, theirs) in all(trainer).iter().zip(&all(&alone)) {
            assert!(distance(ours, theirs) < 1e-9, "{}", distance(ours, theirs));
        }
    }
    // Mean losses of shares, weighted by their rows, make the batch's.
    let error = plane_trainer(1, SGD).with_sync(Threads { size: 6, ..sync }).unwrap_err().to_string();
    assert!(error.contains("6 processes cannot share a batch of 5 samples"), "{error}");
}

/// By how much the other outputs come closer than 1 to the right one.
#[derive(Debug)]
struct Margin;

impl Objective for Margin {
    fn name(&self) -> &str {
        "margin"
    }

    fn loss(&self, output: &Activity, target: &Target) -> Result<Tensor> {
        let (output, classes) = (output.last()?, target.tensor());
        let right = output.f_gather(1, &classes.f_unsqueeze(1)?, false)?;
        // The right output is 1 above itself without its margin.
        let short = (output - right + 1.0).f_relu()?.f_sum_dim_intlist(1, false, Kind::Float)? - 1.0;
        Ok(short.f_mean(Kind::Float)?)
    }

    fn right(&self, output: &Activity, target: &Target) -> Result<Option<Tensor>> {
        CrossEntropy::default().right(output, target)
    }
}

#[test]
fn an_objective_of_ones_own_is_minimised_and_can_be_named() {
    let mut trainer = plane_trainer(30, OptimizerConfig::adam()).with_objective(Margin);
    train(&mut trainer);
    let history = &trainer.position().history;
    let [first, last] = [&history[0], &history[29]];
    assert!(last.loss < 0.5 * first.loss && last.train_accuracy > Some(0.8), "{first:?} {last:?}");

    register_objective(|| Box::new(Margin)).unwrap();
    for taken in ["margin", "cross_entropy"] {
        #[derive(Debug)]
        struct Named(&'static str);
        impl Objective for Named {
            fn name(&self) -> &str {
                self.0
            }
            fn loss(&self, output: &Activity, _: &Target) -> Result<Tensor> {
                Ok(output.tensor().f_sum(Kind::Float)?)
            }
        }
        let error = register_objective(move || Box::new(Named(taken))).unwrap_err().to_string();
        assert!(error.contains(taken) && error.contains("mean_squared_error"), "{error}");
    }
    let experiment = Experiment::from_toml("training = { objective = 'margin' }").unwrap();
    let again = Experiment::from_toml(&experiment.to_toml().unwrap()).unwrap();
    assert_eq!(again.training.objective.make().unwrap().name(), "margin");
    // The default need not be spelt out.
    assert!(!Experiment::default().to_toml().unwrap().contains("objective"));
    let error = Experiment::from_toml("training = { objective = 'cross_entrpy' }").unwrap_err().to_string();
    assert!(error.contains("did you mean `cross_entropy`?"), "{error}");
}

#[test]
fn objectives_say_what_they_cannot_compare() {
    let options = (Kind::Float, Device::Cpu);
    let output = || Activity::Constant(Tensor::zeros([4, 3], options));
    let classes = || Target::Classes(Tensor::zeros([4], (Kind::Int64, Device::Cpu)));
    let values = |shape: &[i64]| Target::Values(Tensor::zeros(shape, options));
    let error = |objective: &dyn Objective, target| objective.loss(&output(), &target).unwrap_err().to_string();
    assert!(error(&CrossEntropy::default(), values(&[4, 3])).contains("expected classes"));
    assert!(error(&MeanSquaredError, classes()).contains("expected values"));
    let error = error(&MeanSquaredError, values(&[4, 2]));
    assert!(error.contains("[4, 3]") && error.contains("[4, 2]"), "{error}");
    // Over time, the answer is that of the last timestep, or is compared at each.
    let sequence = Activity::Varying(Tensor::from_slice(&[1.0f32, 2.0, 3.0]).view([3, 1, 1]));
    let loss = |target| MeanSquaredError.loss(&sequence, &target).unwrap().double_value(&[]);
    assert_eq!(loss(values(&[1, 1])), 9.0);
    assert_eq!(loss(Target::Sequence(Tensor::zeros([3, 1, 1], options))), f64::from(14.0f32 / 3.0));
}

#[test]
fn samples_that_do_not_fit_are_refused_before_training() {
    let refused = |samples: Labelled, expected: &str| {
        let error = Trainer::new(plane_network(), config(1, SGD), 0, samples).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    let points = |inputs| Tensor::zeros([4, inputs], (Kind::Float, Device::Cpu));
    let classes = |numbers: &[i64]| Tensor::from_slice(numbers);
    refused(Labelled { images: points(3), labels: classes(&[0; 4]) }, "x 2 of Float");
    refused(Labelled { images: points(2), labels: classes(&[0, 1, 3, 0]) }, "class 3");
    refused(Labelled { images: points(2).narrow(0, 0, 0), labels: classes(&[]) }, "no training samples");
    let error = Trainer::new(plane_network(), config(1, SGD), 0, Products { steps: 3 }).unwrap_err().to_string();
    assert!(error.contains("3x1x3") && error.contains("3x1x1"), "{error}");
}

/// The largest weight, as if it were a loss.
#[derive(Debug)]
struct LargestWeight;

impl Evaluation for LargestWeight {
    fn evaluate(&self, trainer: &Trainer) -> Result<Evaluated> {
        let (_, weight) = trainer.network().named_parameters().swap_remove(0);
        Ok(Evaluated { validation_loss: Some(weight.abs().max().double_value(&[])), ..Evaluated::default() })
    }
}

#[test]
fn an_evaluation_of_ones_own_fills_the_metrics() {
    let mut trainer = plane_trainer(2, SGD).with_evaluation(LargestWeight);
    train(&mut trainer);
    let (_, weight) = trainer.network().named_parameters().swap_remove(0);
    let history = &trainer.position().history;
    assert_eq!(history[1].validation_loss, Some(weight.abs().max().double_value(&[])));
    assert_ne!(history[0].validation_loss, history[1].validation_loss);
}

const OWN_DATA: &str = "
    seed = 4
    [data]
    dataset = 'plane-of-the-test'
    train_images = 40
    [training]
    epochs = 2
    batch_size = 30
    [simulation]
    sample = 10
    [network]
    input = [2]
    steps = 20
    layers = [
        { type = 'linear', out_features = 16 },
        { type = 'lif', amplitude = 0.01, smoothing = 0.02, max_rate = 150.0, intercept = -0.5 },
        { type = 'linear', out_features = 3 },
    ]";

fn own_data(config: &DataConfig, seed: u64) -> Result<Splits> {
    assert_eq!(seed, 4);
    let split = |count| -> Box<dyn Samples + Send> { Box::new(spirals(count)) };
    let train = split(config.train_images.unwrap_or(100) as i64);
    Ok(Splits { train, validation: Some(split(10)), test: Some(split(20)) })
}

#[test]
fn a_data_set_of_ones_own_works_from_toml_with_a_run_folder() {
    let unknown = Experiment::from_toml(OWN_DATA).unwrap_err().to_string();
    assert!(unknown.contains("unknown data set `plane-of-the-test`, expected one of `auto`, `mnist`"), "{unknown}");
    data::register("plane-of-the-test", own_data).unwrap();
    let again = data::register("plane-of-the-test", own_data).unwrap_err().to_string();
    assert!(again.contains("plane-of-the-test") && again.contains("fashion"), "{again}");
    let typo = Experiment::from_toml("data = { dataset = 'fashon' }").unwrap_err().to_string();
    assert!(typo.contains("did you mean `fashion`?"), "{typo}");

    let place = tempfile::tempdir().unwrap();
    let experiment = Experiment::from_toml(OWN_DATA).unwrap();
    assert_eq!(experiment.data.dataset, DatasetName::Registered("plane-of-the-test".into()));
    let load = |experiment: Experiment| Run::load(experiment, Device::Cpu, &mut |_| {}).unwrap();
    let mut straight = load(experiment.clone());
    straight.run(&mut (), &AtomicBool::new(false)).unwrap();
    let summary = straight.test(&mut |_| {}).unwrap().unwrap();
    assert_eq!((summary.train_images, summary.test_images, summary.test_accuracy_by_step.len()), (120, 60, 20));
    assert_eq!(serde_json::json!(summary.dataset), serde_json::json!({ "name": "plane-of-the-test" }));

    // The same in two parts, through a run folder.
    let folder = RunFolder::create(place.path().join("run"), &experiment).unwrap();
    let mut run = load(experiment);
    let stop = AtomicBool::new(false);
    run.run(&mut StopAfter { steps: 5, stop: &stop }, &stop).unwrap();
    folder.save_epoch(run.trainer()).unwrap();
    let in_use = RunFolder::open(place.path().join("run")).unwrap_err().to_string();
    assert!(in_use.contains(&format!("is in use by process {}", std::process::id())), "{in_use}");
    drop(folder);
    let folder = RunFolder::open(place.path().join("run")).unwrap();
    let mut run = load(folder.experiment().unwrap());
    folder.resume(&mut run).unwrap();
    assert_eq!((run.trainer().position().epoch, run.trainer().position().step), (1, 1));
    run.run(&mut (), &AtomicBool::new(false)).unwrap();
    assert_eq!(weights(run.trainer()), weights(straight.trainer()));
    assert_eq!(timeless(run.trainer()), timeless(straight.trainer()));
    folder.save_epoch(run.trainer()).unwrap();
    folder.save_result(run.trainer(), &run.test(&mut |_| {}).unwrap().unwrap()).unwrap();
    let metrics = std::fs::read_to_string(folder.path().join("metrics.jsonl")).unwrap();
    assert!(metrics.lines().count() == 2 && metrics.contains("\"spiking_accuracy\":0."), "{metrics}");
}

#[test]
fn a_run_on_values_reports_losses() {
    data::register("products-of-the-test", |_, _| {
        let split = || -> Box<dyn Samples + Send> { Box::new(Products { steps: 30 }) };
        Ok(Splits { train: split(), validation: Some(split()), test: Some(split()) })
    })
    .unwrap();
    let text =
        OWN_DATA.replace("plane-of-the-test", "products-of-the-test").replace("out_features = 3", "out_features = 1");
    let text = text.replace("batch_size = 30", "batch_size = 6\n    objective = 'mean_squared_error'");
    let experiment = Experiment::from_toml(&text).unwrap();
    let place = tempfile::tempdir().unwrap();
    let folder = RunFolder::create(place.path().join("run"), &experiment).unwrap();
    let mut run = Run::load(experiment, Device::Cpu, &mut |_| {}).unwrap();
    run.run(&mut (), &AtomicBool::new(false)).unwrap();
    folder.save_epoch(run.trainer()).unwrap();
    let last = run.trainer().position().history.last().unwrap();
    assert!(last.validation_loss.is_some() && last.spiking_loss.is_some() && last.spiking_accuracy.is_none());
    assert_eq!(last.score(), -last.validation_loss.unwrap());
    let summary = run.test(&mut |_| {}).unwrap().unwrap();
    assert_eq!((summary.test_rate_accuracy, summary.test_rate_loss), (None, last.validation_loss));
    folder.save_result(run.trainer(), &summary).unwrap();
    assert!(folder.best().is_file() && folder.path().join("summary.json").is_file());
}
