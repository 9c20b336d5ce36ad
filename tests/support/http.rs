//! As much of HTTP as the tests need: one request a connection, the answer up to its end.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// Status and body.
pub fn get(address: SocketAddr, path: &str) -> (u16, String) {
    try_request(address, "GET", path, None).unwrap_or_else(|error| panic!("GET {address}{path}: {error}"))
}

/// An error means that there was no whole answer. `body` is a content type and the content. A server under load may close
/// a connection without a word: what only reads is asked once more.
pub fn try_request(
    address: SocketAddr,
    method: &str,
    path: &str,
    body: Option<(&str, &str)>,
) -> std::io::Result<(u16, String)> {
    match try_once(address, method, path, body) {
        Err(error) if method == "GET" && error.kind() == std::io::ErrorKind::UnexpectedEof => {
            try_once(address, method, path, body)
        }
        answer => answer,
    }
}

fn try_once(
    address: SocketAddr,
    method: &str,
    path: &str,
    body: Option<(&str, &str)>,
) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    // Version 1.0: no chunks, and the end of the answer is the end of the connection.
    let mut request = format!("{method} {path} HTTP/1.0\r\nHost: {address}\r\nAccept: */*\r\n");
    if let Some((content_type, content)) = body {
        request += &format!("Content-Type: {content_type}\r\nContent-Length: {}\r\n\r\n{content}", content.len());
    } else {
        request += "\r\n";
    }
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, content) = answer.split_once("\r\n\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)?;
    let status = head.split_whitespace().nth(1).and_then(|code| code.parse().ok());
    Ok((status.ok_or(std::io::ErrorKind::InvalidData)?, content.to_owned()))
}

const TIMEOUT: Duration = Duration::from_secs(60);
