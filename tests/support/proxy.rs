//! A proxy between the gateway and a filer that fails on demand, for HTTP and gRPC alike.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex},
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
    let ended = Arc::new((Mutex::new(false), Condvar::new()));
    let directions = [
        (requests, request as fn(&[u8], &mut TcpStream, Fault) -> (usize, bool)),
        (answers, answer as fn(&[u8], &mut TcpStream, Fault) -> (usize, bool)),
    ];
    for (streams, judge) in directions {
        let (fault, ended) = (Arc::clone(fault), Arc::clone(&ended));
        thread::spawn(move || {
            pass(streams, |bytes, from| judge(bytes, from, *fault.lock().unwrap()));
            *ended.0.lock().unwrap() = true;
            ended.1.notify_all();
        });
    }
    drop(ended.1.wait_while(ended.0.lock().unwrap(), |ended| !*ended));
    let _ = client.shutdown(Shutdown::Both);
    // The filer hears of the end later, as with a network that breaks.
    thread::sleep(PARTITION);
    let _ = server.shutdown(Shutdown::Both);
}

fn pair(from: &TcpStream, to: &TcpStream) -> (TcpStream, TcpStream) {
    (from.try_clone().unwrap(), to.try_clone().unwrap())
}

/// Passes on what `judge` says of each stretch of bytes, and ends when it says so.
fn pass(streams: (TcpStream, TcpStream), judge: impl Fn(&[u8], &mut TcpStream) -> (usize, bool)) {
    let (mut from, mut to) = streams;
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let (passed, goes_on) = judge(&buffer[..count], &mut from);
        if to.write_all(&buffer[..passed]).is_err() || !goes_on {
            return;
        }
    }
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

fn answer(bytes: &[u8], _from: &mut TcpStream, fault: Fault) -> (usize, bool) {
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

/// Longer than the filer works on a request.
const PARTITION: Duration = Duration::from_millis(300);
