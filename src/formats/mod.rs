//! Network file formats: weights and TorchScript.

pub mod torchscript;
pub mod weights;
