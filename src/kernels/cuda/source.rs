//! Prints recorded formulas as CUDA source, and with them the kernels of a model's rate.
//!
//! Except for `__global__` and the block and thread indices, the source is plain C++, so that a test can compile it for
//! the CPU too. The model's parameters and the timestep are constants in it.

use std::fmt::Write;

use tch::Kind;

use tch_spiking_core::neuron::{Formula, Neuron, Operation};

/// Prints the rate kernels. `kind` is the dtype of input and output in memory; `BFloat16` is computed as `float`.
///
/// Each thread handles one neuron over several rows; adjacent threads handle adjacent neurons, so that memory accesses
/// coalesce. The bias gradient is summed by chunks of rows in a fixed order, so the result is reproducible.
pub(super) fn rate(model: &Neuron, kind: Kind) -> Option<String> {
    let formula = model.rate()?.formula();
    let (body, outputs) = statements(&formula, &["current".to_string()]);
    Some(format!(
        "{prelude}
static __device__ inline real rate_value(real current) {{
{body}  return {value};
}}

static __device__ inline real rate_derivative(real current) {{
{body}  return {derivative};
}}
{RATE_KERNELS}",
        prelude = prelude(kind)?,
        value = outputs[0],
        derivative = outputs[1],
    ))
}

const RATE_KERNELS: &str = r#"
extern "C" __global__ void rate_forward(const stored* input, const real* gain, const real* bias, stored* output,
                                        long long rows, long long neurons) {
  const long long column = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (column >= neurons) return;
  const real g = gain[column], b = bias[column];
  for (long long row = blockIdx.y; row < rows; row += gridDim.y) {
    const long long here = row * neurons + column;
    output[here] = to_stored(rate_value(g * from_stored(input[here]) + b));
  }
}

extern "C" __global__ void rate_backward(const stored* input, const real* gain, const real* bias,
                                         stored* gradient, real* bias_gradients, long long rows,
                                         long long neurons, long long chunk) {
  const long long column = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (column >= neurons) return;
  const real g = gain[column], b = bias[column];
  const long long begin = blockIdx.y * chunk;
  const long long end = begin + chunk < rows ? begin + chunk : rows;
  real sum = 0;
  for (long long row = begin; row < end; ++row) {
    const long long here = row * neurons + column;
    const real to_current = from_stored(gradient[here]) * rate_derivative(g * from_stored(input[here]) + b);
    gradient[here] = to_stored(to_current * g);
    sum += to_current;
  }
  bias_gradients[blockIdx.y * neurons + column] = sum;
}
"#;

/// Prints the type that is computed with (`real`), the type in memory (`stored`) and their functions; `None` for other
/// dtypes.
pub(super) fn prelude(kind: Kind) -> Option<String> {
    let (real, suffix) = match kind {
        Kind::Float | Kind::BFloat16 => ("float", "f"),
        Kind::Double => ("double", ""),
        _ => return None,
    };
    let mut text = format!("typedef {real} real;\n");
    for (name, function) in
        [("exp", "exp"), ("exp_m1", "expm1"), ("ln_1p", "log1p"), ("floor", "floor"), ("abs", "fabs")]
    {
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(text, "static __device__ inline real real_{name}(real x) {{ return {function}{suffix}(x); }}");
    }
    text.push_str(if kind == Kind::BFloat16 { BF16 } else { AS_COMPUTED });
    Some(text)
}

const AS_COMPUTED: &str = "typedef real stored;
static __device__ inline real from_stored(stored x) { return x; }
static __device__ inline stored to_stored(real x) { return x; }
";

/// The same conversions as in the core's `number.rs`.
const BF16: &str = "typedef unsigned short stored;
union Bits { unsigned bits; float number; };
static __device__ inline real from_stored(stored x) {
  Bits all;
  all.bits = (unsigned)x << 16;
  return all.number;
}
static __device__ inline stored to_stored(real x) {
  Bits all;
  all.number = x;
  const unsigned upper = all.bits >> 16;
  return x != x ? (stored)(upper | 0x40) : (stored)((all.bits + 0x7fff + (upper & 1)) >> 16);
}
";

/// Prints a formula as C statements, one per operation, and returns the names of its outputs.
pub(super) fn statements(formula: &Formula, inputs: &[String]) -> (String, Vec<String>) {
    let mut body = String::new();
    for (position, operation) in formula.operations().iter().enumerate() {
        let kind = if matches!(operation, Operation::Greater(..)) { "bool" } else { "real" };
        let value = match *operation {
            Operation::Input(index) => inputs[index].clone(),
            Operation::Constant(value) => constant(value),
            Operation::Add(a, b) => format!("v{a} + v{b}"),
            Operation::Sub(a, b) => format!("v{a} - v{b}"),
            Operation::Mul(a, b) => format!("v{a} * v{b}"),
            Operation::Div(a, b) => format!("v{a} / v{b}"),
            // As in the CPU kernels: a NaN as first operand yields the second.
            Operation::Max(a, b) => format!("v{a} > v{b} ? v{a} : v{b}"),
            Operation::Min(a, b) => format!("v{a} < v{b} ? v{a} : v{b}"),
            Operation::Greater(a, b) => format!("v{a} > v{b}"),
            Operation::Select(mask, a, b) => format!("v{mask} ? v{a} : v{b}"),
            Operation::Exp(a) => format!("real_exp(v{a})"),
            Operation::ExpM1(a) => format!("real_exp_m1(v{a})"),
            Operation::Ln1p(a) => format!("real_ln_1p(v{a})"),
            Operation::Floor(a) | Operation::Count(a) => format!("real_floor(v{a})"),
            Operation::Fire(a) => format!("v{a} > 0 ? (real)1 : (real)0"),
            Operation::Abs(a) => format!("real_abs(v{a})"),
            Operation::Detach(a) => format!("v{a}"),
        };
        let _ = writeln!(body, "    const {kind} v{position} = {value};");
    }
    (body, formula.outputs().iter().map(|output| format!("v{output}")).collect())
}

/// Prints a number that reads back bit for bit. (NVRTC supports neither `INFINITY` nor compiler-specific names for it.)
fn constant(value: f64) -> String {
    match value {
        value if value.is_nan() => "(real)0 / (real)0".to_string(),
        value if value.is_infinite() => format!("(real){} / (real)0", value.signum()),
        value => format!("(real){value:e}"),
    }
}
