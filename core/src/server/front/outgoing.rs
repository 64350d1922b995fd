//! Sessions with other servers: everything they ask, the office answers.

use super::desk::{Clerk, Client};
use crate::server::LinkNews;
use crate::smtp::client::{Answer, Ask, Session};

impl Client for Session {
    fn take(clerk: &mut Clerk<'_>, ask: Ask) -> Option<Answer> {
        clerk.desk.tell_link(LinkNews::Ask(ask), clerk.out);
        None
    }
}
