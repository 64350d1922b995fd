//! Targets for `postier_core::maildir`.

use postier_core::imap::flag::{FlagSet, SystemFlag};
use postier_core::maildir::fuzzing::{check_cache, check_index};
use postier_core::maildir::name::FileName;
use postier_core::maildir::uidlist::{Records, Tail, Uidlist, Version, push_record};

/// The name of a message file, and the names it has with other flags.
pub fn maildir_name(octets: &[u8]) {
    let name = FileName::parse(octets);
    let all = SystemFlag::ALL.into_iter().fold(FlagSet::EMPTY, FlagSet::with);
    for flags in [name.flags(), FlagSet::EMPTY, all, FlagSet::EMPTY.with(SystemFlag::Seen).with_keyword(3)] {
        let renamed = name.with_flags(flags);
        let again = FileName::parse(&renamed);
        assert_eq!(again.base(), name.base(), "the identity stays");
        assert_eq!(again.flags(), flags);
        assert_eq!((again.size(), again.virtual_size()), (name.size(), name.virtual_size()));
        assert!(again.is_message() || !name.is_message());
        assert_eq!(again.with_flags(flags), renamed, "nothing left to do");
        assert!(again.order() == name.order());
    }
}

/// `dovecot-uidlist`: what is read, written anew, is the same; a file that grew is read on from its old end.
pub fn maildir_uidlist(file: &[u8]) {
    let Ok(list) = Uidlist::parse(file) else { return };
    assert!(list.records.is_sorted_by(|a, b| a.uid < b.uid));
    assert!(list.records.last().is_none_or(|last| last.uid < list.next_uid()));
    let order = list.by_base();
    let base = |index: &u32| list.records[*index as usize].base;
    assert!(order.is_sorted_by(|a, b| base(a) < base(b)));

    let mut written = Vec::new();
    list.header.push(&mut written);
    let header_end = written.len();
    let mut line_starts = Vec::new();
    for record in &list.records {
        line_starts.push(written.len());
        push_record(&mut written, record.uid, record.keys, record.base);
    }
    let again = Uidlist::parse(&written).expect("what is written can be read");
    assert_eq!((again.version, again.tail), (Version::V3, Tail::Clean));
    assert_eq!(again.header, list.header);
    assert_eq!(again.next_uid(), list.next_uid());
    let identity =
        |list: &Uidlist<'_>| list.records.iter().map(|r| (r.uid, r.base.to_vec())).collect::<Vec<_>>();
    assert_eq!(identity(&again), identity(&list));
    assert!(written.len() > header_end || list.records.is_empty());

    // Any record may be the first that was appended since the last look.
    let half = line_starts.len() / 2;
    if let Some(&start) = line_starts.get(half) {
        let before = half.checked_sub(1).map_or(0, |index| again.records[index].uid);
        let mut records = Records::new(&written, start, Version::V3, before);
        let mut count = half;
        while let Some(record) = records.next_record().expect("the same lines") {
            assert_eq!(record, again.records[count]);
            count += 1;
        }
        assert_eq!(count, again.records.len());
        // Half a line at the end is no record and no error.
        let torn = Uidlist::parse(&written[..written.len() - 1]).expect("a torn tail is no error");
        assert_eq!(torn.records.len() + 1, again.records.len());
        assert_ne!(torn.tail, Tail::Clean);
    }
}

/// `postier.index`: see [`check_index`].
pub fn maildir_index(octets: &[u8]) {
    check_index(octets);
}

/// A block of `postier.cache`: see [`check_cache`].
pub fn maildir_cache(octets: &[u8]) {
    check_cache(octets);
}
