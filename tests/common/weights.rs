//! What the tests of weights files share.

#![allow(dead_code)] // Every test binary uses a part.

use std::path::{Path, PathBuf};

use tch::nn::VarStore;
use tch::{Device, Kind};
use tch_spiking::network::{Builder, Conv2d, Distribution, NeuronSpec};
use tch_spiking::neuron::Lif;
use tch_spiking::weights::{self, Provenance, WeightsError};
use tch_spiking::{Error, NetworkSpec, SpikingSequential, Synapse};

pub const CPU: Device = Device::Cpu;

pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// A small network with all that can be lost on the way: a floor of -inf, drawn gains, named layers, groups.
pub fn small_spec() -> NetworkSpec {
    let neurons = NeuronSpec::new(Lif { min_voltage: f64::NEG_INFINITY, smoothing: 0.02, ..Lif::default() });
    Builder::new([2, 6, 6])
        .layer(Conv2d { groups: 2, ..Conv2d::new(4, [3, 1]) })
        .layer(neurons.tuned(Distribution::Uniform { uniform: [50.0, 200.0] }, 0.0))
        .flatten()
        .linear(3)
        .layer(Synapse::Alpha { tau: 0.01 })
        .into_spec()
}

pub fn network(spec: &NetworkSpec, seed: u64, kind: Kind) -> (VarStore, SpikingSequential) {
    let mut vs = VarStore::new(CPU);
    vs.set_kind(kind);
    let network = SpikingSequential::new(&vs.root(), spec, seed).unwrap();
    (vs, network)
}

/// What is wrong with the file, without the file.
pub fn cause(error: Error) -> WeightsError {
    match error {
        Error::Weights(WeightsError::File { cause, .. }) => *cause,
        Error::Weights(error) => error,
        other => panic!("expected an error about weights, got {other:?}"),
    }
}

pub fn saved(spec: &NetworkSpec, folder: &Path) -> PathBuf {
    let path = folder.join("weights.safetensors");
    weights::save_network(&path, &network(spec, 5, Kind::Float).1, &Provenance::default()).unwrap();
    path
}
