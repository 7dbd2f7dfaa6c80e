//! Images as tensors, with their classes.

use tch::{Device, Kind, TchError, Tensor};

use super::samples::check_class;
use super::{Batch, DataError, Images, Samples, Target};
use crate::engine::Activity;
use crate::error::Result;
use crate::network::SpikingSequential;
use crate::network::shape::show;

/// Images with their classes: the standard implementation of [`Samples`].
#[derive(Debug)]
pub struct Labelled {
    /// The images, `[N, C, H, W]`, of any kind; converted batch by batch.
    pub images: Tensor,
    /// The classes, `[N]`, `Int64`.
    pub labels: Tensor,
}

impl Labelled {
    /// The number of images.
    pub fn len(&self) -> i64 {
        self.labels.size().first().copied().unwrap_or(0)
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first `count` images, or all if there are fewer.
    pub fn first(&self, count: i64) -> Self {
        let count = count.clamp(0, self.len());
        Self { images: self.images.narrow(0, 0, count), labels: self.labels.narrow(0, 0, count) }
    }

    /// Batches of up to `size` images in the network's kind, with their labels.
    pub(crate) fn batches(&self, size: i64, kind: Kind) -> impl Iterator<Item = Result<(Tensor, Tensor)>> {
        (0..self.len()).step_by(size.max(1) as usize).map(move |start| {
            let count = size.min(self.len() - start);
            let images = self.images.f_narrow(0, start, count)?.f_to_kind(kind)?;
            Ok((images, self.labels.f_narrow(0, start, count)?))
        })
    }
}

impl Samples for Labelled {
    fn len(&self) -> i64 {
        self.len()
    }

    fn batch(&self, rows: &[i64], to: Device, kind: Kind) -> Result<Batch> {
        let rows = Tensor::f_from_slice(rows)?.f_to_device(self.images.device())?;
        let chosen = |tensor: &Tensor| -> Result<Tensor, TchError> { tensor.f_index_select(0, &rows)?.f_to_device(to) };
        let input = Activity::Constant(chosen(&self.images)?.f_to_kind(kind)?);
        Ok(Batch { input, target: Target::Classes(chosen(&self.labels)?) })
    }

    fn check(&self, network: &SpikingSequential) -> Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        network.check_input(
            &self.images.f_narrow(0, 0, 1)?.f_to_device(network.device())?.f_to_kind(network.kind())?,
            1,
            network.kind(),
        )?;
        check_class(self.labels.f_max()?.f_int64_value(&[])?, network)
    }
}

/// Converts images to a tensor of bytes on the network's device, in the network's input shape.
///
/// # Errors
/// If the network's input has another shape, or a label exceeds its outputs.
pub fn labelled(images: &Images, network: &SpikingSequential) -> Result<Labelled> {
    let (own, wanted) = ([images.channels as i64, images.height as i64, images.width as i64], &network.spec().input);
    if own.iter().product::<i64>() != wanted.iter().product::<i64>() || (wanted.len() == 3 && **wanted != own) {
        let cause = format!("images are {}, network.input is {}", show(&own), show(wanted));
        return Err(DataError::Misfit(cause).into());
    }
    check_class(images.labels.iter().copied().max().map_or(-1, i64::from), network)?;
    let shape = [&[images.len() as i64], wanted.as_slice()].concat();
    let device = network.device();
    Ok(Labelled {
        images: Tensor::f_from_slice(&images.pixels)?.f_reshape(shape)?.f_to_device(device)?,
        labels: Tensor::f_from_slice(&images.labels)?.f_to_kind(Kind::Int64)?.f_to_device(device)?,
    })
}
