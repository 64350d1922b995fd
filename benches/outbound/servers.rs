//! The two servers, each with its configuration, its queue and its processes.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use postier_host::identity::Identity;
use postier_host::tls::self_signed;

use super::peers;

const POSTFIX: &str = "/usr/sbin/postfix";
/// Debian's, or what Postfix itself comes with.
const MASTER: [&str; 2] = ["/etc/postfix/master.cf", "/usr/share/postfix/master.cf.dist"];
/// A server that has used no processor for this long has nothing to do.
const QUIET: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Postier,
    Postfix,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Postier => "postier",
            Kind::Postfix => "Postfix",
        }
    }
}

/// Which servers there are to be measured.
pub(crate) fn available() -> Result<Vec<Kind>, String> {
    peers::postier()?;
    let is_root = Identity::current().is_ok_and(|me| me.uid == 0);
    let lacks = match (Path::new(POSTFIX).exists(), is_root) {
        (true, true) => return Ok(vec![Kind::Postier, Kind::Postfix]),
        (false, _) => format!("{POSTFIX} is missing (apt install postfix)"),
        (true, false) => "Postfix runs as root only".to_owned(),
    };
    eprintln!("{lacks}: postier alone");
    Ok(vec![Kind::Postier])
}

/// A server that runs, with a directory of its own.
pub(crate) struct Server {
    kind: Kind,
    home: PathBuf,
    port: u16,
    /// Ours; Postfix's parent is nobody.
    child: Option<Child>,
    pid: u32,
}

impl Server {
    /// `routes` are the ports of `d0.test`, `d1.test`, …
    pub(crate) fn start(kind: Kind, parent: &Path, routes: &[u16]) -> Result<Self, String> {
        let port = peers::free_port()?;
        let home = parent.join(format!("postier-outbound-{}-{port}", std::process::id()));
        let _ = fs::remove_dir_all(&home);
        let mut server = Self { kind, home, port, child: None, pid: 0 };
        let made = match kind {
            Kind::Postier => server.write_postier(routes),
            Kind::Postfix => server.write_postfix(routes),
        };
        made.map_err(|error| format!("{}: {error}", server.home.display()))?;
        match kind {
            Kind::Postier => {
                let log = fs::File::create(server.home.join("output")).map_err(|error| error.to_string())?;
                let mut command = Command::new(peers::postier()?);
                command.arg("serve").arg("--config").arg(server.home.join("postier.toml"));
                command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
                let child = command.spawn().map_err(|error| format!("postier: {error}"))?;
                (server.pid, server.child) = (child.id(), Some(child));
            }
            Kind::Postfix => {
                server.postfix(POSTFIX, "start")?;
                let pid = fs::read_to_string(server.home.join("spool/pid/master.pid"));
                let pid = pid.map_err(|error| format!("Postfix does not start: {error}"))?;
                server.pid = pid.trim().parse().map_err(|_| format!("{pid} is no process"))?;
            }
        }
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if start.elapsed() > Duration::from_secs(20) {
                let said = ["output", "maillog"].map(|log| fs::read_to_string(server.home.join(log)));
                let said: String = said.into_iter().flatten().collect();
                return Err(format!("{} does not start: {said}", kind.name()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// PSS of all processes, in kilobytes.
    pub(crate) fn memory(&self) -> f64 {
        peers::memory(self.pid)
    }

    /// Has everything that waits tried now.
    pub(crate) fn flush(&self) -> Result<(), String> {
        match self.kind {
            Kind::Postier => {
                let mut command = Command::new(peers::postier()?);
                good(command.args(["queue", "flush", "--config"]).arg(self.home.join("postier.toml")))
            }
            Kind::Postfix => self.postfix("/usr/sbin/postqueue", "-f"),
        }
    }

    /// Returns when the server has nothing to do for the moment.
    pub(crate) fn wait_until_quiet(&self) -> Result<(), String> {
        let start = Instant::now();
        let (mut used, mut since) = (self.ticks(), Instant::now());
        while since.elapsed() < QUIET {
            if start.elapsed() > Duration::from_secs(120) {
                return Err("it does not come to rest".into());
            }
            std::thread::sleep(Duration::from_millis(50));
            let now = self.ticks();
            if now != used {
                (used, since) = (now, Instant::now());
            }
        }
        Ok(())
    }

    /// Processor time of all processes, of those that have ended, too.
    fn ticks(&self) -> u64 {
        let ticks = |pid: u32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let fields = stat.rsplit_once(')').map_or("", |(_, behind)| behind);
            // utime, stime, cutime, cstime: proc(5).
            fields
                .split_whitespace()
                .skip(11)
                .take(4)
                .filter_map(|ticks| ticks.parse::<u64>().ok())
                .sum::<u64>()
        };
        peers::family(self.pid).into_iter().map(ticks).sum()
    }

    fn postfix(&self, program: &str, argument: &str) -> Result<(), String> {
        good(Command::new(program).arg("-c").arg(self.home.join("postfix")).arg(argument))
    }

    fn write_postier(&self, routes: &[u16]) -> std::io::Result<()> {
        fs::create_dir_all(&self.home)?;
        let made = self_signed(&["localhost"]).map_err(std::io::Error::other)?;
        fs::write(self.home.join("crt"), made.certificate)?;
        fs::write(self.home.join("key"), made.key)?;
        fs::set_permissions(self.home.join("key"), fs::Permissions::from_mode(0o600))?;
        let user = Identity::current()?.name;
        let routes: String = (routes.iter().enumerate())
            .map(|(n, port)| format!("\"d{n}.test\" = \"127.0.0.1:{port}\"\n"))
            .collect();
        let config = format!(
            "hostname = \"localhost\"\ndomains = [\"example.test\"]\nuser = \"{user}\"\nstate = \"state\"\n\
             [tls]\ncertificate = \"crt\"\nkey = \"key\"\n[accounts]\nfile = \"users\"\n[mail]\nmaildir = \"mail/{{domain}}/{{user}}\"\n[aliases]\nfile = \"aliases\"\n\
             [listen]\nsmtp = [\"127.0.0.1:{}\"]\nsubmission = []\nsubmissions = []\nimap = []\nimaps = []\n\
             [relay]\nfrom = [\"127.0.0.1\"]\n[routes]\n{routes}",
            self.port
        );
        fs::write(self.home.join("postier.toml"), config)?;
        fs::write(self.home.join("users"), "ann@example.test:{PLAIN}x\n")?;
        fs::write(self.home.join("aliases"), "postmaster: ann\n")
    }

    fn write_postfix(&self, routes: &[u16]) -> std::io::Result<()> {
        let (home, port) = (self.home.display(), self.port);
        for part in ["postfix", "spool", "data"] {
            fs::create_dir_all(self.home.join(part))?;
        }
        fs::set_permissions(&self.home, fs::Permissions::from_mode(0o755))?;
        let main = format!(
            "compatibility_level = 3.6\nqueue_directory = {home}/spool\ndata_directory = {home}/data\n\
             maillog_file_prefixes = {home}\nmaillog_file = {home}/maillog\nmyhostname = localhost\nmydestination =\n\
             alias_maps =\ninet_interfaces = 127.0.0.1\ninet_protocols = ipv4\nmynetworks = 127.0.0.0/8\n\
             disable_dns_lookups = yes\nsmtp_host_lookup = native\nsmtpd_peername_lookup = no\nin_flow_delay = 0\n\
             transport_maps = texthash:{home}/postfix/transport\n"
        );
        fs::write(self.home.join("postfix/main.cf"), main)?;
        let transport: String = (routes.iter().enumerate())
            .map(|(n, port)| format!("d{n}.test smtp:[127.0.0.1]:{port}\n"))
            .collect();
        fs::write(self.home.join("postfix/transport"), transport)?;
        let master = MASTER.iter().find_map(|path| fs::read_to_string(path).ok()).unwrap_or_default();
        let master: Vec<String> = master.lines().map(|line| master_line(line, port)).collect();
        fs::write(self.home.join("postfix/master.cf"), master.join("\n") + "\n")?;
        let owner = Identity::lookup("postfix")?.map_or((0, 0), |user| (user.uid, user.gid));
        peers::give(&self.home.join("data"), owner)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        match &mut self.child {
            Some(child) => peers::stop(child),
            None => {
                let _ = self.postfix(POSTFIX, "stop");
            }
        }
        let _ = fs::remove_dir_all(&self.home);
    }
}

/// A line of Debian's `master.cf`: without the chroot, which would want files of its own, and on a port of ours.
fn master_line(line: &str, port: u16) -> String {
    let mut words: Vec<&str> = line.split_whitespace().collect();
    if line.starts_with([' ', '\t', '#']) || words.len() < 8 {
        return line.to_owned();
    }
    let address = format!("127.0.0.1:{port}");
    words[4] = "n";
    if words[..2] == ["smtp", "inet"] {
        words[0] = &address;
    }
    words.join(" ")
}

fn good(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr))),
    }
}
