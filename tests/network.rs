//! Networks: shapes, names, parameters, randomness, and what is refused.

mod common;

use common::{KINDS, bits, distance, mixed};
use tch::nn::{ModuleT, VarStore};
use tch::{Device, Kind, TchError, Tensor};
use tch_spiking::engine::Activity;
use tch_spiking::network::{Builder, Conv2d, LayerKind, Linear, NeuronSpec, Pool, State};
use tch_spiking::neuron::{Lif, RectifiedLinear};
use tch_spiking::{NetworkSpec, Result, SpikingSequential};

fn neurons() -> NeuronSpec {
    NeuronSpec::new(Lif { amplitude: 0.01, ..Lif::default() }).tuned(100.0, 0.0)
}

fn build_in(kind: Kind, builder: Builder, seed: u64) -> Result<SpikingSequential> {
    let mut vs = VarStore::new(Device::Cpu);
    vs.set_kind(kind);
    builder.build(&vs.root(), seed)
}

fn build(builder: Builder, seed: u64) -> Result<SpikingSequential> {
    build_in(Kind::Float, builder, seed)
}

fn refusal(builder: Builder) -> String {
    build(builder, 0).unwrap_err().to_string()
}

fn conv_net() -> Builder {
    let conv = Conv2d::new(4, 3).stride(2);
    Builder::new([1, 9, 9]).layer(conv).layer(neurons()).flatten().linear(3).lowpass(0.02).steps(5)
}

fn parameter_bits(net: &SpikingSequential) -> Vec<(String, Vec<u64>)> {
    net.named_parameters().into_iter().map(|(name, tensor)| (name, bits(&tensor))).collect()
}

fn voltages(state: &State) -> Vec<u64> {
    (0..9).flat_map(|layer| state.layer(layer).first().map(bits).unwrap_or_default()).collect()
}

#[test]
fn shapes_are_inferred_and_are_those_that_come_out() {
    let builder = Builder::new([2, 12, 11])
        .layer(Conv2d::new(4, [3, 2]).padding(1).stride([1, 2]))
        .layer(neurons())
        .layer(LayerKind::MaxPool(Pool { stride: Some(1.into()), ..Pool::new(2) }))
        .avg_pool(2)
        .custom("square", |x| x.f_square())
        .dropout(0.2)
        .flatten()
        .linear(6)
        .layer(NeuronSpec::new(RectifiedLinear::default()))
        .layer(tch_spiking::Synapse::Alpha { tau: 0.01 });
    for kind in KINDS {
        let net = build_in(kind, builder.clone(), 0).unwrap();
        let shapes: Vec<Vec<i64>> = net.layers().iter().map(|layer| layer.output_shape().to_vec()).collect();
        let pooled = [vec![4, 11, 5], vec![4, 5, 2], vec![4, 5, 2], vec![4, 5, 2], vec![40]];
        assert_eq!(shapes[..2], [[4, 12, 6], [4, 12, 6]]);
        assert_eq!(shapes[2..7], pooled);
        assert_eq!((net.output_shape(), shapes[7..].to_vec()), ([6].as_slice(), vec![vec![6]; 3]));
        let input = mixed(-1.0, 3.0, &[3, 2, 12, 11], kind);
        assert_eq!(net.forward_training(&input, 0).unwrap().size(), [3, 6]);
        assert_eq!(net.forward_rates(&input).unwrap().kind(), kind);
        assert_eq!(net.simulate(&input, 4, &[]).unwrap().output.size(), [4, 3, 6]);
    }
}

#[test]
fn errors_name_the_layer_and_the_cause() {
    let conv = || Builder::new([1, 9, 9]).layer(Conv2d::new(4, 5)).layer(neurons());
    for (builder, message) in [
        (
            conv().flatten().layer(Conv2d::new(4, 3)),
            "layer 4 (conv2d): expected an image of channels x height x width, got 100",
        ),
        (conv().layer(Conv2d::new(8, 7)), "layer 3 (conv2d): input 5x5 is smaller than the 7x7 kernel"),
        (conv().max_pool(6), "layer 3 (max_pool): input 5x5 is smaller than the 6x6 kernel"),
        (conv().linear(10), "layer 3 (linear): expected one dimension, got 4x5x5: put a flatten layer before it"),
        (conv().flatten().linear(0), "layer 4 (linear): out_features = 0 is not valid"),
        (conv().dropout(1.0), "layer 3 (dropout): p = 1 is not valid"),
        (conv().lowpass(-0.1), "layer 3 (lowpass): tau = -0.1 is not valid"),
        (
            conv().layer(neurons().tuned(900.0, 0.0)),
            "layer 3 (lif): lif: max_rate = 900 is not valid: expected above 0 and below 1/tau_ref = 500 Hz",
        ),
        (
            conv().layer(NeuronSpec::new(Lif { tau_rc: 0.0, ..Lif::default() })),
            "layer 3 (lif): lif: tau_rc = 0 is not valid",
        ),
        (conv().named_layer("lif1", neurons()), "layer 3 (lif): there is already a layer named \"lif1\""),
        (conv().named_layer("a.b", neurons()), "layer 3 (lif): the name \"a.b\" is not valid"),
        (conv().named_layer("", neurons()), "layer 3 (lif): the name \"\" is not valid"),
        (Builder::new([1, 9, 9]), "network: there are no layers"),
        (Builder::new([1, 0, 9]).flatten(), "network: input = [1, 0, 9]"),
        (Builder::new([4]).linear(1).dt(0.0), "network: dt = 0"),
        (Builder::new([4]).linear(1).dt(f64::NAN), "network: dt = NaN"),
        (Builder::new([4]).linear(1).steps(0), "network: steps = 0"),
    ] {
        let error = refusal(builder);
        assert!(error.starts_with(message), "{error}\nexpected {message}");
    }
}

#[test]
fn absurd_sizes_are_errors() {
    let huge = 1_000_000_000_000_000;
    for size in [huge, i64::MAX] {
        for builder in [
            Builder::new([4]).linear(size),
            Builder::new([size]).linear(2),
            Builder::new([size, 3, 3]).layer(Conv2d::new(1, 3)),
            Builder::new([size, size]).flatten(),
            Builder::new([1, 9, 9]).layer(Conv2d::new(size, 3)),
            Builder::new([1, 9, 9]).layer(Conv2d::new(1, size).padding(size)),
            Builder::new([1, 9, 9]).layer(Conv2d::new(1, 3).padding(size)),
            Builder::new([1, size, size]).layer(neurons()),
        ] {
            let error = refusal(builder);
            assert!(error.starts_with("layer 1 ("), "{error}");
        }
    }
}

#[test]
fn the_reference_network_has_the_parameters_it_should() {
    let net = SpikingSequential::new(&VarStore::new(Device::Cpu).root(), &NetworkSpec::reference(), 0).unwrap();
    let parameters = net.named_parameters();
    let names: Vec<&str> = parameters.iter().map(|(name, _)| name.as_str()).collect();
    let expected = "conv1.weight conv1.bias lif1.bias conv2.weight conv2.bias lif2.bias conv3.weight conv3.bias lif3.bias \
                    linear1.weight linear1.bias";
    assert_eq!(names.join(" "), expected);
    assert_eq!(parameters.iter().map(|(_, tensor)| tensor.numel()).sum::<usize>(), 158_730);
    let neurons: Vec<i64> = net.layers().iter().map(|layer| layer.neurons()).filter(|&count| count > 0).collect();
    assert_eq!(neurons, [21_632, 9_216, 3_200]);
    assert!(parameters.iter().all(|(_, tensor)| tensor.requires_grad()));
    assert!(bits(&parameters[2].1).iter().all(|&bias| f64::from_bits(bias) == 1.0));
}

#[test]
fn names_of_ones_own_are_those_of_the_parameters_in_the_store() {
    let vs = VarStore::new(Device::Cpu);
    let frozen = NeuronSpec { trainable_bias: false, ..neurons() };
    let unbiased = Linear { bias: false, ..Linear::new(3) };
    let builder = Builder::new([4])
        .named_layer("hidden", unbiased)
        .layer(frozen)
        .linear(2)
        .custom("scale", |x| x.f_mul_scalar(2.0));
    let net = builder.build(&(vs.root() / "net"), 0).unwrap();
    let mut stored: Vec<String> = vs.variables().into_keys().collect();
    stored.sort();
    assert_eq!(stored, ["net.hidden.weight", "net.lif1.bias", "net.linear2.bias", "net.linear2.weight"]);
    assert_eq!(vs.trainable_variables().len(), 3);
    assert!(net.layer("hidden").is_some() && net.layer("scale").is_some() && net.layer("linear1").is_none());
}

#[test]
fn the_seed_alone_decides_on_weights_and_voltages() {
    for kind in KINDS {
        tch::manual_seed(1);
        let net = build_in(kind, conv_net(), 7).unwrap();
        tch::manual_seed(2);
        let (same, other) = (build_in(kind, conv_net(), 7).unwrap(), build_in(kind, conv_net(), 8).unwrap());
        assert_eq!(parameter_bits(&net), parameter_bits(&same));
        assert_ne!(parameter_bits(&net), parameter_bits(&other));
        let state = |net: &SpikingSequential| net.zero_state(2).unwrap();
        assert_eq!(voltages(&state(&net)), voltages(&state(&same)));
        assert_ne!(voltages(&state(&net)), voltages(&state(&other)));
        let first = |image| state(&net).layer(1)[0].get(image);
        assert!(first(0).equal(&first(1)), "all images start alike");
    }
    let tensors = |kind| build_in(kind, conv_net(), 7).unwrap().named_parameters();
    for ((name, single), (_, double)) in tensors(Kind::Float).iter().zip(tensors(Kind::Double)) {
        assert!(single.equal(&double.to_kind(Kind::Float)), "{name}");
    }
}

#[test]
fn custom_operations_take_part_and_are_checked() {
    let mut vs = VarStore::new(Device::Cpu);
    vs.set_kind(Kind::Double);
    let halves = |x: &Tensor| x.f_narrow(1, 0, 3)?.f_mul_scalar(0.5);
    let net = Builder::new([6]).custom("halves", halves).build(&vs.root(), 0).unwrap();
    let input = mixed(-1.0, 1.0, &[4, 6], Kind::Double).set_requires_grad(true);
    let output = net.forward_training(&input, 0).unwrap();
    assert!(output.equal(&(input.narrow(1, 0, 3) * 0.5)));
    output.sum(Kind::Double).backward();
    assert_eq!(input.grad().sum(Kind::Double).double_value(&[]), 6.0);
    assert!(net.simulate(&input.detach(), 3, &[]).unwrap().output.get(2).equal(&output));

    let mixing = refusal(Builder::new([6]).custom("mixing", |x| x.f_reshape([-1, 12])));
    assert!(mixing.contains("layer 1 (mixing): given two samples of 6 it returned 1x12"), "{mixing}");
    let failing = refusal(Builder::new([6]).custom("failing", |x| x.f_narrow(1, 0, 7)));
    assert!(failing.contains("layer 1 (failing): "), "{failing}");
    let fickle = |x: &Tensor| match x.size()[0] {
        2 => Ok(x.shallow_clone()),
        _ => x.f_narrow(1, 0, 1),
    };
    let net = build(Builder::new([6]).custom("fickle", fickle), 0).unwrap();
    let error = net.forward_rates(&mixed(0.0, 1.0, &[3, 6], Kind::Float)).unwrap_err().to_string();
    assert!(error.contains("fickle gave [3, 1], where it gave [3, 6]"), "{error}");
    let refused = |_: &Tensor| Err(TchError::Shape("not today".into()));
    assert!(refusal(Builder::new([6]).custom("refused", refused)).contains("not today"));
}

#[test]
fn dropout_is_of_training_alone_keeps_the_mean_and_can_be_repeated() {
    for kind in KINDS {
        let net = build_in(kind, Builder::new([10_000]).dropout(0.25), 5).unwrap();
        let input = Tensor::ones([4, 10_000], (kind, Device::Cpu));
        assert!(net.forward_rates(&input).unwrap().equal(&input));
        assert!(net.simulate(&input, 2, &[]).unwrap().last_output().equal(&input));
        tch::manual_seed(1);
        let (first, second) = (net.forward_training(&input, 0).unwrap(), net.forward_training(&input, 1).unwrap());
        assert!((first.mean(Kind::Double).double_value(&[]) - 1.0).abs() < 0.01);
        let zeros = first.eq(0.0).to_kind(Kind::Double).mean(Kind::Double).double_value(&[]);
        assert!((zeros - 0.25).abs() < 0.01, "{zeros}");
        assert!(!first.equal(&second) && !first.get(0).equal(&first.get(1)));
        tch::manual_seed(2);
        assert!(net.forward_training(&input, 1).unwrap().equal(&second));
        assert!(net.forward_training(&input, 0).unwrap().equal(&first));
    }
}

#[test]
fn module_t_gives_rates_in_training_or_not() {
    let net = build(conv_net(), 0).unwrap();
    let input = mixed(0.0, 40.0, &[2, 1, 9, 9], Kind::Float);
    assert!(net.forward_t(&input, true).equal(&net.forward_rates(&input).unwrap()));
    assert!(net.forward_t(&input, false).equal(&net.forward_rates(&input).unwrap()));
    let dropped = build(Builder::new([100]).dropout(0.5), 0).unwrap();
    let ones = Tensor::ones([1, 100], (Kind::Float, Device::Cpu));
    let seeded = |seed| {
        tch::manual_seed(seed);
        dropped.forward_t(&ones, true)
    };
    assert!(
        seeded(1).equal(&seeded(1)) && !seeded(1).equal(&seeded(2)) && dropped.forward_t(&ones, false).equal(&ones)
    );
    let layers = tch::nn::seq_t().add(net).add_fn(|x| x.relu());
    assert_eq!(layers.forward_t(&input, true).size(), [2, 3]);
}

#[test]
fn wrong_inputs_are_errors() {
    let net = build(conv_net(), 0).unwrap();
    let zeros = |shape: &[i64], kind| Tensor::zeros(shape, (kind, Device::Cpu));
    for (input, found) in [
        (zeros(&[2, 1, 9, 8], Kind::Float), "2x1x9x8 of Float"),
        (zeros(&[1, 9, 9], Kind::Float), "1x9x9 of Float"),
        (zeros(&[2, 81], Kind::Float), "2x81 of Float"),
        (zeros(&[0, 1, 9, 9], Kind::Float), "0x1x9x9 of Float"),
        (zeros(&[], Kind::Float), " of Float"),
        (zeros(&[2, 1, 9, 9], Kind::Double), "2x1x9x9 of Double"),
        (zeros(&[2, 1, 9, 9], Kind::Uint8), "2x1x9x9 of Uint8"),
    ] {
        let mut state = net.zero_state(2).unwrap();
        let results = [
            net.forward_training(&input, 0).err(),
            net.forward_rates(&input).err(),
            net.simulate(&input, 3, &[]).err(),
            net.step(&input, &mut state).err(),
            net.first_non_finite_layer(&Activity::constant(&input)).err(),
        ];
        for error in results {
            let error = error.unwrap().to_string();
            assert!(error.contains("expects batch x 1x9x9 of Float on Cpu") && error.contains(found), "{error}");
        }
    }
    assert!(net.zero_state(0).is_err() && net.zero_state(-3).is_err());
}

#[test]
fn the_layer_where_numbers_stop_being_finite_is_found() {
    let net = build(Builder::new([3]).custom("log", |x| x.f_log()).linear(2), 0).unwrap();
    let name = |input: &Tensor| {
        net.first_non_finite_layer(&Activity::constant(input)).unwrap().map(|layer| layer.name().to_string())
    };
    let input = Tensor::ones([1, 3], (Kind::Float, Device::Cpu));
    assert_eq!(name(&input), None);
    assert_eq!(name(&(&input * 0.0)).as_deref(), Some("log"));
}

#[test]
fn both_faces_agree_on_parameters_moved_to_another_kind() {
    let mut vs = VarStore::new(Device::Cpu);
    let net = conv_net().build(&vs.root(), 0).unwrap();
    let input = mixed(0.0, 40.0, &[2, 1, 9, 9], Kind::Float);
    let single = net.forward_rates(&input).unwrap();
    vs.double();
    let double = net.forward_rates(&input.to_kind(Kind::Double)).unwrap();
    assert!(distance(&single, &double) < 1e-4 && net.kind() == Kind::Double);
    assert_eq!(net.simulate(&input.to_kind(Kind::Double), 3, &[]).unwrap().output.kind(), Kind::Double);
}
