//! Parts of a program's own: a neuron with a learned parameter and noise, a layer with parameters, a training loop. Data sets,
//! objectives and the library's trainer are in `trainer.rs`.

mod common;
#[path = "common/layers.rs"]
mod layers;

use common::{bits, distance, mixed};
use serde::{Deserialize, Serialize};
use tch::nn::{self, OptimizerConfig, VarStore};
use tch::{Device, Kind, Tensor};
use tch_spiking::engine::{Activity, Engine, Probe, Simulation};
use tch_spiking::network::{Builder, Conv2d, NeuronSpec, register_layer};
use tch_spiking::neuron::{
    Fire, Initial, Learned, NeuronError, NeuronModel, Real, StateVariable, StepInput, WithoutRate, register_neuron,
};
use tch_spiking::weights::{self, Provenance};
use tch_spiking::{Network, NetworkSpec};

/// A leaky integrator with a learned decay, which fires with a chance that grows with its voltage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Noisy {
    amplitude: f64,
}

impl Default for Noisy {
    fn default() -> Self {
        Self { amplitude: 1.0 }
    }
}

impl NeuronModel for Noisy {
    const NAME: &'static str = "noisy";
    const STATE: &'static [StateVariable] =
        &[StateVariable::new("voltage", Initial::Voltage), StateVariable::new("trace", Initial::Value(0.5))];
    const LEARNED: &'static [Learned] = &[Learned::new("decay", 0.9, (0.0, 1.0))];
    const NOISY: bool = true;
    type State<R: Real> = [R; 2];
    type Learned<R: Real> = [R; 1];
    type Rates = WithoutRate;

    fn validate(&self) -> Result<(), NeuronError> {
        NeuronError::require(Self::NAME, "amplitude", self.amplitude, self.amplitude > 0.0, "a number above 0")
    }
    fn amplitude(&self) -> f64 {
        self.amplitude
    }
    #[inline(always)]
    fn step<R: Real, F: Fire<R>>(&self, input: StepInput<R, [R; 1]>, state: &mut [R; 2], fire: &F) -> R {
        let [decay] = input.learned;
        let voltage = state[0] * decay + input.current * R::constant(0.1);
        let spike = fire.once(voltage - input.uniform);
        *state = [voltage - spike * voltage, state[1] * decay + spike];
        spike * R::constant(self.amplitude / input.dt)
    }
}

fn noisy_network() -> (Network, VarStore) {
    register_neuron::<Noisy>().unwrap();
    let spec: NetworkSpec = toml::from_str(
        r#"input = [2, 5, 4]
        layers = [
            { type = "conv2d", out_channels = 6, kernel = 3, padding = 1 },
            { type = "noisy", amplitude = 0.01, gain = 1.0, bias = 0.5, learn = ["decay"] },
            { type = "flatten" },
            { type = "linear", out_features = 3 },
        ]"#,
    )
    .unwrap();
    let vs = VarStore::new(Device::Cpu);
    let network = Network::new(&vs.root(), &spec, 4).unwrap();
    (network, vs)
}

#[test]
fn a_neuron_of_ones_own_is_registered_learns_and_is_saved() {
    let (network, _vs) = noisy_network();
    register_neuron::<Noisy>().unwrap();
    let names: Vec<String> = network.named_parameters().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["conv1.weight", "conv1.bias", "noisy1.bias", "noisy1.decay", "linear1.weight", "linear1.bias"]);
    let mut decay = network.parameter("noisy1.decay").unwrap();
    assert!(decay.requires_grad() && decay.size() == [1] && decay.double_value(&[0]) as f32 == 0.9);
    let input = mixed(0.0, 1.0, &[3, 2, 5, 4], Kind::Float);
    let before = network.simulate(&input, 40, &[Probe::spike_count("noisy1")]).unwrap();
    tch::no_grad(|| decay.copy_(&Tensor::from_slice(&[0.2_f32])));
    let after = network.simulate(&input, 40, &[Probe::spike_count("noisy1")]).unwrap();
    let spikes = |recording: &tch_spiking::engine::Recording| {
        recording.probed.values().next().unwrap().sum(Kind::Double).double_value(&[])
    };
    assert!(spikes(&after) > 0.0 && spikes(&before) > 1.2 * spikes(&after), "{} {}", spikes(&before), spikes(&after));

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("noisy.safetensors");
    weights::save_network(&path, &network, &Provenance::default()).unwrap();
    let loaded = weights::load_network(&path, Device::Cpu).unwrap().network;
    assert_eq!(bits(&loaded.simulate(&input, 40, &[]).unwrap().output), bits(&after.output));
    let error = network.forward_rates(&input).unwrap_err().to_string();
    assert!(error.contains("noisy has no rate"), "{error}");
    assert_eq!(network.zero_state(2).unwrap().layer(1)[1].unique().0, 0.5);
}

trait Unique {
    fn unique(&self) -> (f64, f64);
}

impl Unique for Tensor {
    /// The smallest and the largest number.
    fn unique(&self) -> (f64, f64) {
        (self.min().double_value(&[]), self.max().double_value(&[]))
    }
}

/// Noise is keyed by seed, sample, layer, neuron and step: nothing else changes it.
#[test]
fn noise_depends_on_nothing_but_its_key() {
    let (network, _vs) = noisy_network();
    let input = mixed(0.0, 1.0, &[7, 2, 5, 4], Kind::Float);
    let probe = [Probe::output("noisy1")];
    let run = |memory: usize, engine: Engine| {
        let simulation = Simulation::new(30).probes(&probe).memory(memory).engine(engine);
        simulation.run(&network, &Activity::constant(&input)).unwrap().probed.remove(&probe[0]).unwrap()
    };
    let whole = run(1 << 30, Engine::Dense);
    let samples = [0, 1].map(|sample| bits(&whole.select(1, sample)));
    assert_ne!(samples[0], samples[1]);
    // Batches of one, time in stretches.
    assert_eq!(bits(&run(1, Engine::Dense)), bits(&whole));
    let threads = tch::get_num_threads();
    tch::set_num_threads(1);
    assert_eq!(bits(&run(1 << 30, Engine::Dense)), bits(&whole));
    tch::set_num_threads(threads);
    // Later samples of a larger set.
    let rest = Simulation::new(30).probes(&probe).first_sample(3);
    let later = Activity::constant(&input.narrow(0, 3, 4));
    let dense = rest.engine(Engine::Dense).run(&network, &later).unwrap().probed.remove(&probe[0]).unwrap();
    assert_eq!(bits(&dense), bits(&whole.narrow(1, 3, 4)));
    // Sums in another order may move a voltage across the number drawn, once in a long while.
    let event = run(1 << 30, Engine::Event);
    let different = event.ne_tensor(&whole).sum(Kind::Int64).int64_value(&[]);
    assert!(different <= whole.numel() as i64 / 1000, "{different} of {}", whole.numel());
    let part = rest.engine(Engine::Event).run(&network, &later).unwrap().probed.remove(&probe[0]).unwrap();
    assert_eq!(bits(&part), bits(&event.narrow(1, 3, 4)));
    let other = network.simulate(&input.narrow(0, 0, 1), 30, &probe).unwrap();
    assert_eq!(bits(&other.probed[&probe[0]]), bits(&whole.narrow(1, 0, 1)));
}

#[test]
fn names_stand_for_one_thing() {
    register_neuron::<Noisy>().unwrap();
    register_layer("halve", layers::Scale::parse).unwrap();
    register_layer("halve", layers::Scale::parse).unwrap();
    for name in ["conv2d", "lif", "noisy"] {
        assert!(register_layer(name, layers::Scale::parse).unwrap_err().contains("choose another"), "{name}");
    }
    assert!(register_layer("halve", |_| Err(String::new())).is_err());

    /// Another model of a name that is taken.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Taken {}
    impl NeuronModel for Taken {
        const NAME: &'static str = "halve";
        const STATE: &'static [StateVariable] = &[StateVariable::new("voltage", Initial::Voltage)];
        type State<R: Real> = [R; 1];
        type Learned<R: Real> = [R; 0];
        type Rates = WithoutRate;
        fn validate(&self) -> Result<(), NeuronError> {
            Ok(())
        }
        fn amplitude(&self) -> f64 {
            1.0
        }
        fn step<R: Real, F: Fire<R>>(&self, input: StepInput<R, [R; 0]>, _: &mut [R; 1], _: &F) -> R {
            input.current
        }
    }
    assert!(register_neuron::<Taken>().unwrap_err().to_string().contains("choose another"));
}

/// A parameter with the name of a layer's own key could not be written to a file and read back.
#[test]
fn parameters_may_not_have_the_names_of_layer_keys() {
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Gain {
        gain: f64,
    }
    impl NeuronModel for Gain {
        const NAME: &'static str = "gain";
        const STATE: &'static [StateVariable] = &[StateVariable::new("voltage", Initial::Voltage)];
        type State<R: Real> = [R; 1];
        type Learned<R: Real> = [R; 0];
        type Rates = WithoutRate;
        fn validate(&self) -> Result<(), NeuronError> {
            Ok(())
        }
        fn amplitude(&self) -> f64 {
            1.0
        }
        fn step<R: Real, F: Fire<R>>(&self, input: StepInput<R, [R; 0]>, _: &mut [R; 1], _: &F) -> R {
            input.current * R::constant(self.gain)
        }
    }
    let builder = Builder::new([2]).layer(NeuronSpec::new(Gain { gain: 1.0 }));
    let error = builder.build(&VarStore::new(Device::Cpu).root(), 0).unwrap_err().to_string();
    assert!(error.contains("its parameter `gain`") && error.contains("rename it"), "{error}");
}

#[test]
fn a_layer_of_ones_own_has_parameters_and_goes_through_files() {
    register_layer("halve", layers::Scale::parse).unwrap();
    let spec: NetworkSpec = toml::from_str(
        r#"input = [3, 4, 4]
        layers = [{ type = "conv2d", out_channels = 2, kernel = 3 }, { type = "halve", scale = 0.5 },
                  { type = "flatten" }, { type = "linear", out_features = 2 }]"#,
    )
    .unwrap();
    let vs = VarStore::new(Device::Cpu);
    let network = Network::new(&vs.root(), &spec, 0).unwrap();
    let input = mixed(-1.0, 1.0, &[5, 3, 4, 4], Kind::Float);
    network.forward_training(&input, 0).unwrap().sum(Kind::Float).backward();
    let mut factor = network.parameter("halve.factor").unwrap();
    assert_eq!((factor.size(), factor.grad().size()), (vec![2], vec![2]));
    tch::no_grad(|| factor.copy_(&Tensor::from_slice(&[2.0_f32, -1.0])));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("own.safetensors");
    weights::save_network(&path, &network, &Provenance::default()).unwrap();
    let loaded = weights::load_network(&path, Device::Cpu).unwrap().network;
    assert_eq!(bits(&loaded.forward_rates(&input).unwrap()), bits(&network.forward_rates(&input).unwrap()));
    assert_eq!(loaded.simulate(&input, 3, &[]).unwrap().output.size(), [3, 5, 2]);
    let unknown =
        toml::from_str::<NetworkSpec>("input = [1]\nlayers = [{ type = \"halve\", scale = 1.0, twice = true }]");
    assert!(unknown.unwrap_err().to_string().contains("halve: unknown field `twice`"));
    let bad: NetworkSpec = toml::from_str("input = [1]\nlayers = [{ type = \"halve\", scale = inf }]").unwrap();
    let error = Network::new(&VarStore::new(Device::Cpu).root(), &bad, 0).unwrap_err().to_string();
    assert!(error.contains("layer 1 (halve): scale = inf"), "{error}");
}

/// tch's own optimiser over the network's rates.
#[test]
fn a_training_loop_of_ones_own() {
    let vs = VarStore::new(Device::Cpu);
    let lif = NeuronSpec::new(tch_spiking::neuron::Lif { amplitude: 0.01, smoothing: 0.02, ..Default::default() });
    let builder = Builder::new([1, 6, 6]).layer(Conv2d::new(4, 3)).layer(lif.tuned(100.0, 0.0)).flatten().linear(2);
    let network = builder.build(&vs.root(), 0).unwrap();
    let mut optimizer = nn::Adam::default().build(&vs, 0.01).unwrap();
    let (input, target) = (mixed(0.0, 4.0, &[8, 1, 6, 6], Kind::Float), mixed(-1.0, 1.0, &[8, 2], Kind::Float));
    let loss = |step: u64| network.forward_training(&input, step).unwrap().mse_loss(&target, tch::Reduction::Mean);
    let before = loss(0).double_value(&[]);
    (0..200).for_each(|step| optimizer.backward_step(&loss(step)));
    assert!(loss(200).double_value(&[]) < 0.1 * before);
    assert!(distance(&network.forward_rates(&input).unwrap(), &network.forward_training(&input, 0).unwrap()) == 0.0);
}
