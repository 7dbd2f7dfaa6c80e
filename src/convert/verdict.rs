//! One sentence: what limits the accuracy of a converted network, and what to do.

use super::{ConversionReport, LayerReport};

/// Losses of accuracy below this are ignored.
const NEGLIGIBLE: f64 = 0.005;
/// Below this number of spikes per neuron, the input of the next layer is dominated by noise.
const FEW_SPIKES: f64 = 1.0;
/// Above this fraction of saturated neurons, high rates are no longer distinguished.
const MANY_SATURATED: f64 = 0.05;

/// The verdict; `filtered`: whether the network has a filter.
pub(super) fn verdict(report: &ConversionReport, filtered: bool) -> String {
    let &ConversionReport { steps, dt, source_accuracy, rate_accuracy, .. } = report;
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let spikes = report.accuracy_at(steps);
    let (milliseconds, last) = (dt * 1e3, report.accuracy_by_step.len() as i64);
    if source_accuracy - rate_accuracy > NEGLIGIBLE && source_accuracy - rate_accuracy >= rate_accuracy - spikes {
        return format!(
            "The conversion itself loses most accuracy: as rates the network has {}, its source {}; outputs differ by up to {:.2}. \
             Replacing relu by spiking-relu is exact; lif neurons (more so with a scale), replaced max pools and dropped \
             negative slopes are not.",
            percent(rate_accuracy),
            percent(source_accuracy),
            report.largest_difference
        );
    }
    if rate_accuracy - spikes <= NEGLIGIBLE {
        return format!(
            "Nothing limits it: {steps} steps of {milliseconds} ms give {}, rates {}.",
            percent(spikes),
            percent(rate_accuracy)
        );
    }
    let start = format!("Spikes have {} after {steps} steps, rates {}: ", percent(spikes), percent(rate_accuracy));
    let saturated = |layer: &&LayerReport| layer.most.is_some() && layer.activity.saturated_fraction > MANY_SATURATED;
    if let Some(layer) = report.layers.iter().find(saturated) {
        return format!(
            "{start}{} of the neurons of {} are saturated and cannot represent higher values; lower \
             --scale-firing-rates, or use spiking-relu, which has no maximum rate.",
            percent(layer.activity.saturated_fraction),
            layer.activity.name
        );
    }
    let synapse = if filtered { "" } else { " and add --synapse 0.01" };
    let slowest = report.layers.iter().min_by(|a, b| a.spikes_seen.total_cmp(&b.spikes_seen));
    match slowest {
        Some(layer) if layer.spikes_seen < FEW_SPIKES => {
            let factor = (FEW_SPIKES / layer.spikes_seen.max(1e-3)).ceil();
            format!(
                "{start}{} fires at {:.1} Hz on average, so {steps} steps of {milliseconds} ms see {:.2} spikes of each \
                 neuron; raise --scale-firing-rates or --target-rate ({factor:.0} times as high is one spike each){synapse}.",
                layer.activity.name, layer.activity.mean_rate, layer.spikes_seen
            )
        }
        _ if report.accuracy_at(last) - spikes > NEGLIGIBLE => format!(
            "{start}there are enough spikes, but not enough time for the output to settle; {last} steps give {}. Use more \
             steps{}.",
            percent(report.accuracy_at(last)),
            if filtered { " or a faster --synapse" } else { " or a --synapse 0.005" }
        ),
        _ => format!("{start}the remaining loss is spike noise; raise --scale-firing-rates{synapse}."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::LayerActivity;

    /// Of a network with one layer; accuracies of the source, as rates, and as spikes after 30 and 60 steps.
    fn report(
        [source_accuracy, rate_accuracy, at_30, at_60]: [f64; 4],
        mean_rate: f64,
        saturated: f64,
    ) -> ConversionReport {
        let activity = LayerActivity {
            name: "relu1".to_string(),
            neurons: 100,
            mean_rate,
            max_rate: 10.0 * mean_rate,
            silent_fraction: 0.5,
            dead_fraction: 0.0,
            saturated_fraction: saturated,
            spikes_per_image: 3.0 * mean_rate,
        };
        let spikes_seen = mean_rate * 0.03;
        let layer = LayerReport { activity, spikes_seen, correlation: None, most: (saturated > 0.0).then_some(500.0) };
        let accuracy_by_step = [[at_30; 30], [at_60; 30]].concat();
        let (images, largest_difference, largest_output, steps, dt) = (100, 0.0, 1.0, 30, 0.001);
        let (layers, verdict) = (vec![layer], String::new());
        ConversionReport {
            images,
            largest_difference,
            largest_output,
            source_accuracy,
            rate_accuracy,
            accuracy_by_step,
            steps,
            dt,
            layers,
            verdict,
        }
    }

    #[test]
    fn the_cause_is_told_with_numbers_and_a_remedy() {
        for (accuracies, rate, saturated, filtered, words) in [
            (
                [0.98, 0.98, 0.2, 0.3],
                1.5,
                0.0,
                false,
                &["at 1.5 Hz", "see 0.04 spikes", "(23 times", "add --synapse 0.01"][..],
            ),
            (
                [0.98, 0.98, 0.8, 0.9],
                15.0,
                0.0,
                true,
                &["80.0 % after 30", "0.45 spikes", "(3 times as high is one spike each)."],
            ),
            ([0.98, 0.98, 0.9, 0.97], 90.0, 0.0, true, &["not enough time", "60 steps give 97.0 %"]),
            ([0.98, 0.98, 0.9, 0.9], 90.0, 0.0, true, &["spike noise"]),
            ([0.98, 0.98, 0.8, 0.8], 90.0, 0.2, true, &["20.0 % of the neurons of relu1", "lower"]),
            ([0.98, 0.7, 0.69, 0.7], 90.0, 0.0, true, &["The conversion itself", "70.0 %, its source 98.0 %"]),
            ([0.98, 0.978, 0.977, 0.977], 1.0, 0.0, true, &["Nothing limits it", "97.7 %"]),
        ] {
            let verdict = verdict(&report(accuracies, rate, saturated), filtered);
            for words in words {
                assert!(verdict.contains(words), "{words:?}: {verdict}");
            }
        }
    }
}
