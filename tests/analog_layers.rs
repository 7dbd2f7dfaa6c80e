//! Layers of analog networks: libtorch's own operations are what they must equal.

#[cfg(feature = "cli")]
#[path = "common/command.rs"]
mod command;
mod common;

#[cfg(feature = "cli")]
use command::{Place, assert_says};
use common::{KINDS, bits, distance, mixed};
use tch::nn::{self, ModuleT, VarStore};
use tch::{Device, Kind, Tensor};
use tch_spiking::engine::{Activity, Engine, Simulation};
use tch_spiking::network::{BatchNorm, Builder, LayerKind, LayerSpec, LeakyRelu, Pool};
use tch_spiking::weights::{Provenance, load_network, save_network};
use tch_spiking::{NetworkSpec, SpikingSequential};

fn build(builder: Builder, kind: Kind) -> SpikingSequential {
    let mut vs = VarStore::new(Device::Cpu);
    vs.set_kind(kind);
    builder.build(&vs.root(), 0).unwrap()
}

fn one_layer(shape: &[i64], layer: impl Into<LayerSpec>, kind: Kind) -> SpikingSequential {
    build(Builder::new(shape).layer(layer), kind)
}

fn parameter(net: &SpikingSequential, name: &str) -> Tensor {
    net.named_parameters().into_iter().find(|(own, _)| own == name).unwrap_or_else(|| panic!("no {name}")).1
}

#[test]
fn activations_and_their_gradients_are_those_of_libtorch() {
    for kind in KINDS {
        let leaky = |slope: f64| LayerKind::LeakyRelu(LeakyRelu { negative_slope: slope });
        let torch_leaky = |x: &Tensor, slope: f64| x.clamp_min(0) + x.clamp_max(0) * slope;
        for (layer, expected) in [
            (LayerKind::Relu, &(|x: &Tensor| x.relu()) as &dyn Fn(&Tensor) -> Tensor),
            (leaky(0.01), &|x: &Tensor| x.leaky_relu()),
            (leaky(0.3), &|x: &Tensor| torch_leaky(x, 0.3)),
            (leaky(-1.5), &|x: &Tensor| torch_leaky(x, -1.5)),
        ] {
            for shape in [&[2, 3, 5][..], &[7]] {
                let net = one_layer(shape, layer.clone(), kind);
                let input = || mixed(-2.0, 3.0, &[&[4], shape].concat(), kind).set_requires_grad(true);
                let (ours, theirs) = (input(), input());
                let (output, reference) = (net.forward_training(&ours, 0).unwrap(), expected(&theirs));
                assert!(distance(&output, &reference) < 1e-6, "{layer:?}");
                output.square().sum(kind).backward();
                reference.square().sum(kind).backward();
                assert!(distance(&ours.grad(), &theirs.grad()) < 1e-5, "{layer:?}");

                // Analog values pass at every timestep, and no state is kept.
                let spikes = net.simulate(&ours, 3, &[]).unwrap().output;
                assert!((0..3).all(|step| bits(&spikes.get(step)) == bits(&output)));
                assert!(net.zero_state(4).unwrap().layer(0).is_empty());
            }
        }
        // At the corner, PyTorch's leaky ReLU has its negative slope, its ReLU none.
        let zero = Tensor::zeros([1, 1], (kind, Device::Cpu)).set_requires_grad(true);
        one_layer(&[1], leaky(0.01), kind).forward_training(&zero, 0).unwrap().backward();
        assert!((zero.grad().double_value(&[0, 0]) - 0.01).abs() < 1e-8);
    }
}

#[test]
fn batch_norm_is_that_of_libtorch_in_training_and_after_it() {
    for kind in KINDS {
        for (shape, affine) in [(&[3, 4, 5][..], true), (&[6], true), (&[2, 3, 3], false)] {
            let spec = BatchNorm { eps: 1e-3, momentum: 0.3, affine };
            let net = one_layer(shape, spec, kind);
            let mut vs = VarStore::new(Device::Cpu);
            let config = nn::BatchNormConfig { eps: 1e-3, momentum: 0.3, affine, ..Default::default() };
            let reference = match shape.len() {
                3 => nn::batch_norm2d(vs.root(), shape[0], config),
                _ => nn::batch_norm1d(vs.root(), shape[0], config),
            };
            // (tch makes running statistics `Float` whatever the store's kind.)
            if kind == Kind::Double {
                vs.double();
            }
            tch::no_grad(|| {
                for (name, scale) in [("weight", 0.7), ("bias", -1.3)] {
                    if let Some(mut own) = vs.variables().get(name).map(Tensor::shallow_clone) {
                        own.copy_(&(mixed(0.5, 1.5, &own.size(), kind) * scale));
                        parameter(&net, &format!("batch_norm1.{name}")).copy_(&own);
                    }
                }
            });
            for step in 0..4 {
                let input = |low: f64| mixed(low, 3.0, &[&[4], shape].concat(), kind).set_requires_grad(true);
                let (ours, theirs) = (input(f64::from(step)), input(f64::from(step)));
                let (output, expected) = (net.forward_training(&ours, 0).unwrap(), reference.forward_t(&theirs, true));
                assert!(distance(&output, &expected) < 1e-6);
                output.pow_tensor_scalar(3).sum(kind).backward();
                expected.pow_tensor_scalar(3).sum(kind).backward();
                assert!(distance(&ours.grad(), &theirs.grad()) < 1e-4);
            }
            for (name, theirs) in vs.variables() {
                let own = parameter(&net, &format!("batch_norm1.{name}"));
                assert_eq!(own.requires_grad(), !name.starts_with("running"), "{name}");
                assert!(distance(&own, &theirs) < 1e-6, "{name}");
                if own.requires_grad() {
                    assert!(distance(&own.grad(), &theirs.grad()) < 1e-4, "{name}");
                }
            }
            // Evaluation uses the running statistics, and leaves them as they are.
            let before = bits(&parameter(&net, "batch_norm1.running_mean"));
            let input = mixed(-5.0, 3.0, &[&[1], shape].concat(), kind);
            let expected = reference.forward_t(&input, false);
            assert!(distance(&net.forward_rates(&input).unwrap(), &expected) < 1e-6);
            assert!(distance(&net.simulate(&input, 2, &[]).unwrap().last_output(), &expected) < 1e-6);
            assert_eq!(
                net.first_non_finite_layer(&Activity::constant(&input)).unwrap().map(|layer| layer.name().to_string()),
                None
            );
            assert_eq!(bits(&parameter(&net, "batch_norm1.running_mean")), before);
        }
    }
}

#[test]
fn batch_norm_computes_in_f32_in_mixed_precision() {
    let net = one_layer(&[3, 4, 4], BatchNorm::default(), Kind::Float);
    // Values that bfloat16 holds exactly, with a mean that would lose them in it.
    let images = mixed(0.0, 4.0, &[8, 3, 4, 4], Kind::Float).floor() + 128.0;
    let mixed_output = net.forward_training(&images.to_kind(Kind::BFloat16), 0).unwrap();
    let statistics = bits(&parameter(&net, "batch_norm1.running_mean"));
    let twin = one_layer(&[3, 4, 4], BatchNorm::default(), Kind::Float);
    let output = twin.forward_training(&images, 0).unwrap();
    assert_eq!(statistics, bits(&parameter(&twin, "batch_norm1.running_mean")));
    assert_eq!(bits(&mixed_output), bits(&output.to_kind(Kind::BFloat16)));
}

#[test]
fn a_single_value_a_channel_cannot_be_normalised_in_training() {
    let net = one_layer(&[5], BatchNorm::default(), Kind::Float);
    let image = mixed(0.0, 1.0, &[1, 5], Kind::Float);
    let error = net.forward_training(&image, 0).unwrap_err().to_string();
    assert!(error.contains("batch_norm1") && error.contains("batch size"), "{error}");
    assert_eq!(net.forward_rates(&image).unwrap().size(), [1, 5]);
}

#[test]
fn pooling_is_that_of_libtorch() {
    let input = mixed(-1.0, 1.0, &[2, 3, 7, 7], Kind::Float);
    let pool = |kernel: i64, stride: Option<i64>, padding: i64| Pool {
        kernel: kernel.into(),
        stride: stride.map(Into::into),
        padding: padding.into(),
    };
    for (pool, expected) in [
        // Padding counts, and what is left over on the right is left out: PyTorch's defaults.
        (pool(3, Some(2), 1), input.avg_pool2d([3, 3], [2, 2], [1, 1], false, true, None)),
        (pool(2, None, 0), input.avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None)),
        (pool(7, None, 0), input.adaptive_avg_pool2d([1, 1])),
    ] {
        let net = one_layer(&[3, 7, 7], LayerKind::AvgPool(pool), Kind::Float);
        for engine in [Engine::Dense, Engine::Event] {
            let simulation = Simulation { steps: 2, engine, ..Simulation::default() };
            let recording = simulation.run(&net, &Activity::constant(&input)).unwrap();
            assert!(distance(&recording.last_output(), &expected) < 1e-6);
        }
        assert!(distance(&net.forward_rates(&input).unwrap(), &expected) < 1e-6);
    }
}

/// A network of PyTorch's kind.
fn analog() -> NetworkSpec {
    Builder::new([1, 6, 6])
        .layer(tch_spiking::network::Conv2d::new(4, 3))
        .batch_norm()
        .relu()
        .avg_pool(2)
        .flatten()
        .linear(5)
        .layer(LeakyRelu::default())
        .linear(3)
        .into_spec()
}

#[test]
fn an_analog_network_trains_and_survives_a_file() {
    let net = SpikingSequential::new(&VarStore::new(Device::Cpu).root(), &analog(), 1).unwrap();
    let images = mixed(-1.0, 1.0, &[16, 1, 6, 6], Kind::Float);
    net.forward_training(&images, 0).unwrap().square().sum(Kind::Float).backward();
    for (name, tensor) in net.named_parameters().iter().filter(|(_, tensor)| tensor.requires_grad()) {
        // A bias before a normalisation changes nothing.
        let largest = tensor.grad().abs().max().double_value(&[]);
        assert!((largest > 1e-4) ^ (name == "conv1.bias"), "{name} {largest}");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("analog.safetensors");
    save_network(&path, &net, &Provenance::default()).unwrap();
    let loaded = load_network(&path, Device::Cpu).unwrap().network;
    assert_eq!(bits(&loaded.forward_rates(&images).unwrap()), bits(&net.forward_rates(&images).unwrap()));
    assert_eq!(bits(&parameter(&loaded, "batch_norm1.running_var")), bits(&parameter(&net, "batch_norm1.running_var")));
}

#[test]
fn the_event_engine_leaves_analog_layers_to_the_dense_one() {
    let net = SpikingSequential::new(&VarStore::new(Device::Cpu).root(), &analog(), 1).unwrap();
    let images = mixed(-1.0, 1.0, &[2, 1, 6, 6], Kind::Float);
    let run = |engine| Simulation { steps: 2, engine, ..Simulation::default() }.run(&net, &Activity::constant(&images));
    let error = run(Engine::Event).unwrap_err().to_string();
    assert!(error.contains("batch_norm1") && error.contains("dense engine"), "{error}");
    let automatic = run(Engine::Auto).unwrap().last_output();
    assert!(distance(&automatic, &net.forward_rates(&images).unwrap()) < 1e-6);
}

#[test]
fn values_that_are_not_valid_are_told_when_the_network_is_built() {
    let norm = BatchNorm::default();
    for (layer, shape, words) in [
        (LayerKind::BatchNorm(BatchNorm { eps: -1.0, ..norm }), &[3][..], "eps = -1"),
        (LayerKind::BatchNorm(BatchNorm { eps: f64::NAN, ..norm }), &[3], "eps = NaN"),
        (LayerKind::BatchNorm(BatchNorm { momentum: 1.5, ..norm }), &[3], "momentum = 1.5"),
        (LayerKind::BatchNorm(norm), &[3, 4], "expected channels x height x width, or features, got 3x4"),
        (LayerKind::LeakyRelu(LeakyRelu { negative_slope: f64::INFINITY }), &[3], "negative_slope = inf"),
    ] {
        let builder = Builder::new(shape).layer(layer);
        let error = builder.build(&VarStore::new(Device::Cpu).root(), 0).unwrap_err().to_string();
        assert!(error.starts_with("layer 1 (") && error.contains(words), "{error}");
    }
}

#[cfg(feature = "cli")]
#[test]
fn an_interrupted_training_with_batch_norm_ends_as_a_straight_one() {
    let place = Place::new();
    let neurons = r#"{ type = "lif", amplitude = 0.01, smoothing = 0.005, max_rate = 100.0, intercept = 0.0 },"#;
    place.edit("experiment.toml", neurons, r#"{ type = "batch_norm" }, { type = "relu" },"#);
    let line = "train --config experiment.toml --set training.batch_size=3";
    let mut run = place.start(&format!("{line} --out run --epochs 100000"));
    run.wait_for("epoch");
    run.interrupt();
    let (code, said) = run.end();
    assert_eq!(code, Some(130), "{said}");
    let position = said.split("after epoch ").nth(1).unwrap().split(',').next().unwrap();
    let epochs = position.trim().parse::<u64>().unwrap() + 1;
    place.edit("run/config.toml", "epochs = 100000", &format!("epochs = {epochs}"));
    place.succeed("train --resume run");
    place.succeed(&format!("{line} --out straight --epochs {epochs}"));
    let tensors = place.tensors("run/last.safetensors");
    assert_eq!(tensors, place.tensors("straight/last.safetensors"));
    assert!(tensors.contains_key("batch_norm1.running_mean"));
    assert_eq!(place.timeless_metrics("run"), place.timeless_metrics("straight"));
    assert_says(&place.succeed("inspect run").stdout, &["batch_norm1", "relu1"]);
}
