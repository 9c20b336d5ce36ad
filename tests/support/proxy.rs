//! A proxy between the gateway and a filer that fails on demand, for HTTP and gRPC alike.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

/// What the proxy does with what passes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// Every answer comes this much later.
    Slow(Duration),
    /// Every request is answered with this status and never reaches the filer.
    Status(u16),
    /// Requests reach the filer, and their answers go nowhere: the connection ends.
    AnswerLost,
    /// A request's connection ends in the middle of its bytes.
    RequestCut,
    /// The connection ends in the middle of an answer.
    AnswerCut,
    /// Nothing is taken at all.
    Down,
}

pub struct Proxy {
    pub address: SocketAddr,
    fault: Arc<Mutex<Fault>>,
}

impl Proxy {
    /// Runs until the test process ends.
    pub fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let fault = Arc::new(Mutex::new(Fault::None));
        let shared = Arc::clone(&fault);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let fault = Arc::clone(&shared);
                thread::spawn(move || serve(stream, target, &fault));
            }
        });
        Self { address, fault }
    }

    pub fn set(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }
}

fn serve(client: TcpStream, target: SocketAddr, fault: &Arc<Mutex<Fault>>) {
    if *fault.lock().unwrap() == Fault::Down {
        return;
    }
    let Ok(server) = TcpStream::connect(target) else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (requests, answers) = (pair(&client, &server), pair(&server, &client));
    let there = Arc::clone(fault);
    let upward = thread::spawn(move || pass(requests, |bytes, from| request(bytes, from, *there.lock().unwrap())));
    let back = Arc::clone(fault);
    pass(answers, |bytes, _| answer(bytes, *back.lock().unwrap()));
    let _ = upward.join();
}

fn pair(from: &TcpStream, to: &TcpStream) -> (TcpStream, TcpStream) {
    (from.try_clone().unwrap(), to.try_clone().unwrap())
}

/// What is passed on of some bytes, and whether the connection goes on.
fn pass(streams: (TcpStream, TcpStream), judge: impl Fn(&[u8], &mut TcpStream) -> (usize, bool)) {
    let (mut from, mut to) = streams;
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let (passed, goes_on) = judge(&buffer[..count], &mut from);
        if to.write_all(&buffer[..passed]).is_err() || !goes_on {
            break;
        }
    }
    // Both directions: a half-open connection is not what these faults are about.
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

fn request(bytes: &[u8], from: &mut TcpStream, fault: Fault) -> (usize, bool) {
    match fault {
        Fault::None | Fault::Slow(_) | Fault::AnswerLost | Fault::AnswerCut => (bytes.len(), true),
        Fault::Status(status) => {
            let _ = write!(from, "HTTP/1.1 {status} Failing\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            (0, false)
        }
        Fault::RequestCut => (bytes.len() / 2, false),
        Fault::Down => (0, false),
    }
}

fn answer(bytes: &[u8], fault: Fault) -> (usize, bool) {
    match fault {
        Fault::None | Fault::Status(_) | Fault::RequestCut => (bytes.len(), true),
        Fault::Slow(delay) => {
            thread::sleep(delay);
            (bytes.len(), true)
        }
        Fault::AnswerLost | Fault::Down => (0, false),
        Fault::AnswerCut => (bytes.len() / 2, false),
    }
}
