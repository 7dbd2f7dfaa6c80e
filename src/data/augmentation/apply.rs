//! Augmentation of batches.

use tch::{Device, Kind, Tensor};
use tch_spiking_core::kernels::Number;

use super::transform::Draws;
use super::{Augmentation, AugmentationKey, Transform};
use crate::data::{Batch, DataError, Samples, Target};
use crate::engine::Activity;
use crate::error::Result;
use crate::kernels::{self, TensorNumber, Warp};

impl Augmentation {
    /// The samples with these indices, augmented; otherwise as [`Samples::batch`].
    ///
    /// # Errors
    /// As for [`Samples::batch`], and if the samples are not images.
    pub fn batch(
        &self,
        samples: &dyn Samples,
        rows: &[i64],
        key: AugmentationKey,
        to: Device,
        kind: Kind,
    ) -> Result<Batch> {
        // Interpolated before it is rounded.
        let computed = if kind == Kind::Double { kind } else { Kind::Float };
        let Batch { input, target } = samples.batch(rows, Device::Cpu, computed)?;
        let augmented = self.apply(&input, rows, key)?.to_kind(kind)?;
        let input = augmented.with(augmented.tensor().f_to_device(to)?);
        let target = match target {
            Target::Classes(classes) => Target::Classes(classes.f_to_device(to)?),
            Target::Values(values) => Target::Values(values.f_to_device(to)?),
            Target::Sequence(values) => Target::Sequence(values.f_to_device(to)?),
        };
        Ok(Batch { input, target })
    }

    /// Augments images `[B, C, H, W]`, or sequences of images `[T, B, C, H, W]`, of which all images of a sample are
    /// transformed alike. `rows` are the indices of the samples. On the CPU, in `Float` or `Double`.
    ///
    /// # Errors
    /// If the shape is another one.
    pub fn apply(&self, images: &Activity, rows: &[i64], key: AugmentationKey) -> Result<Activity> {
        let size = images.tensor().size();
        let &[channels, height, width] = &size[images.leading().min(size.len())..] else {
            return Err(DataError::NotAugmentable { found: size }.into());
        };
        if images.batch() != rows.len() as i64 {
            return Err(DataError::NotAugmentable { found: size }.into());
        }
        let shape = [channels, height, width].map(|size| size.unsigned_abs() as usize);
        let draws = Draws::new(key);
        let transform = |&row: &i64| self.draw(&draws, row.unsigned_abs(), [shape[1], shape[2]]);
        let transforms: Vec<Transform> = rows.iter().map(transform).collect();
        self.apply_transforms(images, shape, &transforms)
    }

    pub(super) fn apply_transforms(
        &self,
        images: &Activity,
        shape: [usize; 3],
        transforms: &[Transform],
    ) -> Result<Activity> {
        let of_step: Vec<Warp> =
            transforms.iter().map(|transform| transform.warp([shape[1], shape[2]], self)).collect();
        let warps = of_step.repeat(images.steps().unwrap_or(1).unsigned_abs() as usize);
        let source = images.tensor().f_contiguous()?;
        Ok(images.with(match source.kind() {
            Kind::Double => warped::<f64>(&source, shape, &warps)?,
            _ => warped::<f32>(&source, shape, &warps)?,
        }))
    }
}

fn warped<R: Number + TensorNumber>(source: &Tensor, shape: [usize; 3], warps: &[Warp]) -> Result<Tensor> {
    let mut output = source.f_empty_like()?;
    kernels::warp(kernels::elements::<R>(source)?, shape, warps, kernels::elements_mut(&mut output)?);
    Ok(output)
}
