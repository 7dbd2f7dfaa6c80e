//! Runs the CUDA source on the CPU: compiled by a C++ compiler, through the same launches. For tests.

use std::ffi::c_void;
use std::io::Write;
use std::process::Command;

use libloading::os::unix::Library;
use tch::{Device, Kind, TchError, Tensor};

use super::launch::Launch;
use super::scan_launch::{self, BackwardTensors};
use super::scan_source;
use tch_spiking_core::neuron::Neuron;
use tch_spiking_core::surrogate::Surrogate;

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
pub(crate) struct Host {
    library: Library,
    _folder: tempfile::TempDir,
}

impl Host {
    /// None, with a message, where there is no C++ compiler.
    pub(super) fn compile(source: &str, kernels: &[&str]) -> Option<Self> {
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

    /// The backward kernel of a model in double precision.
    pub(crate) fn of_backward(model: &Neuron, dt: f64, surrogate: &Surrogate) -> Option<Self> {
        let source = scan_source::scan_backward(model, dt, surrogate, Kind::Double).unwrap();
        Self::compile(&source, &["scan_backward"])
    }

    /// Runs the backward kernel of a model.
    pub(crate) fn run_backward(&self, model: &Neuron, tensors: BackwardTensors) -> Result<(), TchError> {
        scan_launch::scan_backward(&|launch| self.run(launch), model, tensors)
    }

    pub(super) fn run(&self, launch: Launch) -> Result<(), TchError> {
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
pub(crate) fn mixed(low: f64, high: f64, shape: &[i64], kind: Kind) -> Tensor {
    let count: i64 = shape.iter().product();
    let fractions = (Tensor::arange(count, (Kind::Double, Device::Cpu)) * 0.618_033_988_749_895).frac();
    (fractions * (high - low) + low).reshape(shape).to_kind(kind)
}

pub(super) fn assert_close(ours: &Tensor, theirs: &Tensor, tolerance: f64, what: &str) {
    let (ours, theirs) = (ours.to_kind(Kind::Double), theirs.to_kind(Kind::Double));
    let error = ((&ours - &theirs).abs() / (theirs.abs() + 1e-3)).max().double_value(&[]);
    assert!(error <= tolerance, "{what}: {error}");
}
