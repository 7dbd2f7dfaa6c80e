//! The random streams of a network: independent of each other, of libtorch's global generator and of the device.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// The purpose of a random stream; each purpose and layer has its own, so that a change to one does not affect the
/// others.
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

/// Returns the stream of a layer's initial weights.
pub fn weights(seed: u64, layer: usize) -> ChaCha8Rng {
    stream(seed, Purpose::Weights, layer)
}

/// Returns the stream of a layer's gains and biases.
pub fn tuning(seed: u64, layer: usize) -> ChaCha8Rng {
    stream(seed, Purpose::Tuning, layer)
}

/// Returns the stream of a layer's initial membrane voltages.
pub fn voltage(seed: u64, layer: usize) -> ChaCha8Rng {
    stream(seed, Purpose::Voltage, layer)
}

/// Returns the dropout stream of one training step, so that a resumed run draws the same numbers as an uninterrupted
/// one.
pub fn dropout(seed: u64, layer: usize, step: u64) -> ChaCha8Rng {
    let mut rng = stream(seed, Purpose::Dropout, layer);
    // A step uses far fewer than 2^36 words, and a ChaCha stream has 2^68.
    rng.set_word_pos(u128::from(step & 0xffff_ffff) << 36);
    rng
}
