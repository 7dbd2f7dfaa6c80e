//! Layers in passes with time: learned time constants, batch normalisation over all steps, dropout masks shared by the
//! steps of a sample.

mod common;

use common::{distance, mixed, numbers};
use tch::nn::{Adam, OptimizerConfig, VarStore};
use tch::{Device, Kind, Tensor, no_grad};
use tch_spiking::convert::Converter;
use tch_spiking::engine::{Activity, Engine, Mode, Observer, Pass, Simulation, TrainingStep, Visit, forward};
use tch_spiking::network::{BatchNorm, Builder, Conv2d, Dropout, InitialVoltage, NeuronSpec, SynapseSpec};
use tch_spiking::neuron::Lif;
use tch_spiking::surrogate::Surrogate;
use tch_spiking::weights::{self, Provenance};
use tch_spiking::{Network, Synapse, torchscript};

const STEPS: i64 = 6;
const MODES: [Mode; 3] =
    [Mode::Rates, Mode::SpikingAware, Mode::Surrogate { surrogate: Surrogate::Atan { alpha: 2.0 }, truncate: None }];

fn build(builder: Builder) -> (Network, VarStore) {
    let mut vs = VarStore::new(Device::Cpu);
    vs.set_kind(Kind::Double);
    (builder.build(&vs.root(), 3).unwrap(), vs)
}

fn lif() -> NeuronSpec {
    NeuronSpec::new(Lif { amplitude: 0.01, ..Lif::default() }).tuned(400.0, -0.2)
}

/// Input and output of the layer named `of`.
#[derive(Debug)]
struct Watch {
    of: &'static str,
    seen: Vec<Tensor>,
}

impl Observer for Watch {
    fn after(&mut self, visit: &mut Visit) -> tch_spiking::Result<()> {
        if visit.layer.name() == self.of {
            self.seen = vec![visit.inputs[0].tensor().detach(), visit.output.tensor().detach()];
        }
        Ok(())
    }
}

/// Runs a training step and returns the input and the output of the layer named `of`.
fn train(network: &Network, mode: Mode, input: &Tensor, of: &'static str, number: u64) -> [Tensor; 2] {
    let mut watch = Watch { of, seen: vec![] };
    let mut state = network.zero_state(input.size()[1]).unwrap();
    let training = Some(TrainingStep { number });
    let mut pass = Pass { mode, steps: STEPS, training, observer: Some(&mut watch) };
    let output = forward(network, &Activity::varying(input), Some(&mut state), &mut pass).unwrap();
    output.tensor().square().sum(Kind::Double).backward();
    watch.seen.try_into().unwrap()
}

#[test]
fn a_time_constant_is_learned_from_what_a_filter_did() {
    for (kind, target) in [(Synapse::Lowpass { tau: 0.05 }, 0.01), (Synapse::Alpha { tau: 0.004 }, 0.012)] {
        let (network, vs) = build(Builder::new([3]).layer(SynapseSpec::new(kind).learned()));
        let (teacher, _vs) = build(Builder::new([3]).layer(kind.with_tau(target)));
        let input = mixed(-1.0, 1.0, &[60, 4, 3], Kind::Double);
        let run = |network: &Network| {
            let mut state = network.zero_state(4).unwrap();
            let mut pass = Pass { mode: Mode::Rates, ..Pass::spikes(60) };
            forward(network, &Activity::varying(&input), Some(&mut state), &mut pass).unwrap().into_tensor()
        };
        let wanted = no_grad(|| run(&teacher));
        let mut optimizer = Adam::default().build(&vs, 0.05).unwrap();
        for _ in 0..300 {
            optimizer.backward_step(&(run(&network) - &wanted).square().mean(Kind::Double));
        }
        let name = format!("{}1.log_tau", kind.type_name());
        let tau = network.parameter(&name).unwrap().double_value(&[0]).exp();
        assert!((tau / target - 1.0).abs() < 1e-3, "{kind:?}: {tau}");
    }
}

/// Dense and event engine, TorchScript and weights files take the learned value, not the one it started from.
#[test]
fn a_learned_time_constant_goes_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    for synapse in [Synapse::Lowpass { tau: 0.05 }, Synapse::Alpha { tau: 0.05 }] {
        let rest = |start: Builder| start.linear(4).layer(lif()).linear(2).steps(20);
        let (network, _vs) = build(rest(Builder::new([3])).layer(SynapseSpec::new(synapse).learned()));
        let (fixed, _vs) = build(rest(Builder::new([3])).layer(synapse.with_tau(0.004)));
        let name = format!("{}1.log_tau", synapse.type_name());
        let mut log_tau = network.parameter(&name).unwrap();
        assert!(log_tau.requires_grad());
        let _ = no_grad(|| log_tau.fill_(0.004_f64.ln()));
        let input = mixed(0.5, 2.0, &[5, 3], Kind::Double);
        let expected = fixed.simulate(&input, 20, &[]).unwrap().output;
        assert!(expected.abs().max().double_value(&[]) > 0.0);
        let path = folder.path().join("network.safetensors");
        weights::save_network(&path, &network, &Provenance::default()).unwrap();
        let loaded = weights::load_network(&path, Device::Cpu).unwrap().network;
        for engine in [Engine::Dense, Engine::Event] {
            let simulation = Simulation { steps: 20, engine, ..Simulation::default() };
            let output = simulation.run(&loaded, &Activity::constant(&input)).unwrap().output;
            assert!(distance(&output, &expected) < 1e-12, "{synapse:?}, {engine:?}");
        }
        let path = folder.path().join("network.pt");
        torchscript::export(&path, &network).unwrap();
        let module = tch::CModule::load(&path).unwrap();
        let arguments = [tch::IValue::Tensor(input), tch::IValue::Int(20)];
        let tch::IValue::Tensor(output) = module.method_is("simulate", &arguments).unwrap() else {
            panic!("no tensor")
        };
        assert!(distance(&output, &expected) < 1e-12, "{synapse:?}");
    }
}

#[test]
fn a_time_constant_of_zero_cannot_be_learned() {
    let vs = VarStore::new(Device::Cpu);
    let layer = SynapseSpec::new(Synapse::Lowpass { tau: 0.0 }).learned();
    let error = Builder::new([3]).layer(layer).build(&vs.root(), 0).unwrap_err().to_string();
    assert!(error.contains("tau = 0") && error.contains("above 0 s"), "{error}");
}

/// One mean and one variance for all steps and samples; single steps keep means of their own.
#[test]
fn batch_norm_has_one_set_of_statistics_for_all_steps() {
    for mode in MODES {
        let norm = BatchNorm { momentum: 0.25, ..BatchNorm::default() };
        let (network, _vs) =
            build(Builder::new([5]).linear(7).layer(lif()).linear(4).layer(norm).layer(lif()).linear(2));
        // Later steps are stronger.
        let ramp = Tensor::linspace(0.2, 3.0, STEPS, (Kind::Double, Device::Cpu)).reshape([-1, 1, 1]);
        let input = mixed(-0.5, 2.0, &[STEPS, 8, 5], Kind::Double) * ramp;
        let [before, after] = train(&network, mode, &input, "batch_norm1", 0);
        let all = before.flatten(0, 1);
        let (mean, variance) =
            (all.mean_dim(&[0_i64][..], false, Kind::Double), all.var_dim(&[0_i64][..], true, false));
        let running = |name: &str| network.parameter(&format!("batch_norm1.{name}")).unwrap();
        assert!(distance(&running("running_mean"), &(&mean * 0.25)) < 1e-12, "{mode:?}");
        assert!(distance(&running("running_var"), &(&variance * 0.25 + 0.75)) < 1e-12, "{mode:?}");
        let biased = all.var_dim(&[0_i64][..], false, false);
        assert!(distance(&after, &((&before - mean) / (biased + norm.eps).sqrt())) < 1e-10, "{mode:?}");
        let of_steps = after.mean_dim(&[1_i64][..], false, Kind::Double);
        assert!(of_steps.abs().max().double_value(&[]) > 0.05, "{mode:?}: steps were normalised one by one");
    }
}

#[test]
fn a_dropout_mask_is_shared_by_the_steps_of_a_sample() {
    for mode in MODES {
        let (network, _vs) = build(Builder::new([40]).layer(lif()).layer(Dropout::new(0.4)).linear(2));
        let input = mixed(1.0, 3.0, &[STEPS, 8, 40], Kind::Double);
        let masks: Vec<Tensor> = [0, 1]
            .map(|number| {
                let [before, after] = train(&network, mode, &input, "dropout1", number);
                // Where a neuron spiked at any step, the mask shows.
                let ratio = after.sum_dim_intlist(&[0_i64][..], false, Kind::Double)
                    / before.sum_dim_intlist(&[0_i64][..], false, Kind::Double);
                let mask = ratio.nan_to_num(0.0, 0.0, 0.0);
                assert!(distance(&after, &(&before * &mask)) < 1e-12, "{mode:?}");
                mask
            })
            .into();
        for mask in &masks {
            let kept = numbers(mask).iter().filter(|&&factor| factor > 0.0).count() as f64 / 320.0;
            assert!((kept - 0.6).abs() < 0.15, "{mode:?}: {kept}");
            assert!(distance(&mask.get(0), &mask.get(1)) > 1.0, "{mode:?}: samples share a mask");
        }
        assert!(distance(&masks[0], &masks[1]) > 1.0, "{mode:?}: steps of training share a mask");
    }
}

/// What the statistics over all steps make of spikes is folded into the weights before: the same spikes.
#[test]
fn folded_statistics_of_spikes_give_the_same_spikes() {
    let conv = || Conv2d::new(4, 3).without_bias();
    // Voltages drawn at random depend on a layer's position, which folding changes.
    let start = Builder::new([1, 7, 7]).initial_voltage(InitialVoltage::Zero);
    let (network, _vs) = build(start.layer(conv()).batch_norm().layer(lif()).layer(conv()).batch_norm().layer(lif()));
    let images = mixed(0.0, 3.0, &[4, 1, 7, 7], Kind::Double);
    for number in 0..5 {
        let constant = Activity::constant(&images);
        let mut state = network.zero_state(4).unwrap();
        let mut pass = Pass { mode: MODES[2], steps: STEPS, training: Some(TrainingStep { number }), observer: None };
        forward(&network, &constant, Some(&mut state), &mut pass).unwrap();
    }
    let expected = network.simulate(&images, 30, &[]).unwrap().output;
    assert!(expected.max().double_value(&[]) > 0.0);
    let folded = Converter::new().convert(&network).unwrap().network;
    assert!(folded.layers().iter().all(|layer| layer.kind().type_name() != "batch_norm"));
    for engine in [Engine::Dense, Engine::Event] {
        let simulation = Simulation { steps: 30, engine, ..Simulation::default() };
        let output = simulation.run(&folded, &Activity::constant(&images)).unwrap().output;
        let counts = |output: &Tensor| output.sum_dim_intlist(&[0_i64][..], false, Kind::Double);
        assert!(distance(&counts(&output), &counts(&expected)) < 1e-9, "{engine:?}");
    }
}
