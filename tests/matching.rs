//! Weights of other programs: matched by order and shape where that is certain, refused where it is not.

#[path = "common/weights.rs"]
mod common;

use std::path::PathBuf;

use common::{CPU, cause, folder, network};
use serde_json::json;
use tch::{Kind, Tensor};
use tch_spiking::network::{Builder, Conv2d, LayerKind, LayerSpec, NeuronSpec};
use tch_spiking::neuron::Lif;
use tch_spiking::weights::{self, LoadedNetwork, Misfit, TensorMap, WeightsError, nengodl_arrays};
use tch_spiking::{NetworkSpec, Result};

/// Two convolutions of different shapes, two linear layers of one shape, one of another.
fn spec() -> NetworkSpec {
    let neurons = || NeuronSpec::new(Lif::default()).tuned(100.0, 0.0);
    Builder::new([2, 6, 6])
        .layer(Conv2d::new(3, 3))
        .layer(neurons())
        .layer(Conv2d::new(4, 3))
        .flatten()
        .linear(16)
        .layer(neurons())
        .linear(16)
        .linear(5)
        .into_spec()
}

/// Names in the place of those of the layers with weights.
const SEQUENTIAL: [&str; 5] = ["0", "2", "4", "6", "10"];

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(folder())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("weights.safetensors")
    }

    /// A file with its tensors in this order, as no writer of safetensors keeps it but those of other formats do.
    fn write(&self, tensors: &[(String, Tensor)]) -> PathBuf {
        let mut header = serde_json::Map::new();
        let mut bytes = Vec::new();
        for (name, tensor) in tensors {
            let mut content = vec![0; tensor.numel() * tensor.kind().elt_size_in_bytes()];
            tensor.contiguous().copy_data_u8(&mut content, tensor.numel());
            let dtype = match tensor.kind() {
                Kind::Float => "F32",
                Kind::Half => "F16",
                Kind::Int64 => "I64",
                other => panic!("{other:?}"),
            };
            let offsets = [bytes.len(), bytes.len() + content.len()];
            header.insert(name.clone(), json!({ "dtype": dtype, "shape": tensor.size(), "data_offsets": offsets }));
            bytes.extend(content);
        }
        let header = serde_json::Value::Object(header).to_string();
        let content = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &bytes].concat();
        std::fs::write(self.path(), content).unwrap();
        self.path()
    }

    fn load(&self, tensors: &[(String, Tensor)]) -> Result<LoadedNetwork> {
        weights::load_network_as(&self.write(tensors), &spec(), 1, CPU)
    }

    fn load_mapped(&self, tensors: &[(String, Tensor)], map: &str) -> Result<LoadedNetwork> {
        let path = self.write(tensors);
        weights::load_network_mapped(&path, &spec(), 1, CPU, &TensorMap::from_toml(map)?)
    }

    fn fail(&self, tensors: &[(String, Tensor)]) -> WeightsError {
        cause(self.load(tensors).unwrap_err())
    }
}

/// The weights of a network with the layers called otherwise and without the neurons' biases, as PyTorch would have them:
/// each weight before its bias.
fn renamed(names: [&str; 5]) -> Vec<(String, Tensor)> {
    let (_vs, network) = network(&spec(), 7, Kind::Float);
    let layers = ["conv1", "conv2", "linear1", "linear2", "linear3"];
    let rename = |(name, tensor): (String, Tensor)| {
        let (layer, leaf) = name.rsplit_once('.')?;
        let place = layers.iter().position(|known| *known == layer)?;
        // Biases start at 0: these are to be told apart.
        let tensor = if leaf == "bias" { tensor.detach() + (place as f64 + 1.0) } else { tensor.detach() };
        Some((format!("{}.{leaf}", names[place]), tensor))
    };
    network.named_parameters().into_iter().filter_map(rename).collect()
}

fn alphabetical(mut tensors: Vec<(String, Tensor)>) -> Vec<(String, Tensor)> {
    tensors.sort_by(|(a, _), (b, _)| a.cmp(b));
    tensors
}

fn prefixed(prefix: &str, tensors: Vec<(String, Tensor)>) -> Vec<(String, Tensor)> {
    tensors.into_iter().map(|(name, tensor)| (format!("{prefix}{name}"), tensor)).collect()
}

/// Whether all weights are where they belong, and the neurons' biases as the specification has them.
#[track_caller]
fn assert_loaded(loaded: &LoadedNetwork) {
    let expected = renamed(["conv1", "conv2", "linear1", "linear2", "linear3"]);
    let (_vs, fresh) = network(&spec(), 1, Kind::Float);
    let fresh: Vec<_> = fresh.named_parameters().into_iter().filter(|(name, _)| name.starts_with("lif")).collect();
    for (name, tensor) in loaded.network.named_parameters() {
        let (_, known) = expected.iter().chain(&fresh).find(|(known, _)| *known == name).unwrap();
        assert!(tensor.equal(known), "{name}");
    }
}

#[test]
fn names_of_pytorch_are_matched_in_order() {
    let place = Place::new();
    let loaded = place.load(&renamed(SEQUENTIAL)).unwrap();
    assert_loaded(&loaded);
    let matching = &loaded.matching;
    assert_eq!(matching.kept, ["lif1.bias", "lif2.bias"]);
    let pairs: Vec<_> = matching.matches.iter().map(|row| (row.parameter.as_str(), row.tensor.as_str())).collect();
    assert_eq!(pairs[0], ("conv1.weight", "0.weight"));
    assert_eq!(pairs[9], ("linear3.bias", "10.bias"));
    let table = matching.to_string();
    for line in ["  linear3.weight = 10.weight  5x16", "as the specification has them: lif1.bias, lif2.bias"] {
        assert!(table.contains(line), "{table}");
    }
    assert!(!matching.is_plain());

    // In the order of the alphabet ("10" before "2"), the numbers in the names tell.
    assert_loaded(&place.load(&alphabetical(renamed(SEQUENTIAL))).unwrap());
    let named = ["features.conv1", "features.conv2", "head.fc1", "head.fc2", "head.fc10"];
    assert_loaded(&place.load(&alphabetical(renamed(named))).unwrap());
    assert_loaded(&place.load(&renamed(["stem", "body", "wide", "narrow", "out"])).unwrap());
    // The layers' own names, without the biases of neurons.
    let own = renamed(["conv1", "conv2", "linear1", "linear2", "linear3"]);
    assert_loaded(&place.load(&alphabetical(own)).unwrap());
}

#[test]
fn wrappers_and_checkpoints_are_seen_through() {
    let place = Place::new();
    for prefix in ["module.", "_orig_mod.", "state_dict.", "model.module._orig_mod.", "net."] {
        let loaded = place.load(&prefixed(prefix, renamed(SEQUENTIAL))).unwrap();
        assert_loaded(&loaded);
        assert!(loaded.matching.matches[0].tensor.starts_with(prefix));
    }
    let mut checkpoint = prefixed("model.", renamed(SEQUENTIAL));
    let momentum = Tensor::ones([3], (Kind::Float, CPU));
    checkpoint.push(("optimizer_state.state.0.exp_avg".to_string(), momentum.copy()));
    checkpoint.push(("ema.conv".to_string(), momentum));
    checkpoint.push(("model.norm.num_batches_tracked".to_string(), Tensor::from(3_i64)));
    let loaded = place.load(&checkpoint).unwrap();
    assert_loaded(&loaded);
    assert_eq!(loaded.matching.notes.len(), 2, "{:?}", loaded.matching.notes);

    // A file of ours in a wrapper: the names are exact, and so are the biases of neurons.
    let (_vs, source) = network(&spec(), 7, Kind::Float);
    let loaded = place.load(&prefixed("module.", source.named_parameters())).unwrap();
    assert!(loaded.matching.by_name && loaded.matching.kept.is_empty());
    for ((name, ours), (_, theirs)) in loaded.network.named_parameters().iter().zip(source.named_parameters()) {
        assert!(ours.equal(&theirs), "{name}");
    }
}

#[test]
fn what_could_go_two_ways_is_an_error_that_says_how_to_decide() {
    let place = Place::new();
    let named = ["a", "b", "c.hidden", "c.middle", "d"];
    match place.fail(&alphabetical(renamed(named))) {
        WeightsError::Ambiguous { parameters, candidates } => {
            assert_eq!(parameters, ["linear1.bias", "linear2.bias"]);
            assert_eq!(candidates, ["c.hidden.bias", "c.middle.bias"]);
        }
        other => panic!("{other}"),
    }
}

#[test]
fn all_that_does_not_fit_is_reported_at_once() {
    let place = Place::new();
    let mut tensors = renamed(SEQUENTIAL);
    tensors[0].1 = Tensor::zeros([3, 2, 5, 5], (Kind::Float, CPU));
    drop(tensors.remove(3)); // The bias of conv2.
    tensors.push(("12.weight".to_string(), Tensor::zeros([7, 7], (Kind::Float, CPU))));
    let WeightsError::Misfits(misfits) = place.fail(&tensors) else { panic!() };
    let shape = |name: &str, expected: &[i64], found: &[i64]| Misfit::Shape {
        name: name.to_string(),
        expected: expected.to_vec(),
        found: found.to_vec(),
    };
    assert_eq!(
        misfits,
        [
            shape("conv1.weight = 0.weight", &[3, 2, 3, 3], &[3, 2, 5, 5]),
            Misfit::Missing { name: "conv2.bias".to_string(), expected: vec![4] },
            Misfit::Unexpected { name: "12.weight".to_string(), found: vec![7, 7] },
        ]
    );
    // Nothing broadcasts: a bias of one element is not a bias of three.
    let mut tensors = renamed(SEQUENTIAL);
    tensors[1].1 = Tensor::zeros([1], (Kind::Float, CPU));
    assert!(matches!(place.fail(&tensors), WeightsError::Misfits(_)));
    // Whole numbers are not rounded weights.
    let mut tensors = renamed(SEQUENTIAL);
    tensors[1].1 = Tensor::zeros([3], (Kind::Int64, CPU));
    assert!(place.fail(&tensors).to_string().contains("Int64"));
}

#[test]
fn changes_of_kind_are_reported() {
    let place = Place::new();
    let mut tensors = renamed(SEQUENTIAL);
    tensors[4].1 = tensors[4].1.to_kind(Kind::Half);
    let loaded = place.load(&tensors).unwrap();
    let converted: Vec<_> = loaded.matching.matches.iter().filter_map(|row| row.converted).collect();
    assert_eq!(converted, [(Kind::Half, Kind::Float)]);
    assert!(loaded.matching.to_string().contains("Half to Float"));
}

#[test]
fn a_map_decides() {
    let place = Place::new();
    let mut tensors = alphabetical(renamed(["a", "b", "c.hidden", "c.middle", "d"]));
    let map = r#"
        [map]
        "linear1.weight" = "c.hidden.weight"
        "linear2.weight" = { from = "c.middle.weight", permute = [1, 0] }
    "#;
    let (_, middle) = tensors.iter_mut().find(|(name, _)| name == "c.middle.weight").unwrap();
    *middle = middle.tr().contiguous();
    let expected = renamed(["conv1", "conv2", "linear1", "linear2", "linear3"]);
    let loaded = place.load_mapped(&tensors, map).unwrap();
    for (name, tensor) in loaded.network.named_parameters().into_iter().filter(|(name, _)| !name.starts_with("lif")) {
        let (_, known) = expected.iter().find(|(known, _)| *known == name).unwrap();
        assert!(tensor.equal(known), "{name}");
    }

    for (map, expected) in [
        ("[map]\n\"linear1.wieght\" = \"d.bias\"", "did you mean linear1.weight?"),
        ("[map]\n\"linear1.weight\" = \"c.hiden.weight\"", "did you mean c.hidden.weight?"),
        ("[map]\n\"linear1.weight\" = \"d.weight\"", "expected 16x16, found 5x16"),
        ("[map]\n\"linear1.weight\" = { from = \"d.weight\", permute = [0, 0] }", "each dimension"),
        ("[map]\n\"linear1.weight\" = { form = \"d.weight\" }", "expected a name"),
        ("maps = 3", "unknown field `maps`"),
    ] {
        let error = place.load_mapped(&tensors, map).unwrap_err().to_string();
        assert!(error.contains(expected), "{map}: {error}");
    }
}

#[test]
fn a_map_chooses_among_containers() {
    let place = Place::new();
    let other: Vec<_> = renamed(SEQUENTIAL).into_iter().map(|(name, tensor)| (name, tensor * 2.0)).collect();
    let mut tensors = prefixed("first.", other);
    tensors.extend(prefixed("second.", renamed(SEQUENTIAL)));
    assert!(matches!(place.fail(&tensors), WeightsError::Misfits(_)));
    assert_loaded(&place.load_mapped(&tensors, "prefix = \"second.\"").unwrap());
    assert_loaded(&place.load_mapped(&tensors, "ignore = [\"first.\"]").unwrap());
}

#[test]
fn channels_last_is_turned_behind_a_flattened_image_too() {
    let (_vs, source) = network(&spec(), 7, Kind::Float);
    for (_, mut bias) in source.named_parameters() {
        let _guard = tch::no_grad_guard();
        let count = bias.numel() as i64;
        let _ = bias.g_add_(&Tensor::arange(count, (Kind::Float, CPU)).reshape(bias.size()));
    }
    let place = Place::new();
    let arrays = nengodl_arrays(&source).unwrap();
    let shapes: Vec<_> = arrays.iter().map(|(_, array)| array.size()).collect();
    assert_eq!(shapes[..4], [vec![3 * 16 + 16], vec![3, 3, 2, 3], vec![3], vec![3, 3, 3, 4]]);
    // Neurons are in the order H, W, C: the second number is that of channel 1 at the corner.
    assert_eq!(arrays[0].1.double_value(&[1]), source.named_parameters()[2].1.double_value(&[1, 0, 0]));
    // And so are the features: row 1 of the linear layer's kernel is channel 1 at the corner, feature 4 of ours.
    let (kernel, weight) = (&arrays[5].1, &source.named_parameters()[5].1);
    assert!(kernel.get(1).equal(&weight.select(1, 4)));

    let mut with_extra: Vec<_> = arrays.iter().map(|(name, array)| (name.clone(), array.copy())).collect();
    with_extra.insert(3, ("x".to_string(), Tensor::from_slice(&[5.0_f32])));
    for (index, (name, _)) in with_extra.iter_mut().enumerate() {
        *name = format!("arr_{index}");
    }
    for arrays in [&arrays, &with_extra] {
        let loaded = place.load(arrays).unwrap();
        for ((name, ours), (_, theirs)) in loaded.network.named_parameters().iter().zip(source.named_parameters()) {
            assert!(ours.equal(&theirs), "{name}");
        }
        assert_eq!(loaded.matching.notes.len(), 1 + usize::from(arrays.len() > 11), "{}", loaded.matching);
    }

    // One array by hand.
    let mut by_name = prefixed("", renamed(SEQUENTIAL));
    by_name[4].1 = kernel.copy();
    let map = "[map]\n\"linear1.weight\" = { from = \"4.weight\", channels_last = true }";
    let loaded = place.load_mapped(&by_name, map).unwrap();
    assert!(loaded.network.named_parameters()[5].1.equal(weight));
}

#[test]
fn files_for_layers_in_a_row_are_not_for_others() {
    let build = |builder: Builder| network(&builder.into_spec(), 1, Kind::Float);
    let block = || Builder::new([2, 4, 4]).layer(Conv2d::new(2, 1)).add_layers(["conv1", "input"]).flatten();
    let (_vs, skip) = build(block().linear(3));
    let place = Place::new();
    let arrays = skip.named_parameters().into_iter().enumerate();
    let arrays: Vec<_> = arrays.map(|(index, (_, tensor))| (format!("arr_{index}"), tensor)).collect();
    let loaded = weights::load_network_as(&place.write(&arrays), skip.spec(), 1, CPU).map(|_| ());
    for error in [nengodl_arrays(&skip).unwrap_err(), loaded.unwrap_err()] {
        assert!(error.to_string().contains("layer add1 takes more, or other, than"), "{error}");
    }
}

/// The features behind a sum of images, flattened, are known; those of two flattened images side by side are not.
#[test]
fn channels_last_sees_what_a_layer_reads() {
    let load = |builder: Builder, map: &str| {
        let (_vs, source) = network(&builder.into_spec(), 1, Kind::Float);
        let place = Place::new();
        let dense = source.parameter("linear1.weight").unwrap().tr().contiguous();
        let mut tensors: Vec<_> = source.named_parameters();
        tensors.iter_mut().find(|(name, _)| name == "linear1.weight").unwrap().1 = dense.copy();
        let map = TensorMap::from_toml(map)?;
        let loaded = weights::load_network_mapped(&place.write(&tensors), source.spec(), 1, CPU, &map)?;
        Ok::<_, tch_spiking::Error>((dense, loaded.network.parameter("linear1.weight").unwrap()))
    };
    let map = "[map]\n\"linear1.weight\" = { from = \"linear1.weight\", channels_last = true }";
    let image = || Builder::new([2, 3, 4]).layer(Conv2d::new(2, 1)).add_layers(["conv1", "input"]).flatten();
    let beside = || image().layer(LayerSpec::from(LayerKind::Flatten).reading(["conv1"]));
    let (there, here) = load(beside().add_layers(["flatten1", "flatten2"]).linear(3), map).unwrap();
    // Channel 1 at the corner: the second there, the first of the second channel here.
    assert!(there.get(1).equal(&here.select(1, 12)));
    let error = load(beside().concat_layers(["flatten1", "flatten2"]).linear(3), map).unwrap_err().to_string();
    assert!(error.contains("layer linear1: its features come from several layers"), "{error}");
}
