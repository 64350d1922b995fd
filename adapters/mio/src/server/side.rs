//! Which end of a connection we are, and what that end needs.

use std::net::IpAddr;
use std::sync::Arc;

use mio::net::TcpStream;
use postier_core::queue::machine::LinkId;
use postier_core::server::{Call, Service};
use postier_host::tls::ServerTls;
use rustls::pki_types::ServerName;

use super::ClientTls;
use super::wire::{Wire, WireError};

/// Which end of the connection we are.
pub(super) enum Side {
    Server {
        service: Service,
        /// For STARTTLS, or for the first octet where the service wants it.
        tls: Option<ServerTls>,
    },
    Client {
        link: LinkId,
        /// Until there is a session.
        call: Option<Box<Call>>,
        /// The server's name; empty where it has none.
        host: Arc<str>,
        tls: ClientTls,
        /// Why there is no session, or no TLS, for a person; empty while all is well.
        why: String,
    },
}

impl Side {
    pub(super) fn implicit_tls(&self) -> bool {
        match self {
            Side::Server { service, .. } => service.implicit_tls(),
            Side::Client { call, .. } => call.as_ref().is_some_and(|call| call.setup.implicit_tls),
        }
    }

    /// For the log.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Side::Server { service, .. } => service.name(),
            Side::Client { .. } => "outgoing",
        }
    }

    /// Begins TLS. Nothing may wait to be sent.
    pub(super) fn start_tls(&self, wire: &mut Wire<TcpStream>, peer: IpAddr) -> Result<(), WireError> {
        match self {
            Side::Server { tls, .. } => {
                let config = tls.clone().ok_or_else(|| std::io::Error::other("there is no certificate"))?;
                wire.start_tls(config)
            }
            Side::Client { tls, host, .. } => wire.start_tls_to(tls.config.clone(), server_name(host, peer)),
        }
    }

    /// Why the certificate of the server at the other end is not good, where somebody wants to know.
    pub(super) fn doubt(&self, wire: &Wire<TcpStream>, peer: IpAddr) -> Option<(LinkId, String)> {
        match self {
            Side::Client { link, host, tls: ClientTls { judge: Some(judge), .. }, .. } => {
                judge.why_not(wire.certificates(), server_name(host, peer)).map(|why| (*link, why))
            }
            Side::Server { .. } | Side::Client { .. } => None,
        }
    }
}

/// The name a server is asked for. An address in brackets has none.
fn server_name(host: &str, peer: IpAddr) -> ServerName<'static> {
    ServerName::try_from(String::from(host)).unwrap_or_else(|_| ServerName::IpAddress(peer.into()))
}
