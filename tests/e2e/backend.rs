//! An application's backend for tests: HTTP/1.1 over kept connections, and every request is noted.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use serde_json::Value;

/// One request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) path: String,
    /// By their names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Value,
    /// The body byte for byte.
    pub(crate) text: String,
}

/// How a request is answered.
pub(crate) enum Reply {
    Json(Value),
    /// With a status and any body.
    Other(u16, String),
    /// After a time.
    Late(Duration, Value),
    /// The connection is closed without an answer.
    Hangup,
}

type Answerer = dyn Fn(&Asked) -> Reply + Send + Sync;

pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    asked: Receiver<Asked>,
}

impl Backend {
    /// Starts it; its threads end with the process.
    pub(crate) fn start(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, asked) = channel();
        let answer: Arc<Answerer> = Arc::new(answer);
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let (sender, answer) = (sender.clone(), Arc::clone(&answer));
                std::thread::spawn(move || serve(socket, &sender, &*answer));
            }
        });
        Self { address, asked }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The next request.
    pub(crate) fn next(&self) -> Asked {
        self.asked.recv_timeout(Duration::from_secs(20)).expect("the backend is asked")
    }

    /// The requests so far that nobody has taken.
    pub(crate) fn rest(&self) -> Vec<Asked> {
        self.asked.try_iter().collect()
    }
}

fn serve(socket: TcpStream, sender: &Sender<Asked>, answer: &Answerer) {
    let mut reader = BufReader::new(socket.try_clone().unwrap());
    let mut socket = socket;
    while let Some(asked) = read(&mut reader) {
        let reply = answer(&asked);
        let _ = sender.send(asked);
        let (status, body) = match reply {
            Reply::Json(value) => (200, value.to_string()),
            Reply::Other(status, body) => (status, body),
            Reply::Late(time, value) => {
                // Time is what this is about.
                std::thread::park_timeout(time);
                (200, value.to_string())
            }
            Reply::Hangup => return,
        };
        let length = body.len();
        let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n");
        if socket.write_all(&[head.as_bytes(), body.as_bytes()].concat()).is_err() {
            return;
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Asked> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length")?.parse().ok()?;
    let mut bytes = vec![0; length];
    reader.read_exact(&mut bytes).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let body = serde_json::from_str(&text).unwrap_or_default();
    Some(Asked { path, headers, body, text })
}
