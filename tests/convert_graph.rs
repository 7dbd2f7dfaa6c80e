//! Conversion of networks with skip connections.

mod common;

use common::{KINDS, distance, mixed};
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};
use tch_spiking::SpikingSequential;
use tch_spiking::convert::{CalibrationTarget, Converted, Converter};
use tch_spiking::network::{Builder, Conv2d, LayerKind, LayerSpec, Origin};

const INPUT: [i64; 3] = [2, 8, 8];

fn conv(channels: i64) -> Conv2d {
    Conv2d { bias: false, ..Conv2d::new(channels, 3).padding(1) }
}

/// conv-bn-relu, a block with an identity, one with a projection and a stride, and means and features side by side.
fn residual() -> Builder {
    Builder::new(INPUT)
        .layer(conv(4))
        .batch_norm()
        .relu()
        .layer(conv(4))
        .batch_norm()
        .relu()
        .layer(conv(4))
        .batch_norm()
        .add_layers(["batch_norm3", "relu1"])
        .relu()
        .layer(conv(6).stride(2))
        .batch_norm()
        .relu()
        .layer(conv(6))
        .batch_norm()
        .layer(LayerSpec::from(Conv2d::new(6, 1).stride(2)).named("projection").reading(["relu3"]))
        .layer(LayerSpec::from(LayerKind::BatchNorm(Default::default())).named("norm"))
        .add_layers(["batch_norm5", "norm"])
        .relu()
        .avg_pool(4)
        .flatten()
        .linear(5)
}

/// With statistics of a few training steps, and factors and shifts that are not those of a new network.
fn trained(builder: Builder, kind: Kind) -> SpikingSequential {
    let mut vs = VarStore::new(Device::Cpu);
    vs.set_kind(kind);
    let network = builder.build(&vs.root(), 3).unwrap();
    for (name, mut tensor) in network.named_parameters() {
        if name.contains("norm") && tensor.requires_grad() {
            tch::no_grad(|| tensor.copy_(&mixed(0.2, 1.5, &tensor.size(), kind)));
        }
    }
    for step in 0..5 {
        let _ = network.forward_training(&(images(kind) * (1.0 + 0.1 * f64::from(step))), 0).unwrap();
    }
    network
}

fn images(kind: Kind) -> Tensor {
    mixed(-1.0, 3.0, &[10, INPUT[0], INPUT[1], INPUT[2]], kind)
}

fn rates(network: &SpikingSequential) -> Tensor {
    network.forward_rates(&images(network.kind())).unwrap().detach()
}

fn largest(tensor: &Tensor) -> f64 {
    tensor.abs().max().double_value(&[])
}

/// How far the mean output of `steps` timesteps, without the first, is from the rates, of the largest rate.
fn error_of_spikes(network: &SpikingSequential, steps: i64) -> f64 {
    let output = network.simulate(&images(network.kind()), steps, &[]).unwrap().output;
    let mean = output.narrow(0, steps / 4, steps - steps / 4).mean_dim(0, false, network.kind());
    distance(&mean, &rates(network)) / largest(&rates(network))
}

#[test]
fn a_residual_network_has_the_rates_of_its_source() {
    for (kind, tolerance) in KINDS.into_iter().zip([1e-5, 1e-10]) {
        let source = trained(residual(), kind);
        for converter in [Converter::new(), Converter::new().scale_firing_rates(7.0), Converter::new().synapse(0.01)] {
            let Converted { network, changes, .. } = converter.convert(&source).unwrap();
            let difference = distance(&rates(&network), &rates(&source));
            assert!(difference < tolerance * largest(&rates(&source)).max(1.0), "{kind:?}: {difference:e}");
            assert!(network.layers().iter().all(|layer| !matches!(layer.kind(), LayerKind::BatchNorm(_))));
            let folded = changes.iter().filter(|change| change.action.starts_with("folded into")).count();
            assert_eq!(folded, 6);
        }
    }
}

#[test]
fn skip_connections_lead_to_what_stands_for_the_layers_they_came_from() {
    let source = trained(residual(), Kind::Float);
    let converted = Converter::new().scale_firing_rates(3.0).synapse(0.01).convert(&source).unwrap().network;
    let inputs = |name: &str| {
        let edges = converted.layer(name).unwrap().inputs().iter();
        let named = |from| match from {
            Origin::Input => "input",
            Origin::Node(index) => converted.layers()[index].name(),
        };
        edges.map(|edge| named(edge.from)).collect::<Vec<_>>()
    };
    assert_eq!(inputs("add1"), ["conv3", "relu1_synapse"]);
    assert_eq!(inputs("projection"), ["relu3_synapse"]);
    assert_eq!(inputs("add2"), ["conv5", "projection"]);
    let neurons = converted.layers().iter().filter_map(|layer| match layer.kind() {
        LayerKind::Neuron(spec) => Some(spec.firing_rate_scale),
        _ => None,
    });
    assert_eq!(neurons.collect::<Vec<_>>(), [3.0; 5]);
    assert_eq!(converted.layers().iter().filter(|layer| matches!(layer.kind(), LayerKind::Synapse(_))).count(), 5);
}

#[test]
fn spikes_come_near_the_rates() {
    let source = trained(residual(), Kind::Double);
    let error = |scale: f64| {
        error_of_spikes(&Converter::new().scale_firing_rates(scale).convert(&source).unwrap().network, 300)
    };
    let errors = [30.0, 300.0, 3000.0].map(error);
    assert!(errors[2] < 0.01 && errors[0] > errors[1] && errors[1] > errors[2], "{errors:?}");
}

#[test]
fn calibration_chooses_a_scale_for_every_layer_of_a_residual_network() {
    let source = trained(residual(), Kind::Double);
    let errors = [200.0, 2000.0, 20_000.0].map(|rate| {
        let target = CalibrationTarget { rate, ..CalibrationTarget::default() };
        let (converter, layers) = Converter::new().calibrate(&source, &images(Kind::Double), target).unwrap();
        let names: Vec<_> = layers.iter().map(|layer| layer.layer.as_str()).collect();
        assert_eq!(names, ["relu1", "relu2", "relu3", "relu4", "relu5"]);
        let converted = converter.convert(&source).unwrap().network;
        assert!(distance(&rates(&converted), &rates(&source)) < 1e-10 * largest(&rates(&source)).max(1.0));
        error_of_spikes(&converted, 300)
    });
    assert!(errors[2] < 0.02 && errors[0] > errors[1] && errors[1] > errors[2], "{errors:?}");
}

#[test]
fn normalisation_of_what_others_read_too_is_refused() {
    let builder = Builder::new(INPUT).layer(conv(4)).batch_norm().relu().add_layers(["relu1", "conv1"]).relu();
    let error = Converter::new().convert(&trained(builder, Kind::Float)).unwrap_err().to_string();
    let expected = "cannot convert layer batch_norm1 (batch_norm): it cannot be folded into conv1, whose output goes into add1 too";
    assert!(error.starts_with(expected) && error.ends_with("give each a layer of its own"), "{error}");

    let sum = Builder::new(INPUT).layer(conv(2)).add_layers(["conv1", "input"]).batch_norm().relu();
    let error = Converter::new().convert(&trained(sum, Kind::Float)).unwrap_err().to_string();
    assert!(error.contains("there is no convolution or linear layer right before it"), "{error}");
}
