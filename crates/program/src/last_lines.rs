//! The last lines of a program's output.

use std::collections::VecDeque;

use tokio::io::{AsyncRead, AsyncReadExt};

/// The number of lines that are kept.
const LINES: usize = 20;
/// The number of bytes of a line that are kept.
const LINE_BYTES: usize = 1000;

/// Reads output until it is closed. The memory is bounded, however long the output. `lines`
/// receives the lines while they are read.
pub async fn read(mut pipe: impl AsyncRead + Unpin, lines: &std::sync::Mutex<VecDeque<String>>) {
    let mut line = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = pipe.read(&mut buffer).await {
        for byte in &buffer[..length] {
            match byte {
                b'\n' => push(&mut line, lines),
                _ if line.len() < LINE_BYTES => line.push(*byte),
                _ => {}
            }
        }
    }
    push(&mut line, lines);
}

fn push(line: &mut Vec<u8>, lines: &std::sync::Mutex<VecDeque<String>>) {
    let text = String::from_utf8_lossy(line).trim_end().to_owned();
    line.clear();
    if !text.is_empty() {
        let mut lines = lines.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if lines.len() == LINES {
            lines.pop_front();
        }
        lines.push_back(text);
    }
}
