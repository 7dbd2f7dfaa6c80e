//! `cargo bench`: the pieces of training and of spiking inference, on the reference network.
//!
//! Whole runs against other packages are measured by `scripts/bench_peers.sh`.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use tch::{Device, Kind, Tensor, nn};
use tch_spiking::engine::{Activity, Engine, Simulation};
use tch_spiking::neuron::Lif;
use tch_spiking::operation::{self, SpikingDrive};
use tch_spiking::{NetworkSpec, SpikingSequential};

const F32: (Kind, Device) = (Kind::Float, Device::Cpu);

/// The first LIF layer of the reference network, a batch of 200: rates forward and backward, and 30 timesteps of 10 images.
fn neurons(c: &mut Criterion) {
    let shape = [32i64, 26, 26];
    let lif = Lif { amplitude: 0.01, ..Lif::default() };
    let (gain, bias) = (Tensor::ones(shape, F32) * 2.0, Tensor::ones(shape, F32).set_requires_grad(true));
    let input = (Tensor::rand([200, 32, 26, 26], F32) * 4.0 - 2.0).set_requires_grad(true);
    c.bench_function("lif rate forward, 200 x 21,632", |b| {
        b.iter(|| {
            tch::no_grad(|| black_box(operation::rate(lif.clone(), &input, &gain, &bias).map(|rate| rate.size())))
        });
    });
    c.bench_function("lif rate forward and backward, 200 x 21,632", |b| {
        b.iter(|| {
            let rate = operation::rate(lif.clone(), &input, &gain, &bias).map(|rate| rate.sum(Kind::Float).backward());
            black_box(rate.is_ok())
        });
    });
    let few = input.narrow(0, 0, 10).detach();
    let drive = SpikingDrive::new(&few, &gain, &bias, 30, 0.001);
    let state = || [Tensor::rand([10, 32, 26, 26], F32), Tensor::zeros([10, 32, 26, 26], F32)];
    c.bench_function("lif spikes, 30 steps x 10 x 21,632", |b| {
        b.iter_batched(
            state,
            |mut state| black_box(operation::spike(lif.clone(), &drive, &mut state, &[false, false]).is_ok()),
            BatchSize::SmallInput,
        );
    });
}

/// The reference network: a training step, and a few images as spikes.
fn network(c: &mut Criterion) {
    let vs = nn::VarStore::new(Device::Cpu);
    let Ok(net) = SpikingSequential::new(&vs.root(), &NetworkSpec::reference(), 0) else { return };
    let images = Tensor::rand([200, 1, 28, 28], F32) * 255.0;
    let labels = Tensor::randint(10, [200], (Kind::Int64, Device::Cpu));
    c.bench_function("training step without optimiser, 200 images", |b| {
        b.iter(|| {
            let step =
                net.forward_training(&images, 0).map(|output| output.cross_entropy_for_logits(&labels).backward());
            black_box(step.is_ok())
        });
    });
    let few = images.narrow(0, 0, 20);
    for (name, engine) in [("dense", Engine::Dense), ("event", Engine::Event)] {
        let simulation = Simulation { steps: 30, engine, ..Simulation::default() };
        c.bench_function(&format!("{name} engine, 20 images x 30 steps, untrained weights"), |b| {
            b.iter(|| black_box(simulation.run(&net, &Activity::constant(&few)).is_ok()));
        });
    }
}

fn pieces(c: &mut Criterion) {
    tch_spiking::kernels::keep_freed_memory();
    neurons(c);
    network(c);
}

criterion_group! { name = benches; config = Criterion::default().sample_size(20); targets = pieces }
criterion_main!(benches);
