//! Optimisers with state that can be saved.

mod config;

use std::collections::BTreeMap;

use tch::{TchError, Tensor};

use super::TrainError;
use crate::error::Result;

pub use config::OptimizerConfig;

/// An optimiser with its state, for named parameters.
#[derive(Debug)]
pub struct Optimizer {
    config: OptimizerConfig,
    parameters: Vec<(String, Tensor)>,
    /// For each parameter, its state tensors, in the order of the config's slots.
    slots: Vec<Vec<Tensor>>,
    steps: u64,
}

impl Optimizer {
    /// An optimiser for those of `parameters` that require a gradient, with zero state.
    ///
    /// # Errors
    /// If the config is not valid or memory runs out.
    pub fn new(config: OptimizerConfig, parameters: Vec<(String, Tensor)>) -> Result<Self> {
        config.validate()?;
        let parameters: Vec<_> = parameters.into_iter().filter(|(_, tensor)| tensor.requires_grad()).collect();
        let zeros = |(_, tensor): &(String, Tensor)| -> Result<Vec<Tensor>, TchError> {
            config.slots().iter().map(|_| tensor.detach().f_zeros_like()).collect()
        };
        let slots = parameters.iter().map(zeros).collect::<Result<_, _>>()?;
        Ok(Self { config, parameters, slots, steps: 0 })
    }

    /// The optimiser's configuration.
    pub fn config(&self) -> OptimizerConfig {
        self.config
    }

    /// The number of steps taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Clears the gradients of the last step; call before `backward`.
    pub fn zero_grad(&mut self) {
        for (_, parameter) in &mut self.parameters {
            parameter.zero_grad();
        }
    }

    /// The gradients of the parameters that have one, in the order of the parameters; the same tensors that
    /// [`step`](Self::step) uses.
    pub fn gradients(&self) -> Vec<Tensor> {
        self.parameters.iter().map(|(_, parameter)| parameter.grad()).filter(Tensor::defined).collect()
    }

    /// Performs one step with the parameters' gradients; parameters without a gradient are unchanged.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn step(&mut self, learning_rate: f64) -> Result<()> {
        let _without_gradient = tch::no_grad_guard();
        self.steps += 1;
        for ((_, parameter), slots) in self.parameters.iter_mut().zip(&mut self.slots) {
            let gradient = parameter.grad();
            if gradient.defined() {
                update(self.config, self.steps, learning_rate, parameter, &gradient, slots)?;
            }
        }
        Ok(())
    }

    /// The state tensors by name, `{parameter}.{slot}`.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let named = |((name, _), slots): (&(String, Tensor), &Vec<Tensor>)| -> Vec<_> {
            let slots = self.config.slots().iter().zip(slots);
            slots.map(|(slot, tensor)| (format!("{name}.{slot}"), tensor.shallow_clone())).collect()
        };
        self.parameters.iter().zip(&self.slots).flat_map(named).collect()
    }

    /// Restores a saved state; `steps` is the number of steps taken.
    ///
    /// # Errors
    /// If a tensor is missing or of another shape; nothing is changed then.
    pub fn load_state(&mut self, state: &BTreeMap<String, Tensor>, steps: u64) -> Result<()> {
        let _without_gradient = tch::no_grad_guard();
        for (name, own) in self.state() {
            match state.get(&name) {
                Some(saved) if saved.size() == own.size() => {}
                saved => {
                    let found = saved.map_or("nothing".to_string(), |saved| format!("{:?}", saved.size()));
                    let expected = format!("{:?}", own.size());
                    return Err(TrainError::OptimizerState { name, expected, found }.into());
                }
            }
        }
        for (name, mut own) in self.state() {
            if let Some(saved) = state.get(&name) {
                own.f_copy_(saved)?;
            }
        }
        self.steps = steps;
        Ok(())
    }
}

fn update(
    config: OptimizerConfig,
    step: u64,
    learning_rate: f64,
    parameter: &mut Tensor,
    gradient: &Tensor,
    slots: &mut [Tensor],
) -> Result<(), TchError> {
    let penalised;
    let gradient = match config.penalty() {
        penalty if penalty > 0.0 => {
            penalised = gradient.f_add(&parameter.f_mul_scalar(penalty)?)?;
            &penalised
        }
        _ => gradient,
    };
    match (config, slots) {
        (OptimizerConfig::Rmsprop { rho, epsilon, .. }, [mean_square]) => {
            let _ = mean_square.f_mul_scalar_(rho)?.f_addcmul_(gradient, &gradient.f_mul_scalar(1.0 - rho)?)?;
            let root = mean_square.f_add_scalar(epsilon)?.f_sqrt_()?;
            let _ = parameter.f_addcdiv_(&gradient.f_mul_scalar(-learning_rate)?, &root)?;
        }
        (OptimizerConfig::Adam { beta1, beta2, epsilon, weight_decay }, [mean, mean_square]) => {
            if weight_decay > 0.0 {
                let _ = parameter.f_mul_scalar_(1.0 - learning_rate * weight_decay)?;
            }
            advance_moments([mean, mean_square], [beta1, beta2], gradient)?;
            let step = step.min(i32::MAX as u64) as i32;
            let rate = learning_rate * (1.0 - beta2.powi(step)).sqrt() / (1.0 - beta1.powi(step));
            let root = mean_square.f_sqrt()?.f_add_scalar_(epsilon)?;
            let _ = parameter.f_addcdiv_(&mean.f_mul_scalar(-rate)?, &root)?;
        }
        (OptimizerConfig::Adamw { beta1, beta2, epsilon, weight_decay }, [mean, mean_square]) => {
            let _ = parameter.f_mul_scalar_(1.0 - learning_rate * weight_decay)?;
            advance_moments([mean, mean_square], [beta1, beta2], gradient)?;
            let step = step.min(i32::MAX as u64) as i32;
            let root = mean_square.f_sqrt()?.f_div_scalar_((1.0 - beta2.powi(step)).sqrt())?.f_add_scalar_(epsilon)?;
            let rate = learning_rate / (1.0 - beta1.powi(step));
            let _ = parameter.f_addcdiv_(&mean.f_mul_scalar(-rate)?, &root)?;
        }
        (OptimizerConfig::Sgd { momentum, nesterov, .. }, [velocity]) => {
            let descent = gradient.f_mul_scalar(-learning_rate)?;
            let _ = velocity.f_mul_scalar_(momentum)?.f_add_(&descent)?;
            let _ = match nesterov {
                true => parameter.f_add_(&velocity.f_mul_scalar(momentum)?.f_add_(&descent)?)?,
                false => parameter.f_add_(velocity)?,
            };
        }
        _ => {
            let _ = parameter.f_add_(&gradient.f_mul_scalar(-learning_rate)?)?;
        }
    }
    Ok(())
}

/// Advances the moving averages of the gradient and of its square.
fn advance_moments(
    [mean, mean_square]: [&mut Tensor; 2],
    [beta1, beta2]: [f64; 2],
    gradient: &Tensor,
) -> Result<(), TchError> {
    let _ = mean.f_mul_scalar_(beta1)?.f_add_(&gradient.f_mul_scalar(1.0 - beta1)?)?;
    let _ = mean_square.f_mul_scalar_(beta2)?.f_addcmul_(gradient, &gradient.f_mul_scalar(1.0 - beta2)?)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    /// Parameters after three steps on the loss `sum(p^2 * [1, 2])` from `[1, -2]`.
    fn three_steps(config: OptimizerConfig) -> Vec<f64> {
        three_steps_to(0.0, config)
    }

    /// The same on the loss `sum((p - goal)^2 * [1, 2])`.
    fn three_steps_to(goal: f64, config: OptimizerConfig) -> Vec<f64> {
        let parameter = Tensor::from_slice(&[1.0, -2.0]).set_requires_grad(true);
        let mut optimizer = Optimizer::new(config, vec![("p".into(), parameter.shallow_clone())]).unwrap();
        for _ in 0..3 {
            optimizer.zero_grad();
            let distance = &parameter - goal;
            (&distance * &distance * Tensor::from_slice(&[1.0, 2.0])).sum(Kind::Double).backward();
            optimizer.step(0.1).unwrap();
        }
        Vec::<f64>::try_from(parameter.detach()).unwrap()
    }

    /// The same by the formulas, one number at a time.
    fn by_hand(mut rule: impl FnMut(usize, f64, &mut [f64; 2]) -> f64) -> Vec<f64> {
        [(1.0, 1.0), (-2.0, 2.0)]
            .map(|(mut p, curvature)| {
                let mut slots = [0.0; 2];
                for step in 1..=3 {
                    p += rule(step, 2.0 * curvature * p, &mut slots);
                }
                p
            })
            .to_vec()
    }

    fn assert_close(ours: &[f64], expected: &[f64]) {
        assert!(ours.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{ours:?} {expected:?}");
    }

    #[test]
    fn steps_are_those_of_keras() {
        let rmsprop = by_hand(|_, g, [v, _]| {
            *v = 0.9 * *v + 0.1 * g * g;
            -0.1 * g / (*v + 1e-7).sqrt()
        });
        assert_close(&three_steps(OptimizerConfig::default()), &rmsprop);
        let adam = by_hand(|t, g, [m, v]| {
            *m = 0.9 * *m + 0.1 * g;
            *v = 0.999 * *v + 0.001 * g * g;
            let t = t as i32;
            -0.1 * (1.0 - 0.999f64.powi(t)).sqrt() / (1.0 - 0.9f64.powi(t)) * *m / (v.sqrt() + 1e-7)
        });
        let config = OptimizerConfig::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-7, weight_decay: 0.0 };
        assert_close(&three_steps(config), &adam);
        let momentum = by_hand(|_, g, [m, _]| {
            *m = 0.5 * *m - 0.1 * g;
            *m
        });
        assert_close(
            &three_steps(OptimizerConfig::Sgd { momentum: 0.5, nesterov: false, weight_decay: 0.0 }),
            &momentum,
        );
        let nesterov = by_hand(|_, g, [m, _]| {
            *m = 0.5 * *m - 0.1 * g;
            0.5 * *m - 0.1 * g
        });
        assert_close(
            &three_steps(OptimizerConfig::Sgd { momentum: 0.5, nesterov: true, weight_decay: 0.0 }),
            &nesterov,
        );
        assert_close(&three_steps(OptimizerConfig::sgd()), &by_hand(|_, g, _| -0.1 * g));
    }

    #[test]
    fn steps_are_those_of_pytorch() {
        let sgd = |momentum, nesterov| OptimizerConfig::Sgd { momentum, nesterov, weight_decay: 0.2 };
        // Without an epsilon, the forms of Keras and PyTorch are the same.
        let epsilon = 1e-30;
        let rmsprop = |weight_decay| OptimizerConfig::Rmsprop { rho: 0.9, epsilon, weight_decay };
        let adam = OptimizerConfig::Adam { beta1: 0.9, beta2: 0.999, epsilon, weight_decay: 0.0 };
        let adamw = OptimizerConfig::Adamw { beta1: 0.8, beta2: 0.95, epsilon: 1e-3, weight_decay: 0.05 };
        for (config, expected) in [
            (sgd(0.5, false), [0.589792, 0.8562560000000001]),
            (sgd(0.5, true), [0.563398, 0.673164]),
            (sgd(0.0, false), [0.713392, -0.00694399999999992]),
            (adam, [0.7048712493811481, -1.7004739332528358]),
            (adamw, [0.6937523422655525, -1.6724845481260813]),
            (rmsprop(0.0), [0.5244352946908838, -1.2983615929826224]),
            (rmsprop(0.2), [0.49715029697621965, -1.2987495703693728]),
        ] {
            assert_close(&three_steps_to(0.5, config), &expected);
        }
    }

    #[test]
    fn a_state_is_taken_whole_or_not_at_all() {
        let parameters =
            || vec![("p".to_string(), Tensor::ones([2], (Kind::Float, Device::Cpu)).set_requires_grad(true))];
        let mut optimizer = Optimizer::new(OptimizerConfig::default(), parameters()).unwrap();
        let saved = |shape: &[i64]| {
            BTreeMap::from([("p.mean_square".to_string(), Tensor::ones(shape, (Kind::Float, Device::Cpu)))])
        };
        assert!(optimizer.load_state(&saved(&[3]), 7).is_err());
        assert!(optimizer.load_state(&BTreeMap::new(), 7).is_err());
        assert_eq!(optimizer.steps(), 0);
        optimizer.load_state(&saved(&[2]), 7).unwrap();
        assert_eq!((optimizer.steps(), optimizer.state()[0].1.double_value(&[1])), (7, 1.0));
    }
}
