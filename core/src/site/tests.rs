use super::*;
use std::format;
use std::string::ToString;

fn account(address: &str) -> Account {
    let (user, domain) = address.split_once('@').unwrap();
    Account::new(user.as_bytes(), domain.as_bytes(), b"/m".to_vec(), Secret::new("{PLAIN}x")).unwrap()
}

fn parts(accounts: &[&str], aliases: &str) -> SiteParts {
    let (aliases, errors) = Aliases::parse(aliases.as_bytes());
    assert_eq!(errors, []);
    let accounts = accounts.iter().map(|address| account(address)).collect();
    SiteParts { accounts, aliases, ..SiteParts::new("mx.one.example", ["One.example", "two.example"]) }
}

fn site(accounts: &[&str], aliases: &str) -> Site {
    Site::build(parts(accounts, aliases)).unwrap().0
}

fn errors(accounts: &[&str], aliases: &str) -> Vec<SiteError> {
    Site::build(parts(accounts, aliases)).unwrap_err()
}

/// The users who get mail for an address, joined by commas.
fn who(site: &Site, address: &str) -> String {
    let (local, domain) = match address.rsplit_once('@') {
        Some((local, domain)) => (local, Some(domain.as_bytes())),
        None => (address, None),
    };
    match site.resolve_recipient(local.as_bytes(), domain) {
        Resolution::Local(ids) => {
            let names: Vec<_> =
                ids.iter().map(|&id| String::from_utf8_lossy(&site.account(id).unwrap().address)).collect();
            names.join(",")
        }
        Resolution::Forwarded { accounts, remote } => {
            format!("{} of ours and {}", accounts.len(), remote.join(","))
        }
        Resolution::NoSuchUser => "nobody".to_string(),
        Resolution::NotLocal => "elsewhere".to_string(),
    }
}

const ACCOUNTS: &[&str] = &["ann@one.example", "bob@one.example", "info@two.example"];

#[test]
fn accounts_answer_to_their_address_in_any_case_and_with_tags() {
    let site = site(ACCOUNTS, "postmaster: ann\n");
    assert_eq!(who(&site, "ANN@ONE.EXAMPLE"), "ann@one.example");
    assert_eq!(who(&site, "ann+shop+more@one.example"), "ann@one.example");
    assert_eq!(who(&site, "ann@two.example"), "nobody");
    assert_eq!(who(&site, "+ann@one.example"), "nobody");
    assert_eq!(who(&site, "ann@three.example"), "elsewhere");
    assert_eq!(who(&site, "PostMaster"), "ann@one.example");
    assert_eq!(who(&site, "postmaster@two.example"), "ann@one.example");
}

#[test]
fn names_without_a_domain_belong_to_the_first_and_stand_in_elsewhere() {
    let site = site(ACCOUNTS, "postmaster: ann\ninfo: bob\nsales@two.example: bob, info@two.example\n");
    assert_eq!(who(&site, "info@one.example"), "bob@one.example");
    assert_eq!(who(&site, "info@two.example"), "info@two.example");
    assert_eq!(who(&site, "sales@two.example"), "bob@one.example,info@two.example");
    assert_eq!(who(&site, "sales@one.example"), "nobody");
}

#[test]
fn aliases_go_over_chains_and_name_each_account_once() {
    let site = site(
        ACCOUNTS,
        "postmaster: root\nroot: \"Ann\"\nall: team, root, BOB\nteam: bob, ann+work\nann: ann, bob\nbob: \\bob\n",
    );
    assert_eq!(who(&site, "all@one.example"), "bob@one.example,ann@one.example");
    assert_eq!(who(&site, "ann@one.example"), "ann@one.example,bob@one.example");
    assert_eq!(who(&site, "ann+x@one.example"), "ann@one.example,bob@one.example");
    assert_eq!(who(&site, "bob@one.example"), "bob@one.example");
}

#[test]
fn a_catch_all_takes_what_is_left_and_nothing_disguised() {
    let site = site(ACCOUNTS, "@one.example: ann\n@two.example: sales@two.example, gone@two.example\n");
    assert_eq!(who(&site, "anything@one.example"), "ann@one.example");
    assert_eq!(who(&site, "bob@one.example"), "bob@one.example");
    for local in [
        "x%other.example",
        "other.example!x",
        "@other.example:x",
        "x@other.example",
        "bob+x%other.example",
        "",
    ] {
        let outcome = site.resolve_recipient(local.as_bytes(), Some(b"one.example"));
        let expected = if local.is_empty() { who(&site, "@one.example") } else { "elsewhere".into() };
        assert_eq!(who(&site, &std::format!("{local}@one.example")), expected, "{local}: {outcome:?}");
    }
    assert_eq!(who(&site, "ann@[127.0.0.1]"), "elsewhere");
    // Targets that only the catch-all itself would catch are nobody's.
    assert_eq!(who(&site, "x@two.example"), "nobody");
}

#[test]
fn loops_are_named_and_pointed_at() {
    let text = "postmaster: ann\na: b\nb: ann, c\nc: a@two.example\n";
    let start = text.rfind("a@two").unwrap();
    let chain = ["a", "b", "c", "a"].map(|name| name.as_bytes().to_vec()).to_vec();
    assert_eq!(errors(ACCOUNTS, text), [SiteError::Loop { chain, span: start..start + 13 }]);
    let itself = ["me", "me"].map(|name| name.as_bytes().to_vec()).to_vec();
    assert_eq!(errors(ACCOUNTS, "me: me\npostmaster: ann"), [SiteError::Loop { chain: itself, span: 4..6 }]);
}

#[test]
fn a_long_chain_costs_no_stack() {
    let mut text = "postmaster: a0\n".to_string();
    for i in 0..50_000 {
        text += &std::format!("a{i}: a{}\n", i + 1);
    }
    text += "a50000: ann\n";
    assert_eq!(who(&site(ACCOUNTS, &text), "postmaster"), "ann@one.example");
}

#[test]
fn foreign_and_double_names_are_errors() {
    let text = "a: x@elsewhere.example\nb@elsewhere.example: ann\nroot: ann\nRoot@one.example: bob\n";
    assert_eq!(
        errors(ACCOUNTS, text),
        [
            SiteError::ForeignAlias { domain: b"elsewhere.example".to_vec(), span: 23..42 },
            SiteError::DuplicateAlias { name: b"root@one.example".to_vec(), span: 58..74, first: 48..52 },
            SiteError::ForeignTarget { domain: b"elsewhere.example".to_vec(), span: 3..22 },
        ]
    );
    assert_eq!(
        errors(&["ann@one.example", "ANN@one.example"], "postmaster: ann"),
        [SiteError::DuplicateAccount(b"ann@one.example".to_vec())]
    );
}

#[test]
fn the_postmaster_must_be_somebody() {
    assert_eq!(errors(ACCOUNTS, ""), [SiteError::NoPostmaster { span: None }]);
    assert_eq!(
        errors(ACCOUNTS, "x: ann\npostmaster: root\n"),
        [SiteError::NoPostmaster { span: Some(7..17) }]
    );
    assert_eq!(
        who(&site(&["postmaster@one.example"], ""), "postmaster@two.example"),
        "postmaster@one.example"
    );
}

#[test]
fn names_nobody_has_are_noted_once() {
    let (site, notes) =
        Site::build(parts(ACCOUNTS, "postmaster: ann, root\nnews: root\nwww: root, x\n")).unwrap();
    assert_eq!(
        notes,
        [
            SiteNote::NoSuchUser { name: b"root".to_vec(), span: 17..21, more: 2 },
            SiteNote::NoSuchUser { name: b"x".to_vec(), span: 44..45, more: 0 },
        ]
    );
    assert_eq!(who(&site, "news@one.example"), "nobody");
    assert_eq!(who(&site, "postmaster"), "ann@one.example");
}

#[test]
fn logins_are_addresses_or_users_of_the_first_domain() {
    let site = site(ACCOUNTS, "postmaster: ann\ninfo: ann\n");
    let login = |name: &str| {
        site.account_by_login(name.as_bytes())
            .map(|id| String::from_utf8_lossy(&site.account(id).unwrap().address))
    };
    assert_eq!(login("Ann").as_deref(), Some("ann@one.example"));
    assert_eq!(login("info@TWO.example").as_deref(), Some("info@two.example"));
    for nobody in ["info", "postmaster", "ann+tag", "ann@two.example", "", "@one.example", "ann@one.example@"]
    {
        assert_eq!(login(nobody), None, "{nobody}");
    }
}

#[test]
fn senders_are_own_addresses() {
    let site = site(ACCOUNTS, "postmaster: ann\nhelp: ann, \\bob\nbob: ann\n@two.example: ann\n");
    let ann = site.account_by_login(b"ann").unwrap();
    let bob = site.account_by_login(b"bob").unwrap();
    for own in ["ann", "ANN", "ann+x", "postmaster", "help+9", "bob"] {
        assert!(site.may_send_as(ann, own.as_bytes(), b"One.Example"), "{own}");
    }
    assert!(site.may_send_as(ann, b"whatever", b"two.example"));
    assert!(!site.may_send_as(ann, b"info", b"two.example"));
    assert!(!site.may_send_as(ann, b"ann", b"elsewhere.example"));
    // Bob's own mail goes to Ann, and his address is still his.
    assert!(
        site.may_send_as(bob, b"bob+x", b"one.example") && site.may_send_as(bob, b"help", b"one.example")
    );
    assert!(!site.may_send_as(bob, b"ann", b"one.example"));
    assert!(!site.may_send_as(bob, b"bob+x%y", b"one.example"));
    assert!(!site.may_send_as(AccountId(99), b"ann", b"one.example"));
}

#[test]
fn unicode_names_fold_too() {
    let site = site(&["jürgen@one.example"], "postmaster: JÜRGEN\n");
    assert_eq!(who(&site, "Jürgen@one.example"), "jürgen@one.example");
}

#[test]
fn aliases_lead_elsewhere_where_mail_is_sent_elsewhere() {
    let aliases =
        "postmaster: ann\naway: bob@far.example, ann, team\nteam: bob@far.example, \"a b\"@far.example\n";
    let sending = Some(Arc::new(Sending::default()));
    let (site, _) = Site::build(SiteParts { sending: sending.clone(), ..parts(ACCOUNTS, aliases) }).unwrap();
    assert_eq!(who(&site, "away@one.example"), "1 of ours and bob@far.example,\"a b\"@far.example");
    assert_eq!(who(&site, "team@one.example"), "0 of ours and bob@far.example,\"a b\"@far.example");
    let ann = site.account_by_login(b"ann").unwrap();
    assert!(
        site.may_send_as(ann, b"away", b"one.example") && !site.may_send_as(ann, b"team", b"one.example")
    );
    let bad = "postmaster: ann\naway: bob@far..example\n";
    let errors = Site::build(SiteParts { sending, ..parts(ACCOUNTS, bad) }).unwrap_err();
    assert_eq!(errors, [SiteError::BadTarget { address: b"bob@far..example".to_vec(), span: 22..38 }]);
}

#[test]
fn a_domain_is_the_same_in_unicode_and_in_a_labels() {
    for written in ["Bücher.example", "xn--bcher-kva.example"] {
        let (aliases, _) =
            Aliases::parse("postmaster: ann\nsales@BÜCHER.example: ann@xn--bcher-kva.Example\n".as_bytes());
        let accounts = [account(&std::format!("ann@{written}"))].to_vec();
        let parts = SiteParts { accounts, aliases, ..SiteParts::new("mx.example", [written]) };
        let site = Site::build(parts).unwrap().0;
        let ann = std::format!("ann@{}", written.to_lowercase());
        for domain in ["bücher.example", "BÜCHER.EXAMPLE", "xn--bcher-kva.example", "XN--BCHER-KVA.EXAMPLE"]
        {
            assert_eq!(who(&site, &std::format!("ann@{domain}")), ann, "{written} {domain}");
            assert_eq!(who(&site, &std::format!("sales@{domain}")), ann, "{written} {domain}");
            assert_eq!(who(&site, &std::format!("postmaster@{domain}")), ann, "{written} {domain}");
            let login = site.account_by_login(std::format!("Ann@{domain}").as_bytes());
            assert_eq!(login, Some(AccountId(0)), "{written} {domain}");
            assert!(site.may_send_as(AccountId(0), b"ann+x", domain.as_bytes()), "{written} {domain}");
        }
        assert_eq!(site.account_by_login(b"ann"), Some(AccountId(0)));
    }
    let twice = [account("ann@bücher.example"), account("ann@xn--bcher-kva.example")].to_vec();
    let parts = SiteParts { accounts: twice, ..SiteParts::new("mx.example", ["bücher.example"]) };
    let errors = Site::build(parts).unwrap_err();
    assert!(matches!(errors[0], SiteError::DuplicateAccount(_)), "{errors:?}");
}
