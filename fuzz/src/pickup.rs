//! Targets for `postier_core::pickup`.

use postier_core::pickup::Drop;
use postier_core::pickup::arguments;
use postier_core::pickup::compose::{Author, Ending, complete, header_end, recipients};

/// A drop as anybody on the machine may write it: envelope and message.
pub fn pickup_drop(data: &[u8]) {
    let message = match Drop::from_file(data, 100) {
        Some((drop, at)) => {
            let file = [drop.to_file(), data[at..].to_vec()].concat();
            assert_eq!(Drop::from_file(&file, 100).map(|(read, _)| read), Some(drop));
            &data[at..]
        }
        None => data,
    };
    let author = Author { address: "ann@example.org", name: "Ann", domain: "example.org" };
    let completed = complete(message, author);
    match header_end(message) {
        Some(end) => assert!(completed.ends_with(&message[end..]), "the body is kept"),
        None => assert_eq!(completed, message),
    }
    for recipient in recipients(message) {
        assert!(!recipient.is_empty());
    }
    let (mut out, mut ending) = (Vec::new(), Ending::new());
    if !ending.feed(message, &mut out) {
        ending.finish(&mut out);
    }
    assert!(message.starts_with(&out), "a message is cut at its end, and nowhere else");
    let words: Vec<String> = String::from_utf8_lossy(data).split_whitespace().map(str::to_owned).collect();
    let _ = arguments::parse(&words);
}
