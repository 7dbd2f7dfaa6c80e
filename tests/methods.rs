//! Methods of training and stages: which neurons they train, and training that is stopped and goes on.

mod common;

use std::sync::atomic::{AtomicBool, Ordering};

use common::{bits, mixed};
use serde::{Deserialize, Serialize};
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};
use tch_spiking::data::Labelled;
use tch_spiking::network::{Builder, LearnPer, NeuronSpec};
use tch_spiking::neuron::{
    Fire, Initial, Learned, Lif, NeuronError, NeuronModel, Real, StateVariable, StepInput, WithoutRate, register_neuron,
};
use tch_spiking::train::{
    EpochMetrics, Layers, Method, Norm, Observer, OptimizerConfig, Outcome, Precision, Progress, Regulariser,
    StageConfig, TargetRate, Trainer, TrainingConfig,
};
use tch_spiking::weights::{OPTIMIZER_PREFIX, read};
use tch_spiking::{Experiment, SpikingSequential};

/// Spikes at random, without a rate; its decay is learned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Dice {
    amplitude: f64,
}

impl Default for Dice {
    fn default() -> Self {
        Self { amplitude: 0.01 }
    }
}

impl NeuronModel for Dice {
    const NAME: &'static str = "dice";
    const STATE: &'static [StateVariable] = &[StateVariable::new("voltage", Initial::Voltage)];
    const LEARNED: &'static [Learned] = &[Learned::new("decay", 0.8, (0.0, 1.0))];
    const NOISY: bool = true;
    type State<R: Real> = [R; 1];
    type Learned<R: Real> = [R; 1];
    type Rates = WithoutRate;

    fn validate(&self) -> Result<(), NeuronError> {
        Ok(())
    }
    fn amplitude(&self) -> f64 {
        self.amplitude
    }
    #[inline(always)]
    fn step<R: Real, F: Fire<R>>(&self, input: StepInput<R, [R; 1]>, state: &mut [R; 1], fire: &F) -> R {
        let [decay] = input.learned;
        let voltage = state[0] * decay + input.current * R::constant(0.2);
        let spike = fire.once(voltage - input.uniform);
        *state = [voltage - spike.detach() * voltage];
        spike * R::constant(self.amplitude / input.dt)
    }
}

fn dice_network() -> SpikingSequential {
    register_neuron::<Dice>().unwrap();
    let dice = NeuronSpec::new(Dice::default()).with_gain_bias(1.0, 1.0).learning(["decay"], LearnPer::Layer);
    let builder = Builder::new([2]).linear(24).layer(dice).linear(2);
    builder.build(&VarStore::new(Device::Cpu).root(), 3).unwrap()
}

fn lif_network() -> SpikingSequential {
    let lif = NeuronSpec::new(Lif { amplitude: 0.01, smoothing: 0.05, ..Lif::default() }).tuned(200.0, -0.5);
    let builder = Builder::new([2]).linear(24).layer(lif).dropout(0.1).linear(2).lowpass(0.02);
    builder.build(&VarStore::new(Device::Cpu).root(), 3).unwrap()
}

/// The class is the larger of two numbers.
fn pairs() -> Labelled {
    let images = mixed(-1.0, 1.0, &[70, 2], Kind::Float);
    Labelled { labels: images.argmax(1, false), images }
}

fn surrogate(steps: i64, truncate: Option<i64>) -> Method {
    Method::Surrogate { steps: Some(steps), surrogate: Default::default(), truncate }
}

fn config(epochs: u64, method: Method) -> TrainingConfig {
    let optimizer = OptimizerConfig::adam();
    TrainingConfig { epochs, batch_size: 20, learning_rate: 0.01, optimizer, method, ..TrainingConfig::default() }
}

fn trainer(network: SpikingSequential, config: &TrainingConfig) -> Trainer {
    Trainer::new(network, config.clone(), 5, pairs()).unwrap().with_validation(pairs()).unwrap()
}

fn train(mut trainer: Trainer) -> Trainer {
    assert_eq!(trainer.run(&mut (), &AtomicBool::new(false)).unwrap(), Outcome::Finished);
    trainer
}

fn weights(trainer: &Trainer) -> Vec<(String, Vec<u64>)> {
    let parameters = trainer.network().named_parameters().into_iter();
    parameters.map(|(name, tensor)| (name, bits(&tensor))).collect()
}

fn timeless(trainer: &Trainer) -> Vec<EpochMetrics> {
    let history = trainer.position().history.iter().cloned();
    history.map(|metrics| EpochMetrics { images_per_second: 0.0, seconds: 0.0, ..metrics }).collect()
}

#[test]
fn neurons_without_a_rate_are_trained_by_surrogates_only() {
    for method in [Method::Rate, Method::SpikingAware { steps: Some(4) }] {
        let error = Trainer::new(dice_network(), config(1, method), 0, pairs()).unwrap_err().to_string();
        for part in [method.name(), "dice1", "have none", "type = \"surrogate\""] {
            assert!(error.contains(part), "{error}");
        }
    }
    let trained = train(trainer(dice_network(), &config(30, surrogate(12, None))));
    let [first, last] = [0, 29].map(|epoch| &trained.position().history[epoch]);
    assert!(last.loss < 0.6 * first.loss && last.spiking_accuracy > Some(0.8), "{first:?} {last:?}");
    assert_eq!((last.validation_accuracy, last.validation_loss, last.spiking_steps), (None, None, Some(12)));
    let decay = dice_network().parameter("dice1.decay").unwrap();
    assert_ne!(bits(&trained.network().parameter("dice1.decay").unwrap()), bits(&decay), "the decay is not learned");
}

#[test]
fn noise_depends_on_the_presented_sample_and_not_on_the_batch() {
    // Steps too small to change a weight.
    let losses = |batch_size| {
        let still = TrainingConfig { batch_size, learning_rate: 1e-30, ..config(2, surrogate(6, None)) };
        train(trainer(dice_network(), &still)).position().history.iter().map(|metrics| metrics.loss).collect::<Vec<_>>()
    };
    let expected = losses(70);
    for batch_size in [1, 9, 20] {
        let losses = losses(batch_size);
        assert!(losses.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-6), "{losses:?} {expected:?}");
    }
    // Every epoch has its own.
    assert!((expected[0] - expected[1]).abs() > 1e-5, "{expected:?}");
}

/// Three methods, two optimisers, averages, clipping, penalties.
fn stages() -> TrainingConfig {
    let regulariser = Regulariser {
        layer: Layers::One("lif1".to_string()),
        norm: Norm::L2,
        weight: 1e-4,
        target: TargetRate::Range([10.0, 60.0]),
        percentile: Some(90.0),
    };
    let text = "
        [training]
        epochs = 1
        batch_size = 20
        warm_up = 0.5
        schedule = { type = 'one_cycle' }
        clipping = { type = 'norm', limit = 0.5 }
        [[training.stages]]
        [[training.stages]]
        method = { type = 'spiking_aware', steps = 5 }
        optimizer = { type = 'adamw' }
        ema = 0.9
        batch_size = 30
        [[training.stages]]
        epochs = 2
        learning_rate = 0.003
        method = { type = 'surrogate', steps = 6, truncate = 4 }
        optimizer = { type = 'adamw' }
        ema = 0.9
        objective = { type = 'tet', lambda = 0.1 }";
    let mut config = Experiment::from_toml(text).unwrap().training;
    config.stages[2].regularisers = Some(vec![regulariser]);
    config
}

struct StopAfter<'a>(u64, &'a AtomicBool);

impl Observer for StopAfter<'_> {
    fn step(&mut self, _: &Progress) {
        self.0 -= 1;
        self.1.store(self.0 == 0, Ordering::Relaxed);
    }
}

/// Trains to the end in pieces of so many steps, each in a trainer of its own that knows the last one's checkpoint only.
fn in_pieces(make: impl Fn() -> Trainer, steps: u64) -> Trainer {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint.safetensors");
    make().save_checkpoint(&path).unwrap();
    loop {
        let mut trainer = make();
        trainer.load_checkpoint(&path).unwrap();
        let stop = AtomicBool::new(false);
        match trainer.run(&mut StopAfter(steps, &stop), &stop).unwrap() {
            Outcome::Finished => return trainer,
            Outcome::Interrupted => trainer.save_checkpoint(&path).unwrap(),
        }
    }
}

#[test]
fn a_resumed_training_ends_bit_for_bit_as_a_straight_one_over_changes_of_stages() {
    let of_stages = || trainer(lif_network(), &stages());
    let of_dice = || trainer(dice_network(), &TrainingConfig { ema: 0.9, ..config(2, surrogate(6, Some(2))) });
    // 4, 3 and 4 steps an epoch: some pieces end within a stage, some at its end.
    for (make, pieces) in [(&of_stages as &dyn Fn() -> Trainer, [1, 4]), (&of_dice, [3, 4])] {
        let straight = train(make());
        let state = |trainer: &Trainer| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("last.safetensors");
            trainer.save_checkpoint(&path).unwrap();
            let tensors = read(&path).unwrap().tensors.into_iter();
            tensors.map(|(name, tensor)| (name, bits(&tensor))).collect::<Vec<_>>()
        };
        for steps in pieces {
            let resumed = in_pieces(make, steps);
            assert_eq!(weights(&resumed), weights(&straight), "pieces of {steps}");
            assert_eq!(timeless(&resumed).last(), timeless(&straight).last());
            assert_eq!(state(&resumed), state(&straight));
        }
        assert!(
            state(&straight).iter().any(|(name, _)| name.starts_with(OPTIMIZER_PREFIX) && name.ends_with(".average"))
        );
    }
}

#[test]
fn stages_follow_one_another_with_what_they_say() {
    let trained = train(trainer(lif_network(), &stages()));
    let history = &trained.position().history;
    let stages: Vec<_> = history.iter().map(|metrics| metrics.stage.unwrap()).collect();
    assert_eq!((stages, trained.epochs()), (vec![1, 2, 3, 3], 4));
    let steps: Vec<_> = history.iter().map(|metrics| metrics.spiking_steps).collect();
    assert_eq!(steps, [None, Some(5), Some(6), Some(6)]);
    assert!(history.iter().all(|metrics| metrics.validation_accuracy.is_some()));
    // The schedule ends with every stage.
    let rates: Vec<_> = history.iter().map(|metrics| metrics.learning_rate).collect();
    assert!((rates[0] - 4e-9).abs() < 1e-15 && (rates[3] - 1.2e-8).abs() < 1e-15 && rates[2] > 1e-4, "{rates:?}");

    // One stage is what it would be without stages.
    let plain = config(2, Method::Rate);
    let one = TrainingConfig { stages: vec![StageConfig::default()], ..plain.clone() };
    let [plain, one] = [plain, one].map(|config| train(trainer(lif_network(), &config)));
    assert_eq!((weights(&plain), timeless(&plain)), (weights(&one), timeless(&one)));
    // The same optimiser goes on from stage to stage: two halves are the whole.
    let half = StageConfig { epochs: Some(1), ..StageConfig::default() };
    let halves =
        train(trainer(lif_network(), &TrainingConfig { stages: vec![half.clone(), half], ..config(2, Method::Rate) }));
    assert_eq!(weights(&halves), weights(&plain));
}

#[test]
fn the_average_is_what_is_evaluated() {
    let train_with = |ema| train(trainer(lif_network(), &TrainingConfig { ema, ..config(4, Method::Rate) }));
    let (plain, averaged) = (train_with(0.0), train_with(0.999));
    // Training does not see it, evaluation does.
    assert_eq!(weights(&plain), weights(&averaged));
    let losses = |trainer: &Trainer| trainer.position().history.iter().map(|m| m.validation_loss).collect::<Vec<_>>();
    assert!(losses(&plain).iter().zip(&losses(&averaged)).all(|(a, b)| a != b));
    let within = averaged.with_average(|trainer| Ok(weights(trainer))).unwrap();
    assert_ne!(within, weights(&averaged));
}

#[test]
fn configurations_that_cannot_be_trained_are_named_before_the_first_step() {
    let read = |text: &str| Experiment::from_toml(text).unwrap().training.validate().unwrap_err().to_string();
    for (text, expected) in [
        ("training = { method = { type = 'surrogate', steps = 0 } }", "steps = 0"),
        ("training = { method = { type = 'spiking_aware', steps = 100000 } }", "1 to 10000 timesteps"),
        ("training = { method = { type = 'surrogate', surrogate = { type = 'atan', alpha = 0 } } }", "alpha = 0"),
        ("training = { warm_up = 10 }", "warm_up = 10"),
        ("training = { ema = 1 }", "ema = 1"),
        ("training = { clipping = { type = 'value', limit = 0 } }", "limit = 0"),
        ("training = { stages = [{}, { epochs = 0 }] }", "stage 2: training: epochs = 0"),
    ] {
        assert!(read(text).contains(expected), "{text}: {}", read(text));
    }
    for (text, expected) in [
        ("training = { method = { type = 'surogate' } }", "did you mean `surrogate`?"),
        ("training = { method = { type = 'surrogate', step = 3 } }", "did you mean `steps`?"),
        ("training = { stages = [{ methd = { type = 'rate' } }] }", "did you mean `method`?"),
        ("training = { stages = [{ stages = [] }] }", "unknown field `stages`"),
        ("training = { method = { type = 'surrogate', surrogate = { type = 'atn' } } }", "did you mean `atan`?"),
    ] {
        let error = Experiment::from_toml(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
    let mut config = stages();
    config.set_total_epochs(9).unwrap();
    assert_eq!((config.total_epochs(), config.stages[2].epochs), (9, Some(7)));
    let error = config.set_total_epochs(2).unwrap_err().to_string();
    assert!(error.contains("the stages before it take 2"), "{error}");
}

#[test]
fn warm_up_rises_to_the_schedule() {
    let config = TrainingConfig { warm_up: 2.0, ..config(4, Method::Rate) };
    let history = train(trainer(lif_network(), &config)).position().history.clone();
    let rates: Vec<_> = history.iter().map(|metrics| metrics.learning_rate).collect();
    assert_eq!(rates, [0.005, 0.01, 0.01, 0.01]);
}

#[test]
fn mixed_precision_trains_by_every_method() {
    for method in [Method::Rate, Method::SpikingAware { steps: Some(10) }, surrogate(10, None)] {
        let config = TrainingConfig { precision: Precision::Bf16, ..config(30, method) };
        let history = train(trainer(lif_network(), &config)).position().history.clone();
        let [first, last] = [0, 29].map(|epoch| &history[epoch]);
        assert!(last.loss < 0.7 * first.loss && last.train_accuracy > Some(0.8), "{method:?}: {first:?} {last:?}");
    }
}

/// A sequence network of the methods: samples that vary in time have their own number of timesteps.
#[test]
fn samples_over_time_have_their_own_timesteps() {
    use tch_spiking::data::{Batch, Samples, Target};
    use tch_spiking::engine::Activity;
    #[derive(Debug)]
    struct Moving;
    impl Samples for Moving {
        fn len(&self) -> i64 {
            30
        }
        fn batch(&self, rows: &[i64], to: Device, kind: Kind) -> tch_spiking::Result<Batch> {
            let rows = Tensor::from_slice(rows).to_device(to);
            let time = Tensor::arange(7, (Kind::Float, to)).unsqueeze(1);
            let x = (&time + &rows).sin();
            let input = Activity::Varying(Tensor::stack(&[x.shallow_clone(), -x], -1).to_kind(kind));
            Ok(Batch { input, target: Target::Classes(rows.remainder(2)) })
        }
    }
    let config = config(1, surrogate(3, None));
    let mut trainer = Trainer::new(lif_network(), config, 5, Moving).unwrap();
    trainer.run(&mut (), &AtomicBool::new(false)).unwrap();
    assert!(trainer.position().history[0].loss.is_finite());
}
