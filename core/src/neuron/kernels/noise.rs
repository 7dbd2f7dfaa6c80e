//! Counter-based random numbers: functions of seed, layer, sample, neuron and timestep only.
//!
//! They do not depend on batch size, tiling, threads or engine. The hash mixes 32-bit words by multiplication,
//! xor and shift, so that it vectorises.

use super::Number;

/// The noise key of one layer of neurons in one simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoiseKey {
    words: [u32; 2],
}

impl NoiseKey {
    /// Derives the key of the layer at index `layer` from `seed`.
    pub fn new(seed: u64, layer: usize) -> Self {
        let low = mix(seed as u32 ^ mix(layer as u32 ^ 0x9e37_79b9));
        let high = mix((seed >> 32) as u32 ^ mix(low ^ (layer as u64 >> 32) as u32));
        Self { words: [low, high] }
    }

    /// Returns the key's words, for kernels in other languages that draw the same numbers.
    pub fn words(self) -> [u32; 2] {
        self.words
    }

    /// Returns the noise of a sample, starting at its first neuron and timestep.
    pub fn sample(self, sample: u64) -> Noise {
        let low = mix(self.words[0] ^ sample as u32);
        let words = [low, mix(self.words[1] ^ low ^ (sample >> 32) as u32)];
        Noise { words, first_neuron: 0, first_step: 0, order: NeuronOrder::Shape }
    }
}

/// The memory order of a layer's neurons, which must not change their random numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NeuronOrder {
    /// The order of the layer's shape.
    Shape,
    /// Channels last: the channels of each image position are adjacent.
    ChannelsLast {
        /// Number of channels.
        channels: u32,
        /// Number of positions.
        positions: u32,
    },
}

/// The noise of adjacent neurons of one sample, from a given timestep on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Noise {
    words: [u32; 2],
    first_neuron: u32,
    first_step: u64,
    order: NeuronOrder,
}

impl Noise {
    /// Returns the noise starting at memory position `neuron` and timestep `step`, for neurons in this order.
    pub fn starting_at(self, neuron: u32, step: u64, order: NeuronOrder) -> Self {
        Self { first_neuron: neuron, first_step: step, order, ..self }
    }

    /// Returns the noise `steps` timesteps later.
    pub fn later(self, steps: u64) -> Self {
        Self { first_step: self.first_step.wrapping_add(steps), ..self }
    }

    /// Returns the index, in the order of the layer's shape, of the neuron at offset `place` in memory.
    #[inline(always)]
    pub(super) fn neuron(self, place: u32) -> u32 {
        let place = self.first_neuron.wrapping_add(place);
        match self.order {
            NeuronOrder::Shape => place,
            NeuronOrder::ChannelsLast { channels, positions } => {
                let channels = if channels == 0 { 1 } else { channels };
                (place % channels).wrapping_mul(positions).wrapping_add(place / channels)
            }
        }
    }

    /// Draws a number uniform in `[0, 1)` for the neuron at offset `place`, `step` timesteps from the first.
    #[inline(always)]
    pub fn uniform<R: Number>(self, place: u32, step: u64) -> R {
        self.draw(self.neuron(place), step)
    }

    /// Draws the number of the neuron with this index.
    #[inline(always)]
    pub(super) fn draw<R: Number>(self, neuron: u32, step: u64) -> R {
        let step = self.first_step.wrapping_add(step);
        let at_step = mix(self.words[0] ^ (step as u32).wrapping_mul(0x9e37_79b9)) ^ (step >> 32) as u32;
        let word = mix(mix(neuron ^ at_step).wrapping_add(self.words[1]));
        // 24 bits, as many as an f32 holds, so that both number types draw the same.
        R::constant(f64::from(word >> 8) / f64::from(1u32 << 24))
    }
}

/// The finaliser of MurmurHash3: every bit of the result depends on every bit of `word`.
#[inline(always)]
fn mix(mut word: u32) -> u32 {
    word ^= word >> 16;
    word = word.wrapping_mul(0x85eb_ca6b);
    word ^= word >> 13;
    word = word.wrapping_mul(0xc2b2_ae35);
    word ^ (word >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_uniform_and_independent_along_every_part_of_the_key() {
        const COUNT: usize = 1 << 16;
        type Draw = fn(u64) -> f64;
        let along: [(&str, Draw); 4] = [
            ("neurons", |i| NoiseKey::new(1, 0).sample(0).uniform(i as u32, 0)),
            ("steps", |i| NoiseKey::new(1, 0).sample(0).uniform(0, i)),
            ("samples", |i| NoiseKey::new(1, 0).sample(i).uniform(0, 0)),
            ("seeds", |i| NoiseKey::new(i, 0).sample(0).uniform(0, 0)),
        ];
        for (name, draw) in along {
            let values: Vec<f64> = (0..COUNT as u64).map(draw).collect();
            let mean = values.iter().sum::<f64>() / COUNT as f64;
            let product: f64 = values.windows(2).map(|pair| (pair[0] - 0.5) * (pair[1] - 0.5)).sum();
            let mut bins = [0usize; 256];
            values.iter().for_each(|value| bins[(value * 256.0) as usize] += 1);
            let expected = COUNT as f64 / 256.0;
            let chi: f64 = bins.iter().map(|&count| (count as f64 - expected).powi(2) / expected).sum();
            assert!((mean - 0.5).abs() < 0.005, "{name}: mean {mean}");
            assert!((12.0 * product / COUNT as f64).abs() < 0.02, "{name}: correlation");
            assert!((150.0..380.0).contains(&chi), "{name}: chi squared {chi} of 255 degrees of freedom");
        }
    }

    #[test]
    fn part_order_and_number_type_do_not_change_what_is_drawn() {
        let noise = NoiseKey::new(7, 3).sample(5);
        let part = noise.starting_at(10, 4, NeuronOrder::Shape);
        assert_eq!(noise.uniform::<f32>(12, 9), part.uniform::<f32>(2, 5));
        assert_eq!(noise.uniform::<f32>(12, 9), part.later(3).uniform::<f32>(2, 2));
        assert_eq!(f64::from(noise.uniform::<f32>(1, 1)), noise.uniform::<f64>(1, 1));
        // Channel 2 of position 1, of 3 channels at 4 positions.
        let last = noise.starting_at(0, 0, NeuronOrder::ChannelsLast { channels: 3, positions: 4 });
        assert_eq!(last.uniform::<f32>(3 + 2, 0), noise.uniform::<f32>(2 * 4 + 1, 0));
    }
}
