//! Samples for training and evaluation, as batches of tensors.

use std::fmt::Debug;

use tch::{Device, Kind, Tensor};

use super::DataError;
use crate::engine::Activity;
use crate::error::Result;
use crate::network::shape::show;
use crate::network::{LayerKind, SpikingSequential};

/// A set of samples, provided in batches.
///
/// Implement this trait to train on other data; [`Labelled`](super::Labelled) implements it for images.
///
/// ```
/// use tch::{Device, Kind, Tensor};
/// use tch_spiking::data::{Batch, Samples, Target};
/// use tch_spiking::engine::Activity;
///
/// /// A parabola, sampled at 100 points.
/// #[derive(Debug)]
/// struct Parabola;
///
/// impl Samples for Parabola {
///     fn len(&self) -> i64 {
///         100
///     }
///     fn batch(&self, rows: &[i64], to: Device, kind: Kind) -> tch_spiking::Result<Batch> {
///         let x = Tensor::f_from_slice(rows)?.f_unsqueeze(-1)?.f_to_kind(Kind::Double)? / 50.0 - 1.0;
///         let input = Activity::Constant(x.f_to_kind(kind)?.f_to_device(to)?);
///         Ok(Batch { input, target: Target::Values((&x * &x).f_to_device(to)?) })
///     }
/// }
///
/// assert_eq!(Parabola.batch(&[0, 50], Device::Cpu, Kind::Float)?.input.tensor().size(), [2, 1]);
/// # Ok::<(), tch_spiking::Error>(())
/// ```
pub trait Samples: Debug {
    /// The number of samples.
    fn len(&self) -> i64;

    /// The samples with these indices (from 0), in this order: the input in `kind` (that of the network, or `BFloat16`
    /// in mixed precision), all on the device `to`. All samples of a batch have the same number of timesteps. The same
    /// rows give the same batch.
    ///
    /// # Errors
    /// If a row does not exist, or the data cannot be read.
    fn batch(&self, rows: &[i64], to: Device, kind: Kind) -> Result<Batch>;

    /// Whether there are no samples.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Checks before training that the samples match `network`; by default, checks the first sample.
    ///
    /// # Errors
    /// If they do not match, with both shapes.
    fn check(&self, network: &SpikingSequential) -> Result<()> {
        match self.is_empty() {
            true => Ok(()),
            false => self.batch(&[0], network.device(), network.kind())?.check(network),
        }
    }
}

/// A batch of samples with their targets.
#[derive(Debug)]
pub struct Batch {
    /// The input, `[B, input]`, or `[T, B, input]` over time.
    pub input: Activity,
    /// The targets.
    pub target: Target,
}

/// The targets of a batch.
#[derive(Debug)]
pub enum Target {
    /// Classes, `[B]`, `Int64`: the index of the highest output, from 0.
    Classes(Tensor),
    /// Values of the output, `[B, output]`; over time, of the last timestep.
    Values(Tensor),
    /// Values of the output at every timestep, `[T, B, output]`.
    Sequence(Tensor),
}

impl Target {
    /// The tensor of either variant.
    pub fn tensor(&self) -> &Tensor {
        match self {
            Self::Classes(tensor) | Self::Values(tensor) | Self::Sequence(tensor) => tensor,
        }
    }
}

impl Batch {
    /// Checks that shapes, kinds and classes match `network`.
    fn check(&self, network: &SpikingSequential) -> Result<()> {
        network.check_input(self.input.tensor(), self.input.leading(), network.kind())?;
        let (batch, output) = (self.input.batch(), network.output_shape());
        let fail = |expected: Vec<i64>, found: &Tensor| {
            let (expected, found) = (show(&expected), show(&found.size()));
            Err(DataError::Misfit(format!("its output for a batch is {expected}, the target {found}")).into())
        };
        match &self.target {
            Target::Classes(classes) if classes.size() != [batch] || classes.kind() != Kind::Int64 => {
                let (found, kind) = (show(&classes.size()), classes.kind());
                Err(DataError::Misfit(format!("classes are {found} of {kind:?}, expected {batch} of Int64")).into())
            }
            Target::Classes(classes) => check_class(classes.f_max()?.f_int64_value(&[])?, network),
            Target::Values(values) if values.size() != [&[batch], output].concat() => {
                fail([&[batch], output].concat(), values)
            }
            Target::Sequence(values) => {
                let steps = self.input.steps().unwrap_or_else(|| values.size().first().copied().unwrap_or(0));
                let expected = [&[steps, batch], output].concat();
                if values.size() == expected { Ok(()) } else { fail(expected, values) }
            }
            Target::Values(_) => Ok(()),
        }
    }
}

/// Checks that `network` has an output for every class up to `highest`.
pub(super) fn check_class(highest: i64, network: &SpikingSequential) -> Result<()> {
    let misfit = |cause: String| Err(DataError::Misfit(cause).into());
    match network.output_shape() {
        &[classes] if highest < classes => Ok(()),
        [classes] => {
            misfit(format!("there are images of class {highest} (from 0), but the network has only {classes} outputs"))
        }
        other => misfit(format!("its output is {}, expected one value per class", show(other))),
    }
}

/// Batches of up to `size` of the first `count` samples, in order, on the device and in the kind of `network`.
pub(crate) fn batches<'a>(
    samples: &'a dyn Samples,
    count: i64,
    size: i64,
    network: &SpikingSequential,
) -> impl Iterator<Item = Result<Batch>> + 'a {
    let (count, size) = (count.clamp(0, samples.len()), size.max(1));
    let (device, kind) = (network.device(), network.kind());
    (0..count).step_by(size as usize).map(move |start| {
        let rows: Vec<i64> = (start..count.min(start + size)).collect();
        samples.batch(&rows, device, kind)
    })
}

impl<S: Samples + ?Sized> Samples for Box<S> {
    fn len(&self) -> i64 {
        (**self).len()
    }
    fn batch(&self, rows: &[i64], to: Device, kind: Kind) -> Result<Batch> {
        (**self).batch(rows, to, kind)
    }
    fn check(&self, network: &SpikingSequential) -> Result<()> {
        (**self).check(network)
    }
}

/// Returns whether `network` can run on these samples as rates: all its neurons have a rate, and if it is recurrent, the samples
/// vary over time.
///
/// # Errors
/// If the samples cannot be read.
pub fn has_rates(network: &SpikingSequential, samples: &dyn Samples) -> Result<bool> {
    let rates = network.layers().iter().all(|layer| match layer.kind() {
        LayerKind::Neuron(spec) => spec.model.rate().is_some(),
        _ => true,
    });
    if !rates || !network.is_recurrent() || samples.is_empty() {
        return Ok(rates);
    }
    Ok(samples.batch(&[0], network.device(), network.kind())?.input.is_varying())
}
