//! A network with its specification and where it comes from, in one file.

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

/// A network from a file.
#[derive(Debug)]
pub struct LoadedNetwork {
    /// The network, of the kind of its weights in the file (`Double` if they are, else `Float`).
    pub network: SpikingSequential,
    /// The store of its parameters.
    pub vs: VarStore,
    /// What the file says about itself.
    pub provenance: Provenance,
    /// The tensors of a checkpoint that are no parameters: those called `optimizer.*`.
    pub extra: BTreeMap<String, Tensor>,
    /// Which tensor of the file became which parameter.
    pub matching: Matching,
}

/// Saves `network` to the safetensors file `path`: its parameters, its specification (if it can be put into words: a
/// network with layers that are code cannot), its seed and its `provenance`.
///
/// # Errors
/// If a fact has a key of the format's own, or the file cannot be written.
pub fn save_network(path: &Path, network: &SpikingSequential, provenance: &Provenance) -> Result<()> {
    save_network_with(path, network, provenance, &[])
}

/// The same with further tensors, called `optimizer.*`: a checkpoint.
///
/// # Errors
/// As for [`save_network`], and if an extra tensor is called otherwise, since the file could not be loaded.
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
/// If the file cannot be read, says nothing about its network (then use [`load_network_as`]), is of a later version, or
/// its weights do not fit its own description.
pub fn load_network(path: &Path, device: Device) -> Result<LoadedNetwork> {
    network_from(path, read(path)?, device)
}

/// [`load_network`] with the file `path` already [`read`].
///
/// # Errors
/// As for [`load_network`].
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
    // Before anything is built: a file may claim a network far larger than itself.
    let expected = parameter_shapes(&spec).map_err(fail)?;
    check(expected.iter().map(|(name, shape)| (name.as_str(), shape.clone())), &file.tensors).map_err(fail)?;
    let seed = Provenance::from_metadata(&file.metadata).map_err(fail)?.seed;
    network_from_as(path, file, &spec, seed, device, None)
}

/// Builds the network `spec` from `seed` on `device`, with the weights of the file `path`, whatever that says about itself.
///
/// The file may be another program's: where its names are not those of the parameters, tensors are matched by order and
/// shape (see [`Matching`]), and biases of neurons that it knows nothing of are left as the specification has them.
///
/// # Errors
/// If the file cannot be read, its weights do not fit, or could be matched in several ways.
pub fn load_network_as(path: &Path, spec: &NetworkSpec, seed: u64, device: Device) -> Result<LoadedNetwork> {
    network_from_as(path, read(path)?, spec, seed, device, None)
}

/// The same with a map that says which tensor is which parameter.
///
/// # Errors
/// As for [`load_network_as`], and if the map names what is not there.
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
    let network = SpikingSequential::new(&vs.root(), spec, seed)?;
    let weights = TensorFile { tensors: weights, order, metadata };
    let (weights, matching) = matching::fit(&network, weights, map).map_err(fail)?;
    load_into(&network, &weights).map_err(|error| match error {
        Error::Weights(error) => fail(error),
        error => error,
    })?;
    Ok(LoadedNetwork { network, vs, provenance, extra, matching })
}
