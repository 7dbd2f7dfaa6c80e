//! The random streams of a network: independent of each other, of libtorch's global generator, and of the device.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// What randomness is for; each purpose and layer has a stream of its own, so that a change to one leaves the others.
#[derive(Clone, Copy)]
enum Purpose {
    Weights,
    Tuning,
    Voltage,
    Dropout,
}

fn stream(seed: u64, purpose: Purpose, layer: usize) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(((layer as u64) << 8) | purpose as u64);
    rng
}

/// How the weights of a layer start.
pub fn weights(seed: u64, layer: usize) -> ChaCha8Rng {
    stream(seed, Purpose::Weights, layer)
}

/// Gains and biases of neurons.
pub fn tuning(seed: u64, layer: usize) -> ChaCha8Rng {
    stream(seed, Purpose::Tuning, layer)
}

/// Initial voltages.
pub fn voltage(seed: u64, layer: usize) -> ChaCha8Rng {
    stream(seed, Purpose::Voltage, layer)
}

/// The dropout of one training step, so that a resumed run draws what the uninterrupted one would have.
pub fn dropout(seed: u64, layer: usize, step: u64) -> ChaCha8Rng {
    let mut rng = stream(seed, Purpose::Dropout, layer);
    // A step uses far fewer than 2^36 words, and ChaCha counts 2^68 of them.
    rng.set_word_pos(u128::from(step & 0xffff_ffff) << 36);
    rng
}
