//! Weights that are not finite: every result of theirs is meaningless, and nothing else would say so.

use std::path::Path;

use tch::{Kind, Tensor};

use super::{OPTIMIZER_PREFIX, WeightsError, in_file, read};
use crate::error::Result;

/// Checks that all numbers of `tensors` are finite.
///
/// # Errors
/// [`WeightsError::NonFinite`], which names the first tensor with others.
pub fn require_finite<'a>(tensors: impl IntoIterator<Item = (&'a String, &'a Tensor)>) -> Result<()> {
    for (tensor, values) in tensors {
        if let Some((count, of)) = non_finite(values)? {
            return Err(WeightsError::NonFinite { tensor: tensor.clone(), count, of }.into());
        }
    }
    Ok(())
}

/// The same for the tensors in the file `path`, but the state of an optimiser.
///
/// # Errors
/// As for [`require_finite`], with the file, and if it cannot be read.
pub fn require_finite_file(path: &Path) -> Result<()> {
    let file = read(path)?;
    let weights = file.tensors.iter().filter(|(name, _)| !name.starts_with(OPTIMIZER_PREFIX));
    require_finite(weights).map_err(|error| match error {
        crate::Error::Weights(cause) => in_file("read", path, cause),
        other => other,
    })
}

/// How many numbers of a tensor are not finite, if any, and how many it has.
fn non_finite(values: &Tensor) -> Result<Option<(i64, i64)>> {
    if !matches!(values.kind(), Kind::Float | Kind::Double | Kind::Half | Kind::BFloat16) {
        return Ok(None);
    }
    let count = values.f_isfinite()?.f_logical_not()?.f_sum(Kind::Int64)?.f_int64_value(&[])?;
    Ok((count > 0).then(|| (count, values.numel() as i64)))
}
