//! Asking name servers: by UDP, and by TCP what does not fit (RFC 1035 section 4.2).

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use simple_dns::Name;

use super::Fault;
use super::answer::{Answer, Reply, question, read};

/// Every server is asked so often.
const ROUNDS: u32 = 2;
/// Longer datagrams do not come: the question does not ask for any.
const DATAGRAM_MAX: usize = 4096;
/// Datagrams that are looked at for one answer, at most.
const DATAGRAMS_MAX: u32 = 100;

const SILENT: &str = "no answer in time";

/// Asks one server after the other for the SRV records of `name`.
pub(super) fn ask(
    servers: &[SocketAddr],
    name: &Name<'_>,
    each: Duration,
    deadline: Instant,
) -> Result<Answer, Fault> {
    let mut faults: Vec<_> = servers.iter().map(|server| (*server, SILENT)).collect();
    for _ in 0..ROUNDS {
        for (server, fault) in &mut faults {
            let until = deadline.min(Instant::now() + each);
            match ask_one(*server, name, until) {
                Ok(answer) => return Ok(answer),
                Err(why) => *fault = why,
            }
        }
    }
    Err(Fault::NoAnswer(faults))
}

fn ask_one(server: SocketAddr, name: &Name<'_>, until: Instant) -> Result<Answer, &'static str> {
    let id = getrandom::u32().map_err(|_| "the system has no random numbers")?;
    // The lower half; all of it is random.
    let id = u16::try_from(id & 0xFFFF).unwrap_or_default();
    let question = question(id, name).ok_or("the question cannot be put")?;
    let reply =
        match by_udp(server, &question, id, name, until).map_err(|error| in_words(&error))? {
            Reply::Truncated => {
                by_tcp(server, &question, id, name, until).map_err(|error| in_words(&error))?
            }
            reply => reply,
        };
    match reply {
        Reply::Answer(answer) => Ok(answer),
        Reply::Failed(why) => Err(why),
        Reply::Truncated => Err("its answer is cut short"),
    }
}

fn by_udp(
    server: SocketAddr,
    question: &[u8],
    id: u16,
    name: &Name<'_>,
    until: Instant,
) -> io::Result<Reply> {
    let any: IpAddr = if server.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    // The system chooses a port that others cannot guess, and lets in datagrams of this server alone.
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(server)?;
    socket.send(question)?;
    let mut buffer = [0; DATAGRAM_MAX];
    for _ in 0..DATAGRAMS_MAX {
        socket.set_read_timeout(Some(left(until)?))?;
        let length = match socket.recv(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            received => received?,
        };
        // Whatever answers another question may be forged: the right one may still come.
        if let Some(reply) = read(buffer.get(..length).unwrap_or_default(), id, name) {
            return Ok(reply);
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

fn by_tcp(
    server: SocketAddr,
    question: &[u8],
    id: u16,
    name: &Name<'_>,
    until: Instant,
) -> io::Result<Reply> {
    let mut stream = TcpStream::connect_timeout(&server, left(until)?)?;
    let length = u16::try_from(question.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut message = length.to_be_bytes().to_vec();
    message.extend_from_slice(question);
    stream.set_write_timeout(Some(left(until)?))?;
    stream.write_all(&message)?;
    let mut length = [0; 2];
    read_all(&mut stream, &mut length, until)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    read_all(&mut stream, &mut answer, until)?;
    read(&answer, id, name).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Fills `buffer`, however small the pieces are in which it comes.
fn read_all(stream: &mut TcpStream, buffer: &mut [u8], until: Instant) -> io::Result<()> {
    let mut rest = buffer;
    while !rest.is_empty() {
        stream.set_read_timeout(Some(left(until)?))?;
        match stream.read(rest) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => rest = rest.get_mut(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The time that is left, which is never zero.
fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    Ok(left)
}

fn in_words(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "nobody listens there",
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            "there is no way to it"
        }
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => "its answer cannot be read",
        _ => SILENT,
    }
}
