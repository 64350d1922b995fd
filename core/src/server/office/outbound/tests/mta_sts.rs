//! What domains say of their mail servers by HTTPS (RFC 8461).

use super::*;
use hickory_proto::rr::rdata::TXT;

const HOST: &str = "mta-sts.b.test";

fn sending() -> Sending {
    Sending { mta_sts: true, ..Sending::default() }
}

impl World {
    /// From now on the record has this id.
    fn record(&mut self, id: &str) {
        let record = RData::TXT(TXT::new(Vec::from([format!("v=STSv1; id={id};")])));
        self.zone.insert(("_mta-sts.b.test.".into(), RecordType::TXT), [record].into());
    }

    /// `b.test` has this policy.
    fn policy(&mut self, mode: &str, mx: &str) {
        self.zone.insert((format!("{HOST}."), RecordType::A), [RData::A(A::new(192, 0, 2, 80))].into());
        let text = format!("version: STSv1\r\nmode: {mode}\r\nmx: {mx}\r\nmax_age: 604800\r\n");
        self.policies.insert(HOST.into(), text);
    }

    fn told(&self, words: &str) -> usize {
        self.events.iter().filter(|event| format!("{event:?}").contains(words)).count()
    }

    /// Sends one more; how it was protected, if it has gone at once.
    fn another(&mut self) -> Option<String> {
        let before = self.received.len();
        self.submit("ann@us.test", &["bob@b.test"], None);
        (self.received.len() > before).then(|| {
            let mut sent = self.events.iter().rev();
            sent.find_map(|event| if let Event::Sent { tls, .. } = event { Some(tls.clone()) } else { None })
                .unwrap()
        })
    }
}

/// A world in which `b.test` has one host of this manner, and this policy.
fn with_policy(manner: Manner, mode: &str, mx: &str) -> World {
    let mut world = World::new();
    world.sending(sending());
    world.domain("b.test", &[(1, manner)]);
    world.record("1");
    world.policy(mode, mx);
    world
}

#[test]
fn who_enforces_a_policy_gets_mail_at_hosts_it_names_with_good_certificates_or_none() {
    let mut world = with_policy(Manner::Encrypting, "enforce", "*.b.test");
    assert_eq!(fate(&mut world).unwrap(), "TLSv1.3 MTA-STS");
    assert_eq!((&world.trusts[..], &world.fetched[..]), (&[Trust::Roots][..], &[HOST.to_string()][..]));
    for (manner, mx, words) in [
        (Manner::BrokenTls, "mx0.b.test", "the policy of b.test, MTA-STS, wants it verified"),
        (Manner::Good, "mx0.b.test", "454 4.7.4 It offers no TLS, which the domain's policy (MTA-STS)"),
        (Manner::Encrypting, "mx1.b.test", "DNS says that mx0.b.test takes mail for b.test, and the policy"),
    ] {
        let mut world = with_policy(manner, "enforce", mx);
        let notice = fate(&mut world).unwrap_err();
        assert!(notice.replace("\n ", " ").contains(words), "{notice}");
        assert_eq!(world.trusts.is_empty(), mx == "mx1.b.test", "a host that is not named is not called");
        assert!(notice.contains("Action: failed"));
    }
}

#[test]
fn the_next_host_may_be_one_that_is_named() {
    let mut world = with_policy(Manner::Encrypting, "enforce", "mx1.b.test");
    world.domain("b.test", &[(1, Manner::Encrypting), (2, Manner::Encrypting)]);
    assert_eq!(fate(&mut world).unwrap(), "TLSv1.3 MTA-STS");
    assert_eq!(world.received[0].host.to_string(), "192.0.2.2");
}

#[test]
fn who_tests_a_policy_or_has_none_gets_mail_as_ever() {
    for mode in ["testing", "none"] {
        for (manner, mx, trouble) in [
            (Manner::Encrypting, "elsewhere.test", "the policy does not name the host"),
            (Manner::Encrypting, "mx0.b.test", ""),
            (Manner::BrokenTls, "mx0.b.test", "TLS with it failed"),
            (Manner::Good, "mx0.b.test", "it offers no TLS"),
        ] {
            let mut world = with_policy(manner, mode, mx);
            let mut expected = String::from(if manner == Manner::Encrypting { "TLSv1.3" } else { "none" });
            let (trust, tells) = match mode {
                "testing" => (Trust::Watched, !trouble.is_empty()),
                _ => (Trust::Anybody, false),
            };
            if tells {
                expected.push_str(&format!(" (MTA-STS testing: {trouble})"));
            }
            assert_eq!(fate(&mut world).unwrap(), expected, "{mode} {manner:?}");
            assert!(world.trusts.iter().all(|asked| *asked == trust), "{mode}: {:?}", world.trusts);
            assert_eq!(world.told("PolicyTested"), usize::from(tells), "{mode} {manner:?}");
        }
    }
}

#[test]
fn a_policy_that_cannot_be_fetched_keeps_no_mail_back() {
    for broken in ["no address", "no connection", "no policy"] {
        let mut world = with_policy(Manner::Encrypting, "enforce", "elsewhere.test");
        match broken {
            "no address" => drop(world.zone.remove(&(format!("{HOST}."), RecordType::A))),
            "no connection" => drop(world.policies.remove(HOST)),
            _ => drop(world.policies.insert(HOST.into(), "<html>".into())),
        }
        assert_eq!(world.another().unwrap(), "TLSv1.3", "{broken}");
        assert_eq!((world.told("PolicyNotFetched"), world.told("kept: false")), (1, 1));
        let asked = world.fetched.len();
        assert_eq!(world.another().unwrap(), "TLSv1.3");
        assert_eq!(world.fetched.len(), asked, "not at once again");
        world.policy("enforce", "mx0.b.test");
        world.pass(Duration::from_secs(300));
        assert_eq!(world.another().unwrap(), "TLSv1.3 MTA-STS");
    }
}

#[test]
fn what_is_kept_counts_after_a_restart_whoever_hides_record_and_policy() {
    for hidden in ["record", "lookups", "policy", "all"] {
        let mut world = with_policy(Manner::Encrypting, "enforce", "mx0.b.test");
        assert_eq!(world.another().unwrap(), "TLSv1.3 MTA-STS");
        world.restart();
        if matches!(hidden, "record" | "all") {
            world.zone.remove(&("_mta-sts.b.test.".into(), RecordType::TXT));
        }
        if hidden == "lookups" {
            world.broken.extend(["_mta-sts.b.test.".into(), format!("{HOST}.")]);
        }
        if matches!(hidden, "policy" | "all") {
            world.policies.clear();
        }
        world.domain("b.test", &[]);
        let forged = [RData::MX(MX::new(1, Name::from_ascii("evil.test.").unwrap()))];
        world.zone.insert(("b.test.".into(), RecordType::MX), forged.into());
        world.zone.insert(("evil.test.".into(), RecordType::A), [RData::A(A::new(192, 0, 2, 1))].into());
        assert_eq!(world.another(), None, "{hidden}");
        // A day later it is time to fetch it again, which fails or not; it counts for its week.
        world.pass(Duration::from_secs(2 * 86_400));
        assert_eq!((world.another(), world.received.len()), (None, 1), "{hidden}");
    }
}

#[test]
fn a_policy_is_over_when_its_time_is_over() {
    let mut world = with_policy(Manner::Encrypting, "enforce", "mx0.b.test");
    assert_eq!(world.another().unwrap(), "TLSv1.3 MTA-STS");
    world.zone.remove(&("_mta-sts.b.test.".into(), RecordType::TXT));
    world.policies.clear();
    world.pass(Duration::from_secs(604_801));
    assert_eq!(world.another().unwrap(), "TLSv1.3");
    assert_eq!(world.disk.names("/s"), ["b.test.policy"]);
    world.restart();
    world.pass(Duration::from_secs(1));
    assert!(world.disk.names("/s").is_empty(), "the next start removes it");
}

#[test]
fn another_id_brings_another_policy_and_a_failure_leaves_the_old_one() {
    let mut world = with_policy(Manner::Encrypting, "enforce", "mx0.b.test");
    assert_eq!(world.another().unwrap(), "TLSv1.3 MTA-STS");
    world.pass(Duration::from_secs(3600));
    assert_eq!((world.another().unwrap(), world.fetched.len()), ("TLSv1.3 MTA-STS".into(), 1), "the same id");
    world.record("2");
    world.policies.clear();
    world.pass(Duration::from_secs(3600));
    assert_eq!((world.another().unwrap(), world.fetched.len()), ("TLSv1.3 MTA-STS".into(), 2));
    assert_eq!(world.told("kept: true"), 1);
    world.policy("none", "x");
    world.pass(Duration::from_secs(3600));
    assert_eq!((world.another().unwrap(), world.fetched.len()), ("TLSv1.3".into(), 3));
    world.restart();
    assert_eq!((world.another().unwrap(), world.fetched.len()), ("TLSv1.3".into(), 3), "it was kept");
}

#[test]
fn a_policy_is_fetched_again_each_day_while_mail_goes_on() {
    let mut world = with_policy(Manner::Encrypting, "enforce", "mx0.b.test");
    assert_eq!(world.another().unwrap(), "TLSv1.3 MTA-STS");
    world.pass(Duration::from_secs(86_400));
    world.slow = true;
    assert_eq!((world.another().unwrap(), world.fetched.len()), ("TLSv1.3 MTA-STS".into(), 2));
    assert_eq!((world.another().unwrap(), world.fetched.len()), ("TLSv1.3 MTA-STS".into(), 2));
    let answer = world.held.pop().unwrap();
    world.hand_in(answer);
    assert_eq!((world.another().unwrap(), world.fetched.len()), ("TLSv1.3 MTA-STS".into(), 2));
}

#[test]
fn a_host_that_dns_vouches_for_needs_no_policy() {
    let mut world = with_policy(Manner::Encrypting, "enforce", "elsewhere.test");
    let record = |usage: u8| RData::TLSA(TLSA::new(usage.into(), 1.into(), 1.into(), [7; 32].into()));
    world.zone.insert((TLSA_NAME.into(), RecordType::TLSA), [record(3)].into());
    assert_eq!(fate(&mut world).unwrap(), "TLSv1.3 DANE");
    assert!(world.fetched.is_empty());
    // Records that nobody can match vouch for nothing.
    let mut world = with_policy(Manner::Encrypting, "enforce", "mx0.b.test");
    world.zone.insert((TLSA_NAME.into(), RecordType::TLSA), [record(1)].into());
    assert_eq!(fate(&mut world).unwrap(), "TLSv1.3 MTA-STS");
}

#[test]
fn nobody_is_asked_where_something_else_is_said() {
    let own = |tls| [("b.test".to_string(), Way::Exchangers(Some(tls)))].into();
    for (sending, tls) in [
        (Sending { routes: own(TlsPolicy::May), ..sending() }, "TLSv1.3"),
        (Sending { tls: TlsPolicy::Never, ..sending() }, "none"),
        (Sending { tls: TlsPolicy::Verify, ..sending() }, "TLSv1.3 verified"),
        (Sending { mta_sts: false, ..sending() }, "TLSv1.3"),
    ] {
        let mut world = with_policy(Manner::Encrypting, "enforce", "elsewhere.test");
        world.sending(sending);
        assert_eq!(fate(&mut world).unwrap(), tls);
        assert!(world.fetched.is_empty());
    }
    let mut world = with_policy(Manner::Encrypting, "enforce", "mx0.b.test");
    world.sending(Sending { tls: TlsPolicy::Encrypt, ..sending() });
    assert_eq!(fate(&mut world).unwrap(), "TLSv1.3 MTA-STS", "which is stricter");
}

#[test]
fn who_waits_for_the_same_policy_waits_together_and_not_for_all_others() {
    const DOMAINS: usize = 40;
    let mut world = World::new();
    world.sending(sending());
    world.slow = true;
    for n in 0..DOMAINS {
        let domain = format!("d{n}.test");
        world.domain(&domain, &[(n as u8, Manner::Good)]);
        let record = RData::TXT(TXT::new(Vec::from(["v=STSv1; id=1;".into()])));
        world.zone.insert((format!("_mta-sts.{domain}."), RecordType::TXT), [record].into());
        let address = [RData::A(A::new(192, 0, 2, 80))];
        world.zone.insert((format!("mta-sts.{domain}."), RecordType::A), address.into());
        for user in ["bob", "eve"] {
            world.submit("ann@us.test", &[&format!("{user}@{domain}")], None);
        }
    }
    world.domain("free.test", &[(100, Manner::Good)]);
    world.submit("ann@us.test", &["bob@free.test"], None);
    assert_eq!((world.received.len(), world.fetched.len()), (1, 32), "who has no record waits for nobody");
    let answer = world.held.remove(0);
    world.hand_in(answer);
    assert_eq!((world.received.len(), world.fetched.len()), (3, 33), "all of one domain, and the next");
    while let Some(answer) = world.held.pop() {
        world.hand_in(answer);
    }
    assert_eq!((world.received.len(), world.fetched.len()), (2 * DOMAINS + 1, DOMAINS));
}
