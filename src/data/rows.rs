//! Images as sequences: a row of pixels at each timestep.

use tch::{Device, Kind, TchError, Tensor};

use super::{Batch, Images, Labelled, Samples, Target};
use crate::engine::Activity;
use crate::error::Result;
use crate::network::SpikingSequential;

/// Labelled images that are read row by row: `H` timesteps of one row of pixels each, all channels one after the other,
/// `[H, B, C * W]`.
///
/// A network without memory sees the last row only. With MNIST this is the sequence task of the literature, 28 steps of 28
/// pixels (Le et al. 2015 read it pixel by pixel).
///
/// ```
/// use tch::{Device, Kind};
/// use tch_spiking::data::{Rows, Samples, digits};
///
/// let rows = Rows::new(&digits::generate(0, digits::Split::Train, 3))?;
/// let batch = rows.batch(&[2, 0], Device::Cpu, Kind::Float)?;
/// assert_eq!(batch.input.tensor().size(), [28, 2, 28]); // steps, samples, pixels of a row
/// # Ok::<(), tch_spiking::Error>(())
/// ```
#[derive(Debug)]
pub struct Rows(Labelled);

impl Rows {
    /// Takes the rows of `images`.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn new(images: &Images) -> Result<Self> {
        let shape = [images.len(), images.channels, images.height, images.width].map(|size| size as i64);
        Ok(Self(Labelled {
            images: Tensor::f_from_slice(&images.pixels)?.f_reshape(shape)?,
            labels: Tensor::f_from_slice(&images.labels)?.f_to_kind(Kind::Int64)?,
        }))
    }

    /// Whether `network` reads images of this size row by row: its input is one row.
    pub(super) fn are_read_by(network: &SpikingSequential, images: &Images) -> bool {
        let row = images.channels * images.width;
        images.height > 1 && network.spec().input == [row as i64]
    }
}

impl Samples for Rows {
    fn len(&self) -> i64 {
        self.0.len()
    }

    fn batch(&self, rows: &[i64], to: Device, kind: Kind) -> Result<Batch> {
        let numbers = Tensor::f_from_slice(rows)?;
        let chosen =
            |tensor: &Tensor| -> Result<Tensor, TchError> { tensor.f_index_select(0, &numbers)?.f_to_device(to) };
        let images = chosen(&self.0.images)?.f_to_kind(kind)?;
        let sequence = images.f_permute([2, 0, 1, 3])?.f_contiguous()?.f_flatten(2, 3)?;
        Ok(Batch { input: Activity::Varying(sequence), target: Target::Classes(chosen(&self.0.labels)?) })
    }
}

/// Images in the form in which `network` reads them: at once, in its input shape, or row by row if its input is one row of
/// pixels.
///
/// # Errors
/// If the network's input is neither, or a label exceeds its outputs.
pub fn samples(images: &Images, network: &SpikingSequential) -> Result<Box<dyn Samples + Send>> {
    if !Rows::are_read_by(network, images) {
        return Ok(Box::new(super::labelled(images, network)?));
    }
    super::samples::check_class(images.labels.iter().copied().max().map_or(-1, i64::from), network)?;
    Ok(Box::new(Rows::new(images)?))
}
