//! A request on a new connection, signed for S3.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use chrono::Utc;
use longshore_core::meter::{Digest, hex};
use sha2::{Digest as _, Sha256};

use super::{KEY, REGION, Response, SECRET};

/// The block size of SHA-256, in bytes.
const BLOCK: usize = 64;

/// Sends a request and returns the answer.
pub(super) fn send(
    address: SocketAddr,
    method: &str,
    path: &str,
    query: &str,
    body: &str,
    headers: &[(&str, &str)],
) -> Response {
    let time = Utc::now().format("%Y%m%dT%H%M%SZ").to_string();
    let day = time.split('T').next().unwrap();
    let digest = Digest::of(body.as_bytes()).hex().to_owned();
    let host = address.to_string();
    let mut headers = headers.to_vec();
    headers.extend([("host", host.as_str()), ("x-amz-content-sha256", &digest), ("x-amz-date", &time)]);
    headers.sort_unstable();

    let names = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let lines: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let request =
        Digest::of(format!("{method}\n/{path}\n{query}\n{lines}\n{names}\n{digest}").as_bytes()).hex().to_owned();
    let scope = format!("{day}/{REGION}/s3/aws4_request");
    let key = format!("AWS4{SECRET}").into_bytes();
    let key = [day, REGION, "s3", "aws4_request"].iter().fold(key, |key, part| hmac(&key, part));
    let signature = hex(&hmac(&key, &format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{request}")));

    let sent: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let mut connection = TcpStream::connect(address).unwrap();
    write!(
        connection,
        "{method} /{path}?{query} HTTP/1.0\r\n{sent}content-length: {}\r\nauthorization: AWS4-HMAC-SHA256 \
         Credential={KEY}/{scope}, SignedHeaders={names}, Signature={signature}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut response = String::new();
    connection.read_to_string(&mut response).unwrap();
    let (head, text) = response.split_once("\r\n\r\n").unwrap();
    Response { status: head.split(' ').nth(1).unwrap().parse().unwrap(), text: text.to_owned() }
}

fn hmac(key: &[u8], message: &str) -> Vec<u8> {
    let mut block = if key.len() > BLOCK { Sha256::digest(key).to_vec() } else { key.to_vec() };
    block.resize(BLOCK, 0);
    let padded = |pad: u8| block.iter().map(|byte| byte ^ pad).collect::<Vec<_>>();
    let inner = Sha256::new_with_prefix(padded(0x36)).chain_update(message).finalize();
    Sha256::new_with_prefix(padded(0x5c)).chain_update(inner).finalize().to_vec()
}
