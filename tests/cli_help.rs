//! Help that teaches, and versions.

#![cfg(feature = "cli")]

#[path = "common/command.rs"]
mod command;

use command::{Place, assert_says};

const COMMANDS: [&str; 13] = [
    "",
    "train",
    "evaluate",
    "simulate",
    "inspect",
    "convert",
    "convert-network",
    "export",
    "doctor",
    "data",
    "data fetch",
    "data verify",
    "data preview",
];

/// What `command --help` prints.
fn help(place: &Place, command: &str) -> String {
    let said = place.succeed(&format!("{command} --help"));
    assert_eq!(said.stderr, "");
    said.stdout
}

#[test]
fn every_command_explains_itself_with_examples_that_hold() {
    let place = Place::new();
    let helps = COMMANDS.map(|command| (command, help(&place, command)));
    for (command, text) in &helps {
        assert_says(text, &["Usage: tch-spiking", "Options", "--json", "--device", "--seed", "Examples:"]);
        assert_says(text, &[&format!("\n  tch-spiking {command}")]);
        assert!(text.lines().all(|line| line.chars().count() <= 120), "{text}");
        for example in text.lines().filter_map(|line| line.strip_prefix("  tch-spiking ")) {
            // An explanation follows after some spaces, or another command after a pipe.
            let line = example.split("  ").next().unwrap().split('|').next().unwrap().replace("COMMAND", "train");
            let longest = helps.iter().rev().find(|(command, _)| line.starts_with(command)).unwrap();
            for option in line.split_whitespace().filter(|word| word.starts_with("--")) {
                assert!(longest.1.contains(option), "{option} of {line:?} is no option of {:?}", longest.0);
            }
        }
    }
}

#[test]
fn the_overview_names_every_command_and_exit_code() {
    let place = Place::new();
    let text = help(&place, "");
    assert_says(&text, &["TCH_SPIKING_DATA", "130 interrupted"]);
    for command in
        ["train", "evaluate", "simulate", "inspect", "convert", "convert-network", "export", "data", "doctor"]
    {
        assert!(text.lines().any(|line| line.starts_with(&format!("  {command} "))), "{command}");
    }
    assert_says(&place.succeed("train -h").stdout, &["Usage: tch-spiking train", "Examples:"]);
}

#[test]
fn the_version_is_that_of_the_package() {
    let said = Place::new().succeed("--version");
    assert_eq!(said.stdout, format!("tch-spiking {}\n", env!("CARGO_PKG_VERSION")));
}
