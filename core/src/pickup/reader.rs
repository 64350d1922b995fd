//! A drop's message on its way into queue and mailboxes: read in pieces, completed, with LF line ends.
//!
//! What is done to it is what is done to a submission, by the same [`Message`]; before that its header is completed
//! ([`compose::complete`]), as far as it fits into [`PickupLimits::header_bytes_max`](crate::limits::PickupLimits).

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use super::compose::{self, Author};
use crate::disk::{Disk, Handle};
use crate::maildir::context::{At, StoreError, StoreErrorKind};
use crate::smtp::reply::Reply;
use crate::smtp::server::message::Message;
use crate::wire::eol::ToLf;

/// Octets read at once.
const READ_BYTES: usize = 64 * 1024;

/// See the module's manual.
#[derive(Debug)]
pub(crate) struct Reader {
    /// The open drop.
    pub(crate) file: Handle,
    /// Its name, for errors.
    pub(crate) name: Box<[u8]>,
    /// Where the next octets are.
    pub(crate) offset: u64,
    /// What the header is completed with, until it is.
    pub(crate) author: Option<Completing>,
    pub(crate) message: Message,
    pub(crate) eol: ToLf,
    /// The end has been passed.
    pub(crate) over: bool,
}

/// [`Author`], and how much of a header is completed.
#[derive(Debug)]
pub(crate) struct Completing {
    pub(crate) address: String,
    pub(crate) name: String,
    pub(crate) domain: String,
    pub(crate) header_bytes_max: usize,
}

impl Reader {
    /// The next octets, as they are stored; `None` at the end.
    ///
    /// # Errors
    /// [`StoreErrorKind::TooBig`]; [`StoreErrorKind::Cannot`] for a mail that goes round in circles; what reading says.
    pub(crate) async fn next(&mut self, disk: &Disk) -> Result<Option<Vec<u8>>, StoreError> {
        if self.over {
            return Ok(None);
        }
        let mut out = Vec::new();
        let octets = match self.author.take() {
            Some(completing) => {
                self.eol.feed(&self.message.take_trace(), &mut out);
                self.read_header(disk, completing).await?
            }
            None => self.read(disk, READ_BYTES).await?,
        };
        if let Some(octets) = self.message.pass(&octets) {
            self.eol.feed(&octets, &mut out);
        }
        // Only the end of the file is empty.
        if octets.is_empty() {
            self.over = true;
            let last = self.message.finish();
            self.eol.feed(&last, &mut out);
            core::mem::replace(&mut self.eol, ToLf::new()).finish(&mut out);
        }
        match self.message.fault() {
            None => Ok(Some(out)),
            Some(Reply::MessageTooBig) => Err(StoreError::new(StoreErrorKind::TooBig, &self.name)),
            Some(_) => Err(StoreError::new(StoreErrorKind::Cannot, &self.name)),
        }
    }

    async fn read(&mut self, disk: &Disk, len: usize) -> Result<Vec<u8>, StoreError> {
        let octets = disk.read(self.file, self.offset, len).await.at(&self.name)?;
        self.offset = self.offset.saturating_add(octets.len() as u64);
        Ok(octets)
    }

    /// The beginning, with the header completed.
    async fn read_header(&mut self, disk: &Disk, completing: Completing) -> Result<Vec<u8>, StoreError> {
        let Completing { address, name, domain, header_bytes_max } = completing;
        let mut beginning = Vec::new();
        while compose::header_end(&beginning).is_none() && beginning.len() < header_bytes_max {
            let more = self.read(disk, READ_BYTES).await?;
            if more.is_empty() {
                // A header that is all there is ends here.
                if !beginning.ends_with(b"\n") && !beginning.is_empty() {
                    beginning.push(b'\n');
                }
                beginning.push(b'\n');
                break;
            }
            beginning.extend_from_slice(&more);
        }
        Ok(compose::complete(&beginning, Author { address: &address, name: &name, domain: &domain }))
    }
}
