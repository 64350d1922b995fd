//! Why the server does not start, in words for a person.

use std::fmt;
use std::io;
use std::path::PathBuf;

use postier_core::server::Service;

use super::listen::ListenError;

/// Why a server does not start, or ends badly.
#[derive(Debug)]
pub(crate) enum RunError {
    /// A port cannot be had.
    Listen(ListenError),
    /// There is no certificate for a service that begins with TLS.
    NoCertificate(Service),
    /// The server cannot become its user.
    Identity(String, io::Error),
    /// The state directory does not work.
    State(PathBuf, io::Error),
    /// Another server runs with this state directory.
    AlreadyRunning(PathBuf),
    /// The system refuses something else.
    System(&'static str, io::Error),
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunError::Listen(error) => write!(f, "{error}"),
            RunError::NoCertificate(service) => write!(
                f,
                "{} begins with TLS and there is no certificate; name one under [tls] or turn it off with \
                 `{} = []` under [listen]",
                service.name(),
                service.name()
            ),
            RunError::Identity(name, error) => {
                write!(f, "cannot become the user {name}: {error}; start as root, or as {name}")
            }
            RunError::State(path, error) => {
                write!(f, "cannot use the state directory {}: {error}", path.display())
            }
            RunError::AlreadyRunning(path) => {
                write!(f, "a server runs with the state directory {} already", path.display())
            }
            RunError::System(what, error) => write!(f, "{what}: {error}"),
        }
    }
}

impl std::error::Error for RunError {}
