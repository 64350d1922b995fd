use super::flags::FlagStates;
use super::*;

fn place(folder: &str) -> Place {
    Place { account: 0, folder: folder.into() }
}

const T: Token = Token(1);

fn seen(uid: u32, flags: FlagBits) -> Seen {
    Seen { uid, flags, token: Some(T), whole: true }
}

fn judged(ledger: &mut Ledger, folder: &str, found: &[Seen]) -> usize {
    let before = ledger.violations.len();
    ledger.judge(&place(folder), found, 9);
    ledger.violations.len() - before
}

#[test]
fn what_is_acknowledged_is_there_once_and_what_is_not_at_most_once() {
    let mut ledger = Ledger::default();
    ledger.may_arrive(&place("INBOX"), T, FlagBits::default());
    let none = FlagBits::default();
    assert_eq!(judged(&mut ledger, "INBOX", &[]), 0);
    assert_eq!(judged(&mut ledger, "INBOX", &[seen(1, none)]), 0);
    // Twice there, and under two UIDs.
    assert_eq!(judged(&mut ledger, "INBOX", &[seen(1, none), seen(2, none)]), 2);
    ledger.has_arrived(&place("INBOX"), T);
    assert_eq!(judged(&mut ledger, "INBOX", &[]), 1);
    assert_eq!(judged(&mut ledger, "INBOX", &[seen(1, none)]), 0);
    assert_eq!(judged(&mut ledger, "Sent", &[seen(1, none)]), 1);
}

#[test]
fn what_comes_back_under_another_uid_is_one_too_many() {
    let mut ledger = Ledger::default();
    let inbox = place("INBOX");
    ledger.may_arrive(&inbox, T, FlagBits::default());
    ledger.saw_uid(&inbox, 1, T, 0);
    ledger.saw_uid(&inbox, 1, T, 0);
    assert_eq!(ledger.violations, Vec::<String>::new());
    ledger.doom(&inbox, 1, T);
    ledger.was_expunged(&inbox, 1, 5);
    ledger.saw_uid(&inbox, 2, T, 6);
    assert_eq!(ledger.violations.len(), 1);
    // A copy of its own may have a UID of its own.
    ledger.may_arrive(&inbox, T, FlagBits::default());
    ledger.may_arrive(&inbox, T, FlagBits::default());
    ledger.saw_uid(&inbox, 3, T, 6);
    assert_eq!(ledger.violations.len(), 1);
}

#[test]
fn what_nobody_had_synced_may_go_with_the_power_and_nothing_else_may() {
    let mut ledger = Ledger::default();
    let (inbox, unsynced, synced) = (place("INBOX"), T, Token(2));
    for (uid, token) in [(1, unsynced), (2, synced)] {
        ledger.may_arrive(&inbox, token, FlagBits::default());
        ledger.saw_uid(&inbox, uid, token, 0);
    }
    ledger.has_arrived(&inbox, synced);
    ledger.may_be_lost(&inbox, unsynced);
    ledger.was_expunged(&inbox, 1, 5);
    assert_eq!(ledger.violations, Vec::<String>::new());
    ledger.was_expunged(&inbox, 2, 5);
    assert_eq!(ledger.violations.len(), 1);
    // A copy that was acknowledged later is another one.
    ledger.may_arrive(&inbox, unsynced, FlagBits::default());
    ledger.has_arrived(&inbox, unsynced);
    assert_eq!(judged(&mut ledger, "INBOX", &[]), 2);
}

#[test]
fn two_clients_that_flag_the_same_message_may_come_in_either_order() {
    let mut ledger = Ledger::default();
    ledger.may_arrive(&place("INBOX"), T, FlagBits::default());
    ledger.has_arrived(&place("INBOX"), T);
    let (one, other) = (ledger.change(), ledger.change());
    let flags = &mut ledger.folder(&place("INBOX")).entries.get_mut(&T).unwrap().flags;
    flags.start(one, 2, true, 0);
    flags.start(other, 2, false, 0);
    flags.acknowledge(one, 2, true, true);
    flags.acknowledge(other, 2, false, true);
    assert!(flags.may_be(2, true) && flags.may_be(2, false));
    flags.start(one, 2, true, 0);
    flags.acknowledge(one, 2, true, true);
    assert!(flags.may_be(2, true) && !flags.may_be(2, false));
    assert_eq!(judged(&mut ledger, "INBOX", &[seen(1, FlagBits::default())]), 1);
    assert_eq!(judged(&mut ledger, "INBOX", &[seen(1, FlagBits::default().with(2))]), 0);
}

#[test]
fn a_message_on_a_journey_is_at_one_of_its_ends() {
    let mut ledger = Ledger::default();
    ledger.may_arrive(&place("INBOX"), T, FlagBits::default());
    ledger.has_arrived(&place("INBOX"), T);
    ledger.saw_uid(&place("INBOX"), 1, T, 0);
    ledger.may_copy(&place("INBOX"), 1, T, &place("Sent"), true);
    let end = |ledger: &mut Ledger| {
        ledger.judge_account(0, &BTreeSet::new(), &BTreeSet::new());
        std::mem::take(&mut ledger.violations).len()
    };
    assert_eq!((judged(&mut ledger, "INBOX", &[]), judged(&mut ledger, "Sent", &[])), (0, 0));
    assert_eq!(end(&mut ledger), 1);
    assert_eq!(judged(&mut ledger, "Sent", &[seen(1, FlagBits::default())]), 0);
    assert_eq!(end(&mut ledger), 0);
}

#[test]
fn a_uid_is_one_message_for_ever_and_a_gone_one_stays_gone() {
    let mut ledger = Ledger::default();
    for token in [T, Token(2)] {
        ledger.may_arrive(&place("INBOX"), token, FlagBits::default());
    }
    ledger.saw_uid(&place("INBOX"), 1, T, 0);
    assert!(ledger.violations.is_empty());
    ledger.saw_uid(&place("INBOX"), 1, Token(2), 0);
    assert_eq!(ledger.violations.len(), 1);
    ledger.saw_uid(&place("INBOX"), 5, T, 0);
    ledger.was_expunged(&place("INBOX"), 5, 2);
    assert_eq!(ledger.violations.len(), 2, "nobody has asked for it");
    ledger.saw_uid(&place("INBOX"), 5, T, 1);
    assert_eq!(ledger.violations.len(), 2, "it was on its way already");
    ledger.saw_uid(&place("INBOX"), 5, T, 3);
    assert_eq!(ledger.violations.len(), 3);
    ledger.saw_uid_next(&place("INBOX"), 9, 0);
    ledger.saw_uid_next(&place("INBOX"), 8, 9);
    assert_eq!(ledger.violations.len(), 4);
    ledger.may_arrive(&place("INBOX"), Token(3), FlagBits::default());
    ledger.saw_uid(&place("INBOX"), 8, Token(3), 0);
    assert_eq!(ledger.violations.len(), 5, "below a UIDNEXT that was shown");
}

#[test]
fn what_becomes_deleted_while_an_expunge_is_under_way_may_go_with_it_and_not_what_does_so_later() {
    const DELETED: usize = 3;
    let (inbox, moved) = (place("INBOX"), place("moved"));
    let mut ledger = Ledger::default();
    let must = |ledger: &mut Ledger, place: &Place, token| ledger.folder(place).entries[&token].must();
    for token in [T, Token(2), Token(3), Token(4)] {
        ledger.may_arrive(&inbox, token, FlagBits::default());
        ledger.has_arrived(&inbox, token);
    }
    let expunge = ledger.start_expunge(&inbox);
    assert_eq!(must(&mut ledger, &inbox, T), 1, "not deleted, and nobody deletes it");
    ledger.changed_unheard(&inbox, T, DELETED, true, 0);
    let _ = ledger.start_change(&inbox, Token(2), DELETED, true, 0);
    assert_eq!((must(&mut ledger, &inbox, T), must(&mut ledger, &inbox, Token(2))), (0, 0));
    // One whose answer is there takes nothing more, whatever the mailbox is called meanwhile.
    ledger.has_renamed(&inbox, &moved);
    ledger.end_expunge(expunge);
    let _ = ledger.start_change(&moved, Token(3), DELETED, true, 0);
    assert_eq!(must(&mut ledger, &moved, Token(3)), 1);
    // Neither does one whose process has died.
    let _ = ledger.start_expunge(&moved);
    assert_eq!((must(&mut ledger, &moved, Token(3)), must(&mut ledger, &moved, Token(4))), (0, 1));
    ledger.process_died();
    let _ = ledger.start_change(&moved, Token(4), DELETED, true, 0);
    assert_eq!(must(&mut ledger, &moved, Token(4)), 1);
}

#[test]
fn a_mod_sequence_means_one_set_of_flags_and_never_falls_in_one_life() {
    let (inbox, seen) = (place("INBOX"), FlagBits::default().with(0));
    let mut ledger = Ledger::default();
    let mut told = |asked, life, modseq, flags| {
        ledger.saw_message_modseq(&inbox, 1, modseq, Some(flags), When { asked, heard: asked + 1, life });
        std::mem::take(&mut ledger.violations).len()
    };
    assert_eq!(told(1, 1, 5, FlagBits::default()), 0);
    assert_eq!(told(3, 1, 5, seen), 1, "another flag and the same mod-sequence");
    assert_eq!(told(3, 1, 7, seen), 0);
    assert_eq!(told(3, 1, 5, FlagBits::default()), 0, "asked before 7 was heard");
    assert_eq!(told(9, 1, 6, FlagBits::default()), 1, "it fell");
    assert_eq!(told(9, 2, 6, FlagBits::default()), 0, "in another life");
    let when = |asked, life| When { asked, heard: asked, life };
    assert_eq!(
        [(9, 2), (11, 2), (11, 3)].map(|(at, life)| ledger.modseq_told(&inbox, 1, when(at, life))),
        [0, 6, 0]
    );
}

#[test]
fn a_change_that_was_refused_has_not_happened_unless_others_make_the_same() {
    let mut flags = FlagStates::default();
    flags.start(ChangeId(1), 2, true, 0);
    flags.refuse(ChangeId(1));
    assert!(!flags.may_be(2, true) && flags.may_be(2, false));
    flags.start(ChangeId(2), 2, true, 0);
    flags.changed_unheard(2, true, 0);
    flags.refuse(ChangeId(2));
    assert!(flags.may_be(2, true));
}
