//! NengoDL's `save_params` format: unnamed arrays `arr_0`, `arr_1` ..
//!
//! The first array is a vector of the biases of all neurons, in layer order; then each layer has its kernel and its
//! bias. Channels are last everywhere. Some versions add one-element arrays, which are ignored.

use tch::Tensor;

use super::channels_last::ChannelsLast;
use super::{Misfit, TensorFile, WeightsError};
use crate::error::Result;
use crate::network::{LayerKind, Origin, SpikingSequential};

/// The position of a parameter in a network.
struct Place {
    /// Full name, such as `conv1.weight`.
    name: String,
    layout: ChannelsLast,
    parameter: Tensor,
}

/// Returns whether `file` contains unnamed arrays.
pub(super) fn is_positional(file: &TensorFile) -> bool {
    !file.order.is_empty() && (0..file.order.len()).all(|index| file.tensors.contains_key(&format!("arr_{index}")))
}

/// Returns parameter, array and tensor for every parameter of `network`.
pub(super) fn read(
    network: &SpikingSequential,
    file: &TensorFile,
    notes: &mut Vec<String>,
) -> Result<Vec<(String, String, Tensor)>, WeightsError> {
    let (neurons, layers) = places(network)?;
    let count = |place: &Place| place.parameter.numel() as i64;
    let biases: i64 = neurons.iter().map(count).sum();
    let vector = (biases > 0).then(|| ("biases of all neurons".to_string(), vec![biases]));
    let wanted = layers.iter().map(|place| (place.name.clone(), place.layout.shape.clone()));
    let arrays = in_order(file, &vector.into_iter().chain(wanted).collect::<Vec<_>>(), notes)?;
    let mut arrays = arrays.into_iter();
    let mut found = Vec::new();
    if biases > 0
        && let Some((name, vector)) = arrays.next()
    {
        let mut start = 0;
        for place in &neurons {
            let part = vector.f_narrow(0, start, count(place))?;
            let source = format!("{name}[{start}..{}]", start + count(place));
            found.push((place.name.clone(), source, place.layout.read(&part)?));
            start += count(place);
        }
    }
    for (place, (name, array)) in layers.iter().zip(arrays) {
        found.push((place.name.clone(), name, place.layout.read(array)?));
    }
    notes.push("NengoDL's arrays without names: channels last made channels first".to_string());
    Ok(found)
}

/// Returns the parameters of `network` as NengoDL's `load_params` expects them, in order: `arr_0`, `arr_1` ..
///
/// # Errors
/// If the network has parameters that such a file has no place for, or if its layers are not in a row.
pub fn nengodl_arrays(network: &SpikingSequential) -> Result<Vec<(String, Tensor)>> {
    let (neurons, layers) = places(network)?;
    let flat = |place: &Place| place.layout.write(&place.parameter)?.f_reshape([-1]);
    let mut arrays = Vec::new();
    if !neurons.is_empty() {
        arrays.push(Tensor::f_cat(&neurons.iter().map(flat).collect::<Result<Vec<_>, _>>()?, 0)?);
    }
    for place in &layers {
        arrays.push(place.layout.write(&place.parameter)?);
    }
    let named = |(index, array): (usize, Tensor)| Ok((format!("arr_{index}"), array.f_detach()?.f_contiguous()?));
    arrays.into_iter().enumerate().map(named).collect()
}

/// Returns the biases of neurons, and all other parameters, in layer order.
fn places(network: &SpikingSequential) -> Result<(Vec<Place>, Vec<Place>), WeightsError> {
    let (mut neurons, mut others) = (Vec::new(), Vec::new());
    for (index, layer) in network.layers().iter().enumerate() {
        let before = index.checked_sub(1).map_or(Origin::Input, Origin::Node);
        if !matches!(layer.inputs(), [edge] if edge.from == before && !edge.delayed) {
            return Err(WeightsError::NotARow { layer: layer.name().to_string() });
        }
        for (leaf, parameter) in layer.named_parameters() {
            let places = match layer.kind() {
                LayerKind::Neuron(_) => &mut neurons,
                LayerKind::Conv2d(_) | LayerKind::Linear(_) => &mut others,
                _ => return Err(WeightsError::NotInNengoDl { layer: layer.name().to_string() }),
            };
            places.push(Place {
                name: format!("{}.{leaf}", layer.name()),
                layout: ChannelsLast::of(network, index, leaf, &parameter.size())?,
                parameter: parameter.shallow_clone(),
            });
        }
    }
    Ok((neurons, others))
}

/// Selects the arrays with the wanted shapes, in order; one-element arrays between them are skipped.
fn in_order<'a>(
    file: &'a TensorFile,
    wanted: &[(String, Vec<i64>)],
    notes: &mut Vec<String>,
) -> Result<Vec<(String, &'a Tensor)>, WeightsError> {
    let mut arrays: Vec<(String, &Tensor)> = (0..file.order.len())
        .filter_map(|index| file.tensors.get_key_value(&format!("arr_{index}")))
        .map(|(name, array)| (name.clone(), array))
        .collect();
    let mut place = 0;
    while arrays.len() > wanted.len() && place < arrays.len() {
        let fits = wanted.get(place).is_some_and(|(_, shape)| arrays[place].1.size() == *shape);
        if arrays[place].1.numel() == 1 && !fits {
            notes.push(format!("left aside (one element, not needed): {}", arrays.remove(place).0));
        } else {
            place += 1;
        }
    }
    let mut misfits = Vec::new();
    for (index, (name, expected)) in wanted.iter().enumerate() {
        match arrays.get(index) {
            None => misfits.push(Misfit::Missing { name: name.clone(), expected: expected.clone() }),
            Some((array, tensor)) if tensor.size() != *expected => misfits.push(Misfit::Shape {
                name: format!("{name} = {array}"),
                expected: expected.clone(),
                found: tensor.size(),
            }),
            Some(_) => {}
        }
    }
    let surplus = arrays.iter().skip(wanted.len());
    misfits.extend(surplus.map(|(name, array)| Misfit::Unexpected { name: name.clone(), found: array.size() }));
    if misfits.is_empty() { Ok(arrays) } else { Err(WeightsError::Misfits(misfits)) }
}
