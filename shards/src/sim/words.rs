//! The words of a simulated client: its request, what it compresses, and what it makes of what it
//! is told.

use flate2::{Compress, Compression, FlushCompress};

use super::client::{Heard, Wish};

/// A message in compressed form, as a client would send it.
pub(crate) fn deflated(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() * 2 + 64);
    Compress::new(Compression::default(), false)
        .compress_vec(payload, &mut out, FlushCompress::Sync)
        .expect("memory is compressed");
    out.strip_suffix(&[0, 0, 0xff, 0xff]).expect("a flush").to_vec()
}

/// A message of the JSON dialect.
pub(super) fn understand_json(text: &str) -> Heard {
    let value: serde_json::Value = serde_json::from_str(text).unwrap();
    let channel = value["channel"].as_str().unwrap_or_default().to_owned();
    let offset = value["offset"].as_u64();
    match (value["type"].as_str(), offset) {
        (Some("message"), Some(offset)) => {
            Heard::Json { channel, offset, body: value["body"].as_str().unwrap().to_owned() }
        }
        (Some("gap"), _) => {
            let [from, to] = ["from", "to"].map(|field| value[field].as_u64().unwrap());
            Heard::Gap { channel, from, to }
        }
        (Some("joined"), Some(offset)) => {
            let number = value["id"].as_u64().map(|id| usize::try_from(id).unwrap());
            let recovered = value["recovered"].as_bool().map(|recovered| (number, recovered));
            Heard::Joined { channel, offset, recovered }
        }
        (Some("left"), _) if value.get("client").is_none() => Heard::Left { channel },
        _ => Heard::Other,
    }
}

/// The test dialect: a kind, the length of a name, the name, and the rest.
pub(super) fn understand_line(line: &[u8]) -> Heard {
    let end = 3 + usize::from(u16::from_be_bytes([line[1], line[2]]));
    let channel = String::from_utf8(line[3..end].to_vec()).unwrap();
    let offset = || u64::from_be_bytes(line[end..end + 8].try_into().unwrap());
    match line[0] {
        b'm' => {
            let body = String::from_utf8(line[end + 8..].to_vec()).unwrap();
            // A direct message has no channel.
            if channel.is_empty() {
                return Heard::Other;
            }
            Heard::Json { channel, offset: offset(), body }
        }
        b'j' => {
            let recovered = line.get(end + 8).map(|yes| (None, *yes == b'1'));
            Heard::Joined { channel, offset: offset(), recovered }
        }
        b'g' => {
            let to = u64::from_be_bytes(line[end + 8..].try_into().unwrap());
            Heard::Gap { channel, from: offset(), to }
        }
        b'l' => Heard::Left { channel },
        _ => Heard::Other,
    }
}

impl Wish {
    /// The request head that says it.
    pub(crate) fn head(&self) -> String {
        // The test dialect names both by its first request.
        let by_url = |name: Option<&'static str>| name.filter(|_| !self.lines);
        let channel = by_url(self.channel).map(|channel| format!("channel={channel}&"));
        let user = by_url(self.user).map(|user| format!("user={user}&"));
        let echo = if self.echoless { "echo=false&" } else { "" };
        let since = self.since.map(|(epoch, offset)| format!("since={epoch}:{offset}&"));
        let last = self.last.map(|count| format!("history={count}&"));
        let join = if self.joined { "join=newline" } else { "join=none" };
        let offers = self.offers.map(|offer| format!("Sec-WebSocket-Extensions: {offer}\r\n"));
        let protocol = match self {
            Self { json: true, .. } => "Sec-WebSocket-Protocol: stentor.v1\r\n",
            Self { lines: true, .. } => "Sec-WebSocket-Protocol: lines\r\n",
            _ => "",
        };
        if self.events {
            let codings = self.offers.map(|codings| format!("Accept-Encoding: {codings}\r\n"));
            return format!(
                "GET /sse?{}{}{}{}x HTTP/1.1\r\nHost: h\r\n{}\r\n",
                channel.unwrap_or_default(),
                user.unwrap_or_default(),
                since.unwrap_or_default(),
                last.unwrap_or_default(),
                codings.unwrap_or_default(),
            );
        }
        format!(
            "GET /ws?{}{}{}{}{echo}{join} HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n{protocol}\
             {}Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            channel.unwrap_or_default(),
            user.unwrap_or_default(),
            since.unwrap_or_default(),
            last.unwrap_or_default(),
            offers.unwrap_or_default(),
        )
    }
}
