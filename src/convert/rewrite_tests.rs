use tch::Device;
use tch::nn::VarStore;

use super::*;
use crate::network::{Builder, Conv2d};

/// Convolutions that keep the shape, so that any layer can take the output of any other.
fn conv() -> Conv2d {
    Conv2d::new(2, 1)
}

fn build(builder: Builder) -> SpikingSequential {
    builder.build(&VarStore::new(Device::Cpu).root(), 0).unwrap()
}

/// Names of the pieces and what they take.
fn pieces(rewrite: &Rewrite) -> Vec<(String, Vec<String>)> {
    let from = |index: usize| Piece::from(&rewrite.pieces, index).into_iter().map(|edge| edge.node).collect();
    let piece = |index: usize| (rewrite.pieces[index].name.clone(), from(index));
    (0..rewrite.pieces.len()).map(piece).collect()
}

fn entry(name: &str, from: &[&str]) -> (String, Vec<String>) {
    (name.to_string(), from.iter().map(ToString::to_string).collect())
}

#[test]
fn normalisation_is_not_folded_into_what_others_take_too() {
    let source = build(Builder::new([2, 4, 4]).layer(conv()).dropout(0.5).batch_norm().relu().relu());
    let converter = Converter::new();
    let rewrite = |inputs: [usize; 2]| {
        let [first, second] = inputs.map(Some);
        let wiring = vec![vec![None], vec![Some(0)], vec![Some(1)], vec![first], vec![second]];
        Rewrite::along(Wiring::with_inputs(wiring), &converter, &source).map(|rewrite| pieces(&rewrite))
    };
    assert_eq!(rewrite([2, 3]).unwrap(), [entry("conv1", &[]), entry("relu1", &[]), entry("relu2", &[])]);
    for (inputs, other) in [([0, 2], "relu1"), ([2, 1], "relu2")] {
        let error = rewrite(inputs).unwrap_err().to_string();
        let expected = format!("cannot be folded into conv1, whose output is also an input of {other}");
        assert!(error.contains(&expected), "{error}");
    }
}

/// A residual block; the mean over windows of one pixel stands for the sum.
#[test]
fn neurons_behind_a_skip_connection() {
    let block = Builder::new([2, 4, 4]).layer(conv()).relu().layer(conv()).batch_norm().avg_pool(1).relu();
    let source = build(block.layer(conv()).relu());
    let wiring =
        || [0, 1, 2, 3, 4, 5, 6, 7].map(|index: usize| vec![index.checked_sub(1)]).into_iter().collect::<Vec<_>>();
    let residual = || {
        let mut wiring = wiring();
        wiring[4] = vec![Some(3), Some(1)];
        Wiring::with_inputs(wiring)
    };
    let converter = Converter::new().synapse(0.01).scale_layer("conv1", 3.0).scale_layer("conv2", 5.0);
    let rewrite = Rewrite::along(residual(), &converter, &source).unwrap();
    let expected = [
        entry("conv1", &[]),
        entry("relu1", &[]),
        entry("relu1_synapse", &[]),
        entry("conv2", &[]),
        entry("pool1", &["conv2", "relu1_synapse"]),
        entry("relu2", &[]),
        entry("relu2_synapse", &[]),
        entry("conv3", &[]),
        entry("relu3", &[]),
        entry("relu3_synapse", &[]),
    ];
    assert_eq!(pieces(&rewrite), expected);
    // The sum is driven by the second convolution, though there are spikes of neurons behind the first in it.
    let scale = |name: &str| match &rewrite.pieces.iter().find(|piece| piece.name == name).unwrap().kind {
        LayerKind::Neuron(neurons) => neurons.firing_rate_scale,
        other => panic!("{other:?}"),
    };
    assert_eq!(["relu1", "relu2", "relu3"].map(scale), [3.0, 5.0, 1.0]);

    // Spikes that come over the skip connection alone are seen by a maximum.
    let source =
        build(Builder::new([2, 4, 4]).layer(conv()).relu().lowpass(0.01).avg_pool(1).max_pool(1).layer(conv()));
    let along = |inputs: &[usize]| {
        let mut wiring = wiring();
        wiring.truncate(6);
        wiring[3] = inputs.iter().copied().map(Some).collect();
        Rewrite::along(Wiring::with_inputs(wiring), &Converter::new(), &source).map(|_| ())
    };
    assert!(along(&[2]).is_ok());
    assert!(along(&[2, 1]).unwrap_err().to_string().contains("maximum of spikes is not"));
}

#[test]
fn a_filter_on_one_of_two_ways_is_not_enough() {
    let source = build(Builder::new([2, 4, 4]).layer(conv()).relu().lowpass(0.02).avg_pool(1).layer(conv()));
    let names = |of_pool: usize| {
        let wiring = vec![vec![None], vec![Some(0)], vec![Some(1)], vec![Some(of_pool)], vec![Some(2), Some(3)]];
        let converter = Converter::new().synapse(0.01);
        let rewrite = Rewrite::along(Wiring::with_inputs(wiring), &converter, &source).unwrap();
        pieces(&rewrite)
    };
    let with_synapse = |entries: &[(String, Vec<String>)]| entries.iter().any(|(name, _)| name == "relu1_synapse");
    assert!(!with_synapse(&names(2)));
    let both = names(1);
    assert!(with_synapse(&both), "{both:?}");
    assert_eq!(both[4], entry("pool1", &["relu1_synapse"]));
}

#[test]
fn the_output_is_the_last_piece_though_its_layer_has_gone() {
    let source = build(Builder::new([2, 4, 4]).layer(conv()).relu().layer(conv()).dropout(0.5));
    let wiring = vec![vec![None], vec![Some(0)], vec![Some(1)], vec![Some(1)]];
    let converter = Converter::new();
    let rewrite = Rewrite::along(Wiring::with_inputs(wiring), &converter, &source).unwrap();
    assert_eq!(pieces(&rewrite), [entry("conv1", &[]), entry("relu1", &[])]);
}
