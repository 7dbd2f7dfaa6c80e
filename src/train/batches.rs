//! Training images in a random order, batch by batch.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, TchError, Tensor};

use super::TrainError;
use crate::data::Images;
use crate::error::Result;
use crate::evaluate::Labelled;
use crate::network::SpikingSequential;
use crate::network::shape::show;

/// The images as a tensor of bytes on the network's device, in the shape that the network takes.
///
/// # Errors
/// If the network takes images of another size, or a label is beyond its outputs.
pub fn labelled(images: &Images, network: &SpikingSequential) -> Result<Labelled> {
    let (own, wanted) = ([images.channels as i64, images.height as i64, images.width as i64], &network.spec().input);
    let misfit = |cause: String| Err(TrainError::Misfit(cause).into());
    if own.iter().product::<i64>() != wanted.iter().product::<i64>() || (wanted.len() == 3 && **wanted != own) {
        return misfit(format!("images are {}, network.input is {}", show(&own), show(wanted)));
    }
    let classes = match network.output_shape() {
        [classes] => *classes,
        other => return misfit(format!("its output is {}, expected one number a class", show(other))),
    };
    if let Some(label) = images.labels.iter().find(|&&label| i64::from(label) >= classes) {
        return misfit(format!("there are images of class {label}, counted from 0, but only {classes} outputs"));
    }
    let shape = [&[images.len() as i64], wanted.as_slice()].concat();
    let device = network.device();
    Ok(Labelled {
        images: Tensor::f_from_slice(&images.pixels)?.f_reshape(shape)?.f_to_device(device)?,
        labels: Tensor::f_from_slice(&images.labels)?.f_to_kind(Kind::Int64)?.f_to_device(device)?,
    })
}

/// The order of the images in one epoch.
#[derive(Debug)]
pub(super) struct Order {
    permutation: Tensor,
    batch: i64,
}

impl Order {
    /// The order that `seed` gives for the epoch of this number. `batch` images at a time.
    pub(super) fn new(images: i64, batch: usize, seed: u64, epoch: u64, device: Device) -> Result<Self, TchError> {
        let mut order: Vec<i64> = (0..images).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        // The streams below 2^32 belong to the network.
        rng.set_stream((1 << 32) | epoch);
        order.shuffle(&mut rng);
        let batch = i64::try_from(batch).unwrap_or(i64::MAX);
        Ok(Self { permutation: Tensor::f_from_slice(&order)?.f_to_device(device)?, batch })
    }

    /// How many batches there are, the last of which may be smaller.
    pub(super) fn batches(&self) -> u64 {
        (self.permutation.numel() as u64).div_ceil(self.batch as u64)
    }

    /// The images and labels of batch `index`, in the given kind.
    pub(super) fn batch(&self, data: &Labelled, index: u64, kind: Kind) -> Result<(Tensor, Tensor), TchError> {
        let start = index as i64 * self.batch;
        let count = self.batch.min(self.permutation.numel() as i64 - start);
        let chosen = self.permutation.f_narrow(0, start, count)?;
        Ok((data.images.f_index_select(0, &chosen)?.f_to_kind(kind)?, data.labels.f_index_select(0, &chosen)?))
    }
}
