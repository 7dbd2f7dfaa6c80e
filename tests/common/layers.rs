//! A layer of a program's own, as tests register it.

use serde::{Deserialize, Serialize};
use tch::{TchError, Tensor};
use tch_spiking::network::{Custom, CustomLayer, ParameterSpec, TensorLayer, custom};

/// `x * scale * factor`, with one trained factor a channel (or feature).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scale {
    pub scale: f64,
}

impl Scale {
    #[allow(dead_code)] // Not every test binary builds it in code.
    pub fn custom(scale: f64) -> Custom {
        custom(Self { scale })
    }

    pub fn parse(table: toml::Table) -> Result<Custom, String> {
        let scale: Self = table.try_into().map_err(|error: toml::de::Error| error.message().to_string())?;
        Ok(custom(scale))
    }
}

impl CustomLayer for Scale {
    fn type_name(&self) -> &str {
        "halve"
    }
    fn output_shape(&self, inputs: &[&[i64]]) -> Result<Vec<i64>, String> {
        match self.scale.is_finite() {
            true => Ok(inputs[0].to_vec()),
            false => Err(format!("scale = {}: expected a number", self.scale)),
        }
    }
    fn parameters(&self, inputs: &[&[i64]]) -> Vec<ParameterSpec> {
        vec![ParameterSpec::constant("factor", &inputs[0][..1], 1.0)]
    }
    fn to_table(&self) -> Option<toml::Table> {
        toml::Table::try_from(self).ok()
    }
}

impl TensorLayer for Scale {
    fn forward(&self, inputs: &[&Tensor], parameters: &[&Tensor], _training: bool) -> Result<Tensor, TchError> {
        let mut shape = vec![-1];
        shape.extend(vec![1; inputs[0].dim() - 2]);
        inputs[0].f_mul(&parameters[0].f_view(shape.as_slice())?)?.f_mul_scalar(self.scale)
    }
}
