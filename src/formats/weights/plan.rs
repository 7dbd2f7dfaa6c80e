//! Determines the parameters of a specification without building the network.

use super::WeightsError;
use crate::network::{Graph, NetworkSpec};

/// Returns names and shapes of the parameters of the network described by `spec`, from a file.
///
/// The network is built only after these match the file's tensors, since a file may describe a network far larger than
/// itself.
pub(super) fn parameter_shapes(spec: &NetworkSpec) -> Result<Vec<(String, Vec<i64>)>, WeightsError> {
    let graph = Graph::new(spec)
        .map_err(|error| WeightsError::Metadata { key: "spec".to_string(), cause: error.to_string() })?;
    Ok(graph.parameters().map(|(name, parameter)| (name, parameter.shape.clone())).collect())
}
