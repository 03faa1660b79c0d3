//! Tests of rules: which channel has which, and who may do what in it.

use super::*;

fn named(name: &str, change: impl FnOnce(&mut ChannelRules)) -> ChannelRules {
    let mut rules = ChannelRules::open(name);
    change(&mut rules);
    rules
}

fn rules(namespaces: Vec<ChannelRules>) -> Rules {
    Rules::new(Marks::default(), ChannelRules::open(""), namespaces).unwrap()
}

const ANONYMOUS: Standing<'_> =
    Standing { user: None, token: false, named: false, subscribed: false, of_app: false };

fn user(name: &str) -> Standing<'_> {
    Standing { user: Some(name), ..ANONYMOUS }
}

const WITH_TOKEN: Standing<'_> = Standing { token: true, ..ANONYMOUS };
const SUBSCRIBER: Standing<'_> = Standing { subscribed: true, ..ANONYMOUS };

impl Rules {
    fn subscribe(&self, channel: &str, client: Standing<'_>) -> Result<(), Denied> {
        let terms = self.terms(channel).ok_or(Denied::UnknownNamespace)?;
        self.may_subscribe(&terms, channel, client)
    }

    fn publish(&self, channel: &str, client: Standing<'_>) -> Result<(), Denied> {
        let terms = self.terms(channel).ok_or(Denied::UnknownNamespace)?;
        self.may_publish(&terms, channel, client)
    }
}

#[test]
fn a_namespace_is_what_stands_before_the_first_colon() {
    let rules = rules(vec![ChannelRules::open("chat"), ChannelRules::open("a.b-c_d")]);
    for (channel, namespace) in [
        ("lobby", Some("")),
        ("chat:1", Some("chat")),
        ("chat:", Some("chat")),
        ("chat:a:b", Some("chat")),
        ("$chat:1", Some("chat")),
        ("chat#1:2", None),
        ("$lobby", Some("")),
        ("a.b-c_d:x", Some("a.b-c_d")),
        ("chat", Some("")),
        ("news:1", None),
        (":1", None),
        ("Chat:1", None),
        ("$$chat:1", None),
        ("", Some("")),
    ] {
        let found = rules.of(channel).map(|rules| &*rules.name);
        assert_eq!(found, namespace, "{channel}");
    }
}

#[test]
fn without_any_namespace_a_colon_is_a_letter() {
    let rules = rules(Vec::new());
    assert_eq!(rules.of("chat:1"), Some(rules.default_rules()));
    assert_eq!(rules.subscribe("chat:1", ANONYMOUS), Ok(()));
}

#[test]
fn who_may_subscribe() {
    use Denied::{NeedsToken, Nobody, NotAUser};
    for (word, who, anonymous, with_user, with_token) in [
        ("anyone", Subscribe::Anyone, Ok(()), Ok(()), Ok(())),
        ("users", Subscribe::Users, Err(NotAUser), Ok(()), Ok(())),
        ("token", Subscribe::Token, Err(NeedsToken), Err(NeedsToken), Ok(())),
        ("nobody", Subscribe::Nobody, Err(Nobody), Err(Nobody), Err(Nobody)),
    ] {
        let rules = rules(vec![named("n", |rules| rules.subscribe = who)]);
        assert_eq!(rules.subscribe("n:1", ANONYMOUS), anonymous, "{word}");
        assert_eq!(rules.subscribe("n:1", user("ana")), with_user, "{word}");
        assert_eq!(rules.subscribe("n:1", WITH_TOKEN), with_token, "{word}");
        assert_eq!(rules.subscribe("1", ANONYMOUS), Ok(()), "{word}");
    }
}

#[test]
fn who_may_publish() {
    use Denied::{NeedsToken, Nobody, NotASubscriber, NotAUser};
    for (who, anonymous, with_user, subscriber, with_token) in [
        (Publish::Anyone, Ok(()), Ok(()), Ok(()), Ok(())),
        (Publish::Users, Err(NotAUser), Ok(()), Err(NotAUser), Ok(())),
        (Publish::Subscribers, Err(NotASubscriber), Err(NotASubscriber), Ok(()), Ok(())),
        (Publish::Token, Err(NeedsToken), Err(NeedsToken), Err(NeedsToken), Ok(())),
        (Publish::Nobody, Err(Nobody), Err(Nobody), Err(Nobody), Err(Nobody)),
    ] {
        let rules = rules(vec![named("n", |rules| rules.publish = who)]);
        assert_eq!(rules.publish("n:1", ANONYMOUS), anonymous, "{who:?}");
        assert_eq!(rules.publish("n:1", user("ana")), with_user, "{who:?}");
        assert_eq!(rules.publish("n:1", SUBSCRIBER), subscriber, "{who:?}");
        assert_eq!(rules.publish("n:1", WITH_TOKEN), with_token, "{who:?}");
        let open = rules.terms("n:1").unwrap().publish_is_free();
        assert_eq!(open, who == Publish::Anyone);
    }
}

#[test]
fn a_private_channel_needs_a_token_whatever_its_rules_say() {
    let rules = rules(vec![ChannelRules::open("chat")]);
    for channel in ["$room", "$chat:1", "$"] {
        assert_eq!(rules.subscribe(channel, user("ana")), Err(Denied::NeedsToken), "{channel}");
        assert_eq!(rules.subscribe(channel, WITH_TOKEN), Ok(()), "{channel}");
        assert_eq!(rules.publish(channel, user("ana")), Err(Denied::NeedsToken), "{channel}");
        assert_eq!(rules.publish(channel, SUBSCRIBER), Ok(()), "{channel}");
        assert!(!rules.terms(channel).unwrap().publish_is_free(), "{channel}");
    }
    for channel in ["room$", "chat:$1", "chat$:1"] {
        let allowed = rules.subscribe(channel, ANONYMOUS);
        assert_ne!(allowed, Err(Denied::NeedsToken), "{channel}");
    }
}

#[test]
fn a_limited_channel_is_for_the_users_in_its_name() {
    let rules = rules(vec![
        ChannelRules::open("chat"),
        named("closed", |rules| {
            rules.subscribe = Subscribe::Token;
        }),
    ]);
    for (channel, who, allowed) in [
        ("chat:a#42,43", "42", true),
        ("chat:a#42,43", "43", true),
        ("chat:a#42,43", "4", false),
        ("chat:a#42,43", "42,43", false),
        ("room#42", "42", true),
        ("#42", "42", true),
        ("room#42#43", "43", true),
        ("room#42#43", "42", false),
        ("room#", "42", false),
    ] {
        let verdict = if allowed { Ok(()) } else { Err(Denied::NotThisUser) };
        assert_eq!(rules.subscribe(channel, user(who)), verdict, "{channel} {who}");
        assert_eq!(rules.publish(channel, user(who)), verdict, "{channel} {who}");
        assert_eq!(rules.subscribe(channel, ANONYMOUS), Err(Denied::NotThisUser), "{channel}");
        assert_eq!(rules.subscribe(channel, WITH_TOKEN), Err(Denied::NotThisUser), "{channel}");
    }
    // A name that lists a user is no token.
    assert_eq!(rules.subscribe("closed:a#42", user("42")), Err(Denied::NeedsToken));
}

#[test]
fn marks_can_be_others_or_none() {
    let marks = Marks {
        private_prefix: "private-".into(),
        user_boundary: "~".into(),
        user_separator: "+".into(),
    };
    let other = Rules::new(marks, ChannelRules::open(""), Vec::new()).unwrap();
    assert_eq!(other.subscribe("$a#1", ANONYMOUS), Ok(()));
    assert_eq!(other.subscribe("private-a", ANONYMOUS), Err(Denied::NeedsToken));
    assert_eq!(other.subscribe("a~1+2", user("2")), Ok(()));
    assert_eq!(other.subscribe("a~1+2", user("3")), Err(Denied::NotThisUser));
    let none = Marks {
        private_prefix: String::new(),
        user_boundary: String::new(),
        user_separator: String::new(),
    };
    let none = Rules::new(none, ChannelRules::open(""), Vec::new()).unwrap();
    assert_eq!(none.subscribe("$a#1", ANONYMOUS), Ok(()));
    assert!(none.terms("$a#1").unwrap().publish_is_free());
}

#[test]
fn channels_of_a_namespace_that_went_are_closed() {
    let rules = rules(vec![ChannelRules::open("chat")]);
    let gone = rules.terms("chat:1").unwrap().gone();
    assert!(gone.is_gone() && !gone.publish_is_free());
    assert_eq!(rules.may_publish(&gone, "chat:1", SUBSCRIBER), Err(Denied::UnknownNamespace));
    assert_eq!(rules.may_subscribe(&gone, "chat:1", WITH_TOKEN), Err(Denied::UnknownNamespace));
}

#[test]
fn faults_of_rules_are_named() {
    let fault = |marks: Marks, namespaces| {
        Rules::new(marks, ChannelRules::open(""), namespaces).unwrap_err().to_string()
    };
    let twice = vec![ChannelRules::open("chat"), ChannelRules::open("chat")];
    assert_eq!(fault(Marks::default(), twice), "the namespace \"chat\" stands twice");
    for name in ["", "a:b", "a b", "$a", "ä", &"x".repeat(65)] {
        let why = fault(Marks::default(), vec![ChannelRules::open(name)]);
        assert!(why.contains("is not a name of a namespace"), "{why}");
    }
    let many = (0..=NAMESPACES_MAX).map(|n| ChannelRules::open(&n.to_string())).collect();
    assert_eq!(fault(Marks::default(), many), "1001 namespaces are more than 1000");
    let recovery = vec![named("chat", |rules| rules.recovery = true)];
    assert_eq!(
        fault(Marks::default(), recovery),
        "the namespace \"chat\" has recovery without history: set its history-size as well"
    );
    let mark = |prefix: &str, boundary: &str, separator: &str| Marks {
        private_prefix: prefix.into(),
        user_boundary: boundary.into(),
        user_separator: separator.into(),
    };
    for (marks, part) in [
        (mark("a:", "#", ","), "private-prefix is \"a:\": a colon ends"),
        (mark("$", "# ", ","), "user-boundary is \"# \": it holds a space"),
        (mark("$", "#", ""), "user-separator is \"\": several users"),
        (mark("$", "#", "#"), "user-separator is \"#\": it holds the user-boundary"),
        (mark("123456789", "#", ","), "it is longer than 8 bytes"),
    ] {
        let why = fault(marks, Vec::new());
        assert!(why.contains(part) && !why.contains('\n'), "{why}");
    }
}

#[test]
fn a_channel_that_a_token_names_is_open_to_its_client() {
    let rules = rules(vec![
        named("staff", |rules| rules.subscribe = Subscribe::Nobody),
        named("paid", |rules| rules.subscribe = Subscribe::Token),
    ]);
    let ana = Standing { named: true, ..user("ana") };
    for channel in ["staff:1", "paid:1", "$lobby", "$staff:1", "plans#bob,ana", "staff:1#ana"] {
        assert_eq!(rules.subscribe(channel, ana), Ok(()), "{channel}");
    }
    assert_eq!(rules.subscribe("plans#bob", ana), Err(Denied::NotThisUser));
    assert_eq!(rules.subscribe("other:1", ana), Err(Denied::UnknownNamespace));
    assert_eq!(rules.subscribe("staff:1", WITH_TOKEN), Err(Denied::Nobody));
}
