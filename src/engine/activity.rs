//! What flows between layers.

use tch::{Device, Kind, TchError, Tensor};

/// The activity of a layer, or the input of a network: the same at every timestep, or a value for each.
///
/// # Shapes
/// `B` samples, `T` timesteps, `S` the shape of one sample at one moment (`[C, H, W]` or `[F]`).
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
    /// `[B, S]` at every timestep.
    Constant(Tensor),
    /// `[T, B, S]`.
    Varying(Tensor),
}

impl Activity {
    /// `tensor`, `[B, S]`, at every timestep. (The memory is shared.)
    pub fn constant(tensor: &Tensor) -> Self {
        Self::Constant(tensor.shallow_clone())
    }

    /// `tensor`, `[T, B, S]`, over time. (The memory is shared.)
    pub fn varying(tensor: &Tensor) -> Self {
        Self::Varying(tensor.shallow_clone())
    }

    /// The tensor, of either shape.
    pub fn tensor(&self) -> &Tensor {
        match self {
            Self::Constant(tensor) | Self::Varying(tensor) => tensor,
        }
    }

    /// The tensor by itself.
    pub fn into_tensor(self) -> Tensor {
        match self {
            Self::Constant(tensor) | Self::Varying(tensor) => tensor,
        }
    }

    /// The kind of its elements.
    pub fn kind(&self) -> Kind {
        self.tensor().kind()
    }

    /// The device that it is on.
    pub fn device(&self) -> Device {
        self.tensor().device()
    }

    /// How many dimensions come before those of one sample: 1 or 2.
    pub(crate) fn leading(&self) -> usize {
        if self.is_varying() { 2 } else { 1 }
    }

    /// Whether it has a value for each timestep.
    pub fn is_varying(&self) -> bool {
        matches!(self, Self::Varying(_))
    }

    /// How many samples it is of.
    pub fn batch(&self) -> i64 {
        self.tensor().size().get(usize::from(self.is_varying())).copied().unwrap_or(0)
    }

    /// How many timesteps it has a value for, if it varies.
    pub fn steps(&self) -> Option<i64> {
        match self {
            Self::Constant(_) => None,
            Self::Varying(tensor) => tensor.size().first().copied(),
        }
    }

    /// The same tensor once more.
    pub fn shallow_clone(&self) -> Self {
        self.with(self.tensor().shallow_clone())
    }

    /// Another tensor in place of this one's.
    pub fn with(&self, tensor: Tensor) -> Self {
        match self {
            Self::Constant(_) => Self::Constant(tensor),
            Self::Varying(_) => Self::Varying(tensor),
        }
    }

    /// The same in numbers of another kind.
    ///
    /// # Errors
    /// When memory runs out.
    pub fn to_kind(&self, kind: Kind) -> Result<Self, TchError> {
        Ok(self.with(self.tensor().f_to_kind(kind)?))
    }

    /// The same numbers, cut out of the graph that computed them: the start of one of their own where gradients are wanted.
    ///
    /// # Errors
    /// If memory runs out.
    pub(crate) fn detached(&self) -> Result<Self, TchError> {
        let own = self.tensor();
        Ok(self.with(own.f_detach()?.f_set_requires_grad(own.requires_grad())?))
    }

    /// The value at the last timestep, `[B, S]`.
    ///
    /// # Errors
    /// If there is no timestep.
    pub fn last(&self) -> Result<Tensor, TchError> {
        match self {
            Self::Constant(tensor) => Ok(tensor.shallow_clone()),
            Self::Varying(tensor) => tensor.f_select(0, -1),
        }
    }

    /// The value at each of `steps` timesteps, `[T, B, S]`.
    ///
    /// # Errors
    /// Never for a tensor that libtorch made.
    pub fn over_time(&self, steps: i64) -> Result<Tensor, TchError> {
        match self {
            Self::Constant(tensor) => tensor.f_expand([&[steps], tensor.size().as_slice()].concat(), false),
            Self::Varying(tensor) => Ok(tensor.shallow_clone()),
        }
    }

    /// Applies an operation on batches to several activities at once, time folded into the batch; constant if all are.
    ///
    /// # Errors
    /// Those of the operation.
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
