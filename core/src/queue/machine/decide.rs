//! What an outcome means for a recipient, and what the sender is to be told.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::{Active, QueueAction, Tell};
use crate::event::Fate;
use crate::queue::envelope::State;
use crate::queue::law::Law;
use crate::queue::notice::Action as Told;
use crate::queue::spool::QueueId;
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
    /// It has not been tried.
    PutOff {
        until: i64,
        why: String,
        /// Somebody who asks is told why.
        noted: bool,
    },
}

/// Of which message something is decided, when, and where.
pub(super) struct Occasion<'a> {
    pub(super) id: &'a QueueId,
    pub(super) law: Law,
    pub(super) now: i64,
    /// Any number: it spreads the retries.
    pub(super) spread: u64,
    /// Who has said so, if somebody has.
    pub(super) host: Option<&'a str>,
    /// The destination, where the log does not know of it yet.
    pub(super) unreported: Option<&'a str>,
}

impl Occasion<'_> {
    /// A line for the log.
    fn report(&self, to: &str, fate: Fate, why: &str) -> QueueAction {
        let host = self.host.or(self.unreported).unwrap_or_default().into();
        QueueAction::Report { id: self.id.clone(), to: to.into(), host, fate, why: why.into() }
    }
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

/// So many seconds, for a person.
fn duration(seconds: i64) -> String {
    match seconds {
        ..7200 => format!("{} minutes", seconds / 60),
        7200..172_800 => format!("{} hours", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// Writes decisions into the envelope, and what the sender is to be told into the list.
pub(super) fn decide(
    active: &mut Active,
    occasion: &Occasion<'_>,
    decided: impl Iterator<Item = (usize, Decision)>,
    out: &mut Vec<QueueAction>,
) {
    let Occasion { law, now, .. } = *occasion;
    let (arrived, bounce) = (active.envelope.arrived, active.envelope.reverse_path.is_empty());
    let (mut failed, mut late, mut relayed) = (Vec::new(), Vec::new(), Vec::new());
    for (n, decision) in decided {
        let Some(recipient) = active.envelope.recipients.get_mut(n) else { continue };
        let State::Waiting { attempts, last: before, .. } = &recipient.state else { continue };
        let (attempts, is_first_word) = (*attempts, before.is_empty());
        let wants = |pick: fn(&Notify) -> bool, default| recipient.notify.as_ref().map_or(default, pick);
        let is_late =
            law.is_late(arrived, now) && !recipient.delay_told && wants(|notify| notify.delay, true);
        let mut report = |fate, why: &str| out.push(occasion.report(&recipient.forward_path, fate, why));
        let state = match decision {
            Decision::Delivered { reply, dsn } => {
                if !dsn && wants(|notify| notify.success, false) {
                    relayed.push(n);
                }
                State::Delivered { at: now, reply }
            }
            Decision::Later(last) | Decision::PutOff { why: last, .. }
                if law.is_over(arrived, now, bounce) =>
            {
                if wants(|notify| notify.failure, true) {
                    failed.push(n);
                }
                let why = format!("{last} (given up after {})", duration(now.saturating_sub(arrived)));
                report(Fate::Failed, &why);
                State::Failed { at: now, why }
            }
            Decision::Later(last) => {
                if is_late {
                    late.push(n);
                }
                if occasion.unreported.is_some() {
                    report(Fate::Deferred, &last);
                }
                let attempts = attempts.saturating_add(1);
                let pause = law.pause(attempts, occasion.spread).as_secs();
                State::Waiting { next: now.saturating_add_unsigned(pause), attempts, last }
            }
            Decision::PutOff { until, why, noted } => {
                if is_late {
                    late.push(n);
                }
                active.put_off.insert(n, until);
                if !noted || !is_first_word {
                    continue;
                }
                report(Fate::Deferred, &why);
                State::Waiting { next: until, attempts, last: why }
            }
            Decision::Never(why) => {
                if wants(|notify| notify.failure, true) {
                    failed.push(n);
                }
                if occasion.unreported.is_some() {
                    report(Fate::Failed, &why);
                }
                State::Failed { at: now, why }
            }
        };
        recipient.state = state;
        active.dirty = true;
    }
    // RFC 5321 §4.5.5: nobody is told about a notice.
    if bounce {
        return;
    }
    let lifetime = law.lifetime.as_secs();
    let until = arrived.saturating_add_unsigned(lifetime);
    let told = [(Told::Failed, failed), (Told::Delayed { until }, late), (Told::Relayed, relayed)];
    for (action, recipients) in told.into_iter().filter(|(_, recipients)| !recipients.is_empty()) {
        active.tells.push_back(Tell { action, recipients, host: occasion.host.map(Into::into) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_said_in_what_suits_them() {
        let words = [90, 7199, 7200, 86_400, 172_799, 172_800, 345_600].map(duration);
        assert_eq!(
            words,
            ["1 minutes", "119 minutes", "2 hours", "24 hours", "47 hours", "2 days", "4 days"]
        );
    }
}
