//! How the threads talk: messages to an event loop wake it, once for many.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use mio::{Registry, Token, Waker};
use postier_core::server::{Call, FromOffice};
use postier_core::site::Site;

use super::TlsConfigs;

/// What an event loop is told.
pub(super) enum ToLoop {
    /// An answer of the office.
    Office(FromOffice),
    /// Connect to another server.
    Call(Box<Call>),
    /// A new configuration.
    Reload(Arc<Site>, TlsConfigs),
    /// Accept nothing more, and end the sessions in good order.
    Shutdown,
    /// The time for good order is over.
    Abandon,
}

/// An event loop's address.
#[derive(Clone)]
pub(super) struct LoopSender {
    queue: mpsc::Sender<ToLoop>,
    bell: Arc<Bell>,
}

/// Where an event loop finds its messages.
pub(super) struct LoopReceiver {
    queue: mpsc::Receiver<ToLoop>,
    bell: Arc<Bell>,
}

struct Bell {
    waker: Waker,
    /// It rings already and the loop has not looked yet.
    ringing: AtomicBool,
}

/// The two ends; the loop's poll reports `token` when messages wait.
pub(super) fn loop_channel(registry: &Registry, token: Token) -> io::Result<(LoopSender, LoopReceiver)> {
    let bell = Arc::new(Bell { waker: Waker::new(registry, token)?, ringing: AtomicBool::new(false) });
    let (sender, receiver) = mpsc::channel();
    Ok((LoopSender { queue: sender, bell: bell.clone() }, LoopReceiver { queue: receiver, bell }))
}

impl LoopSender {
    /// Leaves a message without waking the loop; [`LoopSender::ring`] must follow.
    pub(super) fn leave(&self, message: ToLoop) {
        // A loop that has ended wants no messages.
        let _ = self.queue.send(message);
    }

    /// Wakes the loop.
    pub(super) fn ring(&self) {
        if !self.bell.ringing.swap(true, Ordering::AcqRel)
            && let Err(error) = self.bell.waker.wake()
        {
            tracing::error!(%error, "cannot wake an event loop");
        }
    }

    pub(super) fn send(&self, message: ToLoop) {
        self.leave(message);
        self.ring();
    }
}

impl LoopReceiver {
    /// To be called when the poll reported the token, before [`LoopReceiver::next`]: what is sent from now on
    /// rings again.
    pub(super) fn answer_bell(&self) {
        self.bell.ringing.store(false, Ordering::Release);
    }

    pub(super) fn next(&self) -> Option<ToLoop> {
        self.queue.try_recv().ok()
    }
}
