//! The data that flows between layers.

use tch::{Device, Kind, TchError, Tensor};

/// The activity of a layer, or the input of a network: constant over time, or with a value per timestep.
///
/// # Shapes
/// `B` samples, `T` timesteps, `S` the shape of one sample at one timestep (`[C, H, W]` or `[F]`).
///
/// ```
/// use tch::{Kind, Tensor};
/// use tch_spiking::engine::Activity;
///
/// let sequence = Activity::Varying(Tensor::zeros([5, 2, 3], (Kind::Float, tch::Device::Cpu))); // T, B, S
/// assert_eq!((sequence.batch(), sequence.steps()), (2, Some(5)));
/// assert_eq!(sequence.last()?.size(), [2, 3]);
/// # Ok::<(), tch::TchError>(())
/// ```
#[derive(Debug)]
pub enum Activity {
    /// `[B, S]`, the same at every timestep.
    Constant(Tensor),
    /// `[T, B, S]`, a value per timestep.
    Varying(Tensor),
}

impl Activity {
    /// Creates an activity with the value `tensor`, `[B, S]`, at every timestep. (The memory is shared.)
    pub fn constant(tensor: &Tensor) -> Self {
        Self::Constant(tensor.shallow_clone())
    }

    /// Creates an activity with the values `tensor`, `[T, B, S]`. (The memory is shared.)
    pub fn varying(tensor: &Tensor) -> Self {
        Self::Varying(tensor.shallow_clone())
    }

    /// Returns the tensor of either variant.
    pub fn tensor(&self) -> &Tensor {
        match self {
            Self::Constant(tensor) | Self::Varying(tensor) => tensor,
        }
    }

    /// Returns the tensor by value.
    pub fn into_tensor(self) -> Tensor {
        match self {
            Self::Constant(tensor) | Self::Varying(tensor) => tensor,
        }
    }

    /// Returns the dtype.
    pub fn kind(&self) -> Kind {
        self.tensor().kind()
    }

    /// Returns the device.
    pub fn device(&self) -> Device {
        self.tensor().device()
    }

    /// Returns the number of dimensions before those of one sample: 1 or 2.
    pub(crate) fn leading(&self) -> usize {
        if self.is_varying() { 2 } else { 1 }
    }

    /// Returns whether there is a value per timestep.
    pub fn is_varying(&self) -> bool {
        matches!(self, Self::Varying(_))
    }

    /// Returns the batch size.
    pub fn batch(&self) -> i64 {
        self.tensor().size().get(usize::from(self.is_varying())).copied().unwrap_or(0)
    }

    /// Returns the number of timesteps, if it varies.
    pub fn steps(&self) -> Option<i64> {
        match self {
            Self::Constant(_) => None,
            Self::Varying(tensor) => tensor.size().first().copied(),
        }
    }

    /// Returns a second handle to the same tensor.
    pub fn shallow_clone(&self) -> Self {
        self.with(self.tensor().shallow_clone())
    }

    /// Returns an activity of the same variant with another tensor.
    pub fn with(&self, tensor: Tensor) -> Self {
        match self {
            Self::Constant(_) => Self::Constant(tensor),
            Self::Varying(_) => Self::Varying(tensor),
        }
    }

    /// Converts to another dtype.
    ///
    /// # Errors
    /// Returns an error if memory runs out.
    pub fn to_kind(&self, kind: Kind) -> Result<Self, TchError> {
        Ok(self.with(self.tensor().f_to_kind(kind)?))
    }

    /// Detaches the values from the graph; if gradients are enabled, they become the start of a new one.
    ///
    /// # Errors
    /// Returns an error if memory runs out.
    pub(crate) fn detached(&self) -> Result<Self, TchError> {
        let own = self.tensor();
        Ok(self.with(own.f_detach()?.f_set_requires_grad(own.requires_grad())?))
    }

    /// Returns the value at the last timestep, `[B, S]`.
    ///
    /// # Errors
    /// Returns an error if there is no timestep.
    pub fn last(&self) -> Result<Tensor, TchError> {
        match self {
            Self::Constant(tensor) => Ok(tensor.shallow_clone()),
            Self::Varying(tensor) => tensor.f_select(0, -1),
        }
    }

    /// Returns the value at each of `steps` timesteps, `[T, B, S]`.
    ///
    /// # Errors
    /// Returns libtorch's error; none is expected for a valid tensor.
    pub fn over_time(&self, steps: i64) -> Result<Tensor, TchError> {
        match self {
            Self::Constant(tensor) => tensor.f_expand([&[steps], tensor.size().as_slice()].concat(), false),
            Self::Varying(tensor) => Ok(tensor.shallow_clone()),
        }
    }

    /// Applies a batch operation to several activities, with time folded into the batch; the result is constant if all
    /// are.
    ///
    /// # Errors
    /// Returns the errors of the operation.
    pub fn map_all(
        inputs: &[Self],
        operation: impl FnOnce(&[&Tensor]) -> Result<Tensor, TchError>,
    ) -> Result<Self, TchError> {
        let Some(steps) = inputs.iter().find_map(Self::steps) else {
            return Ok(Self::Constant(operation(&inputs.iter().map(Self::tensor).collect::<Vec<_>>())?));
        };
        let folded = inputs.iter().map(|input| input.over_time(steps)?.f_flatten(0, 1));
        let folded: Vec<Tensor> = folded.collect::<Result<_, TchError>>()?;
        let batch = inputs.first().map_or(0, Self::batch);
        let result = operation(&folded.iter().collect::<Vec<_>>())?;
        // Unflatten rather than reshape: it never copies, whatever the memory layout.
        Ok(Self::Varying(result.f_unflatten(0, [steps, batch])?))
    }
}
