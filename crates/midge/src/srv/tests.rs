use std::io::{Read as _, Write as _};
use std::net::{TcpListener, UdpSocket};
use std::thread::JoinHandle;

use simple_dns::rdata::{CNAME, RData, SRV};
use simple_dns::{CLASS, Packet, PacketFlag, RCODE, ResourceRecord};

use super::*;

/// No test waits so long.
const LONG: Duration = Duration::from_secs(20);

fn target(priority: u16, weight: u16, host: &str) -> Target {
    Target {
        priority,
        weight,
        host: host.to_owned(),
        port: 1883,
    }
}

fn record<'a>(owner: &'a str, priority: u16, port: u16, target: &'a str) -> ResourceRecord<'a> {
    let data = SRV {
        priority,
        weight: 0,
        port,
        target: Name::new_unchecked(target),
    };
    ResourceRecord::new(Name::new_unchecked(owner), CLASS::IN, 60, RData::SRV(data))
}

/// The answer to `question` with these records.
fn answer(question: &[u8], records: Vec<ResourceRecord<'_>>) -> Vec<u8> {
    let mut packet = Packet::parse(question).unwrap().into_reply();
    packet.answers = records;
    packet.build_bytes_vec_compressed().unwrap()
}

/// A name server that sends what `say` makes of the one question that comes.
struct Server {
    address: SocketAddr,
    thread: JoinHandle<()>,
}

impl Server {
    fn start(say: impl FnOnce(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(LONG)).unwrap();
        Self {
            address: socket.local_addr().unwrap(),
            thread: std::thread::spawn(move || {
                let mut buffer = [0; 512];
                let (length, from) = socket.recv_from(&mut buffer).unwrap();
                for datagram in say(&buffer[..length]) {
                    socket.send_to(&datagram, from).unwrap();
                }
            }),
        }
    }

    /// Asks it for the brokers of `example.org`.
    fn ask(self) -> Result<Vec<String>, Fault> {
        let found = brokers(&Resolver::new(vec![self.address]));
        self.thread.join().unwrap();
        found
    }
}

fn brokers(resolver: &Resolver) -> Result<Vec<String>, Fault> {
    let found = resolver.brokers("example.org", false, Instant::now() + LONG);
    found.map(|targets| targets.iter().map(ToString::to_string).collect())
}

const NAME: &str = "_mqtt._tcp.example.org";

#[test]
fn the_lowest_priority_comes_first_and_weight_decides_among_equals() {
    let targets = vec![
        target(2, 0, "last"),
        target(1, 10, "ten"),
        target(1, 0, "none"),
        target(1, 30, "thirty"),
    ];
    let order = |picks: &[u32]| {
        let mut picks = picks.iter();
        let mut asked = Vec::new();
        let ordered = in_order(targets.clone(), |max| {
            asked.push(max);
            *picks.next().unwrap()
        });
        let hosts: Vec<_> = ordered.into_iter().map(|target| target.host).collect();
        (hosts.join(" "), asked)
    };
    assert_eq!(
        order(&[0, 0, 0, 0]),
        ("none ten thirty last".into(), vec![40, 40, 30, 0])
    );
    assert_eq!(
        order(&[11, 1, 0, 0]),
        ("thirty ten none last".into(), vec![40, 10, 0, 0])
    );
    assert_eq!(
        order(&[10, 30, 0, 0]),
        ("ten thirty none last".into(), vec![40, 30, 0, 0])
    );
}

#[test]
fn chance_stays_within_its_bounds() {
    assert_eq!(random_up_to(0), 0);
    assert!((0..1000).all(|_| random_up_to(3) <= 3));
    assert!((0..1000).any(|_| random_up_to(u32::MAX) > 1 << 30));
}

#[test]
fn the_records_of_a_domain_name_its_brokers() {
    let server = Server::start(|question| {
        let records = vec![
            record(NAME, 2, 1884, "b.example.org"),
            record(NAME, 1, 1883, "a.example.org"),
            record("_mqtt._tcp.example.com", 0, 1885, "of-another-name.example"),
            record(NAME, 3, 0, "without-port.example.org"),
            record(NAME, 3, 1886, "not a host"),
        ];
        vec![answer(question, records)]
    });
    let expected = [
        "a.example.org:1883".to_owned(),
        "b.example.org:1884".to_owned(),
    ];
    assert_eq!(server.ask(), Ok(expected.to_vec()));
}

#[test]
fn a_name_may_stand_for_another_and_a_circle_of_names_leads_nowhere() {
    let alias = |from: &'static str, to: &'static str| {
        let data = RData::CNAME(CNAME(Name::new_unchecked(to)));
        ResourceRecord::new(Name::new_unchecked(from), CLASS::IN, 60, data)
    };
    let server = Server::start(move |question| {
        let records = vec![alias(NAME, "x.example"), record("X.Example", 1, 1883, "a")];
        vec![answer(question, records)]
    });
    assert_eq!(server.ask(), Ok(vec!["a:1883".to_owned()]));
    let server = Server::start(move |question| {
        vec![answer(question, vec![alias(NAME, "x"), alias("x", NAME)])]
    });
    assert_eq!(server.ask(), Err(Fault::NoRecord(NAME.to_owned())));
}

#[test]
fn a_domain_without_brokers_is_told_from_one_that_is_not_there() {
    let server = Server::start(|question| vec![answer(question, vec![record(NAME, 0, 0, ".")])]);
    assert_eq!(server.ask(), Err(Fault::NotOffered(NAME.to_owned())));
    let server = Server::start(|question| vec![answer(question, Vec::new())]);
    assert_eq!(server.ask(), Err(Fault::NoRecord(NAME.to_owned())));
    let server = Server::start(|question| {
        let mut packet = Packet::parse(question).unwrap().into_reply();
        *packet.rcode_mut() = RCODE::NameError;
        vec![packet.build_bytes_vec().unwrap()]
    });
    assert_eq!(server.ask(), Err(Fault::NoName(NAME.to_owned())));
}

#[test]
fn tls_has_a_service_of_its_own_and_a_final_dot_changes_nothing() {
    let server = Server::start(|question| {
        let packet = Packet::parse(question).unwrap();
        let name = packet.questions[0].qname.to_string();
        assert_eq!(name, "_secure-mqtt._tcp.example.org");
        let name: &'static str = "_secure-mqtt._tcp.example.org";
        vec![answer(question, vec![record(name, 0, 8883, "a")])]
    });
    let resolver = Resolver::new(vec![server.address]);
    let found = resolver
        .brokers("example.org.", true, Instant::now() + LONG)
        .unwrap();
    assert_eq!(found[0].to_string(), "a:8883");
    server.thread.join().unwrap();
}

#[test]
fn what_answers_another_question_is_passed_over() {
    let server = Server::start(|question| {
        let forged = || vec![record(NAME, 0, 666, "evil.example")];
        let mut other_id = answer(question, forged());
        other_id[1] ^= 1;
        let mut no_reply = answer(question, forged());
        no_reply[2] &= 0x7F;
        let mut other = Packet::parse(question).unwrap();
        other.questions[0].qname = Name::new_unchecked("_mqtt._tcp.example.com");
        let other_name = answer(&other.build_bytes_vec().unwrap(), forged());
        let mut none = Packet::parse(question).unwrap();
        none.questions.clear();
        let no_question = answer(&none.build_bytes_vec().unwrap(), forged());
        let right = answer(question, vec![record(NAME, 0, 1883, "right")]);
        vec![
            other_id,
            no_reply,
            other_name,
            no_question,
            vec![],
            vec![0xFF; 900],
            right,
        ]
    });
    assert_eq!(server.ask(), Ok(vec!["right:1883".to_owned()]));
}

#[test]
fn questions_have_ids_that_cannot_be_guessed() {
    let mut ids: Vec<_> = (0..8)
        .map(|_| {
            let (sender, receiver) = std::sync::mpsc::channel();
            let server = Server::start(move |question| {
                sender.send([question[0], question[1]]).unwrap();
                vec![answer(question, Vec::new())]
            });
            let _ = server.ask();
            receiver.recv().unwrap()
        })
        .collect();
    ids.dedup();
    assert!(ids.len() > 4, "{ids:?}");
}

#[test]
fn what_does_not_fit_into_a_datagram_comes_by_tcp_in_pieces() {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = udp.local_addr().unwrap();
    let Ok(listener) = TcpListener::bind(address) else {
        // Somebody else has this port for TCP.
        return;
    };
    udp.set_read_timeout(Some(LONG)).unwrap();
    let thread = std::thread::spawn(move || {
        let mut buffer = [0; 512];
        let (length, from) = udp.recv_from(&mut buffer).unwrap();
        let mut packet = Packet::parse(&buffer[..length]).unwrap().into_reply();
        packet.set_flags(PacketFlag::TRUNCATION);
        udp.send_to(&packet.build_bytes_vec().unwrap(), from)
            .unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut question).unwrap();
        let records = (0..60)
            .map(|_| record(NAME, 0, 1883, "a.example.org"))
            .collect();
        let answer = answer(&question, records);
        assert!(answer.len() > 512);
        stream
            .write_all(&u16::try_from(answer.len()).unwrap().to_be_bytes())
            .unwrap();
        for piece in answer.chunks(400) {
            stream.write_all(piece).unwrap();
        }
    });
    let found = brokers(&Resolver::new(vec![address])).unwrap();
    assert_eq!(found.len(), 60);
    thread.join().unwrap();
}

#[test]
fn the_next_server_is_asked_where_one_is_silent_or_fails() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let failing = Server::start(|question| {
        let mut packet = Packet::parse(question).unwrap().into_reply();
        *packet.rcode_mut() = RCODE::ServerFailure;
        vec![packet.build_bytes_vec().unwrap()]
    });
    let good = Server::start(|question| vec![answer(question, vec![record(NAME, 0, 1883, "a")])]);
    let resolver = Resolver {
        servers: vec![silent.local_addr().unwrap(), failing.address, good.address],
        each: Duration::from_millis(100),
    };
    assert_eq!(brokers(&resolver), Ok(vec!["a:1883".to_owned()]));
    failing.thread.join().unwrap();
    good.thread.join().unwrap();
}

#[test]
fn silence_ends_at_the_deadline_and_the_fault_says_who_was_silent() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let resolver = Resolver {
        servers: vec![address],
        each: LONG,
    };
    let began = Instant::now();
    let fault = resolver.brokers("example.org", false, began + Duration::from_millis(50));
    assert!(began.elapsed() < LONG / 2);
    let text = fault.unwrap_err().to_string();
    assert_eq!(
        text,
        format!("no name server gave an answer ({address}: no answer in time)")
    );
}

#[test]
fn names_that_are_no_domain_are_not_asked_for() {
    let resolver = Resolver::new(Vec::new());
    let long = "a".repeat(64);
    let much = "abcdefg.".repeat(40);
    for domain in ["", ".", "a..b", ".a", "a\\b", "a\u{1b}", &long, &much] {
        let found = resolver.brokers(domain, false, Instant::now() + LONG);
        assert_eq!(found, Err(Fault::BadName(domain.to_owned())));
    }
}

#[test]
fn no_packet_makes_the_reader_fall() {
    let name = Name::new_unchecked(NAME);
    let question = answer::question(7, &name).unwrap();
    let records = vec![
        record(NAME, 1, 1883, "a.example.org"),
        record(NAME, 2, 1884, "b.example.org"),
    ];
    let good = answer(&question, records);
    for length in 0..good.len() {
        let _ = answer::read(&good[..length], 7, &name);
    }
    for at in 0..good.len() {
        for byte in [0, 1, 0x3F, 0x40, 0x80, 0xC0, 0xFF] {
            let mut bad = good.clone();
            bad[at] = byte;
            let _ = answer::read(&bad, 7, &name);
        }
    }
    // A target that points to itself, and two that point to each other.
    let data_at = good.len() - 2;
    for offset in [data_at, data_at - 20] {
        let mut circle = good.clone();
        let pointer = 0xC000 | u16::try_from(offset).unwrap();
        circle[data_at..].copy_from_slice(&pointer.to_be_bytes());
        let _ = answer::read(&circle, 7, &name);
    }
}

/// The same numbers from the same seed (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        for (left, by) in [(true, 13), (false, 7), (true, 17)] {
            self.0 ^= if left { self.0 << by } else { self.0 >> by };
        }
        usize::try_from(self.0 % limit.max(1) as u64).unwrap()
    }

    /// Changes a byte at `from` or behind it, cuts bytes out, puts some in, repeats some, or makes a pointer
    /// of two.
    fn mutate(&mut self, bytes: &mut Vec<u8>, from: usize) {
        const EDGES: [u8; 8] = [0, 1, 0x0C, 0x3F, 0x40, 0x80, 0xC0, 0xFF];
        let from = from.min(bytes.len() - 1);
        let at = from + self.below(bytes.len() - from);
        let end = (at + 1 + self.below(24)).min(bytes.len());
        match self.below(6) {
            0 => bytes[at] = EDGES[self.below(EDGES.len())],
            1 => bytes[at] ^= 1 << self.below(8),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let edge = EDGES[self.below(EDGES.len())];
                bytes.splice(at..at, [edge; 3]);
            }
            4 => {
                let part = bytes[at..end].to_vec();
                let to = from + self.below(bytes.len() - from);
                bytes.splice(to..to, part);
            }
            _ if at + 1 < bytes.len() => {
                let pointer = 0xC000 | u16::try_from(self.below(bytes.len())).unwrap();
                bytes[at..at + 2].copy_from_slice(&pointer.to_be_bytes());
            }
            _ => {}
        }
    }
}

#[test]
fn a_hundred_thousand_mutated_answers_give_good_targets_or_none() {
    let name = Name::new_unchecked(NAME);
    let question = answer::question(7, &name).unwrap();
    let alias = |from: &'static str, to: &'static str| {
        let data = RData::CNAME(CNAME(Name::new_unchecked(to)));
        ResourceRecord::new(Name::new_unchecked(from), CLASS::IN, 60, data)
    };
    let good = [
        answer(&question, vec![record(NAME, 0, 0, ".")]),
        answer(
            &question,
            vec![
                alias(NAME, "x.example.org"),
                record("x.example.org", 1, 1883, "a.example.org"),
            ],
        ),
        answer(
            &question,
            (0..90)
                .map(|number| record(NAME, number, 1883, "b.example.org"))
                .collect(),
        ),
    ];
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let mut read = 0;
    for _ in 0..100_000 {
        // The long one is slow to read, and only its number of records is of interest.
        let pick = if random.below(50) == 0 {
            2
        } else {
            random.below(2)
        };
        let mut bytes = good[pick].clone();
        // What answers another question is passed over, so mostly only the records change.
        let from = if random.below(8) == 0 {
            0
        } else {
            question.len()
        };
        for _ in 0..=random.below(4) {
            random.mutate(&mut bytes, from);
        }
        let Some(answer::Reply::Answer(found)) = answer::read(&bytes, 7, &name) else {
            continue;
        };
        read += 1;
        let answer::Answer::Targets(targets) = found else {
            continue;
        };
        assert!(targets.len() <= 64, "{bytes:02X?}");
        for target in targets {
            let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
            assert!(
                target.port > 0 && target.host.chars().all(is_plain),
                "{bytes:02X?}"
            );
            assert!(
                !target.host.is_empty() && target.host.len() < 256,
                "{bytes:02X?}"
            );
        }
    }
    // The mutations are not so wild that nothing is read.
    assert!(read > 10_000, "{read}");
}

#[test]
fn name_servers_are_read_from_the_lines_that_name_one() {
    let text = "# mine\nsearch example.org\nnameserver 192.0.2.1\n nameserver\t2001:db8::1 \nnameserver\n\
                nameserver nonsense\noptions edns0\nnameserver fe80::1%3\nnameserver 192.0.2.9\n";
    let servers: Vec<_> = servers::of_text(text)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        servers,
        ["192.0.2.1:53", "[2001:db8::1]:53", "[fe80::1%3]:53"]
    );
    assert_eq!(servers::of_text(""), []);
    assert_eq!(
        server("127.0.0.1:5353").unwrap().to_string(),
        "127.0.0.1:5353"
    );
    assert_eq!(server("[::1]:5353").unwrap().to_string(), "[::1]:5353");
    assert_eq!(server("127.0.0.1:0"), None);
    assert_eq!(server("name.example"), None);
}
