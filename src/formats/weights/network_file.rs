//! A network with its specification and provenance in one file.

use std::collections::BTreeMap;
use std::path::Path;

use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};

use super::assign::{check, load_into};
use super::plan::parameter_shapes;
use super::{
    Matching, OPTIMIZER_PREFIX, Provenance, TensorFile, TensorMap, WeightsError, in_file, matching, provenance, read,
    write,
};
use crate::error::{Error, Result};
use crate::network::shape::show;
use crate::network::{NetworkSpec, SpikingSequential};

/// A network loaded from a file.
#[derive(Debug)]
pub struct LoadedNetwork {
    /// The network, in the dtype of its weights in the file (`Double` if they are, otherwise `Float`).
    pub network: SpikingSequential,
    /// The variable store of its parameters.
    pub vs: VarStore,
    /// Provenance of the network, from the metadata of the file.
    pub provenance: Provenance,
    /// Checkpoint tensors that are not parameters: those named `optimizer.*`.
    pub extra: BTreeMap<String, Tensor>,
    /// Which tensor of the file was assigned to which parameter.
    pub matching: Matching,
}

/// Saves `network` to the safetensors file `path`: its parameters, its specification (if it can be written: not for
/// networks with layers that are Rust code), its seed and its `provenance`.
///
/// # Errors
/// Returns an error if a fact uses a reserved key, or the file cannot be written.
pub fn save_network(path: &Path, network: &SpikingSequential, provenance: &Provenance) -> Result<()> {
    save_network_with(path, network, provenance, &[])
}

/// Saves a checkpoint: the network with further tensors, named `optimizer.*`.
///
/// # Errors
/// Returns an error as for [`save_network`], and if an extra tensor has another name, since the file could not be
/// loaded.
pub fn save_network_with(
    path: &Path,
    network: &SpikingSequential,
    provenance: &Provenance,
    extra: &[(String, Tensor)],
) -> Result<()> {
    let metadata = provenance.to_metadata(network).map_err(|error| in_file("write", path, error))?;
    if let Some((name, _)) = extra.iter().find(|(name, _)| !name.starts_with(OPTIMIZER_PREFIX)) {
        let cause = format!("expected a name that begins with {OPTIMIZER_PREFIX}");
        return Err(in_file("write", path, WeightsError::Unwritable { tensor: name.clone(), cause }));
    }
    let mut tensors = network.named_parameters();
    tensors.extend(extra.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())));
    write(path, &tensors, &metadata)
}

/// Builds the network that the file `path` describes, with its weights, on `device`.
///
/// # Errors
/// Returns an error if the file cannot be read, does not describe its network (then use [`load_network_as`]), has a
/// later version, or its weights do not match its specification.
pub fn load_network(path: &Path, device: Device) -> Result<LoadedNetwork> {
    network_from(path, read(path)?, device)
}

/// Builds the network from the file `path`, which was already [`read`].
///
/// # Errors
/// Returns an error as for [`load_network`].
pub fn network_from(path: &Path, file: TensorFile, device: Device) -> Result<LoadedNetwork> {
    let fail = |error| in_file("read", path, error);
    let Some(spec) = provenance::specification(&file.metadata).map_err(fail)? else {
        let describe =
            |(name, tensor): (&String, &Tensor)| format!("{name}  {}  {:?}", show(&tensor.size()), tensor.kind());
        return Err(fail(WeightsError::NoSpecification {
            reason: provenance::why_no_specification(&file.metadata),
            tensors: file.tensors.iter().map(describe).collect(),
        }));
    };
    // Checked before anything is built: a file may claim a network far larger than itself.
    let expected = parameter_shapes(&spec).map_err(fail)?;
    check(expected.iter().map(|(name, shape)| (name.as_str(), shape.clone())), &file.tensors).map_err(fail)?;
    let seed = Provenance::from_metadata(&file.metadata).map_err(fail)?.seed;
    network_from_as(path, file, &spec, seed, device, None)
}

/// Builds the network `spec` from `seed` on `device` with the weights of the file `path`, ignoring the file's own
/// specification.
///
/// The file may be another program's: if its names are not those of the parameters, tensors are matched by order and
/// shape (see [`Matching`]), and biases of neurons that it does not contain keep the specification's values.
///
/// # Errors
/// Returns an error if the file cannot be read, its weights do not match, or the match is ambiguous.
pub fn load_network_as(path: &Path, spec: &NetworkSpec, seed: u64, device: Device) -> Result<LoadedNetwork> {
    network_from_as(path, read(path)?, spec, seed, device, None)
}

/// Builds a network like [`load_network_as`], with a map that assigns tensors to parameters.
///
/// # Errors
/// Returns an error as for [`load_network_as`], and if the map names something that does not exist.
pub fn load_network_mapped(
    path: &Path,
    spec: &NetworkSpec,
    seed: u64,
    device: Device,
    map: &TensorMap,
) -> Result<LoadedNetwork> {
    network_from_as(path, read(path)?, spec, seed, device, Some(map))
}

fn network_from_as(
    path: &Path,
    file: TensorFile,
    spec: &NetworkSpec,
    seed: u64,
    device: Device,
    map: Option<&TensorMap>,
) -> Result<LoadedNetwork> {
    let fail = |error| in_file("read", path, error);
    let TensorFile { tensors, mut order, metadata } = file;
    let provenance = Provenance { seed, ..Provenance::from_metadata(&metadata).map_err(fail)? };
    let (extra, weights): (BTreeMap<_, _>, BTreeMap<_, _>) =
        tensors.into_iter().partition(|(name, _)| name.starts_with(OPTIMIZER_PREFIX));
    order.retain(|name| weights.contains_key(name));
    let mut vs = VarStore::new(device);
    if weights.values().any(|tensor: &Tensor| tensor.kind() == Kind::Double) {
        vs.set_kind(Kind::Double);
    }
    let network = SpikingSequential::undrawn(&vs.root(), spec, seed)?;
    let weights = TensorFile { tensors: weights, order, metadata };
    let (weights, matching) = matching::fit(&network, weights, map).map_err(fail)?;
    load_into(&network, &weights).map_err(|error| match error {
        Error::Weights(error) => fail(error),
        error => error,
    })?;
    Ok(LoadedNetwork { network, vs, provenance, extra, matching })
}
