//! What flows between layers.

use tch::{Kind, TchError, Tensor};

/// The activity of a layer, or the input of a network: the same at every timestep, or a value for each.
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
