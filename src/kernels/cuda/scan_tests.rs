//! Tests of the spiking kernels' CUDA source: compiled for the CPU and compared, through the same launches, with the CPU
//! kernel and with the recorded formulas evaluated number by number. They need no CUDA device.

use half::bf16;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, TchError, Tensor};

use super::host::{Host, assert_close, mixed};
use super::launch::{Launch, computed};
use super::scan_launch::{self, BackwardTensors, ScanTensors};
use super::scan_source;
use crate::kernels::{self, NoiseRows, Scan, TensorNumber};
use tch_spiking_core::kernels::{Drive, NeuronOrder, NoiseKey, Number};
use tch_spiking_core::neuron::{
    Fire, Heaviside, Initial, Learned, Lif, Neuron, NeuronError, NeuronModel, Real, RectifiedLinear, StateVariable,
    StepInput, WithoutRate,
};
use tch_spiking_core::surrogate::Surrogate;

const DT: f64 = 0.001;
const BATCH: i64 = 3;
const NEURONS: i64 = 70;
/// More than two segments of the backward kernel.
const STEPS: i64 = 70;

/// A model with all that a model can have: synaptic current, adaptation, a noisy threshold, learned parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sample {}

impl NeuronModel for Sample {
    const NAME: &'static str = "sample";
    const STATE: &'static [StateVariable] = &[
        StateVariable::new("voltage", Initial::Voltage),
        StateVariable::new("current", Initial::Value(0.0)),
        StateVariable::new("adaptation", Initial::Value(0.0)),
    ];
    const LEARNED: &'static [Learned] =
        &[Learned::new("decay", 0.9, (0.0, 1.0)), Learned::new("threshold", 1.0, (0.1, 10.0))];
    const NOISY: bool = true;
    type State<R: Real> = [R; 3];
    type Learned<R: Real> = [R; 2];
    type Rates = WithoutRate;

    fn validate(&self) -> Result<(), NeuronError> {
        Ok(())
    }
    fn amplitude(&self) -> f64 {
        1.0
    }
    #[inline(always)]
    fn step<R: Real, F: Fire<R>>(&self, input: StepInput<R, [R; 2]>, state: &mut [R; 3], fire: &F) -> R {
        let ([decay, threshold], [voltage, current, adaptation]) = (input.learned, *state);
        let current = R::constant(0.8) * current + R::constant(0.2) * input.current;
        let voltage = (decay * voltage + current).max(R::constant(-1.0));
        let spike = fire.once(voltage - threshold - adaptation - R::constant(0.3) * input.uniform);
        let reset = R::select(spike.greater(R::constant(0.5)), R::constant(0.0), voltage);
        *state = [reset, current, R::constant(0.95) * adaptation + R::constant(0.1) * spike * threshold];
        spike * R::constant(1.0 / input.dt)
    }
}

/// Values for the learned parameters of a model.
fn learned(model: &Neuron, kind: Kind) -> Vec<Tensor> {
    let values = |learned: &Learned| mixed(0.9 * learned.default, learned.default, &[NEURONS], kind);
    model.learned().iter().map(values).collect()
}

/// Random numbers for a noisy model, of neurons in an order that is not that of the memory.
fn noise(model: &Neuron) -> Option<NoiseRows> {
    let order = NeuronOrder::ChannelsLast { channels: 7, positions: 10 };
    let key = NoiseKey::new(1 << 40 | 7, 3);
    model.is_noisy().then_some(NoiseRows { key, first_sample: (1 << 33) + 5, first_step: (1 << 32) - 9, order })
}

/// The state of a layer before the first step.
fn state(model: &Neuron, kind: Kind) -> Vec<Tensor> {
    let high = |variable| if variable == 0 { 1.0 } else { 0.002 };
    (0..model.state().len()).map(|variable| mixed(0.0, high(variable), &[BATCH, NEURONS], kind)).collect()
}

/// Compares spikes, states and recordings between the CUDA source and the CPU kernel.
fn compare_scans<R: Number + TensorNumber>(model: impl Into<Neuron>, high: f64, varying: bool, record: bool) {
    let model = &model.into();
    let source = scan_source::scan(model, DT, R::KIND).unwrap();
    let Some(host) = Host::compile(&source, &["scan"]) else { return };
    let input = mixed(-1.0, high, if varying { &[STEPS, BATCH, NEURONS] } else { &[BATCH, NEURONS] }, R::KIND);
    let (gain, bias) = (mixed(0.5, 2.0, &[NEURONS], R::KIND), mixed(0.0, 1.0, &[NEURONS], R::KIND));
    let (learned, noise) = (learned(model, R::KIND), noise(model));
    let empty = || Tensor::ones([STEPS, BATCH, NEURONS], (R::KIND, Device::Cpu));
    let tensors = || {
        let records: Vec<Option<Tensor>> = (0..model.state().len()).map(|_| record.then(empty)).collect();
        (state(model, R::KIND), empty(), records)
    };
    let (mut state, mut output, mut records) = tensors();
    let drive = [&input, &gain, &bias];
    let scan = ScanTensors {
        drive,
        learned: &learned,
        noise,
        steps: STEPS,
        varying,
        state: &mut state,
        output: &mut output,
        record: &mut records,
    };
    scan_launch::scan(&|launch| host.run(launch), model, scan).unwrap();

    let (mut their_state, mut their_output, mut their_records) = tensors();
    let slice = |tensor| kernels::elements::<R>(tensor).unwrap();
    let mut total = their_state[0].zeros_like();
    let scan = Scan {
        drive: Drive { input: slice(&input), gain: slice(&gain), bias: slice(&bias) },
        steps: STEPS as usize,
        dt: DT,
        learned: learned.iter().map(slice).collect(),
        noise,
        state: their_state.iter_mut().map(|tensor| kernels::elements_mut(tensor).unwrap()).collect(),
        output: kernels::elements_mut(&mut their_output).unwrap(),
        total: kernels::elements_mut(&mut total).unwrap(),
        record: their_records
            .iter_mut()
            .map(|tensor| tensor.as_mut().map(|tensor| kernels::elements_mut(tensor).unwrap()))
            .collect(),
    };
    kernels::scan(model, scan);
    assert_close(&total, &their_output.sum_dim_intlist(0, false, R::KIND), 1e-5, "total");

    let spikes = their_output.count_nonzero(None::<i64>).int64_value(&[]);
    let different = output.ne_tensor(&their_output).sum(Kind::Int64).int64_value(&[]);
    assert!(spikes > 100, "{spikes}");
    // In f32, exponentials that differ in the last place may move a spike by a step.
    let allowed = if R::KIND == Kind::Double { 0 } else { output.numel() as i64 / 1000 };
    assert!(different <= allowed, "{different} of {spikes} spikes differ");
    if different == 0 {
        let tolerance = if R::KIND == Kind::Double { 1e-9 } else { 1e-2 };
        let pairs = state.iter().zip(&their_state).chain(records.iter().flatten().zip(their_records.iter().flatten()));
        for (ours, theirs) in pairs {
            assert_close(ours, theirs, tolerance, "state");
        }
    }
}

#[test]
fn spikes_are_those_of_the_processor() {
    let floored = Lif { min_voltage: -1.0, amplitude: 0.01, ..Lif::default() };
    let open = Lif { min_voltage: f64::NEG_INFINITY, tau_ref: 0.0, ..Lif::default() };
    for varying in [false, true] {
        compare_scans::<f64>(Lif::default(), 20.0, varying, true);
        compare_scans::<f32>(Lif::default(), 20.0, varying, false);
    }
    compare_scans::<f64>(floored, 20.0, true, true);
    compare_scans::<f32>(open, 20.0, false, true);
    compare_scans::<f64>(RectifiedLinear { amplitude: 0.5 }, 2500.0, true, true);
    compare_scans::<f32>(RectifiedLinear::default(), 2500.0, false, true);
    compare_scans::<f64>(Sample {}, 2.0, true, true);
    compare_scans::<f32>(Sample {}, 2.0, false, true);
}

/// A layer and what its gradients are computed from.
struct Layer {
    drive: [Tensor; 3],
    learned: Vec<Tensor>,
    noise: Option<NoiseRows>,
    state: Vec<Tensor>,
    truncate: Option<i64>,
    gradients: Gradients,
}

/// The gradients of output and last state, and then of all else.
struct Gradients {
    /// Of the output, then of an input that varies.
    output: Tensor,
    /// Of a constant input.
    input: Option<Tensor>,
    state: Vec<Tensor>,
    gain: Tensor,
    bias: Tensor,
    learned: Vec<Tensor>,
}

impl Layer {
    fn new(model: &Neuron, case: Case, stored: Kind, kind: Kind) -> Self {
        let shape: &[i64] = if case.varying { &[STEPS, BATCH, NEURONS] } else { &[BATCH, NEURONS] };
        let (input, neurons) = (mixed(-1.0, case.high, shape, stored), || Tensor::ones([NEURONS], (kind, Device::Cpu)));
        let gradients = Gradients {
            output: mixed(-DT, DT, &[STEPS, BATCH, NEURONS], stored),
            input: (!case.varying).then(|| input.ones_like()),
            state: state(model, kind),
            gain: neurons(),
            bias: neurons(),
            learned: model.learned().iter().map(|_| neurons()).collect(),
        };
        Self {
            drive: [input, mixed(0.5, 2.0, &[NEURONS], kind), mixed(0.0, 1.0, &[NEURONS], kind)],
            learned: learned(model, kind),
            noise: noise(model),
            state: state(model, kind),
            truncate: case.truncate,
            gradients,
        }
    }

    /// The same with what is stored in the precision that is computed with.
    fn widened(mut self, kind: Kind) -> Self {
        self.drive[0] = self.drive[0].to_kind(kind);
        self.gradients.output = self.gradients.output.to_kind(kind);
        self.gradients.input = self.gradients.input.map(|tensor| tensor.to_kind(kind));
        self
    }

    fn tensors(&mut self) -> BackwardTensors<'_> {
        BackwardTensors {
            drive: self.drive.each_ref(),
            learned: &self.learned,
            noise: self.noise,
            steps: STEPS,
            truncate: self.truncate,
            state: &self.state,
            gradient: &mut self.gradients.output,
            to_input: self.gradients.input.as_mut(),
            to_state: &mut self.gradients.state,
            to_gain: Some(&mut self.gradients.gain),
            to_bias: &mut self.gradients.bias,
            to_learned: &mut self.gradients.learned,
        }
    }

    fn named_gradients(&self) -> impl Iterator<Item = (&Tensor, &'static str)> {
        let Gradients { output, input, state, gain, bias, learned } = &self.gradients;
        let own = [(input.as_ref().unwrap_or(output), "input"), (gain, "gain"), (bias, "bias")];
        own.into_iter().chain(learned.iter().map(|l| (l, "learned"))).chain(state.iter().map(|s| (s, "state")))
    }
}

/// The same as the kernel, of one neuron after another, by the recorded formulas.
fn by_formula<R: Number + TensorNumber>(model: &Neuron, surrogate: &Surrogate, tensors: BackwardTensors) {
    let BackwardTensors { drive, noise, steps, truncate, gradient, to_input, to_gain, to_bias, .. } = tensors;
    let (step, back) = (model.step_formula(DT), model.step_formula(DT).vjp(surrogate));
    let [input, gain, bias] = drive.map(|tensor| kernels::elements::<R>(tensor).unwrap());
    let read = |tensors: &'_ [Tensor]| -> Vec<Vec<R>> {
        tensors.iter().map(|tensor| kernels::elements::<R>(tensor).unwrap().to_vec()).collect()
    };
    let write = |tensor: Option<&mut Tensor>, values: &[R]| {
        let values = Tensor::from_slice(&values.iter().map(|value| value.to_f64()).collect::<Vec<_>>());
        tensor.into_iter().for_each(|tensor| tensor.copy_(&values.view_as(&*tensor)));
    };
    let (learned, state, mut to_state) = (read(tensors.learned), read(tensors.state), read(&*tensors.to_state));
    let zero = R::constant(0.0);
    let (neurons, size, steps) = (gain.len(), state[0].len(), steps as usize);
    let (mut gain_sums, mut bias_sums) = (vec![zero; neurons], vec![zero; neurons]);
    let mut learned_sums = vec![vec![zero; neurons]; learned.len()];
    let mut input_sums = vec![zero; input.len()];
    let to_output = kernels::elements::<R>(gradient).unwrap().to_vec();
    for here in 0..size {
        let (row, column) = (here / neurons, here % neurons);
        let at = |step: usize| if to_input.is_none() { step * size + here } else { here };
        let noise = noise.map(|rows| {
            let sample = rows.key.sample(rows.first_sample + row as u64);
            sample.starting_at(0, rows.first_step, rows.order)
        });
        let mut now: Vec<R> = state.iter().map(|values| values[here]).collect();
        let mut inputs = Vec::new();
        for t in 0..steps {
            let mut all = vec![gain[column] * input[at(t)] + bias[column]];
            all.extend(learned.iter().map(|values| values[column]));
            all.extend(noise.map(|noise| noise.uniform::<R>(column as u32, t as u64)));
            all.extend(&now);
            now = step.at_with(&all, &Heaviside).split_off(1);
            inputs.push(all);
        }
        for (t, mut all) in inputs.into_iter().enumerate().rev() {
            all.push(to_output[t * size + here]);
            all.extend(to_state.iter().map(|gradient| gradient[here]));
            let mut results = back.at_with(&all, &Heaviside);
            let before = results.split_off(results.len() - state.len());
            let cut = truncate.is_some_and(|every| t as i64 % every == 0);
            to_state.iter_mut().zip(before).for_each(|(to, before)| to[here] = if cut { zero } else { before });
            input_sums[at(t)] = input_sums[at(t)] + results[0] * gain[column];
            gain_sums[column] = gain_sums[column] + results[0] * input[at(t)];
            bias_sums[column] = bias_sums[column] + results[0];
            for (sums, &gradient) in learned_sums.iter_mut().zip(&results[1..]) {
                sums[column] = sums[column] + gradient;
            }
        }
    }
    write(Some(to_input.unwrap_or(gradient)), &input_sums);
    write(to_gain, &gain_sums);
    write(Some(to_bias), &bias_sums);
    tensors.to_learned.iter_mut().zip(&learned_sums).for_each(|(to, sums)| write(Some(to), sums));
    tensors.to_state.iter_mut().zip(&to_state).for_each(|(to, values)| write(Some(to), values));
}

/// A case of [`compare_gradients`].
#[derive(Clone, Copy, Debug)]
struct Case {
    /// The largest input.
    high: f64,
    varying: bool,
    truncate: Option<i64>,
    surrogate: Surrogate,
}

/// Compares the CUDA source's gradients with those of the recorded formulas, evaluated in the same precision.
fn compare_gradients<S: TensorNumber>(model: impl Into<Neuron>, case: Case, tolerance: f64)
where
    S::Computed: TensorNumber,
{
    let model = &model.into();
    let source = scan_source::scan_backward(model, DT, &case.surrogate, S::KIND).unwrap();
    let Some(host) = Host::compile(&source, &["scan_backward"]) else { return };
    let kind = computed(S::KIND);
    let mut ours = Layer::new(model, case, S::KIND, kind);
    scan_launch::scan_backward(&|launch| host.run(launch), model, ours.tensors()).unwrap();
    let mut theirs = Layer::new(model, case, S::KIND, kind).widened(kind);
    by_formula::<S::Computed>(model, &case.surrogate, theirs.tensors());
    for ((ours, what), (theirs, _)) in ours.named_gradients().zip(theirs.named_gradients()) {
        let largest = theirs.abs().max().double_value(&[]);
        let error = (ours.to_kind(Kind::Double) - theirs.to_kind(Kind::Double)).abs().max().double_value(&[]);
        assert!(error <= tolerance * largest, "{model:?} {:?} {case:?}: {what}: {error} of {largest}", S::KIND);
    }
    // What is compared is not nothing.
    for (theirs, what) in theirs.named_gradients().take(3 + model.learned().len()) {
        let nonzero = theirs.count_nonzero(None::<i64>).int64_value(&[]);
        assert!(4 * nonzero > theirs.numel() as i64, "{model:?} {case:?}: {what} has {nonzero} gradients");
    }
}

#[test]
fn gradients_through_time_are_those_of_the_formulas() {
    let (atan, triangle) = (Surrogate::default(), Surrogate::Triangle { width: 1.0 });
    let floored = Lif { min_voltage: -1.0, amplitude: 0.01, ..Lif::default() };
    let case = |high, varying, truncate, surrogate| Case { high, varying, truncate, surrogate };
    compare_gradients::<f64>(Lif::default(), case(8.0, true, None, atan), 1e-11);
    compare_gradients::<f64>(floored, case(8.0, false, Some(7), triangle), 1e-11);
    compare_gradients::<f64>(RectifiedLinear::default(), case(900.0, true, Some(40), atan), 1e-12);
    compare_gradients::<f64>(Sample {}, case(2.0, true, None, Surrogate::Gaussian { sigma: 0.4 }), 1e-11);
    compare_gradients::<f32>(Sample {}, case(2.0, false, None, atan), 1e-4);
    compare_gradients::<bf16>(Sample {}, case(2.0, true, Some(9), Surrogate::Sigmoid { slope: 4.0 }), 1e-2);
}

#[test]
fn tensors_that_do_not_fit_are_refused() {
    let never = |_: Launch| -> Result<(), TchError> { panic!("launched") };
    let numbers = |shape: &[i64]| Tensor::zeros(shape, (Kind::Float, Device::Cpu));
    let model = Neuron::new(Sample {});
    let refused = |learned: &[Tensor], noise: Option<NoiseRows>, steps: i64| {
        let (input, neurons) = (numbers(&[4, 2, 3]), numbers(&[3]));
        let mut state: Vec<Tensor> = (0..3).map(|_| numbers(&[2, 3])).collect();
        let scan = ScanTensors {
            drive: [&input, &neurons, &neurons],
            learned,
            noise,
            steps,
            varying: true,
            state: &mut state,
            output: &mut numbers(&[4, 2, 3]),
            record: &mut [None, None, None],
        };
        scan_launch::scan(&never, &model, scan).unwrap_err().to_string()
    };
    let noise = noise(&model);
    assert!(refused(&[numbers(&[3])], noise, 4).contains("2 tensors (learned parameters), got 1"));
    assert!(refused(&[numbers(&[3]), numbers(&[2])], noise, 4).contains("3 contiguous numbers"));
    assert!(refused(&[numbers(&[3]), numbers(&[3])], None, 4).contains("noisy"));
    assert!(refused(&[numbers(&[3]), numbers(&[3])], noise, 5).contains("30 contiguous numbers"));
}
