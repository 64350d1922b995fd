//! Targets for `postier_core::smtp`.

use postier_core::smtp::address::{
    DOMAIN_BYTES_MAX, Domain, ForwardPath, LOCAL_PART_BYTES_MAX, MAILBOX_BYTES_MAX, Mailbox, ReversePath,
};
use postier_core::smtp::command::{Command, parse};

/// One command line.
pub fn smtp_command(line: &[u8]) {
    let command = match parse(line) {
        Ok(command) => command,
        Err(mistake) => {
            let reply = mistake.reply();
            assert!(matches!(reply.code(), 400..600), "a mistake is answered by a refusal");
            let mut out = Vec::new();
            reply.write(&mut out);
            assert!(out.ends_with(b"\r\n"));
            return;
        }
    };
    assert_eq!(parse(&[line, b" \t"].concat()), Ok(command), "blanks at the end mean nothing");
    let shown = format!("{command:?}");
    match command {
        Command::Mail(mail) => same_reverse_path(mail.reverse_path),
        Command::Rcpt(rcpt) => same_forward_path(rcpt.forward_path),
        Command::Auth(auth) => {
            let secret = auth.initial_response.filter(|secret| secret.len() > 20);
            assert!(secret.is_none_or(|secret| !shown.contains(secret)), "a secret is shown");
        }
        Command::Ehlo(name) | Command::Helo(name) => {
            assert!(!name.is_empty() && !name.contains([' ', '\t', '\r', '\n']));
        }
        Command::Vrfy(argument) | Command::Expn(argument) => assert!(!argument.contains(['\r', '\n'])),
        Command::Data
        | Command::Bdat { .. }
        | Command::Rset
        | Command::Noop
        | Command::Help
        | Command::Quit
        | Command::StartTls => {}
    }
}

/// Paths and mailboxes; what is written is read back as the same.
pub fn smtp_address(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(mailbox) = Mailbox::parse(text) {
        same_mailbox(mailbox);
    }
    if let Ok((path, rest)) = ReversePath::parse_prefix(text) {
        assert!(text.ends_with(rest) && (rest.is_empty() || rest.starts_with([' ', '\t'])));
        same_reverse_path(path);
    }
    if let Ok((path, rest)) = ForwardPath::parse_prefix(text) {
        assert!(text.ends_with(rest) && (rest.is_empty() || rest.starts_with([' ', '\t'])));
        same_forward_path(path);
    }
}

fn same_mailbox(mailbox: Mailbox<'_>) {
    let written = mailbox.to_string();
    assert_eq!(Mailbox::parse(&written), Ok(mailbox));
    assert_eq!(mailbox.is_ascii(), written.is_ascii());
    assert!(!written.chars().any(char::is_control));
    assert!(mailbox.local.to_string().len() <= LOCAL_PART_BYTES_MAX);
    if let Domain::Name(name) = mailbox.domain {
        assert!(name.len() <= DOMAIN_BYTES_MAX && written.len() <= MAILBOX_BYTES_MAX);
    }
}

fn same_reverse_path(path: ReversePath<'_>) {
    let written = path.to_string();
    let (again, rest) = ReversePath::parse_prefix(&written).expect("it is a path");
    assert_eq!((again.mailbox(), rest), (path.mailbox(), ""));
    path.mailbox().into_iter().for_each(same_mailbox);
}

fn same_forward_path(path: ForwardPath<'_>) {
    let written = path.to_string();
    let (again, rest) = ForwardPath::parse_prefix(&written).expect("it is a path");
    assert_eq!((again.mailbox(), rest), (path.mailbox(), ""));
    path.mailbox().into_iter().for_each(same_mailbox);
}
