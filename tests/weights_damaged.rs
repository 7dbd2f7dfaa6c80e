//! Weights files that are damaged, hostile or something else: what is wrong is said, and nothing panics.

#[path = "common/weights.rs"]
mod common;

use std::collections::BTreeMap;
use std::path::Path;

use common::{CPU, cause, folder, saved, small_spec};
use proptest::prelude::*;
use tch::{Kind, Tensor};
use tch_spiking::Error;
use tch_spiking::weights::{self, Format, WeightsError};

fn read_bytes(content: &[u8]) -> tch_spiking::Result<weights::TensorFile> {
    let folder = folder();
    let path = folder.path().join("file");
    std::fs::write(&path, content).unwrap();
    weights::read(&path)
}

#[test]
fn metadata_that_lies_is_found_out_before_anything_is_built() {
    let folder = folder();
    let path = saved(&small_spec(), folder.path());
    let original = weights::read(&path).unwrap();
    let tensors: Vec<_> = original.tensors.into_iter().collect();
    let altered = |key: &str, value: Option<&str>| {
        let mut metadata = original.metadata.clone();
        match value {
            Some(value) => metadata.insert(key.to_string(), value.to_string()),
            None => metadata.remove(key),
        };
        weights::write(&path, &tensors, &metadata).unwrap();
        cause(weights::load_network(&path, CPU).unwrap_err())
    };
    assert!(matches!(altered("format_version", Some("2")), WeightsError::Version { known: 1, .. }));
    assert!(
        matches!(altered("format_version", Some("new")), WeightsError::Metadata { key, .. } if key == "format_version")
    );
    assert!(matches!(altered("seed", None), WeightsError::Metadata { key, .. } if key == "seed"));
    assert!(matches!(altered("spec", Some("input = 3")), WeightsError::Metadata { key, .. } if key == "spec"));
    assert!(matches!(altered("spec", None), WeightsError::NoSpecification { .. }));
    // Networks of more memory than any machine has, or than any number counts.
    let conv = r#"type = "conv2d", kernel = 3, out_channels"#;
    for layers in [
        format!("[2, 6, 6]\nlayers = [{{ {conv} = 1000000000 }}]"),
        format!("[2, 6, 6]\nlayers = [{{ {conv} = {} }}]", i64::MAX),
        format!("[{0}, {0}, {0}]\nlayers = [{{ type = \"flatten\" }}]", i64::MAX),
        "[1000000, 1000000]\nlayers = [{ type = \"lif\" }]".to_string(),
        "[-1]\nlayers = [{ type = \"lif\" }]".to_string(),
        "[2]\nlayers = []".to_string(),
        "[]\nlayers = [{ type = \"lif\" }]".to_string(),
        "[4]\nlayers = [{ type = \"linear\", out_features = 4000000000 }]".to_string(),
    ] {
        let error = altered("spec", Some(&format!("input = {layers}")));
        assert!(matches!(error, WeightsError::Metadata { .. } | WeightsError::Misfits(_)), "{layers}: {error}");
    }
}

#[test]
fn truncated_files_are_refused_at_every_length() {
    let folder = folder();
    let path = folder.path().join("small.safetensors");
    let tensors = [("a".to_string(), Tensor::from_slice(&[1.0_f32, 2.0])), ("b".to_string(), Tensor::from(1_i64))];
    weights::write(&path, &tensors, &BTreeMap::from([("key".to_string(), "value".to_string())])).unwrap();
    let content = std::fs::read(&path).unwrap();
    assert!(matches!(cause(read_bytes(&[]).unwrap_err()), WeightsError::Empty));
    for length in 1..content.len() {
        let error = cause(read_bytes(&content[..length]).unwrap_err());
        let found = length as u64;
        let told =
            matches!(error, WeightsError::Truncated { expected, found: size } if size == found && expected > found);
        // The first bytes alone may be anything.
        assert!(told || length < 9, "{length} bytes: {error}");
    }
    let longer = [&*content, b"more"].concat();
    assert!(matches!(cause(read_bytes(&longer).unwrap_err()), WeightsError::Overlong { .. }));
}

#[test]
fn headers_that_lie_are_refused() {
    let file = |header: &str, data: &[u8]| [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat();
    let refused = |content: Vec<u8>| cause(read_bytes(&content).unwrap_err());
    for size in [1 << 21, 1 << 40, u64::MAX] {
        let content = [&size.to_le_bytes()[..], b"{\"a\":\0"].concat();
        assert!(matches!(refused(content), WeightsError::HeaderTooLarge { size: found } if found == size));
    }
    let tensor = |dtype: &str, shape: &str, end: u64| {
        format!(r#"{{"a":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[0,{end}]}}}}"#)
    };
    for (header, data) in [
        (tensor("F32", "[2]", 4), 4),                                 // shape against size
        (tensor("F32", "[4611686018427387904, 4]", 0), 0),            // overflows to 0
        (tensor("F32", "[0, 18446744073709551615]", 0), 0),           // beyond i64
        (tensor("F32", "[-1]", 4), 4),
        (tensor("F99", "[1]", 4), 4),
        (r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#.to_string(), 8), // a gap
        (r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#.to_string(), 4),
        (format!("{{{}", "[".repeat(100_000)), 0),                    // deep nesting
        ("{".to_string(), 0),
        (r#"{"__metadata__":{"key":1}}"#.to_string(), 0),
    ] {
        let error = refused(file(&header, &vec![0; data]));
        assert!(matches!(error, WeightsError::Header(_)), "{}: {error}", &header[..header.len().min(90)]);
    }
    let huge = refused(file(&tensor("F32", "[1099511627776]", 4 << 40), &[0; 16]));
    assert!(matches!(huge, WeightsError::Truncated { .. }), "{huge}");
    let unknown = refused(file(&tensor("U16", "[2]", 4), &[0; 4]));
    assert!(matches!(unknown, WeightsError::Dtype { .. }), "{unknown}");
    // Whatever byte stands for true.
    let flags = read_bytes(&file(&tensor("BOOL", "[3]", 3), &[0, 1, 255])).unwrap();
    assert_eq!(flags.tensors["a"], Tensor::from_slice(&[false, true, true]));
    assert!(read_bytes(&file("{}", &[])).unwrap().tensors.is_empty());
}

/// An archive of one empty file.
fn zip(name: &str) -> Vec<u8> {
    let mut archive = rawzip::ZipArchiveWriter::new(Vec::new());
    let (entry, config) = archive.new_file(name).start().unwrap();
    let (entry, sizes) = config.wrap(entry).finish().unwrap();
    entry.finish(sizes).unwrap();
    archive.finish().unwrap()
}

#[test]
fn archives_are_told_apart_by_all_their_names_or_the_first() {
    let folder = folder();
    let path = folder.path().join("file");
    for (name, expected) in [
        ("archive/data.pkl", Format::PyTorch),
        ("model/code/__torch__.py", Format::TorchScript),
        ("arr_0.npy", Format::Npz),
        ("readme.md", Format::Zip),
    ] {
        let content = zip(name);
        assert_eq!(Format::of(&content), expected, "{name}");
        std::fs::write(&path, &content).unwrap();
        // Code alone is no TorchScript.
        let by_all = if expected == Format::TorchScript { Format::Zip } else { expected };
        assert_eq!(weights::format_of(&path).unwrap(), by_all, "{name}");
    }
    let error = cause(read_bytes(b"PK\x03\x04").unwrap_err());
    assert!(matches!(error, WeightsError::Damaged(_)), "{error}");
}

#[test]
fn other_files_are_called_what_they_are() {
    let cases: Vec<(Vec<u8>, Format)> = vec![
        (zip("readme.md"), Format::Zip),
        // A pickle of a number.
        (b"\x80\x02K\x05............".to_vec(), Format::Pickle),
        (b"\x93NUMPY\x01\x00v\x00{'descr': '<f4'".to_vec(), Format::Npy),
        (b"\x89HDF\r\n\x1a\n\x00\x00".to_vec(), Format::Hdf5),
        (b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03".to_vec(), Format::Gzip),
        (b"\n<!DOCTYPE html><html>404".to_vec(), Format::Html),
        (b"version https://git-lfs.github.com/spec/v1\noid".to_vec(), Format::GitLfsPointer),
        ("seed = 3 # f\u{fc}r".as_bytes().to_vec(), Format::Text),
        (b"{\"abc\": {}}".to_vec(), Format::Text),
        (vec![0xab; 600], Format::Unknown),
    ];
    for (content, expected) in cases {
        let error = cause(read_bytes(&content).unwrap_err());
        assert!(matches!(error, WeightsError::NotWeights { found } if found == expected), "{expected:?}: {error}");
    }
}

#[test]
fn paths_that_cannot_be_used_are_named() {
    let folder = folder();
    assert!(matches!(cause(weights::read(folder.path()).unwrap_err()), WeightsError::Folder));
    let missing = folder.path().join("none.safetensors");
    let error = weights::read(&missing).unwrap_err();
    assert!(matches!(error, Error::Io { .. }) && error.to_string().contains("none.safetensors"), "{error}");
    let tensors = [("a".to_string(), Tensor::from(1.0))];
    for path in [folder.path().join("no/folder/a"), folder.path().to_path_buf()] {
        assert!(
            matches!(weights::write(&path, &tensors, &BTreeMap::new()), Err(Error::Io { .. })),
            "{}",
            path.display()
        );
    }
    assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none(), "something was left behind");
}

#[cfg(unix)]
#[test]
fn devices_and_forbidden_files_are_refused() {
    use std::os::unix::fs::PermissionsExt;
    assert!(matches!(cause(weights::read(Path::new("/dev/zero")).unwrap_err()), WeightsError::NotAFile));
    let folder = folder();
    let path = saved(&small_spec(), folder.path());
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
    // Root may read anything.
    if std::fs::File::open(&path).is_err() {
        assert!(matches!(weights::read(&path), Err(Error::Io { action: "read", .. })));
    }
}

#[test]
fn failed_writing_leaves_the_old_file() {
    let folder = folder();
    let path = saved(&small_spec(), folder.path());
    let before = std::fs::read(&path).unwrap();
    let one = || Tensor::from(1.0_f32);
    let twice = vec![("a".to_string(), one()), ("a".to_string(), one())];
    let reserved = vec![("__metadata__".to_string(), one())];
    let complex = vec![("c".to_string(), Tensor::zeros([2], (Kind::ComplexFloat, CPU)))];
    let sparse = vec![("s".to_string(), Tensor::eye(3, (Kind::Float, CPU)).to_sparse(None, None::<i64>, None))];
    for tensors in [twice, reserved, complex, sparse] {
        let error = weights::write(&path, &tensors, &BTreeMap::new()).unwrap_err();
        assert!(matches!(cause(error), WeightsError::Unwritable { .. }));
    }
    let metadata = BTreeMap::from([("log".to_string(), "x".repeat(2 << 20))]);
    let error = weights::write(&path, &[], &metadata).unwrap_err();
    assert!(matches!(cause(error), WeightsError::HeaderTooLarge { .. }));
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn damaged_files_never_panic(flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), cut in any::<Option<prop::sample::Index>>()) {
        thread_local! {
            static ORIGINAL: Vec<u8> = {
                let folder = folder();
                std::fs::read(saved(&small_spec(), folder.path())).unwrap()
            };
        }
        let mut content = ORIGINAL.with(Clone::clone);
        // Half of the damage where it does most harm, in the header's first part.
        for (place, value) in flips {
            let range = if value % 2 == 0 { content.len() } else { 200 };
            content[place.index(range)] = value;
        }
        if let Some(cut) = cut {
            content.truncate(cut.index(content.len()));
        }
        let folder = folder();
        let path = folder.path().join("damaged");
        std::fs::write(&path, content).unwrap();
        if let Err(error) = weights::load_network(&path, CPU) {
            prop_assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn arbitrary_files_never_panic(content in prop::collection::vec(any::<u8>(), 0..600), header in any::<bool>()) {
        let length = (content.len() as u64).saturating_sub(16).to_le_bytes();
        let content = if header { [&length[..], b"{", &content].concat() } else { content };
        if let Err(error) = read_bytes(&content) {
            prop_assert!(!error.to_string().is_empty());
        }
    }
}
