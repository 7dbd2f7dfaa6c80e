//! Prints layers without state as expressions.

use crate::network::{Layer, LayerKind, Pair, Pool};

/// Prints the expression of a stateless layer applied to the variables `inputs`; the input itself for the identity.
/// `name` is the submodule's.
pub(super) fn stateless(layer: &Layer, name: &str, inputs: &[&str]) -> String {
    let input = inputs[0];
    let optional = |tensor: &str, is_there: bool| match is_there {
        true => format!("self.{name}.{tensor}"),
        false => "None".to_string(),
    };
    match layer.kind() {
        LayerKind::Conv2d(conv) => format!(
            "torch.conv2d({input}, self.{name}.weight, {}, {}, {}, {}, {})",
            optional("bias", conv.bias),
            list(conv.stride),
            list(conv.padding),
            list(conv.dilation),
            conv.groups
        ),
        LayerKind::Linear(linear) => {
            format!("torch.linear({input}, self.{name}.weight, {})", optional("bias", linear.bias))
        }
        LayerKind::AvgPool(pool) => format!("torch.avg_pool2d({input}, {}, False, True, None)", windows(pool)),
        LayerKind::MaxPool(pool) => format!("torch.max_pool2d({input}, {}, [1, 1], False)", windows(pool)),
        LayerKind::Flatten => format!("torch.flatten({input}, 1, -1)"),
        LayerKind::Relu => format!("torch.relu({input})"),
        LayerKind::LeakyRelu(relu) => format!("torch.leaky_relu({input}, {})", number(relu.negative_slope)),
        LayerKind::Scale(_) => format!("torch.mul({input}, self.{name}.weight)"),
        LayerKind::BatchNorm(norm) => format!(
            "torch.batch_norm({input}, {}, {}, self.{name}.running_mean, self.{name}.running_var, False, {}, {}, True)",
            optional("weight", norm.affine),
            optional("bias", norm.affine),
            number(norm.momentum),
            number(norm.eps)
        ),
        LayerKind::Standardize(_) => {
            let ones = ", 1".repeat(layer.output_shape().len() - 1);
            let own = |tensor: &str| format!("torch.reshape(self.{name}.{tensor}, [-1{ones}])");
            format!("torch.div(torch.sub({input}, {}), {})", own("mean"), own("std"))
        }
        // In the order of the dense engine, for the same bits.
        LayerKind::Add => inputs[1..].iter().fold(input.to_string(), |sum, other| format!("torch.add({sum}, {other})")),
        LayerKind::Concat => format!("torch.cat([{}], 1)", inputs.join(", ")),
        LayerKind::Dropout(_) | LayerKind::Neuron(_) | LayerKind::Synapse(_) | LayerKind::Custom(_) => {
            input.to_string()
        }
    }
}

/// Prints kernel, stride and padding.
fn windows(pool: &Pool) -> String {
    format!("{}, {}, {}", list(pool.kernel), list(pool.stride.unwrap_or(pool.kernel)), list(pool.padding))
}

fn list(pair: Pair) -> String {
    format!("{:?}", pair.to_array())
}

/// Prints a number that reads back bit for bit.
pub(super) fn number(value: f64) -> String {
    if value.is_nan() { "nan".to_string() } else { format!("{value:?}") }
}
