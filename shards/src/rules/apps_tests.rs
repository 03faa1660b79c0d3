//! Tests of apps: which channels are whose, and who may get into them.

use super::*;
use crate::rules::{Denied, Marks, Standing};

const ANYBODY: Standing<'_> =
    Standing { user: Some("ana"), token: false, named: true, subscribed: false, of_app: false };
const WITH_TOKEN: Standing<'_> = Standing { token: true, named: false, ..ANYBODY };
const OF_APP: Standing<'_> = Standing { of_app: true, named: false, ..ANYBODY };

fn app(id: &str) -> App {
    App::new(id, &format!("key-{id}"), "secret")
}

fn rules(namespaces: &[&str], apps: Vec<App>) -> Result<Rules, RulesFault> {
    let namespaces = namespaces.iter().map(|name| ChannelRules::open(name)).collect();
    Rules::new(Marks::default(), ChannelRules::open(""), namespaces).unwrap().with_apps(apps)
}

fn may_subscribe(rules: &Rules, channel: &str, client: Standing<'_>) -> Result<(), Denied> {
    let terms = rules.terms(channel).ok_or(Denied::UnknownNamespace)?;
    rules.may_subscribe(&terms, channel, client)
}

fn may_publish(rules: &Rules, channel: &str, client: Standing<'_>) -> Result<(), Denied> {
    let terms = rules.terms(channel).ok_or(Denied::UnknownNamespace)?;
    assert!(!terms.publish_is_free(), "{channel}");
    rules.may_publish(&terms, channel, client)
}

#[test]
fn apps_are_found_by_key_id_and_channel() {
    let rules = rules(&[], vec![app("1"), app("2")]).unwrap();
    assert_eq!(&*rules.app_of_key("key-2").unwrap().id, "2");
    assert_eq!(&*rules.app("1").unwrap().key, "key-1");
    assert!(rules.app("key-1").is_none() && rules.app_of_key("1").is_none());
    let one = rules.app("1").unwrap();
    assert_eq!(one.channel("private-a"), "app-1:private-a");
    assert_eq!(one.own_name("app-1:a:b"), Some("a:b"));
    assert_eq!((one.own_name("app-11:a"), one.own_name("app-1")), (None, None));
    assert_eq!(&*rules.app_of_channel("app-2:x").unwrap().id, "2");
    assert!(rules.app_of_channel("app-3:x").is_none() && rules.app_of_channel("x").is_none());
    assert_eq!(rules.apps().iter().map(|app| &*app.id).collect::<Vec<_>>(), ["1", "2"]);
}

#[test]
fn an_apps_own_namespace_is_unknown_to_other_dialects() {
    let rules = rules(&[], vec![app("1")]).unwrap();
    for channel in ["app-1:news", "app-1:private-a", "app-1:#server-to-user-ana", "$app-1:x"] {
        for client in [ANYBODY, WITH_TOKEN, Standing { subscribed: true, ..ANYBODY }] {
            let unknown = Err(Denied::UnknownNamespace);
            assert_eq!(may_subscribe(&rules, channel, client), unknown, "{channel}");
            assert_eq!(may_publish(&rules, channel, client), unknown, "{channel}");
        }
        assert_eq!(may_subscribe(&rules, channel, OF_APP), Ok(()), "{channel}");
        assert_eq!(may_publish(&rules, channel, OF_APP), Ok(()), "{channel}");
    }
    // Without a declared namespace a colon means nothing elsewhere.
    assert_eq!(may_subscribe(&rules, "chat:1", ANYBODY), Ok(()));
    let gone = rules.terms("app-1:news").unwrap().gone();
    let verdict = rules.may_subscribe(&gone, "app-1:news", OF_APP);
    assert_eq!(verdict, Err(Denied::UnknownNamespace));
}

#[test]
fn a_shared_namespace_keeps_its_rules_and_signed_channels_need_a_token() {
    let shop = App { namespace: "shop".into(), ..app("1") };
    let rules = rules(&["shop", "chat"], vec![shop]).unwrap();
    let stranger = Standing { named: false, ..ANYBODY };
    assert_eq!(may_subscribe(&rules, "shop:news", stranger), Ok(()));
    for channel in ["shop:private-a", "shop:presence-a", "shop:private-encrypted-cache-a"] {
        assert_eq!(may_subscribe(&rules, channel, stranger), Err(Denied::NeedsToken), "{channel}");
        assert_eq!(may_publish(&rules, channel, stranger), Err(Denied::NeedsToken), "{channel}");
        assert_eq!(may_subscribe(&rules, channel, WITH_TOKEN), Ok(()), "{channel}");
    }
    let of_user = "shop:#server-to-user-ana";
    assert!(may_subscribe(&rules, of_user, stranger).is_err());
    assert_eq!(may_subscribe(&rules, of_user, OF_APP), Ok(()));
    assert_eq!(may_subscribe(&rules, "chat:private-a", stranger), Ok(()), "no app's");
    assert!(rules.of("news:1").is_none(), "unknown as ever");
}

#[test]
fn cache_channels_keep_one_event_or_what_their_namespace_keeps() {
    let rules = rules(&[], vec![app("1")]).unwrap();
    let size = |rules: &Rules, channel: &str| rules.of(channel).unwrap().history.size;
    for channel in ["cache-a", "private-cache-a", "presence-cache-", "private-encrypted-cache-a"] {
        assert_eq!(size(&rules, &format!("app-1:{channel}")), 1, "{channel}");
    }
    for channel in ["a", "private-a", "xcache-a", "private-private-cache-a", "cache"] {
        assert_eq!(size(&rules, &format!("app-1:{channel}")), 0, "{channel}");
    }
    let mut shop = ChannelRules::open("shop");
    shop.history.size = 5;
    let rules = Rules::new(Marks::default(), ChannelRules::open(""), vec![shop]).unwrap();
    let rules = rules.with_apps(vec![App { namespace: "shop".into(), ..app("1") }]).unwrap();
    assert_eq!((size(&rules, "shop:cache-a"), size(&rules, "shop:a")), (5, 5));
}

#[test]
fn faults_of_apps_are_found() {
    let named = |namespace: &str, id: &str| App { namespace: namespace.into(), ..app(id) };
    for (apps, part) in [
        (vec![app("1"), app("1")], "two apps have the id \"1\""),
        (vec![app("1"), App::new("2", "key-1", "s")], "two apps have the key \"key-1\""),
        (vec![app("1"), named("app-1", "2")], "two apps have the namespace \"app-1\""),
        (vec![app("")], "\"\" is not an id or a key of an app"),
        (vec![app("a/b")], "\"a/b\" is not an id"),
        (vec![app("..")], "\"..\" is not an id"),
        (vec![App::new("1", "a:b", "s")], "\"a:b\" is not an id"),
        (vec![named("a b", "1")], "\"a b\" is not a name of a namespace"),
        ((0..1001).map(|n| app(&n.to_string())).collect(), "1001 apps are more than 1000"),
    ] {
        let why = rules(&[], apps).unwrap_err().to_string();
        assert!(why.contains(part), "{why}");
    }
    let long = App::new(&"a".repeat(60), "k", "s");
    assert!(rules(&[], vec![long]).is_ok(), "its namespace has 64 bytes");
}

#[test]
fn figures_outlive_other_rules_of_the_same_app() {
    let before = rules(&[], vec![app("1"), app("2")]).unwrap();
    assert!(before.app("1").unwrap().tally.come(0));
    let changed = App { enabled: false, ..app("1") };
    let after = rules(&[], vec![changed, app("3")]).unwrap().continuing(&before);
    before.app("1").unwrap().tally.go();
    let one = after.app("1").unwrap();
    assert_eq!((one.tally.figures().clients, one.tally.figures().connections), (0, 1));
    assert!(!one.enabled && after.app("2").is_none());
    assert_eq!(after.app("3").unwrap().tally.figures().connections, 0);
    assert_eq!(after.app_channel_bytes_max(), "app-1:#server-to-user-".len() + 256);
}

#[test]
fn names_of_channels_are_those_of_the_protocol() {
    let app = app("1");
    for good in ["a", "presence-a_b=@,.;:1", "#server-to-user-a b", &"a".repeat(164)] {
        assert!(app.is_channel(good), "{good}");
    }
    for bad in ["", "a b", "a/b", "#a", "#server-to-user-", "\u{e4}", &"a".repeat(165), "a\n"] {
        assert!(!app.is_channel(bad), "{bad}");
    }
}

#[test]
fn a_secret_is_not_shown() {
    let shown = format!("{:?}", rules(&[], vec![App::new("1", "k", "hunter2")]).unwrap());
    assert!(shown.contains("***") && !shown.contains("hunter2"), "{shown}");
    assert!(Secret::new("a") == Secret::new("a") && Secret::new("a") != Secret::new("b"));
}

#[test]
fn names_have_few_characters() {
    let long = "x".repeat(165);
    for good in ["a", "private-a:b;c,d.e=f@g_h-I", "#server-to-user-é 7", &long[1..]] {
        assert_eq!(check_channel_name(good, 164), Ok(()), "{good}");
    }
    for bad in ["", "a b", "ä", "a/b", "#x", "#server-to-user-", "a\n", "*", "!", &long] {
        assert!(check_channel_name(bad, 164).is_err(), "{bad:?}");
    }
    assert!(check_channel_name("#server-to-user-\u{1f}", 164).is_err());
}
