//! Every bound of the core, in one place.
//!
//! The configuration may change the values; the names are part of the documentation. Units stand last.

use core::time::Duration;

/// What a session and the office may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Octets of one message as it arrives (RFC 1870 SIZE; APPENDLIMIT).
    pub message_bytes_max: u64,
    /// Octets of one SMTP command line, its CRLF included (RFC 5321 §4.5.3.1.4 wants 512 at least).
    pub smtp_line_bytes_max: usize,
    /// Recipients of one transaction (RFC 5321 §4.5.3.1.8 wants 100 at least).
    pub smtp_recipients_max: usize,
    /// Transactions in one connection.
    pub smtp_transactions_max: usize,
    /// Refused recipients in one connection before it is closed.
    pub smtp_refused_recipients_max: usize,
    /// Commands without a transaction, and errors, before the connection is closed.
    pub errors_max: usize,
    /// Failed logins before the connection is closed.
    pub failed_logins_max: usize,
    /// `Received` fields above which a message is going round in circles (RFC 5321 §6.3 wants 100 at least).
    pub received_fields_max: usize,
    /// Waiting for a command or for more of a message (RFC 5321 §4.5.3.2.7 wants 5 minutes at least).
    pub smtp_idle: Duration,
    /// An SMTP connection may last this long in all.
    pub smtp_session: Duration,
    /// Waiting for the answer to an ask that does not touch the disk.
    pub answer: Duration,
    /// Waiting for a commit: above any stall of a disk that still works.
    pub commit: Duration,
    /// Octets of one IMAP command with its literals, APPEND's message not counted.
    pub imap_command_bytes_max: usize,
    /// Octets of one IMAP command before login.
    pub imap_greeting_bytes_max: usize,
    /// Messages of one APPEND (RFC 3502).
    pub imap_append_messages_max: usize,
    /// URLs of one APPEND (RFC 4469).
    pub imap_append_urls_max: usize,
    /// Mailboxes one connection can be told of by NOTIFY (RFC 5465): each is watched and kept open.
    pub imap_notify_mailboxes_max: usize,
    /// Searches one connection can have kept up (RFC 5267 §4.3): of each the result is remembered, and each change is
    /// searched again for all of them.
    pub imap_contexts_max: usize,
    /// Ranges of UIDs of which the results are together that one connection has kept up, 8 octets each.
    pub imap_context_ranges_max: usize,
    /// Waiting for an IMAP command after login (RFC 9051 §5.4 wants 30 minutes at least).
    pub imap_idle: Duration,
    /// A client is told that its command goes on after each such time (RFC 9585 §3.1 wants 10 to 15 seconds).
    pub imap_progress: Duration,
    /// Waiting for the login.
    pub imap_login: Duration,
    /// A connection's send queue: above this a machine stops producing, in octets.
    pub tx_high_water_bytes: u64,
    /// A connection's receive buffer grows to this, in octets.
    pub rx_bytes_max: usize,
    /// What all connections together hold in buffers; above this, who holds more than a little is not read from.
    pub buffers_bytes_max: usize,
    /// Annotations (RFC 5464).
    pub metadata: MetadataLimits,
    /// Failed logins.
    pub login: LoginLimits,
    /// Mail of local programs.
    pub pickup: PickupLimits,
    /// Connections in all.
    pub connections_max: usize,
    /// Connections from one address (IPv6: one /64).
    pub connections_per_address_max: usize,
}

/// Annotations of one mailbox, or of one account (RFC 5464 §4.1 wants 10 of 1024 octets at least).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetadataLimits {
    /// Octets of one value; with its command it has to be below [`Limits::imap_command_bytes_max`].
    pub value_bytes_max: usize,
    /// How many.
    pub entries_max: usize,
    /// Octets of all names and values.
    pub bytes_max: usize,
}

impl Default for MetadataLimits {
    fn default() -> Self {
        MetadataLimits { value_bytes_max: 32 * 1024, entries_max: 100, bytes_max: 256 * 1024 }
    }
}

/// Mail of local programs ([`pickup`](crate::pickup)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PickupLimits {
    /// Recipients of one mail.
    pub recipients_max: usize,
    /// Octets of a drop's envelope.
    pub envelope_bytes_max: usize,
    /// Octets of a header that is completed; a longer one is delivered as it is.
    pub header_bytes_max: usize,
    /// Drops taken at the same time.
    pub at_once_max: usize,
    /// Drops known at the same time; others wait in their directory.
    pub known_max: usize,
}

impl Default for PickupLimits {
    fn default() -> Self {
        PickupLimits {
            recipients_max: 10_000,
            envelope_bytes_max: 2 * 1024 * 1024,
            header_bytes_max: 256 * 1024,
            at_once_max: 4,
            known_max: 1000,
        }
    }
}

/// What failed logins cost ([`Throttle`](crate::server::throttle::Throttle)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoginLimits {
    /// Failures that cost nothing: people mistype.
    pub free: u32,
    /// The longest pause between two attempts from one address; zero: none at all.
    pub delay_max: Duration,
    /// The longest delay because of what others have done to an account.
    pub account_delay_max: Duration,
    /// Who would have to wait longer than this is told to try again later; shorter than [`Limits::answer`].
    pub wait_max: Duration,
    /// How long failures, and places where somebody has logged in, are remembered after the last time.
    pub remembered: Duration,
}

impl Default for LoginLimits {
    fn default() -> Self {
        LoginLimits {
            free: 3,
            delay_max: Duration::from_secs(15),
            account_delay_max: Duration::from_secs(2),
            wait_max: Duration::from_secs(30),
            remembered: Duration::from_secs(24 * 3600),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            message_bytes_max: 36_700_160,
            smtp_line_bytes_max: 4096,
            smtp_recipients_max: 1000,
            smtp_transactions_max: 1000,
            smtp_refused_recipients_max: 50,
            errors_max: 20,
            failed_logins_max: 5,
            received_fields_max: 100,
            smtp_idle: Duration::from_secs(300),
            smtp_session: Duration::from_secs(2 * 3600),
            answer: Duration::from_secs(60),
            commit: Duration::from_secs(600),
            imap_command_bytes_max: 64 * 1024,
            imap_greeting_bytes_max: 8 * 1024,
            imap_append_messages_max: 4096,
            imap_append_urls_max: 256,
            imap_notify_mailboxes_max: 1000,
            imap_contexts_max: 8,
            imap_context_ranges_max: 32 * 1024,
            imap_idle: Duration::from_secs(31 * 60),
            imap_progress: Duration::from_secs(12),
            imap_login: Duration::from_secs(180),
            tx_high_water_bytes: 256 * 1024,
            rx_bytes_max: 128 * 1024,
            buffers_bytes_max: 256 * 1024 * 1024,
            metadata: MetadataLimits::default(),
            login: LoginLimits::default(),
            pickup: PickupLimits::default(),
            connections_max: 10_000,
            connections_per_address_max: 512,
        }
    }
}
