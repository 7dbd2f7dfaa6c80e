//! What flows between the layers of a network.

use tch::{Device, Kind, TchError, Tensor};

/// What one layer hands to the next for a batch of samples: the same at every timestep, or a sequence.
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
/// let sums = sequence.map(|batch| batch.f_sum_dim_intlist(-1, true, Kind::Float))?;
/// assert_eq!(sums.tensor().size(), [5, 2, 1]);
/// assert_eq!(sums.last()?.size(), [2, 1]);
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
    /// The tensor, whatever its shape means.
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

    /// How many samples it is of.
    pub fn batch(&self) -> i64 {
        let (tensor, dimension) = match self {
            Self::Constant(tensor) => (tensor, 0),
            Self::Varying(tensor) => (tensor, 1),
        };
        tensor.size().get(dimension).copied().unwrap_or(0)
    }

    /// How many timesteps it has; none if it is the same at every timestep.
    pub fn steps(&self) -> Option<i64> {
        match self {
            Self::Constant(_) => None,
            Self::Varying(tensor) => Some(tensor.size().first().copied().unwrap_or(0)),
        }
    }

    /// How many dimensions come before those of one sample: 1 or 2.
    pub(crate) fn leading(&self) -> usize {
        match self {
            Self::Constant(_) => 1,
            Self::Varying(_) => 2,
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

    /// The same elements in another kind; no copy if they are of it.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn to_kind(&self, kind: Kind) -> Result<Self, TchError> {
        Ok(self.with(self.tensor().f_to_kind(kind)?))
    }

    /// The same without the way it was computed, the start of a graph of its own where gradients are wanted.
    pub(crate) fn detached(&self) -> Result<Self, TchError> {
        let own = self.tensor();
        Ok(self.with(own.f_detach()?.f_set_requires_grad(own.requires_grad())?))
    }

    /// A second handle on the same memory.
    pub fn shallow_clone(&self) -> Self {
        self.with(self.tensor().shallow_clone())
    }

    /// Another tensor of the same meaning.
    fn with(&self, tensor: Tensor) -> Self {
        match self {
            Self::Constant(_) => Self::Constant(tensor),
            Self::Varying(_) => Self::Varying(tensor),
        }
    }

    /// Applies an operation on batches, `[B, ..]` to `[B, ..]`; time is folded into the batch.
    ///
    /// # Errors
    /// Those of `operation`.
    pub fn map<E: From<TchError>>(&self, operation: impl FnOnce(&Tensor) -> Result<Tensor, E>) -> Result<Self, E> {
        match self {
            Self::Constant(tensor) => Ok(Self::Constant(operation(tensor)?)),
            Self::Varying(tensor) => {
                let size = tensor.size();
                let result = operation(&tensor.f_flatten(0, 1)?)?;
                // Unflatten rather than reshape: it never copies, whatever the memory layout.
                Ok(Self::Varying(result.f_unflatten(0, &size[..2])?))
            }
        }
    }

    /// The value at each of `steps` timesteps, `[T, B, S]`.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn over_time(&self, steps: i64) -> Result<Tensor, TchError> {
        match self {
            Self::Constant(tensor) => tensor.f_expand([&[steps], tensor.size().as_slice()].concat(), false),
            Self::Varying(tensor) => Ok(tensor.shallow_clone()),
        }
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
}
