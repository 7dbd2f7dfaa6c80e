//! Downloading the files of a [`Manifest`].
//!
//! A file is downloaded into memory, verified, and only then written to its destination: an interrupted download leaves
//! nothing behind, and the next download starts with the first missing file.

use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

use super::error::DataError;
use super::idx;
use super::manifest::{FileSpec, Manifest};
use crate::atomic_file::write_atomically;

/// Options of a download.
#[derive(Clone, Debug)]
pub struct FetchOptions {
    /// Servers to use in place of the manifest's mirrors, in order of preference.
    pub mirrors: Option<Vec<String>>,
    /// The timeout for name resolution and connection.
    pub connect: Duration,
    /// The timeout for a server that sends no data.
    pub stall: Duration,
    /// The timeout for a whole file, for a server that sends it drop by drop.
    pub total: Duration,
}

/// The largest file, 27 MB, in this time: 45 kB/s.
const TOTAL: Duration = Duration::from_secs(600);

impl Default for FetchOptions {
    fn default() -> Self {
        Self { mirrors: None, connect: Duration::from_secs(10), stall: Duration::from_secs(20), total: TOTAL }
    }
}

impl FetchOptions {
    /// Short timeouts, for callers that have a fallback: 3 s for an unreachable server.
    pub fn impatient() -> Self {
        Self { connect: Duration::from_secs(3), stall: Duration::from_secs(10), ..Self::default() }
    }
}

/// The progress of a download.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// The current file.
    pub file: &'a str,
    /// Bytes of it received so far.
    pub received: u64,
    /// Its size as sent, if the server reports it.
    pub total: Option<u64>,
}

/// Downloads the files of `manifest` into `folder` and verifies each.
///
/// A correct existing file is kept, an incorrect one is replaced. The mirrors are tried in turn.
///
/// # Errors
/// [`DataError::Fetch`] with the error of each mirror, or [`DataError::Io`] and [`DataError::Write`] on the folder.
pub fn fetch(
    manifest: &Manifest<'_>,
    folder: &Path,
    options: &FetchOptions,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<(), DataError> {
    std::fs::create_dir_all(folder).map_err(|source| DataError::io("create the folder", folder, source))?;
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_resolve(Some(options.connect))
        .timeout_connect(Some(options.connect))
        .timeout_per_read(Some(options.stall))
        .timeout_per_write(Some(options.stall))
        // The files are already compressed; compression by the server would only hide their size.
        .accept_encoding("identity")
        .user_agent(concat!("tch-spiking/", env!("CARGO_PKG_VERSION")))
        .build()
        .into();
    let mut mirrors = match &options.mirrors {
        Some(mirrors) => mirrors.clone(),
        None => manifest.mirrors.iter().map(|&mirror| mirror.to_owned()).collect(),
    };
    for spec in manifest.files {
        let present = idx::find(folder, spec);
        if present.is_some_and(|path| idx::read(&path, spec, manifest).is_ok()) {
            continue;
        }
        let (body, refused) = download_from_any(&agent, &mirrors, spec, options.total, progress)?;
        // The mirror that had this file is tried first for the next one.
        mirrors.rotate_left(refused);
        let path = folder.join(format!("{}.gz", spec.name));
        write_atomically(&path, |file| file.write_all(&body)).map_err(Box::new)?;
    }
    Ok(())
}

/// The verified file, and how many mirrors did not have it.
fn download_from_any(
    agent: &ureq::Agent,
    mirrors: &[String],
    spec: &FileSpec<'_>,
    total: Duration,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<(Vec<u8>, usize), DataError> {
    let mut causes = Vec::new();
    for mirror in mirrors {
        let url = format!("{}/{}.gz", mirror.trim_end_matches('/'), spec.name);
        let outcome = download(agent, &url, spec, total, progress)
            .and_then(|body| idx::check(body.as_slice(), spec).map(|_| body).map_err(|damage| damage.to_string()));
        match outcome {
            Ok(body) => return Ok((body, causes.len())),
            Err(cause) => causes.push((url, cause)),
        }
    }
    Err(DataError::Fetch { file: spec.name.to_owned(), causes })
}

fn download(
    agent: &ureq::Agent,
    url: &str,
    spec: &FileSpec<'_>,
    limit: Duration,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Vec<u8>, String> {
    let started = Instant::now();
    let response = agent.get(url).call().map_err(|error| error.to_string())?;
    let mut body = response.into_body();
    let total = body.content_length();
    // Compression never enlarges a file by more than this, so a larger response is not the requested file.
    let most = spec.bytes + spec.bytes / 100 + 1024;
    let mut reader = body.as_reader();
    let mut received = Vec::new();
    let mut chunk = vec![0; 1 << 16];
    loop {
        let length = reader.read(&mut chunk).map_err(|error| format!("{error}, after {} bytes", received.len()))?;
        if length == 0 {
            return Ok(received);
        }
        received.extend_from_slice(&chunk[..length]);
        if received.len() as u64 > most {
            return Err(format!("the response has more than {most} bytes: it is not the requested file"));
        }
        if started.elapsed() > limit {
            let (seconds, received) = (limit.as_secs(), received.len());
            return Err(format!("the server is too slow: only {received} bytes in {seconds} s"));
        }
        progress(Progress { file: spec.name, received: received.len() as u64, total });
    }
}
