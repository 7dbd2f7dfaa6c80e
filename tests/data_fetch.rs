//! Downloads against a real HTTP server that behaves well and badly.

#![cfg(feature = "datasets")]

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flate2::{Compression, write::GzEncoder};
use tch_spiking::data::idx::sha256;
use tch_spiking::data::{DataError, FetchOptions, FileSpec, Manifest, fetch};

/// What the server does with every request.
#[derive(Clone)]
enum Behaviour {
    /// Sends this as the file.
    File(Vec<u8>),
    /// Promises a whole file, sends these bytes, and closes.
    Short(Vec<u8>),
    /// Sends these bytes as a file of unknown length.
    Unannounced(Vec<u8>),
    /// Answers with this status line and an HTML page.
    Page(&'static str),
    /// Sends these bytes of the file and then nothing, without closing.
    Stall(Vec<u8>),
    /// Sends the file byte by byte, each long after the other.
    Drip(Vec<u8>),
}

/// A server that runs until the test ends, and the paths that were asked of it.
struct Server {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/data", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        std::thread::spawn(move || {
            let mut open = Vec::new();
            for stream in listener.incoming().map_while(Result::ok) {
                if let Some((path, stream)) = answer(stream, &behaviour) {
                    seen.lock().unwrap().push(path);
                    open.extend(stream);
                }
            }
        });
        Self { address, requests }
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// Answers one request; returns its path, and the connection where it shall stay open.
fn answer(mut stream: TcpStream, behaviour: &Behaviour) -> Option<(String, Option<TcpStream>)> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines().map_while(Result::ok);
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    lines.by_ref().take_while(|line| !line.is_empty()).for_each(drop);
    let mut send = |head: String, body: &[u8]| {
        let _ = write!(stream, "HTTP/1.1 {head}\r\nConnection: close\r\n\r\n");
        let _ = stream.write_all(body);
        let _ = stream.flush();
    };
    match behaviour {
        Behaviour::File(body) => send(format!("200 OK\r\nContent-Length: {}", body.len()), body),
        Behaviour::Short(body) => send(format!("200 OK\r\nContent-Length: {}", 2 * body.len() + 9), body),
        Behaviour::Unannounced(body) => send("200 OK".into(), body),
        Behaviour::Page(status) => {
            let page = b"<!DOCTYPE html><html><body>Something else altogether</body></html>";
            send(format!("{status}\r\nContent-Type: text/html\r\nContent-Length: {}", page.len()), page);
        }
        Behaviour::Drip(body) => {
            send(format!("200 OK\r\nContent-Length: {}", body.len()), &[]);
            for byte in body.chunks(1) {
                std::thread::sleep(Duration::from_millis(50));
                if stream.write_all(byte).is_err() {
                    break;
                }
            }
        }
        Behaviour::Stall(body) => {
            send(format!("200 OK\r\nContent-Length: {}", body.len() + 1000), body);
            return Some((path, Some(stream)));
        }
    }
    Some((path, None))
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// A small IDX file of labels.
fn content() -> Vec<u8> {
    let mut content = vec![0, 0, 8, 1, 0, 0, 0x1f, 0x40];
    content.extend((0..8000u32).map(|i| (i * i % 251) as u8));
    content
}

/// Fetches one file from these servers in turn; the file must be there if and only if that succeeds.
fn fetch_from(servers: &[&Server]) -> Result<(), DataError> {
    let folder = tempfile::tempdir().unwrap();
    let outcome = fetch_into(folder.path(), servers, &["labels"]);
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    if outcome.is_ok() {
        assert_eq!(left, ["labels.gz"]);
    } else {
        assert!(left.is_empty(), "a failed download left {left:?}");
    }
    outcome
}

fn fetch_into(folder: &Path, servers: &[&Server], names: &[&str]) -> Result<(), DataError> {
    let sha256 = sha256(&content());
    let files: Vec<_> =
        names.iter().map(|name| FileSpec { name, header: &[0x801, 8000], bytes: 8008, sha256: &sha256 }).collect();
    let manifest = Manifest { name: "small", title: "Small", files: &files, mirrors: &[], class_names: &[] };
    let options = FetchOptions {
        mirrors: Some(servers.iter().map(|server| server.address.clone()).collect()),
        connect: Duration::from_secs(5),
        stall: Duration::from_millis(300),
        total: Duration::from_secs(1),
    };
    fetch(&manifest, folder, &options, &mut |_| {})
}

fn cause(behaviour: Behaviour) -> String {
    fetch_from(&[&Server::start(behaviour)]).unwrap_err().to_string()
}

#[test]
fn the_right_file_arrives_whole_and_progress_is_told() {
    let body = gzip(&content());
    let server = Server::start(Behaviour::File(body.clone()));
    let folder = tempfile::tempdir().unwrap();
    let sha256 = sha256(&content());
    let files = [FileSpec { name: "labels", header: &[0x801], bytes: 8008, sha256: &sha256 }];
    let mirrors = [server.address.as_str()];
    let manifest = Manifest { name: "small", title: "Small", files: &files, mirrors: &mirrors, class_names: &[] };
    let mut last = (0, None);
    let deep = folder.path().join("not/yet there");
    fetch(&manifest, &deep, &FetchOptions::default(), &mut |progress| last = (progress.received, progress.total))
        .unwrap();
    assert_eq!(last, (body.len() as u64, Some(body.len() as u64)));
    assert_eq!(std::fs::read(deep.join("labels.gz")).unwrap(), body);
    assert_eq!(server.requests(), ["/data/labels.gz"]);
}

#[test]
fn a_file_that_a_server_uncompressed_is_right_too() {
    fetch_from(&[&Server::start(Behaviour::File(content()))]).unwrap();
}

#[test]
fn a_short_file_is_refused_however_it_is_sent() {
    let body = gzip(&content());
    let half = body[..body.len() / 2].to_vec();
    cause(Behaviour::Short(half.clone()));
    for behaviour in [Behaviour::File(half.clone()), Behaviour::Unannounced(half)] {
        let cause = cause(behaviour);
        assert!(cause.contains("of 8008 bytes"), "{cause}");
    }
    let cause = cause(Behaviour::File(gzip(&content()[..5000])));
    assert!(cause.contains("expected 8008 bytes uncompressed, found 5000"), "{cause}");
}

#[test]
fn a_wrong_file_is_refused_by_its_checksum() {
    let mut wrong = content();
    wrong[4000] ^= 1;
    let cause = cause(Behaviour::File(gzip(&wrong)));
    assert!(cause.contains(&sha256(&content())) && cause.contains(&sha256(&wrong)), "{cause}");
}

#[test]
fn an_endless_file_is_given_up() {
    let cause = cause(Behaviour::File(vec![7; 20_000_000]));
    assert!(cause.contains("it is not the requested file"), "{cause}");
}

#[test]
fn an_error_page_is_refused_with_any_status() {
    let missing = cause(Behaviour::Page("404 Not Found"));
    assert!(missing.contains("404"), "{missing}");
    let disguised = cause(Behaviour::Page("200 OK"));
    assert!(disguised.contains("not an IDX file"), "{disguised}");
}

#[test]
fn a_server_that_stalls_is_left() {
    let body = gzip(&content());
    let cause = cause(Behaviour::Stall(body[..100].to_vec()));
    assert!(cause.contains("timeout") && cause.contains("after 100 bytes"), "{cause}");
}

#[test]
fn a_server_that_is_too_slow_is_left() {
    let cause = cause(Behaviour::Drip(gzip(&content())));
    assert!(cause.contains("the server is too slow: only ") && cause.contains(" bytes in 1 s"), "{cause}");
}

#[test]
fn the_next_mirror_is_asked_and_then_preferred() {
    let bad = Server::start(Behaviour::Page("503 Service Unavailable"));
    let good = Server::start(Behaviour::File(gzip(&content())));
    let folder = tempfile::tempdir().unwrap();
    fetch_into(folder.path(), &[&bad, &good], &["one", "two"]).unwrap();
    assert_eq!(bad.requests(), ["/data/one.gz"]);
    assert_eq!(good.requests(), ["/data/one.gz", "/data/two.gz"]);
}

#[test]
fn when_all_mirrors_fail_the_cause_of_each_is_told() {
    let (page, gone) = (Server::start(Behaviour::Page("200 OK")), Server::start(Behaviour::Page("410 Gone")));
    let error = fetch_from(&[&page, &gone]).unwrap_err();
    let DataError::Fetch { causes, .. } = &error else { panic!("{error}") };
    assert_eq!(causes.len(), 2);
    assert!(causes[0].0.starts_with(&page.address) && causes[0].1.contains("not an IDX file"), "{error}");
    assert!(causes[1].0.starts_with(&gone.address) && causes[1].1.contains("410"), "{error}");
}

#[test]
fn only_what_is_missing_or_damaged_is_fetched() {
    let body = gzip(&content());
    let server = Server::start(Behaviour::File(body.clone()));
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("right"), content()).unwrap();
    std::fs::write(folder.path().join("damaged.gz"), &body[..50]).unwrap();
    fetch_into(folder.path(), &[&server], &["right", "damaged", "missing"]).unwrap();
    assert_eq!(server.requests(), ["/data/damaged.gz", "/data/missing.gz"]);
    fetch_into(folder.path(), &[], &["right", "damaged", "missing"]).unwrap();
}
