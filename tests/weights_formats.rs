//! Weights files of every format, as PyTorch and NumPy write them (`tests/fixtures/make.py`) and as they are written here.

#[path = "common/weights.rs"]
mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::{CPU, cause, folder};
use proptest::prelude::*;
use tch::{Kind, Tensor};
use tch_spiking::weights::{self, Format, OutputFormat, TensorFile, WeightsError};

/// The layers of the fixtures' network, in the order of a `state_dict`.
const NET: [(&str, &[i64]); 9] = [
    ("conv.weight", &[2, 1, 3, 3]),
    ("conv.bias", &[2]),
    ("norm.weight", &[2]),
    ("norm.bias", &[2]),
    ("norm.running_mean", &[2]),
    ("norm.running_var", &[2]),
    ("norm.num_batches_tracked", &[]),
    ("fc.weight", &[3, 8]),
    ("fc.bias", &[3]),
];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn read(name: &str) -> TensorFile {
    weights::read(&fixture(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn refused(name: &str) -> WeightsError {
    cause(weights::read(&fixture(name)).unwrap_err())
}

/// `start`, `start + 1/4` .. as `make.py` has them.
fn numbers(start: i64, shape: &[i64], kind: Kind) -> Tensor {
    let count: i64 = shape.iter().product();
    (Tensor::arange(count, (Kind::Double, CPU)) / 4 + start).to_kind(kind).reshape(shape)
}

fn bytes(tensor: &Tensor) -> Vec<u8> {
    let mut bytes = vec![0; tensor.numel() * tensor.kind().elt_size_in_bytes()];
    tensor.copy_data_u8(&mut bytes, tensor.numel());
    bytes
}

#[track_caller]
fn assert_same(found: &Tensor, expected: &Tensor, what: &str) {
    assert_eq!((found.kind(), found.size()), (expected.kind(), expected.size()), "{what}");
    assert_eq!(bytes(found), bytes(expected), "{what}");
}

/// Asserts that `file` holds the fixtures' network, all floating-point numbers of `kind`, each name after `prefix`.
fn assert_net(file: &TensorFile, prefix: &str, kind: Kind, what: &str) {
    for (i, (name, shape)) in (0..).zip(NET) {
        let kind = if shape.is_empty() && kind == Kind::Float { Kind::Int64 } else { kind };
        assert_same(&file.tensors[&format!("{prefix}{name}")], &numbers(i, shape, kind), &format!("{what}: {name}"));
    }
}

fn names(prefix: &str) -> Vec<String> {
    NET.iter().map(|(name, _)| format!("{prefix}{name}")).collect()
}

#[test]
fn state_dicts_of_every_age_are_read() {
    for (name, prefix, kind) in [
        ("state_dict.pt", "", Kind::Float),
        ("state_dict_legacy.pt", "", Kind::Float),
        ("state_dict_protocol_4.pt", "", Kind::Float),
        ("data_parallel.pt", "module.", Kind::Float),
        ("half.pt", "", Kind::Half),
        ("bfloat16.pt", "", Kind::BFloat16),
    ] {
        let file = read(name);
        assert_eq!(file.order, names(prefix), "{name}");
        assert_net(&file, prefix, kind, name);
        assert_eq!((file.tensors.len(), file.metadata.len()), (9, 0), "{name}");
    }
    let parameters = read("parameters.pt");
    let order = ["conv.weight", "conv.bias", "norm.weight", "norm.bias", "fc.weight", "fc.bias"];
    assert_eq!(parameters.order, order);
    assert_same(&parameters.tensors["fc.bias"], &numbers(8, &[3], Kind::Float), "a parameter");
}

#[test]
fn every_kind_is_read() {
    for name in ["kinds.pt", "kinds_legacy.pt"] {
        let file = read(name);
        for (tensor, kind) in [
            ("float64", Kind::Double),
            ("int64", Kind::Int64),
            ("int32", Kind::Int),
            ("int16", Kind::Int16),
            ("int8", Kind::Int8),
            ("uint8", Kind::Uint8),
            ("bool", Kind::Bool),
        ] {
            assert_same(&file.tensors[tensor], &numbers(0, &[2, 3], kind), &format!("{name}: {tensor}"));
        }
        assert_same(&file.tensors["scalar"], &Tensor::from(2.5_f32), name);
        assert_same(&file.tensors["empty"], &Tensor::zeros([0, 3], (Kind::Float, CPU)), name);
    }
}

#[test]
fn tensors_that_share_a_storage_are_the_parts_they_were() {
    for name in ["shared.pt", "shared_legacy.pt"] {
        let file = read(name);
        let whole = numbers(0, &[6, 4], Kind::Float);
        assert_same(&file.tensors["whole"], &whole, name);
        assert_same(&file.tensors["turned"], &whole.tr(), name);
        assert_same(&file.tensors["part"], &whole.slice(0, 1, 3, 1).slice(1, 0, 4, 2), name);
        assert_same(&file.tensors["last"], &whole.get(5), name);
        assert_same(&file.tensors["again"], &whole, name);
        assert_same(&file.tensors["channels_last"], &numbers(0, &[1, 2, 2, 3], Kind::Float), name);
        assert_eq!(file.tensors["part"].data_ptr(), place(&file.tensors["whole"], 4), "{name}: copied");
    }
}

/// Where element `index` of a contiguous tensor is.
fn place(tensor: &Tensor, index: i64) -> *mut std::ffi::c_void {
    tensor.view(-1).get(index).data_ptr()
}

#[test]
fn checkpoints_are_taken_apart() {
    let file = read("checkpoint.pt");
    assert_eq!(file.order[..9], names("model."));
    assert_net(&file, "model.", Kind::Float, "checkpoint");
    let state = &file.tensors["optimizer.state.0.exp_avg"];
    assert_eq!((state.kind(), state.size()), (Kind::Float, vec![2, 1, 3, 3]));
    let fact = |name: &str| file.metadata[name].as_str();
    assert_eq!((fact("epoch"), fact("accuracy"), fact("name")), ("3", "0.5", "first"));
    assert_eq!((fact("arguments.lr"), fact("arguments.deep")), ("0.25", "true"));
    assert_eq!(fact("optimizer.param_groups.0.lr"), "0.25");
    assert_eq!(fact("best"), "an object of class numpy._core.multiarray.scalar");
    assert_eq!(fact("seen"), "an object of class collections.Counter");
    assert!(!file.metadata.contains_key("losses.0"));

    let list = read("list.pt");
    assert_eq!(list.order, ["0", "1.inner"]);
    assert_same(&list.tensors["1.inner"], &numbers(1, &[2], Kind::Float), "list");
    assert_same(&read("tensor.pt").tensors["tensor"], &numbers(0, &[2], Kind::Float), "alone");
}

#[test]
fn torchscript_gives_parameters_and_buffers() {
    for name in ["scripted.pt", "traced.pt"] {
        assert_eq!(weights::format_of(&fixture(name)).unwrap(), Format::TorchScript, "{name}");
        let file = read(name);
        assert_eq!(file.order, ["weight", "scale.weight", "scale.mean", "scale.seen"], "{name}");
        assert_same(&file.tensors["weight"], &numbers(0, &[2, 3], Kind::Float), name);
        assert_same(&file.tensors["scale.weight"], &numbers(1, &[2], Kind::Float), name);
        assert_same(&file.tensors["scale.mean"], &numbers(2, &[2], Kind::Float), name);
        assert_same(&file.tensors["scale.seen"], &Tensor::from(7_i64), name);
        assert!(file.metadata.is_empty(), "{:?}", file.metadata);
    }
    // What tch writes by itself, whose names have `|` for dots.
    let folder = folder();
    let path = folder.path().join("variables.ot");
    let vs = tch::nn::VarStore::new(CPU);
    let linear = tch::nn::linear(vs.root() / "fc", 3, 2, Default::default());
    vs.save(&path).unwrap();
    assert_same(&weights::read(&path).unwrap().tensors["fc.weight"], &linear.ws, "tch");
}

#[test]
fn numpy_arrays_are_read_in_both_orders() {
    for name in ["arrays.npz", "arrays_compressed.npz"] {
        assert_eq!(weights::format_of(&fixture(name)).unwrap(), Format::Npz, "{name}");
        let file = read(name);
        let float = |start, shape: &[i64]| numbers(start, shape, Kind::Float);
        assert_eq!(file.order[..3], ["fc.weight", "fortran", "vector"]);
        assert_same(&file.tensors["fc.weight"], &float(0, &[2, 3]), name);
        assert_same(&file.tensors["fortran"], &float(0, &[2, 3, 2]), name);
        assert_same(&file.tensors["vector"], &numbers(1, &[4], Kind::Double), name);
        assert_same(&file.tensors["half"], &numbers(0, &[3], Kind::Half), name);
        assert_same(&file.tensors["scalar"], &Tensor::from(2.5_f32), name);
        assert_same(&file.tensors["empty"], &Tensor::zeros([0, 3], (Kind::Float, CPU)), name);
        assert_same(&file.tensors["flags"], &Tensor::from_slice(&[true, false, true]), name);
        let whole = [
            ("int64", Kind::Int64),
            ("int32", Kind::Int),
            ("int16", Kind::Int16),
            ("int8", Kind::Int8),
            ("uint8", Kind::Uint8),
        ];
        for (tensor, kind) in whole {
            assert_same(&file.tensors[tensor], &numbers(0, &[2, 3], kind), &format!("{name}: {tensor}"));
        }
    }
    let positional = read("positional.npz");
    assert_eq!(positional.order, (0..12).map(|i| format!("arr_{i}")).collect::<Vec<_>>());
    assert_same(&positional.tensors["arr_11"], &numbers(11, &[12], Kind::Float), "positional");
}

#[test]
fn what_holds_no_tensors_is_named() {
    let class = |error| match error {
        WeightsError::NotTensors { name, class } => (name, class),
        error => panic!("{error}"),
    };
    let is = |name: &str, class: &str| (name.to_string(), class.to_string());
    assert_eq!(class(refused("module.pt")), is("", "__main__.Net"));
    assert!(refused("module.pt").to_string().contains("model.state_dict()"));
    assert_eq!(class(refused("module_inside.pt")), is("model", "__main__.Net"));
    assert_eq!(class(refused("module_legacy.pt")), is("", "__main__.Script"));
    assert_eq!(class(refused("sparse.pt")), is("sparse", "torch._utils._rebuild_sparse_tensor"));
    assert_eq!(class(refused("uint16.pt")), is("wide", "torch._utils._rebuild_tensor_v3"));
    for (name, tensor, dtype) in [
        ("complex.pt", "complex", "torch.ComplexFloatStorage"),
        ("big_endian.npz", "a", ">f4 (big-endian"),
        ("objects.npz", "a", "|O (Python objects"),
    ] {
        let WeightsError::Dtype { tensor: found, dtype: kind } = refused(name) else { panic!("{name}") };
        assert!(found == tensor && kind.starts_with(dtype), "{name}: {found}, {kind}");
    }
    assert!(matches!(refused("expanded.pt"), WeightsError::Expanded { tensor } if tensor == "expanded"));
}

#[test]
fn nothing_in_a_pickle_is_executed() {
    let file = read("evil.pt");
    assert_eq!(file.order, ["weight"]);
    assert_eq!(file.metadata["evil"], "an object of class posix.system");
    assert!(!Path::new("/tmp/tch-spiking-was-here").exists());
}

#[test]
fn files_convert_from_any_format_to_the_one_that_the_name_says() {
    let folder = folder();
    let to = |name: &str| folder.path().join(name);
    let converted = weights::convert(&fixture("checkpoint.pt"), &to("a.safetensors"), None).unwrap();
    let read = weights::read(&to("a.safetensors")).unwrap();
    assert_eq!((converted.from, converted.to), (Format::PyTorch, OutputFormat::Safetensors));
    assert_eq!((converted.tensors.len(), &read.metadata["epoch"]), (read.tensors.len(), &"3".to_string()));
    assert_net(&read, "model.", Kind::Float, "safetensors");

    let converted = weights::convert(&to("a.safetensors"), &to("b.npz"), None).unwrap();
    assert!(converted.dropped.contains(&"epoch".to_string()) && converted.widened.is_empty());
    assert_net(&weights::read(&to("b.npz")).unwrap(), "model.", Kind::Float, "npz");

    let format = OutputFormat::Npz { compress: true };
    let converted = weights::convert(&fixture("bfloat16.pt"), &to("c"), Some(format)).unwrap();
    let read = weights::read(&to("c")).unwrap();
    assert_eq!((converted.widened.len(), &converted.tensors), (9, &read.order));
    assert_same(&read.tensors["fc.weight"], &numbers(7, &[3, 8], Kind::Float), "widened");

    let error = weights::convert(&fixture("half.pt"), &to("c.bin"), None).unwrap_err();
    assert!(matches!(cause(error), WeightsError::UnknownExtension));
    let error = weights::convert(&to("b.npz"), &to("b.npz"), None).unwrap_err();
    assert!(matches!(cause(error), WeightsError::SameFile));
    assert_net(&weights::read(&to("b.npz")).unwrap(), "model.", Kind::Float, "untouched");
}

#[test]
fn arrays_that_cannot_be_written_are_refused() {
    let folder = folder();
    let path = folder.path().join("a.npz");
    let one = |name: &str| (name.to_string(), Tensor::from(1.0_f32));
    let brain = ("b".to_string(), Tensor::from(1.0).to_kind(Kind::BFloat16));
    for tensors in
        [vec![one("a"), one("a")], vec![one("../a")], vec![one("/a")], vec![one(&"x".repeat(70_000))], vec![brain]]
    {
        let error = weights::write_npz(&path, &tensors, false).unwrap_err();
        assert!(matches!(cause(error), WeightsError::Unwritable { .. }));
    }
    assert!(!path.exists());
}

const KINDS: [Kind; 10] = [
    Kind::Double,
    Kind::Float,
    Kind::Half,
    Kind::BFloat16,
    Kind::Int64,
    Kind::Int,
    Kind::Int16,
    Kind::Int8,
    Kind::Uint8,
    Kind::Bool,
];

/// A tensor of any bits in any memory layout.
fn any_tensor() -> impl Strategy<Value = Tensor> {
    (prop::sample::select(&KINDS[..]), prop::collection::vec(0_i64..5, 0..5), any::<bool>(), any::<u64>()).prop_map(
        |(kind, shape, turn, seed)| {
            let length = shape.iter().product::<i64>() as usize * kind.elt_size_in_bytes();
            let mut state = seed | 1;
            let bytes: Vec<u8> = std::iter::repeat_with(|| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8
            })
            .take(length)
            .collect();
            let bytes = Tensor::from_slice(&bytes);
            let flat = if kind == Kind::Bool { bytes.ge(128) } else { bytes.view_dtype(kind) };
            let tensor = flat.reshape(&shape);
            if turn && shape.len() > 1 { tensor.transpose(0, -1) } else { tensor }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn what_is_written_is_read_bit_for_bit(tensors in prop::collection::btree_map("[a-z0-9_.]{1,12}", any_tensor(), 0..6), compress: bool) {
        let folder = folder();
        let path = folder.path().join("file");
        let tensors: Vec<_> = tensors.into_iter().rev().collect();
        weights::write(&path, &tensors, &BTreeMap::new()).unwrap();
        let safe = weights::read(&path).unwrap();
        let arrays: Vec<_> = tensors.iter().filter(|(_, tensor)| tensor.kind() != Kind::BFloat16).map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect();
        weights::write_npz(&path, &arrays, compress).unwrap();
        let content = std::fs::read(&path).unwrap();
        let npz = if arrays.is_empty() { TensorFile { tensors: BTreeMap::new(), order: vec![], metadata: BTreeMap::new() } } else { weights::read(&path).unwrap() };
        prop_assert_eq!((safe.tensors.len(), npz.tensors.len()), (tensors.len(), arrays.len()));
        prop_assert_eq!(npz.order, arrays.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>());
        for (name, tensor) in &tensors {
            assert_same(&safe.tensors[name], tensor, name);
        }
        for (name, tensor) in &arrays {
            assert_same(&npz.tensors[name], tensor, name);
        }
        weights::write_npz(&path, &arrays, compress).unwrap();
        prop_assert_eq!(std::fs::read(&path).unwrap(), content);
    }
}
