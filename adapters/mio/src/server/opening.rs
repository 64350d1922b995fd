//! What the state directory holds for the office: secrets, the queue, policies of domains, mail of local programs.

use std::io;
use std::path::Path;
use std::sync::Arc;

use postier_core::auth::scram::ScramKey;
use postier_core::disk::Task;
use postier_core::dns::mta_sts::{Kept, files};
use postier_core::dns::name::DomainName;
use postier_core::dns::resolver;
use postier_core::maildir::context::Root;
use postier_core::queue::spool;
use postier_core::server::office::{Office, outbound};
use postier_core::site::Site;
use postier_host::clock;
use postier_host::disk::{self, DiskExecutor};
use postier_host::dkim::keyring::Keyring;

use super::error::RunError;
use super::secret_seed;

/// What a site is given out of the state directory: it is not the configuration's to say.
pub(super) fn add_secrets(site: &mut Arc<Site>, key: &ScramKey, keyring: &Keyring) {
    let site = Arc::make_mut(site);
    site.scram_key = key.clone();
    match keyring.read() {
        Ok(contents) => {
            for (path, why) in &contents.damaged {
                tracing::error!(path = %path.display(), why, "a DKIM key cannot be used");
            }
            site.dkim_keys = Arc::new(contents.signing());
        }
        Err(error) => {
            tracing::error!(%error, "the DKIM keys cannot be read; nothing is signed");
        }
    }
}

/// The queue's directory in the state directory,
const QUEUE: &str = "queue";
/// and that of the policies of domains.
const POLICIES: &str = "mta-sts";

/// The office sends mail, and what an earlier process has left in the queue to begin with.
pub(super) fn send_mail(
    office: &mut Office,
    site: Arc<Site>,
    state: &Path,
    dns: resolver::Config,
) -> Result<(), RunError> {
    let path = state.join(QUEUE);
    let spool = Root::new(path.as_os_str().as_encoded_bytes());
    let mut task = Task::new(|disk| spool::recover(disk, spool.clone()));
    let recovered = match disk::drive(&mut task, &mut DiskExecutor::default()) {
        disk::Ended::Done(Ok(recovered)) => recovered,
        disk::Ended::Done(Err(error)) => {
            return Err(RunError::State(path, io::Error::other(error.to_string())));
        }
        disk::Ended::NeedInput | disk::Ended::Wait(_) => {
            return Err(RunError::State(path, io::Error::other("it cannot be read now")));
        }
    };
    for name in &recovered.damaged {
        let name = String::from_utf8_lossy(name);
        tracing::warn!(%name, "a damaged file in the queue; it stays where it is, in mail/ there");
    }
    if !recovered.queued.is_empty() {
        tracing::info!(messages = recovered.queued.len(), "in the queue");
    }
    let seed = secret_seed().map_err(|error| RunError::System("no randomness", error))?;
    let policies = Root::new(state.join(POLICIES).as_os_str().as_encoded_bytes());
    let kept = load_policies(policies.clone());
    office.send_mail(clock::now(), outbound::Setup { site, spool, recovered, policies, kept, dns, seed });
    Ok(())
}

/// What is kept of the policies of domains; without them mail goes on, and each is fetched again.
fn load_policies(root: Root) -> Vec<(DomainName, Kept)> {
    let mut task = Task::new(|disk| files::load(disk, root));
    match disk::drive(&mut task, &mut DiskExecutor::default()) {
        disk::Ended::Done(Ok(kept)) => kept,
        disk::Ended::Done(Err(error)) => {
            tracing::error!(%error, "the policies of domains (MTA-STS) cannot be read");
            Vec::new()
        }
        disk::Ended::NeedInput | disk::Ended::Wait(_) => Vec::new(),
    }
}

/// The office takes the mail of local programs. Where it cannot, the rest is served all the same.
pub(super) fn pick_up(office: &mut Office, state: &Path) {
    match postier_host::pickup::prepare(state) {
        Ok(drop) => office.pick_up(clock::now(), Root::new(drop.as_os_str().as_encoded_bytes())),
        Err(error) => {
            let place = postier_host::pickup::directory(state);
            tracing::error!(%error, place = %place.display(), "no mail is taken from programs on this machine");
        }
    }
}
