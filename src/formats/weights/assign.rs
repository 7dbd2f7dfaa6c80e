//! Copies tensors into a network after checking all of them.

use std::collections::{BTreeMap, HashSet};

use tch::{Kind, Tensor};

use super::{Misfit, OPTIMIZER_PREFIX, WeightsError};
use crate::error::Result;
use crate::network::SpikingSequential;

/// Copies `tensors` into the parameters of `network` with the same names.
///
/// Strict: each parameter must be present with its exact shape, and nothing else may be (except for tensors whose name
/// begins with [`OPTIMIZER_PREFIX`], which are ignored). Floating-point numbers of another dtype are rounded to the
/// network's; other dtypes are an error. Parameters keep their device and memory layout.
///
/// # Errors
/// Returns [`WeightsError::Misfits`] with all mismatches; nothing is copied then.
pub fn load_into(network: &SpikingSequential, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
    check_fit(network, tensors)?;
    let parameters = network.named_parameters();
    let _without_gradient = tch::no_grad_guard();
    for (name, mut parameter) in parameters {
        if let Some(tensor) = tensors.get(&name) {
            parameter.f_copy_(tensor)?;
        }
    }
    Ok(())
}

/// Checks that [`load_into`] would copy `tensors`.
pub(crate) fn check_fit(network: &SpikingSequential, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
    let parameters = network.named_parameters();
    Ok(check(parameters.iter().map(|(name, parameter)| (name.as_str(), parameter.size())), tensors)?)
}

/// Checks that `tensors` are parameters with these names and shapes.
pub(super) fn check<'a>(
    parameters: impl IntoIterator<Item = (&'a str, Vec<i64>)>,
    tensors: &BTreeMap<String, Tensor>,
) -> Result<(), WeightsError> {
    let mut misfits = Vec::new();
    let mut known = HashSet::new();
    for (name, expected) in parameters {
        known.insert(name);
        let name = name.to_string();
        match tensors.get(&name).map(|tensor| (tensor.size(), tensor.kind())) {
            None => misfits.push(Misfit::Missing { name, expected }),
            Some((found, _)) if found != expected => misfits.push(Misfit::Shape { name, expected, found }),
            Some((_, found)) if !is_float(found) => misfits.push(Misfit::Kind { name, found }),
            Some(_) => {}
        }
    }
    for (name, tensor) in tensors {
        if !known.contains(name.as_str()) && !name.starts_with(OPTIMIZER_PREFIX) {
            misfits.push(Misfit::Unexpected { name: name.clone(), found: tensor.size() });
        }
    }
    if misfits.is_empty() { Ok(()) } else { Err(WeightsError::Misfits(misfits)) }
}

fn is_float(kind: Kind) -> bool {
    matches!(kind, Kind::Float | Kind::Double | Kind::Half | Kind::BFloat16)
}
