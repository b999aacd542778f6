//! A running service, and a client that sends raw requests.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::wait_for;

/// A process of `longshore serve`, killed on drop.
pub(crate) struct Service {
    child: Child,
    address: String,
    log: Arc<Mutex<String>>,
}

/// The answer to a request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: String,
    pub(crate) body: String,
}

impl Service {
    /// Starts the service on a free port, and waits until it listens.
    pub(crate) fn start(command: &mut Command) -> Self {
        Self::start_on(command.args(["serve", "--listen", "127.0.0.1:0"]))
    }

    /// Starts a service that prints its address.
    pub(crate) fn start_on(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let log: Arc<Mutex<String>> = Arc::default();
        let copy = Arc::clone(&log);
        std::thread::spawn(move || {
            let mut line = String::new();
            while lines.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
                copy.lock().unwrap().push_str(&line);
                line.clear();
            }
        });
        let mut service = Self { child, address: String::new(), log };
        service.address = wait_for("the address of the service", || {
            let exited = service.child.try_wait().unwrap();
            assert!(exited.is_none(), "{exited:?}: {}", service.log());
            let log = service.log();
            let (_, rest) = log.split_once("serving http")?.1.split_once("://")?;
            Some(rest.split_once('/')?.0.to_owned())
        });
        service
    }

    /// Returns the address and port.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Returns the output on stderr so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Returns the memory of the process in KiB, without its files.
    pub(crate) fn memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Ends the process and its receivers of WAL, and waits.
    pub(crate) fn stop(&mut self) {
        // The process may have ended.
        Command::new("kill").arg(self.child.id().to_string()).stderr(Stdio::null()).status().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for the end of the process.
    pub(crate) fn wait(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// Sends a request with these lines after the first, and returns the answer.
    pub(crate) fn request(&self, line: &str, headers: &[&str], body: &str) -> Answer {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let host = headers.iter().any(|header| header.starts_with("Host:"));
        let host = if host { String::new() } else { format!("Host: {}\r\n", self.address) };
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let length = body.len();
        let request =
            format!("{line} HTTP/1.1\r\n{host}{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}");
        stream.write_all(request.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (headers, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = headers.split(' ').nth(1).and_then(|status| status.parse().ok());
        Answer { status: status.unwrap_or_default(), headers: headers.to_lowercase(), body: body.to_owned() }
    }

    /// Requests a page.
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.request(&format!("GET {path}"), &["Accept: text/html"], "")
    }

    /// Requests a resource as JSON.
    #[track_caller]
    pub(crate) fn json(&self, path: &str) -> serde_json::Value {
        let answer = self.request(&format!("GET {path}"), &[], "");
        assert_eq!(answer.status, 200, "{answer:?}");
        serde_json::from_str(&answer.body).unwrap()
    }

    /// Waits until the destinations were read.
    pub(crate) fn wait_until_ready(&self) {
        wait_for("the first read", || (self.get("/readyz").status == 200).then_some(()));
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // The process may have ended.
        self.child.kill().ok();
        self.child.wait().unwrap();
    }
}
