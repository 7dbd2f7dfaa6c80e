//! Builds a network and runs it with spikes.

use tch_spiking::network::{Builder, NeuronSpec};
use tch_spiking::neuron::Lif;
use tch_spiking::tch::{Device, Kind, Tensor, nn};

fn main() -> tch_spiking::Result<()> {
    let vs = nn::VarStore::new(Device::Cpu);
    let network = Builder::new([2])
        .linear(20)
        .layer(NeuronSpec::new(Lif { amplitude: 0.01, ..Lif::default() }).tuned(200.0, -1.0))
        .linear(3)
        .lowpass(0.1)
        .build(&vs.root(), 0)?;
    let points = Tensor::f_from_slice(&[0.5_f32, -0.5, 1.0, 1.0])?.f_reshape([2, 2])?;

    let rates = network.forward_rates(&points)?;
    let spikes = network.simulate(&points, 1000, &[])?.output.f_get(-1)?;
    println!("as rates:\n{rates}\nas spikes after 1 s:\n{spikes}");
    let difference = rates.f_sub(&spikes)?.f_abs()?.f_max()?.f_to_kind(Kind::Double)?.f_double_value(&[])?;
    println!("largest difference: {difference:.3}");
    Ok(())
}
