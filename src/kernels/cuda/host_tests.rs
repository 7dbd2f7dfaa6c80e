//! Tests of the CUDA source: compiled for the CPU and compared, through the same launches, with the CPU kernels; and
//! compiled for a device by NVRTC if that is installed. Neither needs a CUDA device.

use std::ffi::c_void;
use std::io::Write;
use std::process::Command;

use half::bf16;
use libloading::os::unix::Library;
use tch::{Device, Kind, TchError, Tensor};

use super::launch::{self, Launch, ScanTensors};
use super::{compile, source};
use crate::kernels::{self, Scan, TensorNumber};
use tch_spiking_core::kernels::{Drive, Number};
use tch_spiking_core::neuron::{Lif, Neuron, RectifiedLinear};

/// What CUDA has and C++ has not: indices, and a launch, which goes through them one by one.
const BEFORE: &str = "
#include <cmath>
#include <utility>
#define __global__
#define __device__
static thread_local struct { unsigned x, y; } blockIdx, threadIdx, blockDim, gridDim;
template <class... A, std::size_t... I>
static void launch(void (*kernel)(A...), const unsigned* shape, void** arguments, std::index_sequence<I...>) {
  gridDim = {shape[0], shape[1]};
  blockDim = {shape[2], 1};
  for (blockIdx.y = 0; blockIdx.y < gridDim.y; ++blockIdx.y)
    for (blockIdx.x = 0; blockIdx.x < gridDim.x; ++blockIdx.x)
      for (threadIdx.x = 0; threadIdx.x < blockDim.x; ++threadIdx.x) kernel(*static_cast<A*>(arguments[I])...);
}
template <class... A>
static void launch(void (*kernel)(A...), const unsigned* shape, void** arguments) {
  static_assert(((sizeof(A) == 8) && ...));
  launch(kernel, shape, arguments, std::index_sequence_for<A...>());
}
";

/// A kernel library for the CPU.
struct Host {
    library: Library,
    _folder: tempfile::TempDir,
}

impl Host {
    /// None, with a message, where there is no C++ compiler.
    fn compile(source: &str, kernels: &[&str]) -> Option<Self> {
        let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".to_string());
        if Command::new(&compiler).arg("--version").output().is_err() {
            println!("skipped: there is no C++ compiler ({compiler})");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let (input, output) = (folder.path().join("kernels.cpp"), folder.path().join("kernels.so"));
        let mut file = std::fs::File::create(&input).unwrap();
        write!(file, "{BEFORE}{source}").unwrap();
        for kernel in kernels {
            writeln!(
                file,
                "extern \"C\" void launch_{kernel}(const unsigned* shape, void** arguments) {{ launch({kernel}, shape, arguments); }}"
            )
            .unwrap();
        }
        let mut command = Command::new(&compiler);
        command.args(["-std=c++17", "-O1", "-ffp-contract=off", "-Wall", "-Werror", "-Wno-unused"]);
        let result = command.args(["-shared", "-fPIC", "-o"]).arg(&output).arg(&input).output().unwrap();
        assert!(result.status.success(), "{}\n{source}", String::from_utf8_lossy(&result.stderr));
        // SAFETY: the library was just made of the source above, and has no initialisers.
        let library = unsafe { Library::new(&output) }.unwrap();
        Some(Self { library, _folder: folder })
    }

    fn run(&self, launch: Launch) -> Result<(), TchError> {
        let shape = [launch.grid[0], launch.grid[1], launch.block];
        let mut arguments = launch.arguments;
        let mut places: Vec<*mut c_void> = arguments.iter_mut().map(|argument| (&raw mut *argument).cast()).collect();
        let name = format!("launch_{}", launch.kernel);
        // SAFETY: the function has this type; the arguments are what `launch.rs` passes to a device, of 8 bytes each.
        unsafe {
            let run = self.library.get::<unsafe extern "C" fn(*const u32, *mut *mut c_void)>(name.as_bytes()).unwrap();
            run(shape.as_ptr(), places.as_mut_ptr());
        }
        Ok(())
    }
}

/// Numbers spread over `[low, high]` in an order without pattern.
fn mixed(low: f64, high: f64, shape: &[i64], kind: Kind) -> Tensor {
    let count: i64 = shape.iter().product();
    let fractions = (Tensor::arange(count, (Kind::Double, Device::Cpu)) * 0.618_033_988_749_895).frac();
    (fractions * (high - low) + low).reshape(shape).to_kind(kind)
}

fn assert_close(ours: &Tensor, theirs: &Tensor, tolerance: f64, what: &str) {
    let (ours, theirs) = (ours.to_kind(Kind::Double), theirs.to_kind(Kind::Double));
    let error = ((&ours - &theirs).abs() / (theirs.abs() + 1e-3)).max().double_value(&[]);
    assert!(error <= tolerance, "{what}: {error}");
}

/// Compares rates and gradients of `rows` rows of `neurons` between the CUDA source and the CPU kernels.
fn compare_rates<S: TensorNumber>(model: impl Into<Neuron>, rows: i64, neurons: i64, tolerance: f64)
where
    S::Computed: TensorNumber,
{
    let model = &model.into();
    let source = source::rate(model, S::KIND).unwrap();
    let Some(host) = Host::compile(&source, &["rate_forward", "rate_backward"]) else { return };
    let computed = S::Computed::KIND;
    let input = mixed(-2.0, 5.0, &[rows, neurons], S::KIND);
    let (gain, bias) = (mixed(0.5, 2.0, &[neurons], computed), mixed(0.0, 1.5, &[neurons], computed));
    let gradient = mixed(-1.0, 1.0, &[rows, neurons], S::KIND);
    let results = || [input.ones_like(), gradient.copy(), bias.ones_like()];
    let drive = [&input, &gain, &bias];
    let [mut output, mut to_input, mut to_bias] = results();
    launch::rate_forward(&|launch| host.run(launch), drive, &mut output).unwrap();
    launch::rate_backward(&|launch| host.run(launch), drive, &mut to_input, &mut to_bias).unwrap();
    let ours = [output, to_input, to_bias];

    let [mut output, mut to_input, mut to_bias] = results();
    let drive = || Drive::<S::Computed, S> {
        input: kernels::elements(&input).unwrap(),
        gain: kernels::elements(&gain).unwrap(),
        bias: kernels::elements(&bias).unwrap(),
    };
    let rate = model.rate().unwrap();
    kernels::rate_forward(rate, drive(), kernels::elements_mut(&mut output).unwrap());
    kernels::rate_backward(
        rate,
        drive(),
        kernels::elements_mut(&mut to_input).unwrap(),
        kernels::elements_mut(&mut to_bias).unwrap(),
    );
    for ((ours, theirs), what) in ours.iter().zip([output, to_input, to_bias]).zip(["output", "input", "bias"]) {
        assert_close(ours, &theirs, tolerance, &format!("{model:?} {:?} {rows} x {neurons}: {what}", S::KIND));
    }
}

#[test]
fn rates_and_gradients_are_those_of_the_processor() {
    let soft = Lif { smoothing: 0.1, amplitude: 0.01, ..Lif::default() };
    for (rows, neurons) in [(1, 1), (3, 70), (67, 129)] {
        compare_rates::<f32>(Lif::default(), rows, neurons, 1e-4);
        compare_rates::<f64>(Lif::default(), rows, neurons, 1e-11);
        compare_rates::<bf16>(Lif::default(), rows, neurons, 1e-2);
    }
    compare_rates::<f32>(soft.clone(), 5, 131, 1e-4);
    compare_rates::<f64>(soft.clone(), 5, 131, 1e-11);
    compare_rates::<f32>(RectifiedLinear::default(), 5, 131, 1e-6);
}

/// Compares spikes, states and recordings between the CUDA source and the CPU kernel.
fn compare_scans<R: Number + TensorNumber>(model: impl Into<Neuron>, high: f64, varying: bool, record: bool) {
    let model = &model.into();
    const STEPS: i64 = 50;
    const DT: f64 = 0.001;
    let source = source::scan(model, DT, R::KIND).unwrap();
    let Some(host) = Host::compile(&source, &["scan"]) else { return };
    let input = mixed(-1.0, high, if varying { &[STEPS, 3, 71] } else { &[3, 71] }, R::KIND);
    let (gain, bias) = (mixed(0.5, 2.0, &[71], R::KIND), mixed(0.0, 1.0, &[71], R::KIND));
    let empty = || Tensor::ones([STEPS, 3, 71], (R::KIND, Device::Cpu));
    let tensors = || {
        let state: Vec<Tensor> = (0..model.state().len())
            .map(|variable| mixed(0.0, if variable == 0 { 1.0 } else { 0.002 }, &[3, 71], R::KIND))
            .collect();
        let records: Vec<Option<Tensor>> = (0..model.state().len()).map(|_| record.then(empty)).collect();
        (state, empty(), records)
    };
    let (mut state, mut output, mut records) = tensors();
    let drive = [&input, &gain, &bias];
    let scan =
        ScanTensors { drive, steps: STEPS, varying, state: &mut state, output: &mut output, record: &mut records };
    launch::scan(&|launch| host.run(launch), scan).unwrap();

    let (mut their_state, mut their_output, mut their_records) = tensors();
    let slice = |tensor| kernels::elements::<R>(tensor).unwrap();
    let mut total = their_state[0].zeros_like();
    let scan = Scan {
        drive: Drive { input: slice(&input), gain: slice(&gain), bias: slice(&bias) },
        steps: STEPS as usize,
        dt: DT,
        learned: vec![],
        noise: None,
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
}

#[test]
fn tensors_that_do_not_fit_are_refused() {
    let never = |_: Launch| -> Result<(), TchError> { panic!("launched") };
    let numbers = |size: i64| Tensor::zeros([size], (Kind::Float, Device::Cpu));
    let [input, neurons] = [numbers(6), numbers(3)];
    let drive = [&input, &neurons, &neurons];
    assert!(launch::rate_forward(&never, drive, &mut numbers(5)).is_err());
    assert!(launch::rate_forward(&never, [&input, &numbers(2), &neurons], &mut numbers(6)).is_err());
    assert!(launch::rate_forward(&never, drive, &mut numbers(6).to_kind(Kind::Double)).is_err());
    assert!(launch::rate_backward(&never, drive, &mut numbers(6), &mut numbers(2)).is_err());
}

#[test]
fn the_compiler_of_cuda_takes_the_source() {
    if let Err(cause) = compile::compiler() {
        println!("skipped: {cause}");
        return;
    }
    let soft = Neuron::new(Lif { smoothing: 0.1, min_voltage: f64::NEG_INFINITY, ..Lif::default() });
    for kind in [Kind::Float, Kind::Double, Kind::BFloat16] {
        let sources =
            [source::rate(&Lif::default().into(), kind), source::rate(&soft, kind), source::scan(&soft, 0.001, kind)];
        for source in sources.into_iter().flatten() {
            let binary = compile::compile(&source, (9, 0)).unwrap();
            assert_eq!(&binary.bytes()[..4], b"\x7fELF");
        }
    }
    assert!(compile::compile("mistake", (9, 0)).unwrap_err().contains("mistake"));
}
