//! Sums over steps, accumulated on the device so that a step need not wait for them.

use tch::{Device, Kind, TchError, Tensor};

use super::Running;

/// The contribution of several steps to an epoch's [`Running`] sums.
pub(super) struct Sums {
    loss: Tensor,
    right: Option<Tensor>,
    samples: i64,
}

impl Sums {
    /// Zero sums.
    pub(super) fn new(device: Device) -> Result<Self, TchError> {
        Ok(Self { loss: Tensor::f_zeros([] as [i64; 0], (Kind::Double, device))?, right: None, samples: 0 })
    }

    /// Adds a step of `samples` samples: its mean loss and number of correct answers.
    pub(super) fn add(&mut self, samples: i64, loss: &Tensor, right: Option<Tensor>) -> Result<(), TchError> {
        let _without_gradient = tch::no_grad_guard();
        self.loss = self.loss.f_add(&loss.f_to_kind(Kind::Double)?.f_mul_scalar(samples)?)?;
        self.right = match (self.right.take(), right) {
            (Some(sum), Some(right)) => Some(sum.f_add(&right)?),
            (sum, right) => sum.or(right),
        };
        self.samples += samples;
        Ok(())
    }

    /// Moves the sums to `running`, which waits for the device.
    pub(super) fn move_to(&mut self, running: &mut Running) -> Result<(), TchError> {
        let device = self.loss.device();
        let taken = std::mem::replace(self, Self::new(device)?);
        running.loss += taken.loss.f_double_value(&[])?;
        if let Some(right) = taken.right {
            running.right = Some(running.right.unwrap_or(0) + right.f_int64_value(&[])?);
        }
        running.images += taken.samples;
        Ok(())
    }
}
