//! Time constants that are learned: neurons that start too fast or too slow find the one of the neurons that they imitate.
//!
//! A layer of spiking neurons with a membrane time constant of 20 ms filters noise; others with the same weights see the same
//! input, start from other time constants, and learn to give the same spikes. The gradient of the time constant flows through
//! all timesteps, with a surrogate for the derivative of the spike.
//!
//! `cargo run --release --example 10_learn_tau [folder]` prints time constants and writes a figure.

mod common;

use anyhow::Context;
use tch::nn::{self, OptimizerConfig};
use tch::{Device, Kind, Tensor};
use tch_spiking::engine::{Activity, Mode, Pass, forward};
use tch_spiking::network::{Builder, LearnPer, Network, NeuronSpec};
use tch_spiking::neuron::Leaky;
use tch_spiking::report::{Chart, Series, chart};
use tch_spiking::surrogate::Surrogate;

const STEPS: i64 = 100;
const NEURONS: i64 = 32;
const TAU: f64 = 0.02;

fn main() -> anyhow::Result<()> {
    let rounds = if common::quick() { 20 } else { 1000 };
    let teacher = network(&nn::VarStore::new(Device::Cpu), TAU)?;
    let mut series =
        vec![Series::line("of the neurons to imitate", [(0.0, 1e3 * TAU), (f64::from(rounds), 1e3 * TAU)])];
    for start in [0.004, 0.1] {
        let vs = nn::VarStore::new(Device::Cpu);
        let student = network(&vs, start)?;
        let decay = student.parameter("leaky1.decay_logit").context("the decay is learned")?;
        let mut optimizer = nn::Adam::default().build(&vs, 0.03)?;
        let mut course = vec![];
        for round in 0..rounds {
            // tau = -dt / ln(decay).
            let tau = -student.spec().dt / decay.sigmoid().double_value(&[]).ln();
            course.push((f64::from(round), 1e3 * tau));
            let input = Activity::Varying(Tensor::f_rand([STEPS, 8, NEURONS], (Kind::Float, Device::Cpu))?);
            let target = tch::no_grad(|| run(&teacher, &input))?;
            let loss = (run(&student, &input)? - target).square().mean(Kind::Float);
            optimizer.backward_step(&loss);
        }
        let (first, last) = (course[0].1, course[course.len() - 1].1);
        println!("from {first:.1} ms to {last:.1} ms (imitated: {:.1} ms)", 1e3 * TAU);
        series.push(Series::line(format!("starting from {:.0} ms", 1e3 * start), course));
    }
    let (title, x_label, y_label) =
        ("A learned membrane time constant".into(), "training step".into(), "time constant (ms)".into());
    common::save(&chart(&Chart { title, x_label, y_label, series, ..Chart::default() }), "learn_tau")
}

/// Spiking neurons with a learned time constant, and a filter that makes their spikes comparable.
fn network(vs: &nn::VarStore, tau: f64) -> tch_spiking::Result<Network> {
    let neurons = NeuronSpec::new(Leaky { tau: Some(tau), scale_input: true, ..Leaky::default() })
        .with_gain_bias(2.0, 0.0)
        .learning(["decay"], LearnPer::Layer);
    Builder::new([NEURONS]).layer(neurons).lowpass(0.01).build(&vs.root(), 0)
}

/// The filtered spikes, `[T, B, neurons]`; differentiable through time.
fn run(network: &Network, input: &Activity) -> tch_spiking::Result<Tensor> {
    let mode = Mode::Surrogate { surrogate: Surrogate::default(), truncate: None };
    let mut state = network.zero_state(input.batch())?;
    Ok(forward(network, input, Some(&mut state), &mut Pass { mode, ..Pass::spikes(STEPS) })?.into_tensor())
}
