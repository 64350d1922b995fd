//! What a life of the server has to do with the rest of the world: calls, queries, and the queue it finds at its start.

use std::sync::Arc;

use postier_core::disk::{Op, Outcome, Resume, Task, TaskStep};
use postier_core::dns::resolver::{self, ExchangeId, Transport};
use postier_core::maildir::context::Root;
use postier_core::queue::spool::{self, Recovered};
use postier_core::server::office::{OfficeInput, outbound};
use postier_core::server::{Call, ConnId, LinkNews, ToOffice};

use super::Process;
use super::connection::Connection;
use crate::disk::exec::Begun;
use crate::env::{Env, Event};
use crate::network::LinkId;
use crate::plant::Plant;

/// Where the queue is.
pub const QUEUE: &str = "queue";

impl Process {
    /// What an earlier life has left is sent, too. The main thread does this before anything else, so it takes no time.
    pub(super) fn start_sending(&mut self, env: &mut Env) {
        let spool = Root::new(format!("/{QUEUE}").as_bytes());
        let root = spool.clone();
        let mut task = Task::new(move |disk| spool::recover(disk, root));
        let mut resume = Resume::Start;
        let recovered = loop {
            match task.resume(resume) {
                TaskStep::Op(Op::Clock) => resume = Resume::Outcome(Ok(Outcome::Now(env.now()))),
                TaskStep::Op(Op::Close { handle }) => {
                    self.descriptors.close(handle);
                    resume = Resume::Outcome(Ok(Outcome::Unit));
                }
                TaskStep::Op(op) => {
                    let begun: Begun = env.disk.begin(&self.descriptors, &op);
                    let now = env.now();
                    resume =
                        Resume::Outcome(env.disk.finish(&mut self.descriptors, op, begun, now, &mut env.rng));
                }
                TaskStep::NeedInput | TaskStep::Wait(_) => break Err("it waits".to_owned()),
                TaskStep::Done(result) => break result.map_err(|error| error.to_string()),
            }
        };
        let recovered = recovered.unwrap_or_else(|error| {
            env.ledger.violation(format!("the queue cannot be read: {error}"));
            Recovered::default()
        });
        if !recovered.damaged.is_empty() {
            env.ledger.violation(format!("damaged in the queue: {:?}", recovered.damaged));
        }
        let recovered = if env.planted.is(Plant::ForgetRecovery) { Recovered::default() } else { recovered };
        let dns =
            resolver::Config { servers: vec![([127, 0, 0, 53], 53).into()], ..resolver::Config::default() };
        let seed = std::array::from_fn(|_| env.rng.bits() as u8);
        // Nobody here has a policy about its mail servers.
        let (policies, kept) = (Root::new(b"/mta-sts"), Vec::new());
        let site = Arc::clone(&self.site);
        let setup = outbound::Setup { site, spool, recovered, policies, kept, dns, seed };
        self.office.send_mail(env.now(), setup);
        self.office_input(env, OfficeInput::Timeout);
    }

    /// The office wants a connection.
    pub(super) fn call(&mut self, env: &mut Env, call: Box<Call>) {
        let link = env.open_link(usize::MAX);
        let front = (link.0 % self.fronts.len() as u64) as usize;
        env.calls.push((link, call.address.ip()));
        let by = env.now + u64::try_from(call.patience.as_micros()).unwrap_or(u64::MAX);
        self.connections.insert(ConnId(link.0), Connection::to(front, call, by));
    }

    /// The other end has taken the connection.
    pub(super) fn called(&mut self, env: &mut Env, link: LinkId) {
        let id = ConnId(link.0);
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let Some(call) = connection.begin_session() else { return };
        let front = connection.front;
        self.fronts[front].call(env.now(), id, *call, &mut self.front_actions);
        self.carry_out(env);
        self.turns.push_back(id);
    }

    /// It has not come to a session.
    pub(super) fn uncalled(&mut self, env: &mut Env, call: &Call) {
        let news = LinkNews::Unconnected("no connection".into());
        let message = ToOffice::Link { caller: None, link: call.link, news };
        self.office_input(env, OfficeInput::Front(message));
    }

    /// The office asks the resolver.
    pub(super) fn ask_dns(
        &mut self,
        env: &mut Env,
        exchange: ExchangeId,
        transport: Transport,
        octets: &[u8],
    ) {
        let gullible = env.planted.is(Plant::BelieveForgeries);
        let Some(internet) = &mut env.internet else { return };
        for (wait, reply) in internet.resolve(octets, transport == Transport::Tcp, gullible) {
            env.last_reply += 1;
            let number = env.last_reply;
            env.replies.insert(number, (exchange.0, reply));
            env.after(wait, Event::Resolved(self.life, number));
        }
    }

    /// A reply of the resolver arrives.
    pub(super) fn resolved(&mut self, env: &mut Env, number: u64) {
        let Some((exchange, octets)) = env.replies.remove(&number) else { return };
        let exchange = ExchangeId(exchange);
        self.office_input(
            env,
            match octets {
                Some(octets) => OfficeInput::Received { exchange, octets },
                None => OfficeInput::ExchangeFailed(exchange),
            },
        );
    }
}
