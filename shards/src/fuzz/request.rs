//! A plain, line by line reading of a request head, and its faults as an upgrade.

/// A whole head.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct Asked {
    pub(super) head_len: usize,
    pub(super) headers: usize,
    /// Nothing in it is unusual: any parser must read it.
    pub(super) tame: bool,
    /// It wants a WebSocket.
    pub(super) upgrade: bool,
    /// It is no upgrade, and announces a body.
    pub(super) waits_for_body: bool,
    /// Its faults as an upgrade.
    pub(super) fault: Option<&'static str>,
    pub(super) key: String,
    pub(super) channel: Option<String>,
    pub(super) user: Option<String>,
    pub(super) json: bool,
}

/// The head at the beginning of `bytes`, if it is whole.
pub(super) fn read_request(bytes: &[u8]) -> Option<Asked> {
    let mut at = 0;
    let mut lines: Vec<&[u8]> = Vec::new();
    loop {
        let len = bytes[at..].iter().position(|byte| *byte == b'\n')?;
        let line = &bytes[at..at + len];
        at += len + 1;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match (line.is_empty(), lines.is_empty()) {
            (true, false) => break,
            // Empty lines before a request are skipped.
            (true, true) => {}
            (false, _) => lines.push(line),
        }
    }
    let strict = bytes[..at].split(|byte| *byte == b'\n').rev().skip(1);
    let crlf = strict.into_iter().all(|line| line.ends_with(b"\r"));
    let printable = lines.iter().all(|line| line.iter().all(|byte| (b' '..=b'~').contains(byte)));
    let headers: Vec<(String, &[u8])> = lines[1..].iter().map(|line| header(line)).collect();
    let names = headers.iter().all(|(name, _)| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    });
    let colons = lines[1..].iter().all(|line| line.contains(&b':'));
    let start: Vec<&[u8]> = lines[0].split(|byte| *byte == b' ').collect();
    let start_tame = start.len() == 3
        && start[0].iter().all(u8::is_ascii_alphabetic)
        && !start[0].is_empty()
        && start[1].first().is_some_and(u8::is_ascii_graphic)
        && !start[1].iter().any(|byte| b"\"<>\\^`{|}".contains(byte))
        && matches!(start[2], b"HTTP/1.1" | b"HTTP/1.0");
    let head = Head { start, headers };
    let mut asked = Asked {
        head_len: at,
        headers: head.headers.len(),
        tame: crlf && printable && names && colons && start_tame && bytes[0] != b'\r',
        upgrade: head.has("upgrade", "websocket"),
        waits_for_body: !head.has("upgrade", "websocket")
            && ["content-length", "transfer-encoding"]
                .iter()
                .any(|name| !head.all(name).is_empty()),
        fault: None,
        key: String::new(),
        channel: None,
        user: None,
        json: head.tokens("sec-websocket-protocol").iter().any(|name| *name == b"stentor.v1"),
    };
    asked.fault = head.fault(&mut asked).err();
    Some(asked)
}

fn header(line: &[u8]) -> (String, &[u8]) {
    let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
    let name = String::from_utf8_lossy(&line[..colon]).to_ascii_lowercase();
    (name, line.get(colon + 1..).unwrap_or_default().trim_ascii())
}

struct Head<'a> {
    start: Vec<&'a [u8]>,
    headers: Vec<(String, &'a [u8])>,
}

impl Head<'_> {
    fn all(&self, name: &str) -> Vec<&[u8]> {
        self.headers.iter().filter(|(of, _)| of == name).map(|(_, value)| *value).collect()
    }

    fn tokens(&self, name: &str) -> Vec<&[u8]> {
        let values = self.all(name).into_iter();
        values.flat_map(|value| value.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii).collect()
    }

    fn has(&self, name: &str, token: &str) -> bool {
        self.tokens(name).iter().any(|found| found.eq_ignore_ascii_case(token.as_bytes()))
    }

    fn fault(&self, asked: &mut Asked) -> Result<(), &'static str> {
        let must = |holds: bool, fault| if holds { Ok(()) } else { Err(fault) };
        let [method, target, version] = self.start[..] else { return Err("no request line") };
        must(method == b"GET", "the method")?;
        must(version == b"HTTP/1.1", "the version")?;
        must(asked.upgrade, "no upgrade")?;
        must(self.has("connection", "upgrade"), "the connection")?;
        must(self.all("sec-websocket-version")[..] == [b"13"], "the WebSocket version")?;
        let [key] = self.all("sec-websocket-key")[..] else { return Err("not one key") };
        let nonce = data_encoding::BASE64.decode(key);
        must(nonce.is_ok_and(|nonce| nonce.len() == 16), "the key")?;
        asked.key = String::from_utf8_lossy(key).into_owned();
        must(self.all("transfer-encoding").is_empty(), "a body")?;
        must(self.all("content-length").iter().all(|length| *length == b"0"), "a body")?;
        let [host] = self.all("host")[..] else { return Err("not one host") };
        let host = std::str::from_utf8(host).map_err(|_| "the host")?;
        match self.all("origin")[..] {
            [] => {}
            [origin] => must(is_host(origin, host), "the origin")?,
            _ => return Err("two origins"),
        }
        let target = std::str::from_utf8(target).map_err(|_| "the target")?;
        read_target(target, asked)
    }
}

/// Returns `true` if a page of this origin was served by this host.
fn is_host(origin: &[u8], host: &str) -> bool {
    let origin = String::from_utf8_lossy(origin).to_ascii_lowercase();
    let host = host.to_ascii_lowercase();
    [("http://", ":80"), ("https://", ":443")].iter().any(|(scheme, port)| {
        let short = |name: &str| name.strip_suffix(port).unwrap_or(name).to_owned();
        origin.strip_prefix(scheme).is_some_and(|of| short(of) == short(&host))
    })
}

fn read_target(target: &str, asked: &mut Asked) -> Result<(), &'static str> {
    let local = match target.find("://") {
        Some(at) if !target.starts_with('/') => {
            let rest = &target[at + 3..];
            rest.find(['/', '?']).map_or("", |at| &rest[at..])
        }
        _ => target,
    };
    let (path, query) = local.split_once('?').unwrap_or((local, ""));
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let rooted = path.is_empty() || path.starts_with('/');
    if !rooted || !matches!(parts[..], [] | ["ws"]) {
        return Err("the path");
    }
    let mut seen = Vec::new();
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if !["channel", "user", "echo", "join"].contains(&name) {
            continue;
        }
        if seen.contains(&name) {
            return Err("a parameter twice");
        }
        seen.push(name);
        let value = decoded(value).ok_or("an escape")?;
        let holds = match name {
            "echo" => ["true", "false", "1", "0"].contains(&value.as_str()),
            "join" => ["newline", "none"].contains(&value.as_str()),
            _ => {
                (1..=super::world::NAME_BYTES).contains(&value.len()) && value.chars().all(is_seen)
            }
        };
        if !holds {
            return Err("a value");
        }
        match name {
            "channel" => asked.channel = Some(value),
            "user" => asked.user = Some(value),
            _ => {}
        }
    }
    Ok(())
}

fn is_seen(c: char) -> bool {
    !c.is_control()
        && !"\u{2028}\u{2029}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\
                         \u{2068}\u{2069}"
            .contains(c)
}

pub(super) fn decoded(value: &str) -> Option<String> {
    let value = value.replace('+', " ");
    let mut parts = value.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let digits = part.as_bytes().get(..2)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        bytes.extend(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).ok()
}
