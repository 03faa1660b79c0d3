//! What a client's bytes mean, after the letter of RFC 6455 and on the whole of them at once: slow,
//! plain, and nothing of it shared with the server.

/// What a client has said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    Text(String),
    Binary(Vec<u8>),
}

/// How it goes on after that.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// More may come.
    Open,
    /// It said goodbye; the answer must carry its code.
    Goodbye(Option<u16>),
    /// It broke the rules: a close frame with one of these codes must come; if the frame at fault
    /// is not whole yet, it may, but for a text that can become none.
    Fault { codes: Vec<u16>, must: bool },
}

/// All that a client's bytes amount to.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) said: Vec<Said>,
    pub(super) pings: Vec<Vec<u8>>,
    pub(super) end: End,
}

const PROTOCOL: u16 = 1002;
const UTF8: u16 = 1007;
const TOO_LARGE: u16 = 1009;

struct Frame {
    last: bool,
    opcode: u8,
    /// What is wrong with its header already.
    faults: Vec<u16>,
    /// Without its mask, as far as it is there.
    payload: Vec<u8>,
    whole: bool,
    /// It is no text, whatever follows.
    hopeless: bool,
    /// With its header.
    len: usize,
}

/// Reads a client's bytes to their end, or to the end of the connection.
pub(super) fn account(mut bytes: &[u8], message_bytes: usize) -> Account {
    let mut account = Account { said: Vec::new(), pings: Vec::new(), end: End::Open };
    let mut open: Open = None;
    while let Some(mut frame) = read_frame(bytes, message_bytes) {
        if let 8..=10 = frame.opcode {
            account.take_control(&mut frame);
        } else {
            account.take_data(&mut frame, &mut open, message_bytes);
        }
        let must = frame.whole || frame.hopeless;
        if !frame.faults.is_empty() {
            account.end = End::Fault { codes: frame.faults, must };
        }
        if account.end != End::Open || !frame.whole {
            return account;
        }
        bytes = &bytes[frame.len..];
    }
    account
}

/// The message under way: whether it is text, and its bytes so far.
type Open = Option<(bool, Vec<u8>)>;

impl Account {
    fn take_control(&mut self, frame: &mut Frame) {
        let goodbye = frame.opcode == 8;
        if goodbye && frame.whole {
            frame.faults.extend(close_faults(&frame.payload));
        }
        if !frame.whole || !frame.faults.is_empty() {
            return;
        }
        if goodbye {
            let code = frame.payload.get(..2).map(|code| u16::from_be_bytes([code[0], code[1]]));
            self.end = End::Goodbye(code);
        } else if frame.opcode == 9 {
            self.pings.push(frame.payload.clone());
        }
    }

    fn take_data(&mut self, frame: &mut Frame, open: &mut Open, message_bytes: usize) {
        if (frame.opcode == 0) != open.is_some() {
            frame.faults.push(PROTOCOL);
        }
        let (text, mut message) = open.take().unwrap_or((frame.opcode == 1, Vec::new()));
        if message.len().saturating_add(frame.len) > message_bytes && !frame.whole
            || message.len() + frame.payload.len() > message_bytes
        {
            frame.faults.push(TOO_LARGE);
        }
        message.extend(&frame.payload);
        // Half a character at the end may go on in the next frame.
        let last = frame.whole && frame.last;
        let broken =
            std::str::from_utf8(&message).is_err_and(|fault| last || fault.error_len().is_some());
        if (text || frame.opcode == 1) && broken {
            frame.hopeless = frame.faults.is_empty();
            frame.faults.push(UTF8);
        }
        if !last || !frame.faults.is_empty() {
            *open = Some((text, message));
            return;
        }
        self.said.push(match String::from_utf8(message) {
            Ok(message) if text => Said::Text(message),
            Ok(message) => Said::Binary(message.into_bytes()),
            Err(message) => Said::Binary(message.into_bytes()),
        });
    }
}

/// The next frame, if its header is whole.
fn read_frame(bytes: &[u8], message_bytes: usize) -> Option<Frame> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    let (wide, masked) = (second & 0x7f, second & 0x80 != 0);
    let at = match wide {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    let claim = match wide {
        126 => u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)),
        127 => u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?),
        len => u64::from(len),
    };
    let start = if masked { at + 4 } else { at };
    let mask = if masked { bytes.get(at..start)? } else { &[0; 4] };
    let opcode = first & 0x0f;
    let mut faults = Vec::new();
    let control = opcode >= 8;
    let last = first & 0x80 != 0;
    let known = matches!(opcode, 0..=2 | 8..=10);
    if !known || !masked || first & 0x70 != 0 || control && (!last || claim > 125) {
        faults.push(PROTOCOL);
    }
    if claim > message_bytes as u64 {
        faults.push(TOO_LARGE);
    }
    let len = usize::try_from(claim).ok().and_then(|len| len.checked_add(start));
    let len = len.unwrap_or(usize::MAX);
    let there = &bytes[start..len.min(bytes.len())];
    let payload = there.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
    let whole = bytes.len() >= len;
    Some(Frame { last, opcode, faults, payload, whole, hopeless: false, len })
}

fn close_faults(payload: &[u8]) -> Vec<u16> {
    let mut faults = Vec::new();
    let (code, reason) = match payload {
        [] => return faults,
        [_] => return vec![PROTOCOL],
        [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
    };
    // 1012 and 1013 were registered later and are taken; 1014 is a gateway's, never a client's.
    if !matches!(code, 1000..=1003 | 1007..=1013 | 3000..=4999) {
        faults.push(PROTOCOL);
    }
    if std::str::from_utf8(reason).is_err() {
        faults.push(UTF8);
    }
    faults
}
