//! Progress output of training.

use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressStyle};
use tch_spiking::run::RunFolder;
use tch_spiking::train::{EpochMetrics, Observer, Progress, Trainer};

use super::Console;
use super::train::{grouped, percent};

/// Shows the progress of training, and saves after every epoch.
pub struct Watcher<'a> {
    console: &'a Console,
    folder: &'a RunFolder,
    pub bar: ProgressBar,
    said: Instant,
    started: Option<(Instant, u64)>,
}

/// The interval between lines if no progress bar can be shown.
const BETWEEN_LINES: Duration = Duration::from_secs(20);

impl<'a> Watcher<'a> {
    /// An observer that prints to `console` and saves to `folder`.
    pub fn new(console: &'a Console, folder: &'a RunFolder) -> Self {
        let style = ProgressStyle::with_template("{prefix} {bar:24} {pos}/{len}  {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = console.progress(0, style);
        Self { console, folder, bar, said: Instant::now(), started: None }
    }

    /// The estimated time for the remaining steps of all epochs.
    fn time_left(&mut self, progress: &Progress) -> HumanDuration {
        let done = (progress.epoch - 1) * progress.steps + progress.step;
        let &mut (since, first) = self.started.get_or_insert((Instant::now(), done));
        let pace = since.elapsed().as_secs_f64() / (done - first).max(1) as f64;
        let left = pace * progress.epochs.saturating_mul(progress.steps).saturating_sub(done) as f64;
        HumanDuration(Duration::try_from_secs_f64(left).unwrap_or(Duration::MAX))
    }
}

impl Observer for Watcher<'_> {
    fn step(&mut self, progress: &Progress) {
        let left = self.time_left(progress);
        let running = progress.running;
        let accuracy = optional("accuracy", running.accuracy());
        let text = format!(
            "loss {:.4}{accuracy}  {:.0} images/s  {left} left",
            running.mean_loss(),
            running.images_per_second(),
        );
        if self.console.interactive() {
            self.bar.set_length(progress.steps);
            self.bar.set_position(progress.step);
            self.bar.set_prefix(format!("epoch {:>3}/{}", progress.epoch, progress.epochs));
            self.bar.set_message(text);
        } else if self.said.elapsed() > BETWEEN_LINES {
            self.said = Instant::now();
            let (epoch, step, steps) = (progress.epoch, progress.step, progress.steps);
            self.console.note(&format!("epoch {epoch:>3}/{}  step {step}/{steps}  {text}", progress.epochs));
        }
    }

    fn epoch(&mut self, trainer: &Trainer, metrics: &EpochMetrics) -> tch_spiking::Result<()> {
        self.folder.save_epoch(trainer)?;
        self.console.detail(&format!("saved     {}", self.folder.last().display()));
        self.said = Instant::now();
        let stages = trainer.config().stages.len();
        let stage = metrics.stage.map_or_else(String::new, |stage| format!("  stage {stage}/{stages}"));
        self.console.note(&format!(
            "epoch {:>3}/{}{stage}  loss {:.4}{}{}  {:.1} s",
            metrics.epoch,
            trainer.epochs(),
            metrics.loss,
            optional("train", metrics.train_accuracy),
            optional("rates", metrics.validation_accuracy),
            metrics.seconds,
        ));
        self.console.note(&describe_spikes(metrics));
        Ok(())
    }
}

/// `  name 98.74 %`, or nothing.
fn optional(name: &str, accuracy: Option<f64>) -> String {
    accuracy.map_or_else(String::new, |accuracy| format!("  {name} {}", percent(accuracy)))
}

/// What an epoch's line says of spikes, and its speed.
fn describe_spikes(metrics: &EpochMetrics) -> String {
    let result = match (metrics.spiking_accuracy, metrics.spiking_loss) {
        (Some(accuracy), _) => format!("{}  ", percent(accuracy)),
        (None, Some(loss)) => format!("loss {loss:.4}  "),
        (None, None) => String::new(),
    };
    let steps = metrics.spiking_steps.map_or_else(String::new, |steps| format!("after {steps} steps  "));
    let spikes = metrics.spikes_per_image.map(|spikes| format!("{} per image  ", grouped(spikes.round() as i64)));
    format!("  spikes  {result}{steps}{}{:.0} images/s", spikes.unwrap_or_default(), metrics.images_per_second)
}
