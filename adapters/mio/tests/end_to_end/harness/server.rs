//! A running server: where it listens, what it logs, how it ends.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use super::{Imap, PATIENCE, Site, Smtp, eventually};

/// The built binary.
pub(crate) fn postier() -> Command {
    Command::new(assert_cmd::cargo::cargo_bin("postier"))
}

/// Killed when the test is over, whatever its end.
pub(crate) struct Server {
    child: Child,
    log: Arc<Log>,
    ports: BTreeMap<String, u16>,
    tls: Arc<rustls::ClientConfig>,
}

impl Server {
    pub(crate) fn start(site: &Site) -> Self {
        let mut command = postier();
        command.arg("serve").arg("--config").arg(site.config());
        Self::spawn(site, command)
    }

    /// A command that becomes the server of the site. It serves when this returns.
    pub(crate) fn spawn(site: &Site, mut command: Command) -> Self {
        // The ports it was given are in its log, one JSON object a line.
        if !std::fs::read_to_string(site.config()).unwrap().contains("[log]") {
            site.add("postier.toml", "[log]\nformat = \"json\"\n");
        }
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Log::follow(child.stderr.take().unwrap());
        let mut server = Server { child, log, ports: BTreeMap::new(), tls: site.tls() };
        server.wait_for_log("\"serving\"");
        for line in server.log().lines().filter(|line| line.contains("\"listening\"")) {
            let event: serde_json::Value = serde_json::from_str(line).unwrap();
            let address: SocketAddr = event["address"].as_str().unwrap().parse().unwrap();
            server.ports.insert(event["service"].as_str().unwrap().to_owned(), address.port());
        }
        server
    }

    pub(crate) fn port(&self, service: &str) -> u16 {
        self.ports[service]
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything it has logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.text.lock().unwrap().text.clone()
    }

    pub(crate) fn wait_for_log(&self, mark: &str) {
        self.log.wait(0, mark);
    }

    /// Does something, and waits for what the server then says about it.
    pub(crate) fn after(&self, act: impl FnOnce(&Self), mark: &str) {
        let begun = self.log().len();
        act(self);
        self.log.wait(begun, mark);
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Waits for its end, which something else has brought about.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        eventually("the server's end", || self.child.try_wait().unwrap())
    }

    /// Ends it in order.
    pub(crate) fn stop(mut self) {
        self.signal("TERM");
        assert!(self.ended().success());
    }

    /// Stops it where it is: when this returns, none of its threads will leave the kernel any more.
    pub(crate) fn freeze(&self) {
        self.signal("STOP");
        let tasks = format!("/proc/{}/task", self.pid());
        eventually("the server stands still", || {
            let halted = |task: std::fs::DirEntry| {
                let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
                // The state stands behind the name in parentheses: stopped, or in the kernel and about to be.
                stat.rsplit_once(") ").is_none_or(|(_, stat)| stat.starts_with(['T', 't', 'D']))
            };
            std::fs::read_dir(&tasks).unwrap().all(|task| halted(task.unwrap())).then_some(())
        });
    }

    /// Ends it as a power failure would, but for what the kernel has.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// A connection to port 25.
    pub(crate) fn exchange(&self) -> Smtp {
        Smtp::connect(self.port("smtp"), &self.tls)
    }

    /// A connection to the submission port, inside TLS and logged in.
    pub(crate) fn submission(&self, user: &str) -> Smtp {
        let mut smtp = Smtp::connect(self.port("submission"), &self.tls);
        smtp.expect("EHLO localhost", 250);
        smtp.start_tls();
        smtp.expect("EHLO localhost", 250);
        smtp.login(user, super::PASSWORD);
        smtp
    }

    /// Makes connections to port 25, when the server is not at hand.
    pub(crate) fn exchanges(&self) -> impl Fn() -> Smtp + Send + use<> {
        let (port, tls) = (self.port("smtp"), self.tls.clone());
        move || Smtp::connect(port, &tls)
    }

    pub(crate) fn smtp(&self, service: &str) -> Smtp {
        Smtp::connect(self.port(service), &self.tls)
    }

    /// A connection to IMAP with TLS, logged in.
    pub(crate) fn imap(&self, user: &str) -> Imap {
        let mut imap = self.imap_greeted("imaps");
        imap.ok(&format!("LOGIN {user} {}", super::PASSWORD));
        imap
    }

    pub(crate) fn imap_greeted(&self, service: &str) -> Imap {
        Imap::connect(self.port(service), service == "imaps", &self.tls)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let ended = self.child.try_wait();
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            if let Ok(Some(status)) = ended {
                eprintln!("the server had ended before the test: {status}");
            }
            eprintln!("the server's log:\n{}", self.log());
        }
    }
}

/// What comes out of the standard error, as it comes.
struct Log {
    text: Mutex<Text>,
    grown: Condvar,
}

#[derive(Default)]
struct Text {
    text: String,
    ended: bool,
}

impl Log {
    fn follow(source: impl std::io::Read + Send + 'static) -> Arc<Self> {
        let log = Arc::new(Log { text: Mutex::default(), grown: Condvar::new() });
        let writer = log.clone();
        thread::spawn(move || {
            let mut source = BufReader::new(source);
            let mut line = Vec::new();
            loop {
                line.clear();
                let more = source.read_until(b'\n', &mut line).is_ok_and(|count| count > 0);
                let mut text = writer.text.lock().unwrap();
                text.text.push_str(&String::from_utf8_lossy(&line));
                text.ended = !more;
                writer.grown.notify_all();
                if !more {
                    return;
                }
            }
        });
        log
    }

    fn wait(&self, from: usize, mark: &str) {
        let text = self.text.lock().unwrap();
        let waiting = |text: &mut Text| !text.text[from..].contains(mark) && !text.ended;
        let (text, _) = self.grown.wait_timeout_while(text, PATIENCE, waiting).unwrap();
        let (found, ended) = (text.text[from..].contains(mark), text.ended);
        // A panic must not hold the lock: the log is shown after it.
        drop(text);
        assert!(found, "no {mark:?} in the log; the server has ended: {ended}");
    }
}
