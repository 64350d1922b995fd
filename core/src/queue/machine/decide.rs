//! What an outcome means for a recipient, and what the sender is to be told.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::{Active, Tell};
use crate::queue::envelope::State;
use crate::queue::law::Law;
use crate::queue::notice::Action as Told;
use crate::smtp::client::reply::Reply;
use crate::smtp::client::{Lack, Outcome};
use crate::smtp::parameter::Notify;

/// What an outcome means for a recipient.
#[derive(Clone, Debug)]
pub(super) enum Decision {
    /// `dsn`: the other server tells the sender.
    Delivered {
        reply: String,
        dsn: bool,
    },
    Later(String),
    Never(String),
}

impl Decision {
    pub(super) fn of(outcome: Outcome) -> Self {
        let never = |why: &str| Decision::Never(why.to_string());
        match outcome {
            Outcome::Delivered { reply, dsn } => Decision::Delivered { reply: reply.to_string(), dsn },
            Outcome::Refused(reply) => Self::of_refusal(&reply),
            Outcome::Unfit(Lack::Size { max }) => {
                Decision::Never(format!("552 5.3.4 The server takes mails of up to {max} octets"))
            }
            Outcome::Unfit(Lack::SmtpUtf8) => {
                never("550 5.6.7 The server cannot take addresses or headers in UTF-8")
            }
            Outcome::Unfit(Lack::EightBit) => {
                never("554 5.6.3 The server cannot take mail with 8-bit characters")
            }
        }
    }

    pub(super) fn of_refusal(reply: &Reply) -> Self {
        match reply.is_permanent() {
            true => Decision::Never(reply.to_string()),
            false => Decision::Later(reply.to_string()),
        }
    }
}

/// Writes decisions into the envelope, and what the sender is to be told into the list.
pub(super) fn decide(
    active: &mut Active,
    law: Law,
    now: i64,
    seed: u64,
    host: Option<&str>,
    decided: impl Iterator<Item = (usize, Decision)>,
) {
    let (arrived, bounce) = (active.envelope.arrived, active.envelope.reverse_path.is_empty());
    let (mut failed, mut late, mut relayed) = (Vec::new(), Vec::new(), Vec::new());
    for (n, decision) in decided {
        let Some(recipient) = active.envelope.recipients.get_mut(n) else { continue };
        let State::Waiting { attempts, .. } = recipient.state else { continue };
        let wants = |pick: fn(&Notify) -> bool, default| recipient.notify.as_ref().map_or(default, pick);
        match decision {
            Decision::Delivered { reply, dsn } => {
                if !dsn && wants(|notify| notify.success, false) {
                    relayed.push(n);
                }
                recipient.state = State::Delivered { at: now, reply };
            }
            Decision::Later(last) if law.is_over(arrived, now, bounce) => {
                if wants(|notify| notify.failure, true) {
                    failed.push(n);
                }
                let days = now.saturating_sub(arrived) / 86_400;
                let why = format!("{last} (given up after {days} days)");
                recipient.state = State::Failed { at: now, why };
            }
            Decision::Later(last) => {
                if law.is_late(arrived, now) && !recipient.delay_told && wants(|notify| notify.delay, true) {
                    late.push(n);
                }
                let attempts = attempts.saturating_add(1);
                let pause = law.pause(attempts, seed).as_secs();
                recipient.state = State::Waiting { next: now.saturating_add_unsigned(pause), attempts, last };
            }
            Decision::Never(why) => {
                if wants(|notify| notify.failure, true) {
                    failed.push(n);
                }
                recipient.state = State::Failed { at: now, why };
            }
        }
    }
    // RFC 5321 §4.5.5: nobody is told about a notice.
    if bounce {
        return;
    }
    let lifetime = law.lifetime.as_secs();
    let until = arrived.saturating_add_unsigned(lifetime);
    let told = [(Told::Failed, failed), (Told::Delayed { until }, late), (Told::Relayed, relayed)];
    for (action, recipients) in told.into_iter().filter(|(_, recipients)| !recipients.is_empty()) {
        active.tells.push_back(Tell { action, recipients, host: host.map(Into::into) });
    }
}
