//! A proxy that speaks SOCKS5 and HTTP CONNECT and lets everybody through.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;

/// Starts one for the life of the test; gives its port.
pub(crate) fn start() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || stream.and_then(pass));
        }
    });
    port
}

fn pass(mut client: TcpStream) -> io::Result<()> {
    let mut first = [0];
    client.read_exact(&mut first)?;
    let target = match first {
        [5] => {
            let mut greeting = [0; 2];
            client.read_exact(&mut greeting)?;
            client.write_all(&[5, 0])?;
            let mut request = [0; 5];
            client.read_exact(&mut request)?;
            let mut rest = vec![0; usize::from(request[4]) + 2];
            client.read_exact(&mut rest)?;
            client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])?;
            let (host, port) = rest.split_at(rest.len() - 2);
            let port = u16::from_be_bytes([port[0], port[1]]);
            format!("{}:{port}", String::from_utf8_lossy(host))
        }
        _ => {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                client.read_exact(&mut byte)?;
                head.push(byte[0]);
            }
            client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
            let head = String::from_utf8_lossy(&head).into_owned();
            head.split(' ').nth(1).unwrap_or_default().to_owned()
        }
    };
    let mut server = TcpStream::connect(target)?;
    let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || io::copy(&mut from_client, &mut to_server));
    io::copy(&mut server, &mut client)?;
    Ok(())
}
