//! Device names and what they resolve to on this machine.

use std::fmt;
use std::str::FromStr;

use super::{DeviceError, cuda_devices};

/// A device as the user names it: `auto`, `cpu`, `cuda` (the first GPU) or `cuda:N`.
///
/// ```
/// use tch_spiking::device::DeviceChoice;
///
/// assert_eq!("cuda:1".parse::<DeviceChoice>()?, DeviceChoice::Cuda(1));
/// assert_eq!(DeviceChoice::Cuda(0).to_string(), "cuda");
/// # Ok::<(), tch_spiking::device::DeviceError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DeviceChoice {
    /// The first CUDA device if it is available, otherwise the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The CUDA device with this index, counted from 0.
    Cuda(usize),
}

impl FromStr for DeviceChoice {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        let unknown = || DeviceError::UnknownName(text.to_owned());
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            _ => {
                let index = text.strip_prefix("cuda:").ok_or_else(unknown)?;
                if !index.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(unknown());
                }
                index.parse().map(Self::Cuda).map_err(|_| unknown())
            }
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(0) => f.write_str("cuda"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

impl TryFrom<String> for DeviceChoice {
    type Error = DeviceError;

    fn try_from(text: String) -> Result<Self, DeviceError> {
        text.parse()
    }
}

impl From<DeviceChoice> for String {
    fn from(choice: DeviceChoice) -> Self {
        choice.to_string()
    }
}

/// Resolves `choice` to a device of this machine.
///
/// Call it before anything else of libtorch is used: libtorch decides at its first operation, once per process, whether
/// CUDA is available.
///
/// # Errors
/// Returns a [`DeviceError`] with the cause if a CUDA device was named and is not available; `auto` and `cpu` never
/// fail.
///
/// ```
/// use tch_spiking::device::{self, DeviceChoice};
///
/// assert_eq!(device::resolve(DeviceChoice::Cpu)?, tch::Device::Cpu);
/// # Ok::<(), tch_spiking::device::DeviceError>(())
/// ```
pub fn resolve(choice: DeviceChoice) -> Result<tch::Device, DeviceError> {
    match choice {
        DeviceChoice::Cpu => Ok(tch::Device::Cpu),
        DeviceChoice::Auto => Ok(cuda_devices().map_or(tch::Device::Cpu, |_| tch::Device::Cuda(0))),
        DeviceChoice::Cuda(index) => match cuda_devices()? {
            count if index < count => Ok(tch::Device::Cuda(index)),
            count => Err(DeviceError::OutOfRange { index, count }),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for name in ["auto", "cpu", "cuda", "cuda:1", "cuda:17"] {
            let choice: DeviceChoice = name.parse().unwrap();
            assert_eq!(choice.to_string(), name);
            let json = serde_json::to_string(&choice).unwrap();
            assert_eq!(json, format!("{name:?}"));
            assert_eq!(serde_json::from_str::<DeviceChoice>(&json).unwrap(), choice);
        }
        assert_eq!("cuda:0".parse(), Ok(DeviceChoice::Cuda(0)));
    }

    #[test]
    fn other_names_are_refused() {
        for name in ["", "gpu", "CPU", "cuda:", "cuda:x", "cuda:-1", "cuda:+1", "cuda: 1", "cuda:99999999999999999999"]
        {
            assert_eq!(name.parse::<DeviceChoice>(), Err(DeviceError::UnknownName(name.to_owned())));
        }
        let error = serde_json::from_str::<DeviceChoice>("\"gpu\"").unwrap_err();
        assert!(error.to_string().contains("expected auto, cpu, cuda or cuda:N"), "{error}");
    }

    #[test]
    fn processor_can_always_be_had() {
        assert_eq!(resolve(DeviceChoice::Cpu), Ok(tch::Device::Cpu));
        assert!(resolve(DeviceChoice::Auto).is_ok());
    }

    #[test]
    fn cuda_is_had_or_its_absence_explained() {
        match cuda_devices() {
            Ok(count) => {
                assert_eq!(resolve(DeviceChoice::Auto), Ok(tch::Device::Cuda(0)));
                let beyond = Err(DeviceError::OutOfRange { index: count, count });
                assert_eq!(resolve(DeviceChoice::Cuda(count)), beyond);
            }
            Err(cause) => {
                assert_eq!(resolve(DeviceChoice::Auto), Ok(tch::Device::Cpu));
                assert!(cause.to_string().contains("--device cpu"), "{cause}");
                assert_eq!(resolve(DeviceChoice::Cuda(0)), Err(cause));
            }
        }
    }
}
