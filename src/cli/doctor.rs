//! `doctor`: the capabilities of this machine, and why others are not available.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use tch_spiking::data::{locate::Places, manifest};
use tch_spiking::{device, kernels, pretrained};

use super::Console;
use super::load::Load;

/// Version of the tch crate, fixed in Cargo.toml.
const TCH_VERSION: &str = "0.24.0";

/// Show the capabilities of this machine: libtorch, CUDA (or why not), threads, data
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tch-spiking doctor
  tch-spiking doctor --device cuda     fail unless a CUDA device is available
  tch-spiking doctor --json | jq .cuda")]
pub struct DoctorArgs {
    /// Search this folder first for data sets
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report {
    tch_spiking: &'static str,
    tch: &'static str,
    libtorch: Libtorch,
    processor: Processor,
    cuda: Cuda,
    device: Option<String>,
    data: Data,
    pretrained: Vec<String>,
}

#[derive(Serialize)]
struct Libtorch {
    version: Option<String>,
    folder: Option<String>,
}

#[derive(Serialize)]
struct Processor {
    model: String,
    features: BTreeMap<&'static str, bool>,
    cores: usize,
    threads: usize,
    /// The number of threads of other processes that were running at the start, where the system tells it.
    others: Option<usize>,
    /// How libgomp's threads wait for each other, if the environment says it.
    spin_count: Option<String>,
}

#[derive(Serialize)]
struct Cuda {
    devices: usize,
    why_not: Option<String>,
    /// "compiled", or the reason for computing neurons with tensor operations.
    kernels: Option<String>,
}

#[derive(Serialize)]
struct Data {
    looked: Vec<String>,
    found: Vec<Found>,
    problems: Vec<String>,
}

#[derive(Serialize)]
struct Found {
    folder: String,
    /// More than one if the files are not in a folder of the data set's name: MNIST and Fashion-MNIST use the same file
    /// names.
    datasets: Vec<&'static str>,
}

pub fn run(args: &DoctorArgs, console: &Console) -> anyhow::Result<()> {
    let cuda = device::cuda_devices();
    let chosen = device::resolve(console.device);
    let kernels = cuda.as_ref().ok().map(|_| match kernels::cuda::status(0) {
        Ok(()) => "compiled".to_owned(),
        Err(cause) => format!("not available, using tensor operations: {cause}"),
    });
    let report = Report {
        tch_spiking: env!("CARGO_PKG_VERSION"),
        tch: TCH_VERSION,
        libtorch: Libtorch {
            version: device::libtorch_version(),
            folder: device::libtorch_folder().map(|folder| shown(&folder)),
        },
        processor: processor(),
        device: chosen.as_ref().ok().map(|device| match device {
            tch::Device::Cuda(index) => format!("cuda:{index}"),
            _ => "cpu".to_owned(),
        }),
        cuda: Cuda {
            devices: *cuda.as_ref().unwrap_or(&0),
            why_not: cuda.err().map(|cause| cause.to_string()),
            kernels,
        },
        data: find_data(&Places::new(args.data.as_deref())),
        pretrained: pretrained::names(),
    };
    console.print(&describe(&report));
    console.emit(&report)?;
    chosen?;
    Ok(())
}

fn describe(report: &Report) -> String {
    let unknown = || "unknown".to_owned();
    let libtorch = report.libtorch.version.clone().unwrap_or_else(unknown);
    let folder = report.libtorch.folder.clone().unwrap_or_else(unknown);
    let Processor { model, features, cores, threads, others, .. } = &report.processor;
    let features: Vec<_> =
        features.iter().map(|(name, has)| format!("{name} {}", if *has { "yes" } else { "no" })).collect();
    let cuda = match &report.cuda.why_not {
        None => {
            format!("{} device(s), kernels {}", report.cuda.devices, report.cuda.kernels.as_deref().unwrap_or("none"))
        }
        Some(cause) => format!("none: {cause}"),
    };
    let mut lines = vec![
        format!("tch-spiking  {}", report.tch_spiking),
        format!("tch          {}", report.tch),
        format!("libtorch     {libtorch} in {folder}"),
        format!("CPU          {model}"),
        format!("             {}", features.join(", ")),
        format!("threads      {threads} of {cores} cores"),
        format!("CUDA         {cuda}"),
        format!("device       {}", report.device.as_deref().unwrap_or("none")),
    ];
    if let Some(others) = others {
        let warning = Load::at_start().and_then(|load| load.warning(*threads));
        let text = warning.unwrap_or_else(|| format!("{others} threads of other processes are running"));
        let place = lines.iter().position(|line| line.starts_with("CUDA")).unwrap_or(lines.len());
        lines.insert(place, format!("load         {text}"));
    }
    let found =
        report.data.found.iter().map(|Found { folder, datasets }| format!("{} in {folder}", datasets.join(" or ")));
    let looked = format!("searched {}", report.data.looked.join(", "));
    for (index, line) in found.chain(report.data.problems.iter().cloned()).chain([looked]).enumerate() {
        lines.push(format!("{:<12} {line}", if index == 0 { "data" } else { "" }));
    }
    let pretrained = if report.pretrained.is_empty() { "none here".to_owned() } else { report.pretrained.join(", ") };
    lines.push(format!("pretrained   {pretrained}"));
    lines.join("\n")
}

fn processor() -> Processor {
    Processor {
        model: processor_model().unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
        features: processor_features(),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        threads: usize::try_from(tch::get_num_threads()).unwrap_or(1),
        others: Load::at_start().map(|load| load.others),
        spin_count: std::env::var("GOMP_SPINCOUNT").ok(),
    }
}

fn processor_model() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The instruction sets that determine the speed of libtorch and of our kernels.
fn processor_features() -> BTreeMap<&'static str, bool> {
    #[cfg(target_arch = "x86_64")]
    return BTreeMap::from([
        ("avx2", is_x86_feature_detected!("avx2")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("avx512_bf16", is_x86_feature_detected!("avx512bf16")),
    ]);
    #[cfg(not(target_arch = "x86_64"))]
    return BTreeMap::new();
}

/// The path as text; what is not UTF-8 in it is replaced.
fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn find_data(places: &Places) -> Data {
    let looked =
        places.named.iter().map(|(_, folder)| folder).chain(&places.usual).map(|folder| shown(folder)).collect();
    let mut data = Data { looked, found: Vec::new(), problems: Vec::new() };
    for manifest in manifest::ALL {
        match places.find(&manifest, false, &mut |_| {}) {
            Ok(None) => {}
            Ok(Some(folder)) => match data.found.iter_mut().find(|found| found.folder == shown(&folder)) {
                Some(found) => found.datasets.push(manifest.name),
                None => data.found.push(Found { folder: shown(&folder), datasets: vec![manifest.name] }),
            },
            Err(incomplete) => data.problems.push(incomplete.to_string()),
        }
    }
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tch_version_is_the_one_of_the_manifest() {
        let manifest = include_str!("../../Cargo.toml");
        assert!(manifest.contains(&format!("tch = \"={TCH_VERSION}\"")));
    }

    #[test]
    fn data_sets_are_found_where_they_are() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("fashion");
        std::fs::create_dir(&folder).unwrap();
        for file in manifest::FASHION.files {
            std::fs::write(folder.join(file.name), "").unwrap();
        }
        let named = |folder: &Path| Places { named: vec![("--data", folder.into())], usual: Vec::new(), cache: None };

        let data = find_data(&named(root.path()));
        assert_eq!((&data.found[0].folder, &data.found[0].datasets), (&shown(&folder), &vec!["fashion"]));
        assert!(data.found.len() == 1 && data.problems.is_empty());
        assert_eq!(find_data(&named(&folder)).found[0].datasets, ["mnist", "fashion"]);

        std::fs::remove_file(folder.join(manifest::FASHION.files[0].name)).unwrap();
        assert_eq!(find_data(&named(root.path())).problems.len(), 1);
    }
}
