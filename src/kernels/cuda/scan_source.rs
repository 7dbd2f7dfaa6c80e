//! Prints the CUDA source of the spiking kernels: a model's step over time, and its gradients.

use tch::Kind;

use tch_spiking_core::neuron::{Formula, Neuron};
use tch_spiking_core::surrogate::Surrogate;

use super::source::{prelude, statements};

/// The largest number of timesteps whose states a thread of the backward kernel keeps.
pub(super) const SEGMENT: i64 = 32;

/// Prints the spiking kernel: each thread runs one neuron of one sample over time, with its state in registers.
///
/// `kind` is the dtype of input and output in memory; `BFloat16` is computed as `float`.
pub(super) fn scan(model: &Neuron, dt: f64, kind: Kind) -> Option<String> {
    let model = Printed::new(model);
    let each = |line: &dyn Fn(usize) -> String| (0..model.variables).map(line).collect::<String>();
    Some(format!(
        "{prelude}{advance}
extern \"C\" __global__ void scan({drive}stored* output, {parameters}long long size, long long neurons,
                                long long steps, long long varying) {{
{load}  for (long long step = 0; step < steps; ++step) {{
    const long long now = step * size + here;
    if (varying) current = g * from_stored(input[now]) + b;
    output[now] = to_stored(advance({arguments}, s));
{record}  }}
{keep}}}
",
        prelude = prelude(kind)?,
        advance = model.advance(&model.neuron.step_formula(dt)),
        drive = model.drive(),
        parameters = each(&|v| format!("real* state{v}, real* record{v}, ")),
        load = model.load(),
        arguments = model.arguments(),
        record = each(&|v| format!("    if (record{v}) record{v}[now] = s[{v}];\n")),
        keep = each(&|v| format!("  state{v}[here] = s[{v}];\n")),
    ))
}

/// Prints the backward kernel: each thread runs one neuron of one sample forward over a segment, remembers the state before
/// each of its steps, and goes back through it with the gradient of the state; segments from the last to the first.
///
/// Gradients of parameters are written for each neuron of each sample, so that they can be summed in a fixed order.
pub(super) fn scan_backward(model: &Neuron, dt: f64, surrogate: &Surrogate, kind: Kind) -> Option<String> {
    let model = Printed::new(model);
    let variable = |line: &dyn Fn(usize) -> String| (0..model.variables).map(line).collect::<String>();
    let learned = |line: &dyn Fn(usize) -> String| (0..model.learned).map(line).collect::<String>();
    let step = model.neuron.step_formula(dt);
    Some(format!(
        "{prelude}{advance}{retreat}
extern \"C\" __global__ void scan_backward({drive}stored* gradient, stored* to_input, real* to_gain, real* to_bias,
                                         {to_learned}{states}long long size, long long neurons,
                                         long long steps, long long truncate) {{
  const bool varying = !to_input;
{load}  // The state where each segment but the first begins.
  const long long last = (steps - 1) / {SEGMENT};
  for (long long step = 0; step < last * {SEGMENT}; ++step) {{
    if (varying) current = g * from_stored(input[step * size + here]) + b;
    advance({arguments}, s);
    if ((step + 1) % {SEGMENT}) continue;
    const long long begins = step / {SEGMENT} * size + here;
{begin}  }}
  real before[{SEGMENT}][{variables}];
  real to_s[{variables}] = {{{given}}};
  real bias_sum = 0, gain_sum = 0;
{sums}  for (long long segment = last; segment >= 0; --segment) {{
    const long long begin = segment * {SEGMENT};
    const long long end = begin + {SEGMENT} < steps ? begin + {SEGMENT} : steps;
    const long long begins = (segment - 1) * size + here;
{resume}    for (long long step = begin; step < end; ++step) {{
      real* const kept = before[step - begin];
{remember}      if (varying) current = g * from_stored(input[step * size + here]) + b;
      if (step + 1 < end) advance({arguments}, s);
    }}
    for (long long step = end - 1; step >= begin; --step) {{
      const long long now = step * size + here;
      if (varying) current = g * from_stored(input[now]) + b;
      const real to_current =
          retreat({arguments}, before[step - begin], from_stored(gradient[now]), to_s{pass_sums});
      if (truncate && step % truncate == 0) {{
{cut}      }}
      bias_sum += to_current;
      if (varying) {{
        gain_sum += to_current * from_stored(input[now]);
        gradient[now] = to_stored(to_current * g);
      }}
    }}
  }}
  if (!varying) {{
    gain_sum = bias_sum * from_stored(input[here]);
    to_input[here] = to_stored(bias_sum * g);
  }}
  if (to_gain) to_gain[here] = gain_sum;
  to_bias[here] = bias_sum;
{write_learned}{write_state}}}
",
        prelude = prelude(kind)?,
        advance = model.advance(&step),
        retreat = model.retreat(&step.vjp(surrogate)),
        drive = model.drive(),
        to_learned = learned(&|l| format!("real* to_learned{l}, ")),
        states = variable(&|v| format!("const real* state{v}, real* begin{v}, real* to_state{v}, ")),
        load = model.load(),
        arguments = model.arguments(),
        begin = variable(&|v| format!("    begin{v}[begins] = s[{v}];\n")),
        variables = model.variables,
        given = variable(&|v| format!("to_state{v}[here], ")),
        sums = learned(&|l| format!("  real sum{l} = 0;\n")),
        resume = variable(&|v| format!("    s[{v}] = segment ? begin{v}[begins] : state{v}[here];\n")),
        remember = variable(&|v| format!("      kept[{v}] = s[{v}];\n")),
        pass_sums = learned(&|l| format!(", sum{l}")),
        cut = variable(&|v| format!("        to_s[{v}] = 0;\n")),
        write_learned = learned(&|l| format!("  to_learned{l}[here] = sum{l};\n")),
        write_state = variable(&|v| format!("  to_state{v}[here] = to_s[{v}];\n")),
    ))
}

/// The parts of the source that both kernels of a model share.
struct Printed<'a> {
    neuron: &'a Neuron,
    learned: usize,
    noisy: bool,
    variables: usize,
}

impl<'a> Printed<'a> {
    fn new(neuron: &'a Neuron) -> Self {
        let (learned, variables) = (neuron.learned().len(), neuron.state().len());
        Self { neuron, learned, noisy: neuron.is_noisy(), variables }
    }

    fn parameters(&self) -> impl Iterator<Item = String> {
        (0..self.learned).map(|l| format!("l{l}")).chain(self.noisy.then(|| "uniform".to_string()))
    }

    /// The inputs of a step's formula, as they are named in the printed functions.
    fn inputs(&self) -> Vec<String> {
        let state = (0..self.variables).map(|v| format!("s[{v}]"));
        std::iter::once("current".to_string()).chain(self.parameters()).chain(state).collect()
    }

    /// The function that computes one step: returns the output and advances the state `s` in place.
    fn advance(&self, step: &Formula) -> String {
        let (body, outputs) = statements(step, &self.inputs());
        let noise = if self.noisy { NOISE } else { "" };
        let parameters: String = self.parameters().map(|name| format!("real {name}, ")).collect();
        let state: String =
            outputs[1..].iter().enumerate().map(|(v, output)| format!("    s[{v}] = {output};\n")).collect();
        format!(
            "{noise}
static __device__ inline real advance(real current, {parameters}real* s) {{
{body}{state}    return {output};
}}
",
            output = outputs[0],
        )
    }

    /// The function that goes back through one step from the state `s` before it: returns the gradient of the current,
    /// replaces that of the state after the step by that of the state before it, and adds those of the learned parameters.
    fn retreat(&self, backward: &Formula) -> String {
        let given = (0..self.variables).map(|v| format!("to_s[{v}]"));
        let inputs: Vec<_> =
            self.inputs().into_iter().chain(std::iter::once("to_output".to_string())).chain(given).collect();
        let (body, outputs) = statements(backward, &inputs);
        let parameters: String = self.parameters().map(|name| format!("real {name}, ")).collect();
        let sums: String = (0..self.learned).map(|l| format!(", real& sum{l}")).collect();
        let to_learned = &outputs[1..][..self.learned];
        let to_state = &outputs[outputs.len() - self.variables..];
        let add: String = to_learned.iter().enumerate().map(|(l, add)| format!("    sum{l} += {add};\n")).collect();
        let state: String = to_state.iter().enumerate().map(|(v, to)| format!("    to_s[{v}] = {to};\n")).collect();
        format!(
            "
static __device__ inline real retreat(real current, {parameters}const real* s, real to_output, real* to_s{sums}) {{
{body}{add}{state}    return {to_current};
}}
",
            to_current = outputs[0],
        )
    }

    /// The parameters of a kernel that say what drives the neurons.
    fn drive(&self) -> String {
        let learned: String = (0..self.learned).map(|l| format!("const real* learned{l}, ")).collect();
        let noise = if self.noisy {
            "long long key, long long first_sample, long long first_step, long long channels, long long positions, "
        } else {
            ""
        };
        format!("const stored* input, const real* gain, const real* bias, {learned}{noise}")
    }

    /// The beginning of a kernel: what a thread reads once.
    fn load(&self) -> String {
        let learned: String = (0..self.learned).map(|l| format!("  const real l{l} = learned{l}[column];\n")).collect();
        let noise = if self.noisy {
            "  const Noise noise = noise_of(key, first_sample + here / neurons, column, channels, positions);\n"
        } else {
            ""
        };
        let state: String = (0..self.variables).map(|v| format!("state{v}[here], ")).collect();
        format!(
            "  const long long here = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (here >= size) return;
  const long long column = here % neurons;
  const real g = gain[column], b = bias[column];
{learned}{noise}  real s[{variables}] = {{{state}}};
  real current = g * from_stored(input[here]) + b;
",
            variables = self.variables,
        )
    }

    /// What a kernel passes for the inputs of a step that are not state.
    fn arguments(&self) -> String {
        let learned: String = (0..self.learned).map(|l| format!(", l{l}")).collect();
        let noise = if self.noisy { ", draw(noise, first_step + step)" } else { "" };
        format!("current{learned}{noise}")
    }
}

/// The same random numbers as the core's `noise.rs`.
const NOISE: &str = "
struct Noise {
  unsigned low, high, neuron;
};
static __device__ inline unsigned mix(unsigned word) {
  word ^= word >> 16;
  word *= 0x85ebca6bu;
  word ^= word >> 13;
  word *= 0xc2b2ae35u;
  return word ^ (word >> 16);
}
static __device__ inline Noise noise_of(unsigned long long key, unsigned long long sample, long long place,
                                        long long channels, long long positions) {
  Noise noise;
  noise.low = mix((unsigned)key ^ (unsigned)sample);
  noise.high = mix((unsigned)(key >> 32) ^ noise.low ^ (unsigned)(sample >> 32));
  noise.neuron = (unsigned)(place % channels * positions + place / channels);
  return noise;
}
static __device__ inline real draw(Noise noise, unsigned long long step) {
  const unsigned at_step = mix(noise.low ^ (unsigned)step * 0x9e3779b9u) ^ (unsigned)(step >> 32);
  return (real)(mix(mix(noise.neuron ^ at_step) + noise.high) >> 8) / (real)16777216;
}
";
