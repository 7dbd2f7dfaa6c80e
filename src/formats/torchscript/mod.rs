//! Export of networks to TorchScript: one file that PyTorch runs, in Python or C++, without this crate.
//!
//! ```python
//! import torch
//! network = torch.jit.load("network.pt")
//! rates = network(images)                # [B, classes]
//! spikes = network.simulate(images, 30)  # [30, B, classes]
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `module.rs` | the content of the file: tensors by layer, and the code |
//! | `program.rs` | the code of rates and spikes, printed layer by layer |
//! | `expression.rs` | layers without state as `torch.` operations |
//! | `formula.rs` | a neuron's recorded formulas as `torch.` operations |
//! | `archive.rs`, `pickle.rs` | the file format |
//!
//! The file is written in plain Rust, without libtorch, in the format of `torch.jit.save`.

mod archive;
mod error;
mod expression;
mod formula;
mod module;
mod pickle;
mod program;

use std::path::Path;

pub use error::TorchScriptError;

use crate::error::Result;
use crate::network::SpikingSequential;

/// Writes `network` to the TorchScript file `path`, atomically.
///
/// The file is a module with two methods, which runs on any device that it is moved to:
///
/// - `forward(x)`: the firing rates, like [`forward_rates`](SpikingSequential::forward_rates), `[B, input]` to `[B, output]`;
///   an exception if a layer's neurons have no rate.
/// - `simulate(x, steps)`: the spikes, like [`simulate`](SpikingSequential::simulate), from the network's initial voltages:
///   `[B, input]`, constant over time, to `[steps, B, output]`. Only one timestep's activity is in memory at a time.
///
/// Its attributes `dt` (s) and `steps` are the specification's. Its tensors have the same names as in a weights file
/// (`conv1.weight`, `lif1.bias`), and a layer of neurons also has `gain` and `initial_voltage`; in a name that is not a
/// Python identifier, other characters become `_`. All are buffers: the module is for inference. The same network gives
/// the same bytes.
///
/// Returns an error that names a [custom](crate::network::Custom) layer, or if the file cannot be written.
/// Naming a [custom](crate::network::Custom) layer, or if the file cannot be written.
///
/// ```
/// use tch::{CModule, Device, IValue, Kind, Tensor, nn};
/// use tch_spiking::{NetworkSpec, SpikingSequential, torchscript};
///
/// let vs = nn::VarStore::new(Device::Cpu);
/// let network = SpikingSequential::new(&vs.root(), &NetworkSpec::reference(), 0)?;
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("network.pt");
/// torchscript::export(&path, &network)?;
///
/// let module = CModule::load(&path)?;
/// let images = Tensor::rand([2, 1, 28, 28], (Kind::Float, Device::Cpu)) * 255.0;
/// let IValue::Tensor(spikes) = module.method_is("simulate", &[IValue::Tensor(images), IValue::Int(5)])? else {
/// panic!() };
/// assert_eq!(spikes.size(), [5, 2, 10]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn export(path: impl AsRef<Path>, network: &SpikingSequential) -> Result<()> {
    let _without_gradient = tch::no_grad_guard();
    let archive = archive::archive(&module::Module::new(network)?)?;
    crate::write_atomically(path, |file| file.write_all(&archive))
}
