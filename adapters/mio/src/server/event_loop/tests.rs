use super::*;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};

use postier_core::maildir::context::StoreContext;
use postier_core::server::office::Office;
use postier_core::site::{Account, Aliases, Secret, SiteParts};

/// A client's command that is no command yet, and how much of it there is.
const PART_BYTES: usize = 40 * 1024;
const BUDGET_BYTES: usize = 64 * 1024;

/// A loop that the test drives itself. Nobody answers for the office; who does not log in needs none.
struct Driven {
    event_loop: EventLoop,
    events: Events,
    address: SocketAddr,
}

impl Driven {
    fn new() -> Self {
        let limits = Limits {
            buffers_bytes_max: BUDGET_BYTES,
            imap_greeting_bytes_max: 2 * PART_BYTES,
            // A test that waits for what does not come ends.
            imap_login: Duration::from_secs(30),
            ..Limits::default()
        };
        let secret = Secret::new("{PLAIN}x");
        let ann = Account::new(b"ann", b"example.test".as_slice(), b"/m".to_vec(), secret).unwrap();
        let (aliases, _) = Aliases::parse(b"postmaster: ann\n");
        let accounts = vec![ann];
        let parts = SiteParts { limits, accounts, aliases, ..SiteParts::new("localhost", ["example.test"]) };
        let site = Arc::new(Site::build(parts).unwrap().0);
        let listener = Listener::bind(Service::Imap, ([127, 0, 0, 1], 0).into(), false).unwrap();
        let address = listener.address;
        let log = Arc::new(EventLog::new(Box::new(|_| {})));
        let shared = Arc::new(Shared::new(Gate::new(100, 100), log, 1));
        let office = OfficeDesk::new(Office::new(Arc::new(StoreContext::new(crate::server::host_facts()))));
        let made = EventLoop::new(
            FrontIndex(0),
            (site, TlsConfigs::new(None, None)),
            vec![listener],
            shared,
            office,
            1,
        );
        Driven { event_loop: made.unwrap().0, events: Events::with_capacity(EVENTS), address }
    }

    fn until(&mut self, what: &str, mut done: impl FnMut(&EventLoop) -> bool) {
        while !done(&self.event_loop) {
            assert!(!self.event_loop.connections.is_empty(), "all gone before: {what}");
            self.event_loop.round(&mut self.events);
        }
    }

    fn connect(&mut self) -> std::net::TcpStream {
        let mut socket = std::net::TcpStream::connect(self.address).unwrap();
        socket.set_nonblocking(true).unwrap();
        self.event_loop.round(&mut self.events);
        self.hear(&mut socket, "* OK");
        socket
    }

    /// A connection that has said so much of a command, and whether also its end.
    fn connect_and_say(&mut self, end: &str) -> std::net::TcpStream {
        let mut socket = self.connect();
        let mut command = b"a WHATEVER ".to_vec();
        command.resize(PART_BYTES, b'x');
        command.extend_from_slice(end.as_bytes());
        socket.write_all(&command).unwrap();
        socket
    }

    fn hear(&mut self, socket: &mut std::net::TcpStream, what: &str) {
        let mut heard = Vec::new();
        self.until(what, |_| {
            let mut bytes = [0; 4096];
            let count = socket.read(&mut bytes).unwrap_or(0);
            heard.extend_from_slice(&bytes[..count]);
            String::from_utf8_lossy(&heard).contains(what)
        });
    }

    fn held(&self) -> usize {
        self.event_loop.budget.held()
    }
}

fn hears_nothing(socket: &mut std::net::TcpStream) -> bool {
    socket.read(&mut [0; 1]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

#[test]
fn over_the_budget_hoarders_wait_and_modest_clients_do_not() {
    let mut driven = Driven::new();
    let hoarders = [driven.connect_and_say(""), driven.connect_and_say("")];
    driven.until("two hoarders are over the budget", |l| l.budget.held() == 2 * PART_BYTES);
    assert!(2 * PART_BYTES > BUDGET_BYTES && driven.event_loop.budget.is_over());

    // A whole command, but a large one; and one who closes while waiting.
    let mut large = driven.connect_and_say("\r\n");
    driven.until("the large command waits", |l| l.budget.starved() == 1);
    let leaver = driven.connect_and_say("");
    driven.until("another one waits", |l| l.budget.starved() == 2);
    assert!(driven.held() <= 2 * PART_BYTES + 4 * super::super::budget::FLOOR_BYTES, "{}", driven.held());

    let mut modest = driven.connect();
    modest.write_all(b"m NOOP\r\n").unwrap();
    driven.hear(&mut modest, "m OK");
    assert!(hears_nothing(&mut large), "it had to wait");
    assert_eq!(driven.event_loop.budget.starved(), 2);

    leaver.shutdown(Shutdown::Write).unwrap();
    driven.until("who leaves is let go", |l| l.connections.len() == 4);
    assert!(hears_nothing(&mut large) && driven.event_loop.budget.starved() == 1);

    let [first, second] = hoarders;
    drop(first);
    driven.hear(&mut large, "a BAD");
    assert_eq!((driven.event_loop.budget.starved(), driven.held()), (0, PART_BYTES));

    drop((second, large));
    driven.until("only the modest one is left", |l| l.connections.len() == 1);
    assert_eq!(driven.held(), 0, "all is given back");
}

#[test]
fn who_was_told_of_the_end_and_lingers_has_no_turns() {
    let mut driven = Driven::new();
    let mut socket = driven.connect();
    let (now, event_loop) = (clock::now(), &mut driven.event_loop);
    event_loop.front.shutdown(now, &mut event_loop.actions);
    event_loop.carry_out(now);
    driven.hear(&mut socket, "* BYE");
    assert_eq!(driven.event_loop.connections.len(), 1, "the peer has not closed yet");
    assert!(driven.event_loop.queue.is_empty(), "it would turn as fast as the machine can");
}
