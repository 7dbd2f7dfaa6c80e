//! Objectives over time: golden numbers, their gradients, and what they read of a network.

mod common;

use std::sync::atomic::AtomicBool;

use common::{distance, golden, mixed, tensor};
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};
use tch_spiking::data::{Labelled, Target};
use tch_spiking::engine::Activity;
use tch_spiking::network::{Builder, NeuronSpec};
use tch_spiking::neuron::Lif;
use tch_spiking::train::{
    ClassSquaredError, Compared, CountSquaredError, CrossEntropy, Method, Objective, ObjectiveConfig, Over, Readout,
    Tet, Trainer, TrainingConfig,
};
use tch_spiking::{Experiment, Synapse};

fn over(over: Over) -> CrossEntropy {
    CrossEntropy { over: Some(over), ..CrossEntropy::default() }
}

#[test]
fn losses_over_time_and_their_gradients_are_those_of_the_peers() {
    let golden = golden("through_time/time_losses.json");
    let each = ClassSquaredError { over: Compared::Each, on: 1.0, off: 0.2 };
    let counts = CountSquaredError { correct_rate: 0.8, incorrect_rate: 0.1 };
    // snnTorch's losses are computed in single precision.
    let cases: [(&str, &dyn Objective, f64); 7] = [
        ("ce_rate_loss", &Tet { lambda: 0.0 }, 1e-6),
        ("ce_count_loss", &over(Over::Sum), 1e-6),
        ("ce_max_membrane_loss", &over(Over::Max), 1e-6),
        ("mse_count_loss", &counts, 1e-6),
        ("mse_membrane_loss", &each, 1e-6),
        ("tet_lambda0.05", &Tet { lambda: 0.05 }, 1e-9),
        ("mse_rate_onehot", &ClassSquaredError::default(), 1e-9),
    ];
    let classes = Target::Classes(tensor(&golden["labels"], Kind::Int64));
    assert_eq!(golden.as_object().unwrap().len(), cases.len() + 1, "a case is not compared");
    for (name, objective, tolerance) in cases {
        let expected = &golden[name];
        let input = tensor(&expected["input"], Kind::Double).set_requires_grad(true);
        let loss = objective.loss(&Activity::varying(&input), &classes).unwrap();
        loss.backward();
        let difference = (loss.double_value(&[]) - expected["loss"].as_f64().unwrap()).abs();
        assert!(difference < tolerance, "{name}: the loss is off by {difference}");
        let difference = distance(&input.grad(), &tensor(&expected["gradient"], Kind::Double));
        assert!(difference < tolerance, "{name}: the gradient is off by {difference}");
    }
}

#[test]
fn smoothing_mixes_the_class_with_all_classes_evenly() {
    let output = mixed(-2.0, 2.0, &[4, 3], Kind::Double);
    let classes = Tensor::from_slice(&[0i64, 2, 1, 1]);
    let logs = output.log_softmax(-1, Kind::Double);
    let of_class = logs.gather(1, &classes.unsqueeze(1), false).mean(Kind::Double).double_value(&[]);
    let expected = -0.7 * of_class - 0.3 * logs.mean(Kind::Double).double_value(&[]);
    let objective = CrossEntropy { label_smoothing: 0.3, ..CrossEntropy::default() };
    let loss = objective.loss(&Activity::Constant(output), &Target::Classes(classes)).unwrap().double_value(&[]);
    assert!((loss - expected).abs() < 1e-12, "{loss} {expected}");
}

#[test]
fn a_constant_output_is_the_same_over_any_time() {
    let output = mixed(-1.0, 1.0, &[5, 3], Kind::Double);
    let classes = Target::Classes(Tensor::from_slice(&[0i64, 2, 1, 1, 0]));
    let objectives: [&dyn Objective; 6] = [
        &over(Over::Last),
        &over(Over::Mean),
        &over(Over::Max),
        &Tet::default(),
        &ClassSquaredError::default(),
        &ClassSquaredError { over: Compared::Each, ..ClassSquaredError::default() },
    ];
    for objective in objectives {
        let of = |output: &Activity| objective.loss(output, &classes).unwrap().double_value(&[]);
        let still = of(&Activity::constant(&output));
        let moving = of(&Activity::Varying(output.unsqueeze(0).repeat([7, 1, 1])));
        assert!((still - moving).abs() < 1e-12, "{objective:?}: {still} {moving}");
        let right = |output: &Activity| objective.right(output, &classes).unwrap().unwrap().int64_value(&[]);
        assert_eq!(
            right(&Activity::constant(&output)),
            output.argmax(1, false).eq_tensor(classes.tensor()).sum(Kind::Int64).int64_value(&[])
        );
    }
}

#[test]
fn objectives_are_read_by_name_or_with_parameters() {
    let read = |text: &str| Experiment::from_toml(&format!("[training]\nobjective = {text}"));
    for (text, expected) in [
        ("'cross_entropy'", ObjectiveConfig::default()),
        ("{ type = 'cross_entropy', over = 'max' }", ObjectiveConfig::CrossEntropy(over(Over::Max))),
        ("'tet'", ObjectiveConfig::Tet(Tet::default())),
        ("{ type = 'tet', lambda = 0.2 }", ObjectiveConfig::Tet(Tet { lambda: 0.2 })),
        (
            "{ type = 'mse', over = 'each' }",
            ObjectiveConfig::Mse(ClassSquaredError { over: Compared::Each, on: 1.0, off: 0.0 }),
        ),
        ("'mse_count'", ObjectiveConfig::MseCount(CountSquaredError::default())),
        ("{ type = 'mean_squared_error' }", ObjectiveConfig::MeanSquaredError(tch_spiking::train::MeanSquaredError)),
    ] {
        let experiment = read(text).unwrap();
        assert_eq!(experiment.training.objective, expected);
        let again = Experiment::from_toml(&experiment.to_toml().unwrap()).unwrap();
        assert_eq!(again.training.objective, expected);
    }
    for (text, expected) in [
        ("'cross_entrop'", "did you mean `cross_entropy`?"),
        ("{ type = 'te' }", "did you mean `tet`?"),
        ("{ type = 'cross_entropy', ovr = 'last' }", "did you mean `over`?"),
        ("{ type = 'cross_entropy', over = 'lst' }", "did you mean `last`?"),
        ("{ type = 'mean_squared_error', over = 'last' }", "unknown field `over`"),
        ("3", "the name of an objective, or a table"),
    ] {
        let error = read(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
    for (text, expected) in [
        ("{ type = 'cross_entropy', label_smoothing = 1.5 }", "label_smoothing = 1.5"),
        ("{ type = 'tet', lambda = -1 }", "lambda = -1"),
        ("{ type = 'mse_count', correct_rate = 3 }", "correct_rate = 3"),
    ] {
        let error = read(text).unwrap().training.validate().unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

/// The class is the larger of two numbers.
fn pairs(count: i64) -> Labelled {
    let images = mixed(0.0, 2.0, &[count, 2], Kind::Float);
    Labelled { labels: images.argmax(1, false), images }
}

/// Shares its readings with the test.
#[derive(Debug, Clone)]
struct Reads(Readout, std::sync::Arc<std::sync::Mutex<Vec<Tensor>>>);

impl Objective for Reads {
    fn name(&self) -> &str {
        "reads"
    }
    fn loss(&self, output: &Activity, target: &Target) -> tch_spiking::Result<Tensor> {
        self.1.lock().unwrap().push(output.tensor().detach().copy());
        CrossEntropy::default().loss(output, target)
    }
    fn readout(&self) -> Readout {
        self.0
    }
}

#[test]
fn an_objective_reads_before_or_after_the_last_synapse() {
    let read = |readout, method| {
        let lif = NeuronSpec::new(Lif { amplitude: 0.01, ..Lif::default() }).tuned(200.0, -0.5);
        let builder = Builder::new([2]).linear(12).layer(lif).linear(2).layer(Synapse::Lowpass { tau: 0.02 });
        let network = builder.build(&VarStore::new(Device::Cpu).root(), 1).unwrap();
        let config = TrainingConfig { epochs: 1, batch_size: 30, method, ..TrainingConfig::default() };
        let objective = Reads(readout, std::sync::Arc::default());
        let seen = objective.1.clone();
        let mut trainer = Trainer::new(network, config, 0, pairs(30)).unwrap().with_objective(objective);
        trainer.run(&mut (), &AtomicBool::new(false)).unwrap();
        seen.lock().unwrap()[0].copy()
    };
    let method = Method::SpikingAware { steps: Some(9) };
    let [before, after] = [Readout::Unfiltered, Readout::Filtered].map(|readout| read(readout, method));
    assert_eq!(before.size(), [9, 30, 2]);
    let mut state = [before.get(0).zeros_like()];
    let filtered = tch_spiking::operation::filter(Synapse::Lowpass { tau: 0.02 }, &before, 0.001, &mut state).unwrap();
    assert!(distance(&filtered, &after) < 1e-6);
    assert!(distance(&before, &after) > 1e-3);
    // Rates of a still sample pass the synapse.
    let [before, after] = [Readout::Unfiltered, Readout::Filtered].map(|readout| read(readout, Method::Rate));
    assert_eq!(before.size(), [30, 2]);
    assert_eq!(common::bits(&before), common::bits(&after));
}
