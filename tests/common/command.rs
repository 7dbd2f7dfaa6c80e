//! The command, run as a user runs it: in a folder of its own, with a small network that learns the built-in digits.

#![allow(dead_code)] // Every test binary uses a part.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

use assert_cmd::cargo::cargo_bin;
use serde_json::Value;

/// A network and data small enough for an epoch in some hundredths of a second; the last batch is not a whole one.
const EXPERIMENT: &str = r#"
seed = 3

[data]
dataset = "digits"
train_images = 410
validation_images = 60
test_images = 50

[training]
epochs = 2
batch_size = 100
learning_rate = 0.003
optimizer = { type = "adam" }

[simulation]
sample = 40

[network]
input = [1, 28, 28]
steps = 10
layers = [
    { type = "conv2d", out_channels = 4, kernel = 5, stride = 3 },
    { type = "lif", amplitude = 0.01, smoothing = 0.005, max_rate = 100.0, intercept = 0.0 },
    { type = "dropout", p = 0.2 },
    { type = "flatten" },
    { type = "linear", out_features = 10 },
    { type = "lowpass", tau = 0.01 },
]
"#;

/// What keeps a command that hangs from hanging the tests.
const PATIENCE: Duration = Duration::from_secs(300);

/// A folder to run the command in.
pub struct Place(tempfile::TempDir);

/// What a command said.
pub struct Said {
    pub stdout: String,
    pub stderr: String,
}

impl Said {
    /// The one JSON object on stdout.
    pub fn json(&self) -> Value {
        assert_eq!(self.stdout.lines().count(), 1, "{}", self.stdout);
        let value: Value = serde_json::from_str(&self.stdout).unwrap();
        assert!(value.is_object(), "{value}");
        value
    }
}

impl Place {
    /// With `experiment.toml` in it.
    pub fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        place.write("experiment.toml", EXPERIMENT);
        place
    }

    /// With a finished run in `run` too.
    pub fn trained() -> Self {
        let place = Self::new();
        place.succeed("train --config experiment.toml --out run");
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    pub fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub fn text(&self, name: &str) -> String {
        String::from_utf8(self.bytes(name)).unwrap()
    }

    /// Changes a part of a text file.
    pub fn edit(&self, name: &str, from: &str, to: &str) {
        let text = self.text(name);
        assert!(text.contains(from), "no {from} in {text}");
        self.write(name, text.replace(from, to));
    }

    /// The names of all that is in a folder, in order.
    pub fn names(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(folder)).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// The objects of a run's `metrics.jsonl`.
    pub fn metrics(&self, run: &str) -> Vec<Value> {
        let text = self.text(&format!("{run}/metrics.jsonl"));
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The same without what depends on the clock.
    pub fn timeless_metrics(&self, run: &str) -> Vec<Value> {
        let mut metrics = self.metrics(run);
        for object in metrics.iter_mut().map(|epoch| epoch.as_object_mut().unwrap()) {
            assert!(object.remove("seconds").is_some() && object.remove("images_per_second").is_some());
        }
        metrics
    }

    /// Shape and bytes of every tensor in a safetensors file.
    pub fn tensors(&self, name: &str) -> BTreeMap<String, (Vec<usize>, Vec<u8>)> {
        let content = self.bytes(name);
        let file = safetensors::SafeTensors::deserialize(&content).unwrap();
        file.iter()
            .map(|(name, tensor)| (name.to_string(), (tensor.shape().to_vec(), tensor.data().to_vec())))
            .collect()
    }

    /// The command with the words of `line` as arguments; on the processor, with one thread: the same sums in the same
    /// order on every machine.
    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new(cargo_bin!("tch-spiking"));
        command.args(line.split_whitespace()).args(["--threads", "1"]).current_dir(self.0.path());
        if !line.contains("--device") {
            command.args(["--device", "cpu"]);
        }
        // No data set but those that a test names.
        command.env_remove("TCH_SPIKING_DATA").env("XDG_CACHE_HOME", self.path("cache"));
        command
    }

    pub fn succeed(&self, line: &str) -> Said {
        let assert = assert_cmd::Command::from_std(self.command(line)).timeout(PATIENCE).assert().success();
        said(assert.get_output())
    }

    /// What the command says on stderr when it fails as it should: with this exit code, and no result.
    pub fn refused(&self, code: i32, line: &str) -> String {
        let assert = assert_cmd::Command::from_std(self.command(line)).timeout(PATIENCE).assert().code(code).stdout("");
        let Said { stderr, .. } = said(assert.get_output());
        let errors = stderr.lines().filter(|line| line.starts_with("error: ")).count();
        assert_eq!(errors, 1, "{stderr}");
        assert!(!stderr.contains("panicked") && !stderr.contains("internal error (bug) in tch-spiking"), "{stderr}");
        stderr
    }

    /// What the command says when it fails (exit code 1).
    pub fn fail(&self, line: &str) -> String {
        self.refused(1, line)
    }

    /// Starts the command; it heeds signals, also where the tests were started to ignore them (in the background).
    pub fn start(&self, line: &str) -> Started {
        let mut command = self.command(line);
        if cfg!(target_os = "linux") {
            command = through(command, &["env", "--default-signal=INT,HUP,TERM"]);
        }
        self.start_command(command)
    }

    /// Starts `command`.
    pub fn start_command(&self, mut command: Command) -> Started {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Started { child, stderr }
    }
}

/// The command, run through another.
pub fn through(inner: Command, outer: &[&str]) -> Command {
    let mut command = Command::new(outer[0]);
    command.args(&outer[1..]).arg(inner.get_program()).args(inner.get_args());
    if let Some(folder) = inner.get_current_dir() {
        command.current_dir(folder);
    }
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

fn said(output: &std::process::Output) -> Said {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    Said { stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

/// Fails, naming the part, unless `text` has all of `parts`.
#[track_caller]
pub fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
}

/// The real data sets, or `None` after saying that the test is skipped.
pub fn real_data() -> Option<PathBuf> {
    let folder = std::env::var_os("TCH_SPIKING_DATA").map(PathBuf::from).filter(|path| path.join("mnist").is_dir());
    if folder.is_none() {
        eprintln!("skipped: TCH_SPIKING_DATA does not name a folder with mnist");
    }
    folder.map(|folder| folder.canonicalize().unwrap())
}

/// A command that is running.
pub struct Started {
    child: Child,
    stderr: BufReader<ChildStderr>,
}

impl Started {
    /// Waits for a line on stderr that starts so.
    pub fn wait_for(&mut self, start: &str) {
        let mut line = String::new();
        while !line.starts_with(start) {
            line.clear();
            assert_ne!(self.stderr.read_line(&mut line).unwrap(), 0, "it ended without a line {start:?}");
        }
    }

    /// Sends Ctrl-C.
    pub fn interrupt(&self) {
        self.signal("INT");
    }

    /// Sends this signal.
    pub fn signal(&self, name: &str) {
        let kill = Command::new("sh").args(["-c", &format!("kill -{name} {}", self.child.id())]).status().unwrap();
        assert!(kill.success());
    }

    /// Ends it at once, like `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The number of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end: the exit code, and what else it said on stderr.
    pub fn end(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        self.stderr.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}
