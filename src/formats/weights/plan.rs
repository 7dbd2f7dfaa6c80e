//! What parameters a specification asks for, without building anything.

use super::WeightsError;
use crate::network::{Graph, NetworkSpec};

/// Names and shapes of the parameters of the network that `spec`, from a file, describes.
///
/// Building comes after these fit the file's tensors, since a file may describe a network far larger than itself.
pub(super) fn parameter_shapes(spec: &NetworkSpec) -> Result<Vec<(String, Vec<i64>)>, WeightsError> {
    let graph = Graph::new(spec)
        .map_err(|error| WeightsError::Metadata { key: "spec".to_string(), cause: error.to_string() })?;
    Ok(graph.parameters().map(|(name, parameter)| (name, parameter.shape.clone())).collect())
}
