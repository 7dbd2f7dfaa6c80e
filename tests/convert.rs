//! Conversion of analog networks: what stays equal, what is said about what cannot be.

mod common;

use common::{KINDS, bits, distance, mixed};
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};
use tch_spiking::convert::{CalibrationTarget, ConversionReport, Converted, Converter, ReportOptions, Swap};
use tch_spiking::evaluate::Labelled;
use tch_spiking::network::{
    BatchNorm, Builder, Conv2d, Distribution, LayerKind, LeakyRelu, Linear, NeuronSpec, SynapseSpec, Tuning,
};
use tch_spiking::neuron::Lif;
use tch_spiking::weights::{Provenance, load_network, save_network};
use tch_spiking::{SpikingSequential, Synapse};

/// With every kind of layer that a conversion changes; the statistics are those of a few training steps.
fn trained(kind: Kind) -> SpikingSequential {
    let mut vs = VarStore::new(Device::Cpu);
    vs.set_kind(kind);
    let net = Builder::new([2, 9, 9])
        .layer(Conv2d { bias: false, groups: 2, ..Conv2d::new(6, 3) })
        .batch_norm()
        .relu()
        .avg_pool(2)
        .layer(Conv2d::new(8, 2))
        .dropout(0.3)
        .layer(BatchNorm { affine: false, eps: 1e-3, ..BatchNorm::default() })
        .relu()
        .flatten()
        .layer(Linear { bias: false, ..Linear::new(12) })
        .batch_norm()
        .relu()
        .linear(4)
        .build(&vs.root(), 3)
        .unwrap();
    for (name, mut tensor) in net.named_parameters() {
        if name.starts_with("batch_norm") && tensor.requires_grad() {
            tch::no_grad(|| tensor.copy_(&mixed(-0.5, 2.0, &tensor.size(), kind)));
        }
    }
    for step in 0..5 {
        let images = mixed(f64::from(step) - 3.0, 4.0, &[10, 2, 9, 9], kind);
        assert_eq!(net.forward_training(&images, 0).unwrap().size(), [10, 4]);
    }
    net
}

fn images(kind: Kind) -> Tensor {
    mixed(-2.0, 3.0, &[20, 2, 9, 9], kind)
}

fn rates(net: &SpikingSequential) -> Tensor {
    net.forward_rates(&images(net.kind())).unwrap().detach()
}

fn build(builder: Builder) -> SpikingSequential {
    builder.build(&VarStore::new(Device::Cpu).root(), 1).unwrap()
}

fn swap(text: &str) -> Swap {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

fn neurons<'a>(net: &'a SpikingSequential, name: &str) -> &'a NeuronSpec {
    match net.layer(name).unwrap_or_else(|| panic!("no {name}")).kind() {
        LayerKind::Neuron(neurons) => neurons,
        other => panic!("{name} is {other:?}"),
    }
}

#[test]
fn folded_and_swapped_networks_have_the_rates_of_their_source() {
    for (kind, tolerance) in KINDS.into_iter().zip([1e-5, 1e-10]) {
        let source = trained(kind);
        let before: Vec<_> = source.named_parameters().iter().flat_map(|(_, tensor)| bits(tensor)).collect();
        for scale in [1.0, 7.0] {
            let Converted { network, changes, .. } =
                Converter::new().scale_firing_rates(scale).convert(&source).unwrap();
            let largest = rates(&source).abs().max().double_value(&[]);
            let difference = distance(&rates(&network), &rates(&source));
            assert!(difference < tolerance * largest.max(1.0), "{kind:?} {scale}: {difference:e} of {largest}");
            let kinds: Vec<_> = network.layers().iter().map(|layer| layer.kind().type_name()).collect();
            let expected =
                "conv2d rectified_linear avg_pool conv2d rectified_linear flatten linear rectified_linear linear";
            assert_eq!(kinds.join(" "), expected);
            let names: Vec<_> = network.layers().iter().map(|layer| layer.name()).collect();
            assert_eq!(names, ["conv1", "relu1", "pool1", "conv2", "relu2", "flatten1", "linear1", "relu3", "linear2"]);
            let of = |layer: &str| changes.iter().find(|change| change.layer == layer).unwrap().action.clone();
            assert_eq!(
                (of("batch_norm2"), of("dropout1").contains("removed")),
                ("folded into conv2".to_string(), true)
            );
            assert_eq!(
                of("relu2"),
                if scale == 1.0 { "to rectified_linear" } else { "to rectified_linear, rates x 7" }
            );
        }
        let after: Vec<_> = source.named_parameters().iter().flat_map(|(_, tensor)| bits(tensor)).collect();
        assert_eq!(before, after, "the source was changed");
    }
}

#[test]
fn two_normalisations_in_a_row_are_both_folded() {
    let source = build(Builder::new([2, 9, 9]).layer(Conv2d::new(3, 3)).batch_norm().batch_norm().relu());
    assert_eq!(source.forward_training(&images(Kind::Float), 0).unwrap().size()[0], 20);
    let converted = Converter::new().convert(&source).unwrap().network;
    assert!(distance(&rates(&converted), &rates(&source)) < 1e-5);
}

#[test]
fn spikes_approach_the_rates_with_the_scale() {
    let source = trained(Kind::Float);
    let error = |scale: f64| {
        let converted = Converter::new().scale_firing_rates(scale).convert(&source).unwrap().network;
        let outputs = converted.simulate(&images(Kind::Float), 30, &[]).unwrap().output;
        distance(&outputs.mean_dim(0, false, Kind::Float), &rates(&source))
    };
    let errors = [1.0, 30.0, 1000.0].map(error);
    assert!(errors[0] > 3.0 * errors[1] && errors[1] > 3.0 * errors[2], "{errors:?}");
}

#[test]
fn a_converted_file_can_be_loaded_and_converted_again() {
    let source = trained(Kind::Float);
    let converter = Converter::new().scale_layer("conv1", 4.0).scale_layer("relu2", 9.0).synapse(0.005);
    let first = converter.convert(&source).unwrap().network;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("converted.safetensors");
    save_network(&path, &first, &Provenance::default()).unwrap();
    let loaded = load_network(&path, Device::Cpu).unwrap().network;
    let simulated = |net: &SpikingSequential| bits(&net.simulate(&images(Kind::Float), 20, &[]).unwrap().output);
    assert_eq!(simulated(&loaded), simulated(&first));
    // Nothing is left to do, asked or not.
    for again in [Converter::new(), converter] {
        let second = again.convert(&loaded).unwrap().network;
        let scales = ["relu1", "relu2", "relu3"].map(|name| neurons(&second, name).firing_rate_scale);
        assert_eq!(scales, [4.0, 9.0, 1.0]);
        assert_eq!(second.layers().len(), first.layers().len());
        assert_eq!(simulated(&second), simulated(&first));
    }
    // A scale replaces the one before.
    let rescaled = Converter::new().scale_firing_rates(3.0).convert(&loaded).unwrap().network;
    assert_eq!(neurons(&rescaled, "relu2").firing_rate_scale, 3.0);
    assert!(distance(&rates(&rescaled), &rates(&source)) < 1e-5);
}

#[test]
fn synapses_come_behind_neurons_that_have_none() {
    let source = build(
        Builder::new([1, 6, 6])
            .layer(Conv2d::new(2, 3))
            .relu()
            .lowpass(0.02)
            .layer(Conv2d::new(3, 3))
            .relu()
            .avg_pool(2)
            .flatten()
            .layer(Synapse::Alpha { tau: 0.01 })
            .linear(4)
            .relu(),
    );
    let converted = Converter::new().synapse(0.005).convert(&source).unwrap().network;
    let names: Vec<_> = converted.layers().iter().map(|layer| layer.name()).collect();
    let synapses: Vec<_> = names.iter().filter(|name| name.ends_with("_synapse")).collect();
    assert_eq!(synapses, [&"relu3_synapse"], "{names:?}");
    assert!(matches!(
        converted.layer("relu3_synapse").unwrap().kind(),
        LayerKind::Synapse(SynapseSpec { synapse: Synapse::Lowpass { tau: 0.005 }, learn: false })
    ));
    assert_eq!(names.last(), Some(&"relu3_synapse"));
}

#[test]
fn swaps_are_for_a_type_or_a_layer() {
    let source = trained(Kind::Float);
    let converted = Converter::new()
        .swap(swap("relu=lif{tau_rc=0.03, amplitude=0.02}"))
        .swap(swap("relu2=soft-lif"))
        .swap(swap("relu3=spiking-relu{max_rate=50}"))
        .convert(&source)
        .unwrap()
        .network;
    let parameter = |name: &str, key: &str| neurons(&converted, name).model.parameters()[key].as_float().unwrap();
    assert_eq!([parameter("relu1", "tau_rc"), parameter("relu1", "amplitude")], [0.03, 0.02]);
    assert_eq!([parameter("relu2", "smoothing"), parameter("relu2", "amplitude")], [0.02, 0.01]);
    assert_eq!(parameter("relu3", "amplitude"), 0.02);
    // All pass on 0 at 0 and 1 at 1 (a soft one nearly).
    for (name, tolerance) in [("relu1", 1e-6), ("relu2", 0.15), ("relu3", 1e-6)] {
        let spec = neurons(&converted, name).clone();
        let net = build(Builder::new([2]).layer(spec));
        let output = net.forward_rates(&Tensor::from_slice(&[0.0_f32, 1.0]).unsqueeze(0)).unwrap();
        let expected = Tensor::from_slice(&[0.0_f32, 1.0]).unsqueeze(0);
        assert!(distance(&output, &expected) < tolerance, "{name}");
    }
    assert!(neurons(&converted, "relu1").tuning == Tuning::Rates { max_rate: 50.0.into(), intercept: 0.0.into() });
}

#[test]
fn neurons_in_the_place_of_neurons_get_the_same_currents() {
    let lif = NeuronSpec::new(Lif { amplitude: 0.01, tau_rc: 0.03, ..Lif::default() }).tuned(100.0, 0.1);
    let source = build(Builder::new([3]).linear(5).layer(lif).linear(2));
    let soft = Converter::new().swap(swap("lif=soft-lif")).convert(&source).unwrap().network;
    assert_eq!(neurons(&soft, "lif1").tuning, neurons(&source, "lif1").tuning);
    assert_eq!(neurons(&soft, "lif1").model.parameters()["tau_rc"].as_float(), Some(0.03));
    let linear = Converter::new().swap(swap("lif=spiking-relu")).convert(&source).unwrap().network;
    let input = mixed(-1.0, 2.0, &[4, 3], Kind::Float);
    let current = |net: &SpikingSequential| {
        let probe = tch_spiking::engine::Probe::new("lif1", tch_spiking::engine::Quantity::Current);
        net.simulate(&input, 1, std::slice::from_ref(&probe)).unwrap().probed[&probe].shallow_clone()
    };
    assert!(distance(&current(&linear), &current(&source)) < 1e-5);
}

#[test]
fn calibration_hits_its_target() {
    for swaps in [vec![], vec![swap("relu=lif")]] {
        let converter = swaps.into_iter().fold(Converter::new(), Converter::swap);
        let (source, images) = (trained(Kind::Double), images(Kind::Double));
        for (percentile, rate) in [(99.0, 200.0), (90.0, 60.0), (100.0, 400.0)] {
            let target = CalibrationTarget { percentile, rate };
            let (calibrated, layers) = converter.calibrate(&source, &images, target).unwrap();
            let network = calibrated.convert(&source).unwrap().network;
            assert_eq!(
                layers.iter().map(|layer| layer.layer.as_str()).collect::<Vec<_>>(),
                ["relu1", "relu2", "relu3"]
            );
            // Measured from the outside: amplitude, then the share of neurons above the target.
            let mut prefix = Builder::new([2, 9, 9]);
            for layer in network.layers() {
                prefix = prefix.named_layer(layer.name(), layer.kind().clone());
                let LayerKind::Neuron(neurons) = layer.kind() else { continue };
                let mut vs = VarStore::new(Device::Cpu);
                vs.set_kind(Kind::Double);
                let part = prefix.clone().build(&vs.root(), network.seed()).unwrap();
                for (name, mut tensor) in part.named_parameters() {
                    let (_, own) = network.named_parameters().into_iter().find(|(other, _)| *other == name).unwrap();
                    tch::no_grad(|| tensor.copy_(&own));
                }
                let per_hertz = neurons.model.amplitude() / neurons.firing_rate_scale;
                let hertz = part.forward_rates(&images).unwrap() / per_hertz;
                let count = hertz.numel() as f64;
                let above = |limit: f64| hertz.gt(limit).sum(Kind::Int64).int64_value(&[]) as f64 / count;
                assert!(above(rate * 1.000_001) <= 1.0 - percentile / 100.0 + 1e-9, "{}", layer.name());
                assert!(above(rate * 0.999_999) > 1.0 - percentile / 100.0 - 1.0 / count, "{}", layer.name());
                let told = layers.iter().find(|told| told.layer == layer.name()).unwrap();
                assert!((told.rate - rate).abs() < 1e-6 && told.scale == neurons.firing_rate_scale, "{told:?}");
            }
        }
    }
}

#[test]
fn calibration_that_cannot_be_is_told() {
    let source = trained(Kind::Float);
    let error = |converter: Converter, percentile, rate| {
        let target = CalibrationTarget { percentile, rate };
        converter.calibrate(&source, &images(Kind::Float), target).unwrap_err().to_string()
    };
    assert!(error(Converter::new(), 101.0, 200.0).contains("percentile = 101"));
    assert!(error(Converter::new(), 99.0, -1.0).contains("target rate = -1"));
    assert!(error(Converter::new().swap(swap("relu=lif")), 99.0, 500.0).contains("fires at most at 500 Hz"));
}

#[test]
fn what_cannot_be_converted_is_named_with_a_way_out() {
    let conv = || Builder::new([1, 8, 8]).layer(Conv2d::new(2, 3));
    let drawn = NeuronSpec::new(Lif::default()).tuned(Distribution::Uniform { uniform: [50.0, 90.0] }, 0.0);
    let leaky = || conv().layer(LeakyRelu::default());
    for (builder, converter, words) in [
        (leaky(), Converter::new(), vec!["leaky_relu1 (leaky_relu)", "below 0", "leaky_relu=spiking-relu"]),
        (conv().relu().batch_norm(), Converter::new(), vec!["batch_norm1 (batch_norm)", "convolution", "before"]),
        (Builder::new([1, 8, 8]).batch_norm().relu(), Converter::new(), vec!["batch_norm1", "folded"]),
        (conv().avg_pool(2).batch_norm().relu(), Converter::new(), vec!["batch_norm1", "directly before"]),
        (conv().relu().max_pool(2), Converter::new(), vec!["pool1 (max_pool)", "--synapse", "--max-to-avg-pool"]),
        (conv().flatten().linear(3), Converter::new(), vec!["nothing to convert", "conv2d, flatten, linear"]),
        (conv().dropout(0.1).layer(drawn), Converter::new(), vec!["lif1 (lif)", "drawn at random"]),
        (
            conv().relu(),
            Converter::new().swap(swap("relu7=lif")),
            vec!["swap of relu7", "this network has relu1 (relu)"],
        ),
        (conv().relu(), Converter::new().swap(swap("conv1=lif")), vec!["swap of conv1", "relu1 (relu)"]),
        (conv().relu(), Converter::new().scale_layer("pool1", 2.0), vec!["firing rate scale of pool1", "relu1"]),
        (conv().relu(), Converter::new().scale_firing_rates(-2.0), vec!["firing_rate_scale = -2", "above 0"]),
        (conv().relu(), Converter::new().synapse(-1.0), vec!["tau = -1"]),
    ] {
        let error = converter.convert(&build(builder)).unwrap_err().to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{words:?}: {error}");
    }
    // What a shell makes of braces without quotes.
    assert!("relu=liftau_rc=0.02".parse::<Swap>().unwrap_err().to_string().contains("in quotes"));
    let leaky = Converter::new().swap(swap("leaky_relu=spiking-relu")).convert(&build(leaky())).unwrap().network;
    assert_eq!(leaky.layers()[1].kind().type_name(), "rectified_linear");
    for text in [
        "relu",
        "=lif",
        "relu=",
        "relu=lif{tau_rc=0.02",
        "relu=lif{tau_rc}",
        "relu=lif{tau=1}",
        "relu=tanh",
        "relu=lif{tau_rc=-1}",
        "relu=relu",
        "relu=lif{}\nx = {}",
        "relu=lif{}} x = {a=1}",
    ] {
        let error = text.parse::<Swap>().unwrap_err().to_string();
        assert!(error.starts_with(&format!("swap {text:?}: ")), "{error}");
    }
}

#[test]
fn max_pools_stay_where_they_see_no_single_spikes() {
    let builder =
        || Builder::new([1, 9, 9]).max_pool(2).layer(Conv2d::new(2, 2)).relu().max_pool(2).flatten().linear(2);
    let source = build(builder());
    let kinds = |converter: Converter| -> Vec<String> {
        let network = converter.convert(&source).unwrap().network;
        network
            .layers()
            .iter()
            .map(|layer| layer.kind().type_name().to_string())
            .filter(|kind| kind.contains("pool"))
            .collect()
    };
    assert_eq!(kinds(Converter::new().synapse(0.01)), ["max_pool", "max_pool"]);
    assert_eq!(kinds(Converter::new().max_to_avg_pool()), ["avg_pool", "avg_pool"]);
}

/// Images of two classes that a fixed network tells apart: a bright left or right half.
fn halves() -> (SpikingSequential, Labelled) {
    let net = build(Builder::new([1, 6, 6]).flatten().linear(8).relu().linear(2));
    let mut rows = Vec::new();
    for class in 0..2 {
        rows.extend((0..20).map(|image| {
            let noise = mixed(0.0, 0.3, &[1, 6, 6], Kind::Float) * (1.0 + f64::from(image) * 0.1);
            let _ = noise.narrow(2, 3 * class, 3).g_add_scalar_(1.0);
            noise
        }));
    }
    let labels = Tensor::cat(
        &[Tensor::zeros([20], (Kind::Int64, Device::Cpu)), Tensor::ones([20], (Kind::Int64, Device::Cpu))],
        0,
    );
    tch::no_grad(|| {
        for (name, mut tensor) in net.named_parameters() {
            let values = match name.as_str() {
                // Units look at one half each.
                "linear1.weight" => {
                    Tensor::arange(8 * 36, (Kind::Float, Device::Cpu))
                        .remainder(6)
                        .ge(3)
                        .to_kind(Kind::Float)
                        .reshape([8, 36])
                        * Tensor::from_slice(&[1_f32, -1., 1., -1., 1., -1., 1., -1.]).unsqueeze(1)
                        * 0.3
                }
                "linear1.bias" => Tensor::from_slice(&[0_f32, 8., 0., 8., 0., 8., 0., 8.]),
                "linear2.weight" => {
                    Tensor::from_slice(&[-1_f32, 1., -1., 1., -1., 1., -1., 1., 1., -1., 1., -1., 1., -1., 1., -1.])
                        .reshape([2, 8])
                }
                _ => Tensor::from_slice(&[12_f32, 0.]),
            };
            tensor.copy_(&values);
        }
    });
    (net, Labelled { images: Tensor::stack(&rows, 0), labels })
}

#[test]
fn the_report_tells_what_limits_the_accuracy() {
    let (source, data) = halves();
    let report = |converter: Converter| {
        let converted = converter.convert(&source).unwrap().network;
        ConversionReport::new(&source, &converted, &data, ReportOptions::default(), &mut |_| {}).unwrap()
    };
    let good = report(Converter::new().scale_firing_rates(1000.0));
    assert_eq!((good.images, good.accuracy_by_step.len(), good.layers.len()), (40, 60, 1));
    assert!(good.largest_difference < 1e-4 * good.largest_output, "{good:?}");
    assert_eq!(good.source_accuracy, good.rate_accuracy);
    assert!(good.layers[0].correlation.unwrap() > 0.999 && good.layers[0].spikes_seen > 10.0);
    let naive = report(Converter::new());
    assert!(
        naive.layers[0].spikes_seen < 1.0 && naive.layers[0].correlation.unwrap() < good.layers[0].correlation.unwrap()
    );
    assert!(naive.rate_accuracy - naive.accuracy_at(30) > 0.005, "{naive:?}");
    for words in ["relu1 fires at", "raise --scale-firing-rates", "add --synapse"] {
        assert!(naive.verdict.contains(words), "{}", naive.verdict);
    }
    assert!(serde_json::to_value(&naive).unwrap()["layers"][0]["mean_rate"].is_number());
    #[cfg(feature = "figures")]
    {
        let folder = tempfile::tempdir().unwrap();
        good.figure("a network").save(folder.path().join("figure.png")).unwrap();
    }
}
