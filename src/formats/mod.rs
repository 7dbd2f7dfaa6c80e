//! Files of networks: weights, and TorchScript.

pub mod torchscript;
pub mod weights;
