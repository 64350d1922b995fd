//! The resolver of the core against a real recursive resolver (Unbound) in front of a real authoritative server (NSD)
//! with a signed zone, on loopback; and with faults between them.
//!
//! Needs Debian's `unbound`, `nsd` and `ldnsutils`: ignored unless asked for (`cargo test -- --ignored`).

use std::fs;
use std::io::Read;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use postier_core::dns::name::DomainName;
use postier_core::dns::resolver::*;
use postier_core::dns::route::{NoRoute, Options, Route, RouteStep};
use postier_core::dns::{Failure, Kind, Outcome, Question, Records};
use postier_host::lookup::look_up;

const ZONE: &str = "\
$ORIGIN example.test.
$TTL 300
@        SOA ns root 1 3600 900 86400 60
@        NS ns
ns       A 127.0.0.1
@        MX 10 mx1
@        MX 10 mx2
@        MX 20 backup
mx1      A 192.0.2.1
mx1      AAAA 2001:db8::1
mx2      A 192.0.2.2
backup   CNAME mx1
null     MX 0 .
plain    A 192.0.2.9
loop1    CNAME loop2
loop2    CNAME loop1
text     TXT \"v=DKIM1; k=rsa; p=\" \"MIIB\"
_25._tcp.mx1 TLSA 3 1 1 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
";

/// A program that ends with its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(program: &str, args: &[&str]) -> Running {
    let child = Command::new(program)
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("{program} (apt install unbound nsd ldnsutils): {error}"));
    Running(child)
}

fn free_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn run(dir: &Path, program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).current_dir(dir).output();
    let output = output.unwrap_or_else(|error| panic!("{program} (apt install ldnsutils): {error}"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// NSD and Unbound with the zone above and one of long answers.
struct Internet {
    _nsd: Running,
    _unbound: Running,
    _dir: tempfile::TempDir,
    resolver: SocketAddr,
    authority: SocketAddr,
}

impl Internet {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path();
        let long: String = (0..60).map(|n| format!("long A 198.51.100.{n}\n")).collect();
        fs::write(at.join("zone"), format!("{ZONE}{long}")).unwrap();
        let key = run(at, "ldns-keygen", &["-a", "ECDSAP256SHA256", "-k", "example.test"]);
        run(at, "ldns-signzone", &["-n", "zone", &key]);
        let (authority, resolver) = (free_port(), free_port());
        fs::write(
            at.join("nsd.conf"),
            format!(
                "server:\n ip-address: 127.0.0.1\n port: {authority}\n username: \"\"\n chroot: \"\"\n zonesdir: \"{0}\"\n \
                 database: \"\"\n pidfile: \"{0}/nsd.pid\"\n xfrdfile: \"{0}/xfrd\"\n zonelistfile: \"{0}/list\"\n \
                 logfile: \"{0}/nsd.log\"\n server-count: 1\nremote-control:\n control-enable: no\n\
                 zone:\n name: example.test\n zonefile: zone.signed\n",
                at.display()
            ),
        )
        .unwrap();
        let anchor = fs::read_to_string(at.join(format!("{key}.ds"))).unwrap();
        fs::write(
            at.join("unbound.conf"),
            format!(
                "server:\n interface: 127.0.0.1\n port: {resolver}\n username: \"\"\n chroot: \"\"\n directory: \"{0}\"\n \
                 pidfile: \"{0}/unbound.pid\"\n use-syslog: no\n logfile: \"{0}/unbound.log\"\n do-not-query-localhost: no\n \
                 do-ip6: no\n trust-anchor: \"{1}\"\n local-zone: \"test.\" nodefault\nremote-control:\n control-enable: no\n\
                 stub-zone:\n name: example.test\n stub-addr: 127.0.0.1@{authority}\n\
                 stub-zone:\n name: dead.test\n stub-addr: 127.0.0.1@1\n",
                at.display(),
                anchor.split(';').next().unwrap().trim()
            ),
        )
        .unwrap();
        let internet = Internet {
            _nsd: start("nsd", &["-d", "-c", at.join("nsd.conf").to_str().unwrap()]),
            _unbound: start("unbound", &["-d", "-c", at.join("unbound.conf").to_str().unwrap()]),
            _dir: dir,
            resolver: SocketAddr::from(([127, 0, 0, 1], resolver)),
            authority: SocketAddr::from(([127, 0, 0, 1], authority)),
        };
        // Ready when the zone is served through both.
        let patience = Instant::now() + Duration::from_secs(30);
        while internet.ask("plain.example.test", Kind::A).is_err() {
            assert!(Instant::now() < patience, "unbound and nsd do not come up");
            thread::sleep(Duration::from_millis(100));
        }
        internet
    }

    fn config(&self) -> Config {
        Config { servers: vec![self.resolver], timeout: Duration::from_secs(3), ..Config::default() }
    }

    fn ask(&self, name: &str, kind: Kind) -> Outcome {
        ask(self.config(), name, kind)
    }
}

fn ask(config: Config, name: &str, kind: Kind) -> Outcome {
    let question = Question { name: DomainName::parse(name).unwrap(), kind };
    look_up(&mut Resolver::new(config, rand_seed()), question)
}

fn rand_seed() -> [u8; 32] {
    let mut seed = [0; 32];
    fs::File::open("/dev/urandom").unwrap().read_exact(&mut seed).unwrap();
    seed
}

#[test]
#[ignore = "needs unbound, nsd and ldnsutils"]
fn real_servers_are_understood() {
    let internet = Internet::start();

    let found = internet.ask("plain.example.test", Kind::A).unwrap();
    assert_eq!(found.records, Records::A(vec![[192, 0, 2, 9].into()]));
    assert!(found.authentic, "Unbound validates the zone and is on loopback");

    let Records::A(all) = internet.ask("long.example.test", Kind::A).unwrap().records else { panic!() };
    assert_eq!(all.len(), 60, "60 addresses do not fit into 1232 octets with signatures: TCP, or EDNS");

    let found = internet.ask("backup.example.test", Kind::Aaaa).unwrap();
    assert_eq!(found.name.as_str(), "mx1.example.test");

    let Records::Txt(text) = internet.ask("text.example.test", Kind::Txt).unwrap().records else { panic!() };
    assert_eq!(text, [b"v=DKIM1; k=rsa; p=MIIB"]);

    let found = internet.ask("_25._tcp.mx1.example.test", Kind::Tlsa).unwrap();
    let Records::Tlsa(tlsa) = &found.records else { panic!() };
    assert_eq!((tlsa[0].usage, tlsa[0].selector, tlsa[0].matching, tlsa[0].data.len()), (3, 1, 1, 32));
    assert!(found.authentic);

    assert_eq!(internet.ask("nothing.example.test", Kind::A), Err(Failure::NoName { authentic: true }));
    assert_eq!(internet.ask("mx2.example.test", Kind::Aaaa), Err(Failure::NoData { authentic: true }));
    let circle = internet.ask("loop1.example.test", Kind::A);
    assert!(matches!(circle, Err(Failure::AliasLoop | Failure::ServerFailure)), "{circle:?}");
    let dead = internet.ask("www.dead.test", Kind::A);
    assert!(matches!(dead, Err(Failure::ServerFailure | Failure::Timeout)), "{dead:?}");

    // A closed port, a server that only knows its own zones (it refuses others), then one that resolves.
    let servers = vec!["127.0.0.1:1".parse().unwrap(), internet.authority, internet.resolver];
    let outcome = ask(Config { servers, ..internet.config() }, "www.dead.test", Kind::A);
    assert!(outcome.is_err_and(|failure| failure.is_temporary()));
    let servers = vec!["127.0.0.1:1".parse().unwrap(), internet.resolver];
    let outcome = ask(Config { servers, ..internet.config() }, "plain.example.test", Kind::A);
    assert!(outcome.is_ok(), "{outcome:?}");

    routes_lead_to_the_exchangers(&internet);
    faults_on_the_way_are_survived(&internet);
}

fn routes_lead_to_the_exchangers(internet: &Internet) {
    let walk = |domain: &str| {
        let mut resolver = Resolver::new(internet.config(), rand_seed());
        let mut route = Route::new(DomainName::parse(domain).unwrap(), Options::default(), 1);
        let mut hops = vec![];
        loop {
            match route.poll() {
                RouteStep::Ask(question) => route.answer(look_up(&mut resolver, question)),
                RouteStep::Hop(hop) => {
                    hops.push((hop.host.to_string(), hop.address.to_string(), hop.authentic))
                }
                end => return (hops, end),
            }
        }
    };
    let (hops, end) = walk("example.test");
    assert_eq!(end, RouteStep::Exhausted);
    assert!(hops.iter().all(|(_, _, authentic)| *authentic));
    let backup: Vec<_> =
        hops[3..].iter().map(|(host, address, _)| (host.as_str(), address.as_str())).collect();
    assert_eq!(backup, [("backup.example.test", "2001:db8::1"), ("backup.example.test", "192.0.2.1")]);
    assert_eq!(walk("null.example.test").1, RouteStep::None(NoRoute::NullMx));
    assert_eq!(walk("gone.example.test").1, RouteStep::None(NoRoute::NoSuchDomain));
    assert_eq!(walk("plain.example.test").0[0].1, "192.0.2.9");
    assert!(matches!(walk("dead.test").1, RouteStep::None(NoRoute::Dns(_))));
}

/// A proxy before Unbound that loses, repeats, garbles and delays: the answer is right or there is none.
fn faults_on_the_way_are_survived(internet: &Internet) {
    let proxy = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = proxy.local_addr().unwrap();
    let upstream = internet.resolver;
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        for count in 0u32.. {
            let Ok((len, client)) = proxy.recv_from(&mut buffer) else { return };
            let query = buffer[..len].to_vec();
            let inner = UdpSocket::bind("127.0.0.1:0").unwrap();
            inner.connect(upstream).unwrap();
            inner.send(&query).unwrap();
            let len = inner.recv(&mut buffer).unwrap();
            let reply = buffer[..len].to_vec();
            let send = |octets: &[u8]| drop(proxy.send_to(octets, client));
            match count % 5 {
                // Lost.
                0 => {}
                // Under the wrong id, then the right one twice.
                1 => {
                    let mut wrong = reply.clone();
                    wrong[0] ^= 0x55;
                    send(&wrong);
                    send(&reply);
                    send(&reply);
                }
                // SERVFAIL.
                2 => {
                    let mut failed = query.clone();
                    (failed[2], failed[3]) = (0x81, 0x82);
                    send(&failed);
                }
                // Cut off in the middle, without saying so.
                3 => send(&reply[..reply.len() / 2]),
                _ => send(&reply),
            }
        }
    });
    let config = Config {
        servers: vec![address],
        timeout: Duration::from_millis(300),
        attempts: 5,
        ..Config::default()
    };
    for _ in 0..20 {
        let found = ask(config.clone(), "plain.example.test", Kind::A).unwrap();
        assert_eq!(found.records, Records::A(vec![[192, 0, 2, 9].into()]));
    }
}
