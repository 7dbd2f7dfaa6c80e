//! Compiles a kernel for several instruction sets and selects the widest one at run time.

#![allow(unsafe_code)]

/// A kernel; `run` must be `#[inline(always)]` so that it is compiled separately for each instruction set.
pub trait Kernel {
    /// Runs the kernel.
    fn run(self);
}

/// Runs `kernel` with the widest vector instructions that this CPU supports.
///
/// Results are bit-identical on all instruction sets: Rust never contracts to fused multiply-add.
#[inline]
pub fn vectorised(kernel: impl Kernel) {
    #[cfg(target_arch = "x86_64")]
    {
        if has_avx512() {
            // SAFETY: the features were detected.
            return unsafe { run_avx512(kernel) };
        }
        if has_avx2() {
            // SAFETY: the features were detected.
            return unsafe { run_avx2(kernel) };
        }
    }
    kernel.run();
}

/// Returns the name of the instruction set that the kernels use on this CPU.
pub fn instruction_set() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if has_avx512() {
            return "avx512";
        }
        if has_avx2() {
            return "avx2";
        }
    }
    "portable"
}

#[cfg(target_arch = "x86_64")]
fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
}

#[cfg(target_arch = "x86_64")]
fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2")
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn run_avx512(kernel: impl Kernel) {
    kernel.run();
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn run_avx2(kernel: impl Kernel) {
    kernel.run();
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use crate::neuron::{Heaviside, Lif, NeuronModel, RateModel, Real, StepInput};

    struct Run<'a, R> {
        lif: &'a Lif,
        currents: &'a [R],
        output: &'a mut [R],
    }

    impl<R: Real> Kernel for Run<'_, R> {
        #[inline(always)]
        fn run(self) {
            for (output, &current) in self.output.iter_mut().zip(self.currents) {
                let mut state = [R::constant(0.9), R::constant(0.0005)];
                let rate = self.lif.rate(current);
                *output = rate.value
                    + rate.derivative
                    + self.lif.step(StepInput::new(current, 0.001), &mut state, &Heaviside)
                    + state[1];
            }
        }
    }

    #[test]
    fn every_instruction_set_gives_the_same_bits() {
        let currents: Vec<f32> = (0..4099).map(|i| (i as f32 - 1000.0) * 0.01).collect();
        for smoothing in [0.0, 0.1] {
            let lif = Lif { smoothing, ..Lif::default() };
            let run = |runner: fn(Run<f32>)| {
                let mut output = vec![0.0; currents.len()];
                runner(Run { lif: &lif, currents: &currents, output: &mut output });
                output.into_iter().map(f32::to_bits).collect::<Vec<_>>()
            };
            let portable = run(|kernel| kernel.run());
            if has_avx2() {
                // SAFETY: detected.
                assert_eq!(run(|kernel| unsafe { run_avx2(kernel) }), portable);
            }
            if has_avx512() {
                // SAFETY: detected.
                assert_eq!(run(|kernel| unsafe { run_avx512(kernel) }), portable);
            }
        }
    }
}
