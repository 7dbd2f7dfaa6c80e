//! Weights files: what is written is read back bit for bit, and what does not fit a network is said.

#[path = "common/weights.rs"]
mod common;

use std::collections::BTreeMap;

use common::{CPU, cause, folder, network, saved, small_spec};
use safetensors::SafeTensors;
use tch::{Kind, Tensor};
use tch_spiking::network::Builder;
use tch_spiking::weights::{self, Misfit, Provenance, WeightsError};
use tch_spiking::{Error, NetworkSpec, SpikingSequential};

/// The bytes of a tensor in the order of its shape.
fn bytes(tensor: &Tensor) -> Vec<u8> {
    let mut bytes = vec![0; tensor.numel() * tensor.kind().elt_size_in_bytes()];
    tensor.copy_data_u8(&mut bytes, tensor.numel());
    bytes
}

fn map(tensors: Vec<(String, Tensor)>) -> BTreeMap<String, Tensor> {
    tensors.into_iter().map(|(name, tensor)| (name, tensor.detach().copy())).collect()
}

#[test]
fn every_kind_and_layout_comes_back_bit_for_bit() {
    let folder = folder();
    let path = folder.path().join("all.safetensors");
    // A signalling NaN, a NaN with a payload, -0, a denormal, infinities.
    let singles = [0x7f80_0001_u32, 0xffc1_2345, 0x8000_0000, 1, 0x7f80_0000, 0xff80_0000].map(f32::from_bits);
    let single = Tensor::from_slice(&singles).reshape([2, 3]);
    let double = Tensor::from_slice(&[0x7ff0_0000_0000_0001_u64, 0xfff8_0000_dead_beef, 1].map(f64::from_bits));
    let numbers = Tensor::arange(24, (Kind::Int64, CPU)).reshape([2, 3, 2, 2]);
    let mut tensors = vec![
        ("single".to_string(), single.copy()),
        ("turned".to_string(), single.tr()),
        ("part".to_string(), numbers.to_kind(Kind::Float).slice(3, 1, 2, 1)),
        ("channels.last".to_string(), numbers.to_kind(Kind::Float).permute([0, 2, 3, 1])),
        ("double".to_string(), double),
        ("scalar".to_string(), Tensor::from(2.5_f32)),
        ("empty".to_string(), Tensor::zeros([0, 3], (Kind::Float, CPU))),
        ("gradient".to_string(), Tensor::ones([2], (Kind::Float, CPU)).set_requires_grad(true)),
        ("flags".to_string(), Tensor::from_slice(&[true, false, true])),
    ];
    for kind in [Kind::Half, Kind::BFloat16, Kind::Int64, Kind::Int, Kind::Int16, Kind::Int8, Kind::Uint8] {
        tensors.push((format!("kind.{kind:?}"), numbers.to_kind(kind)));
    }
    let metadata = BTreeMap::from([("a \"key\"".to_string(), "line\nline \u{1f9e0}".to_string())]);
    weights::write(&path, &tensors, &metadata).unwrap();

    let file = weights::read(&path).unwrap();
    assert_eq!(file.metadata, metadata);
    assert_eq!(file.tensors.len(), tensors.len());
    for (name, tensor) in &tensors {
        let read = &file.tensors[name];
        assert_eq!((read.size(), read.kind(), bytes(read)), (tensor.size(), tensor.kind(), bytes(tensor)), "{name}");
    }

    // An independent reader agrees, and finds every tensor aligned.
    let content = std::fs::read(&path).unwrap();
    let independent = SafeTensors::deserialize(&content).unwrap();
    assert_eq!(independent.len(), tensors.len());
    for (name, tensor) in &tensors {
        let view = independent.tensor(name).unwrap();
        let shape: Vec<_> = tensor.size().iter().map(|&size| size as usize).collect();
        assert_eq!((view.shape(), view.data()), (&*shape, &*bytes(tensor)), "{name}");
        let offset = view.data().as_ptr() as usize - content.as_ptr() as usize;
        assert_eq!(offset % tensor.kind().elt_size_in_bytes(), 0, "{name}");
    }

    // The order in which they are given does not matter.
    tensors.reverse();
    weights::write(&path, &tensors, &metadata).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), content);
}

#[test]
fn tensors_larger_than_a_piece_are_read_whole() {
    let folder = folder();
    let path = folder.path().join("large.safetensors");
    let tensor = Tensor::arange(1_700_000, (Kind::Int64, CPU)).reshape([17, 100_000]);
    weights::write(&path, &[("large".to_string(), tensor.copy())], &BTreeMap::new()).unwrap();
    assert_eq!(weights::read(&path).unwrap().tensors["large"], tensor);
}

#[test]
fn networks_survive_and_spike_alike() {
    let folder = folder();
    let path = folder.path().join("network.safetensors");
    for kind in [Kind::Float, Kind::Double] {
        let (_vs, original) = network(&small_spec(), u64::MAX, kind);
        let facts = BTreeMap::from([("created_by".to_string(), "a test".to_string())]);
        let provenance = Provenance { seed: u64::MAX, dataset: Some("mnist".to_string()), facts };
        weights::save_network(&path, &original, &provenance).unwrap();

        let loaded = weights::load_network(&path, CPU).unwrap();
        assert_eq!(loaded.provenance, provenance);
        assert!(loaded.extra.is_empty());
        let same_spec = format!("{:?}", loaded.network.spec()) == format!("{:?}", original.spec());
        assert!(same_spec, "{:?}", loaded.network.spec());
        assert!(toml::to_string(loaded.network.spec()).unwrap().contains("min_voltage = -inf"));
        let pairs = loaded.network.named_parameters().into_iter().zip(original.named_parameters());
        for ((name, a), (other, b)) in pairs {
            assert_eq!((&name, a.kind(), a.stride(), bytes(&a)), (&other, kind, b.stride(), bytes(&b)), "{name}");
            assert!(a.requires_grad() && a.is_leaf());
        }
        // The store holds the very parameters that were loaded.
        assert_eq!(bytes(&loaded.vs.variables()["conv1.weight"]), bytes(&original.named_parameters()[0].1));

        let images = Tensor::arange(2 * 72, (kind, CPU)).reshape([2, 2, 6, 6]) / 10.0;
        let spikes = |network: &SpikingSequential| bytes(&network.simulate(&images, 40, &[]).unwrap().output);
        assert_eq!(spikes(&loaded.network), spikes(&original));
        assert!(spikes(&original).iter().any(|&byte| byte != 0));
    }
}

#[test]
fn reference_network_has_the_known_numbers() {
    let folder = folder();
    let path = saved(&NetworkSpec::reference(), folder.path());
    let content = std::fs::read(&path).unwrap();
    let file = SafeTensors::deserialize(&content).unwrap();
    let count = |name: &str| file.tensor(name).unwrap().shape().iter().product::<usize>();
    assert_eq!(file.names().into_iter().map(count).sum::<usize>(), 158_730);
    assert_eq!(["lif1.bias", "lif2.bias", "lif3.bias"].map(count), [21_632, 9_216, 3_200]);
    assert_eq!(file.tensor("conv2.weight").unwrap().shape(), [64, 32, 3, 3]);
    let loaded = weights::load_network(&path, CPU).unwrap();
    assert_eq!((loaded.provenance.seed, loaded.network.seed()), (5, 5));
    assert_eq!(loaded.provenance.facts["created_by"], concat!("tch-spiking ", env!("CARGO_PKG_VERSION")));
}

#[test]
fn checkpoints_carry_optimizer_state() {
    let folder = folder();
    let path = folder.path().join("last.safetensors");
    let (_vs, original) = network(&small_spec(), 1, Kind::Float);
    let extra = vec![("optimizer.step".to_string(), Tensor::from(7_i64))];
    weights::save_network_with(&path, &original, &Provenance::default(), &extra).unwrap();
    let loaded = weights::load_network(&path, CPU).unwrap();
    assert_eq!(loaded.extra.keys().collect::<Vec<_>>(), ["optimizer.step"]);
    assert_eq!(loaded.extra["optimizer.step"].int64_value(&[]), 7);
    weights::load_into(&original, &weights::read(&path).unwrap().tensors).unwrap();

    let misnamed = vec![("momentum".to_string(), Tensor::from(7_i64))];
    let error = weights::save_network_with(&path, &original, &Provenance::default(), &misnamed).unwrap_err();
    assert!(error.to_string().contains("optimizer."), "{error}");
    let reserved = Provenance { facts: BTreeMap::from([("spec".to_string(), String::new())]), ..Provenance::default() };
    let error = weights::save_network(&path, &original, &reserved).unwrap_err();
    assert!(error.to_string().contains("`spec`"), "{error}");
}

#[test]
fn all_misfits_are_reported_at_once_and_nothing_is_loaded() {
    let (_vs, network) = network(&small_spec(), 1, Kind::Float);
    let before = map(network.named_parameters());
    let mut tensors: BTreeMap<_, _> = before.iter().map(|(name, tensor)| (name.clone(), tensor + 1.0)).collect();
    tensors.remove("conv1.bias");
    // Would broadcast.
    tensors.insert("linear1.weight".to_string(), Tensor::zeros([1, 96], (Kind::Float, CPU)));
    tensors.insert("linear1.bias".to_string(), Tensor::zeros([3], (Kind::Int64, CPU)));
    tensors.insert("fc.weight".to_string(), Tensor::zeros([10, 20], (Kind::Float, CPU)));
    tensors.insert("optimizer.step".to_string(), Tensor::from(1_i64));

    let error = weights::load_into(&network, &tensors).unwrap_err();
    let text = error.to_string();
    let Error::Weights(WeightsError::Misfits(misfits)) = error else { panic!("{error}") };
    let name = str::to_string;
    let expected = [
        Misfit::Missing { name: name("conv1.bias"), expected: vec![4] },
        Misfit::Shape { name: name("linear1.weight"), expected: vec![3, 96], found: vec![1, 96] },
        Misfit::Kind { name: name("linear1.bias"), found: Kind::Int64 },
        Misfit::Unexpected { name: name("fc.weight"), found: vec![10, 20] },
    ];
    assert_eq!(misfits, expected);
    assert!(text.contains("linear1.weight: expected 3x96, found 1x96"), "{text}");
    assert_eq!(map(network.named_parameters()), before);
}

#[test]
fn other_floating_point_kinds_are_rounded_to_the_networks() {
    let (_vs, network) = network(&small_spec(), 1, Kind::Float);
    for kind in [Kind::Half, Kind::BFloat16, Kind::Double] {
        let tensors: BTreeMap<_, _> = map(network.named_parameters())
            .into_iter()
            .map(|(name, tensor)| (name, (tensor * 1.1).to_kind(kind)))
            .collect();
        weights::load_into(&network, &tensors).unwrap();
        for (name, parameter) in network.named_parameters() {
            assert_eq!(bytes(&parameter), bytes(&tensors[&name].to_kind(Kind::Float)), "{name} from {kind:?}");
        }
    }
}

#[test]
fn foreign_files_are_listed_and_load_with_a_specification() {
    let folder = folder();
    let path = folder.path().join("foreign.safetensors");
    let (_vs, original) = network(&small_spec(), 1, Kind::Float);
    let metadata = BTreeMap::from([("format".to_string(), "pt".to_string())]);
    weights::write(&path, &original.named_parameters(), &metadata).unwrap();

    let error = weights::load_network(&path, CPU).unwrap_err();
    assert!(error.to_string().contains("foreign.safetensors"), "{error}");
    assert!(error.to_string().contains("linear1.weight  3x96  Float"), "{error}");
    assert!(matches!(cause(error), WeightsError::NoSpecification { tensors, .. } if tensors.len() == 5));

    let loaded = weights::load_network_as(&path, &small_spec(), 1, CPU).unwrap();
    assert_eq!(map(loaded.network.named_parameters()), map(original.named_parameters()));
    assert_eq!((loaded.provenance.seed, &loaded.provenance.facts), (1, &metadata));
    let error = weights::load_network_as(&path, &NetworkSpec::reference(), 1, CPU).unwrap_err();
    assert!(matches!(cause(error), WeightsError::Misfits(_)));
}

#[test]
fn networks_of_rust_code_load_with_their_specification_only() {
    let folder = folder();
    let path = folder.path().join("custom.safetensors");
    let spec = Builder::new([4]).custom("double", |input| input.f_mul_scalar(2.0)).linear(2).into_spec();
    let (_vs, original) = network(&spec, 1, Kind::Float);
    weights::save_network(&path, &original, &Provenance::default()).unwrap();
    let error = weights::load_network(&path, CPU).unwrap_err();
    assert!(error.to_string().contains("Rust code"), "{error}");
    let loaded = weights::load_network_as(&path, &spec, 1, CPU).unwrap();
    assert_eq!(map(loaded.network.named_parameters()), map(original.named_parameters()));
}
