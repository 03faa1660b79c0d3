//! The admin address: keys, other origins, and its end.

use super::*;

#[test]
fn latencies_of_all_shards_are_one_histogram() {
    let mut one = Histogram::<u64>::new_with_bounds(1, 60_000_000, 3).unwrap();
    let mut other = one.clone();
    (1..=500).for_each(|us| one.record(us).unwrap());
    (501..=1000).for_each(|us| other.record(us).unwrap());
    let whole = merged(&[(0, one), (1, other)]).unwrap();
    assert_eq!((whole.len(), whole.value_at_quantile(0.5)), (1000, 500));
    assert!(merged(&[]).is_none());
}

#[test]
fn only_the_key_is_the_key() {
    assert!(same(b"secret", b"secret"));
    for wrong in [&b"secreT"[..], b"secre", b"secrets", b"", b"secretsecret"] {
        assert!(!same(wrong, b"secret"), "{wrong:?}");
    }
    assert!(!same(b"secret", b""), "no key is no key");
    for (authorization, is_shown) in [
        ("apikey k", true),
        ("ApiKey k", true),
        ("APIKEY  k", true),
        ("apikey other", false),
        ("apikeyk", false),
        ("Bearer k", false),
        ("k", false),
        ("apikey ", false),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, authorization.parse().unwrap());
        assert_eq!(shows(&headers, "k"), is_shown, "{authorization}");
    }
}

/// A comparison that ends at the first difference is a thousand times as fast where that comes
/// first as where it comes last.
#[test]
fn the_time_of_a_comparison_does_not_tell_where_the_difference_is() {
    let key = vec![b'k'; 1 << 18];
    let mut wrong = [key.clone(), key.clone()];
    wrong[0][0] = b'x';
    *wrong[1].last_mut().unwrap() = b'x';
    let mut least = [Duration::MAX; 2];
    for _ in 0..20 {
        for (wrong, least) in wrong.iter().zip(&mut least) {
            let began = std::time::Instant::now();
            assert!(!same(std::hint::black_box(wrong), &key));
            *least = began.elapsed().min(*least);
        }
    }
    let [first, last] = least;
    assert!(first * 3 > last && last * 3 > first, "{first:?} and {last:?}");
}

#[test]
fn without_a_key_the_host_is_an_address_or_localhost() {
    let with = |host: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        is_named_as_local(&headers)
    };
    for good in ["127.0.0.1:9002", "127.0.0.1", "[::1]:9002", "localhost:9002", "LOCALHOST"] {
        assert!(with(good), "{good}");
    }
    for bad in ["evil.example", "evil.example:9002", "localhost.evil.example", "", "127.0.0.1.x"] {
        assert!(!with(bad), "{bad}");
    }
    assert!(is_named_as_local(&HeaderMap::new()), "no browser leaves it out");
}

#[test]
fn only_our_own_pages_are_heard() {
    let with = |origin: Option<&str>| {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, "127.0.0.1:9002".parse().unwrap());
        origin.map(|origin| headers.insert(header::ORIGIN, origin.parse().unwrap()));
        is_of_other_page(&headers)
    };
    assert!(!with(None) && !with(Some("http://127.0.0.1:9002")));
    for other in ["http://evil.example", "null", "", "http://127.0.0.1:9001"] {
        assert!(with(Some(other)), "{other}");
    }
}

#[test]
fn a_connection_behind_the_end_is_left_to_the_next_process() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    for _ in 0..20 {
        let ours = TcpListener::bind("127.0.0.1:0").unwrap();
        ours.set_nonblocking(true).unwrap();
        let (theirs, (_over, is_over)) = (ours.try_clone().unwrap(), watch::channel(true));
        let _client = std::net::TcpStream::connect(ours.local_addr().unwrap()).unwrap();
        let listener = tokio::net::TcpListener::from_std(ours).unwrap();
        let room = Arc::new(Semaphore::new(1));
        let plain = watch::channel(None).1;
        runtime.block_on(accept_until(is_over, listener, Router::new(), &room, plain));
        assert!(theirs.accept().is_ok());
    }
}
