//! A plain decoder of a client's bytes after the letter of RFC 6455. It reads all bytes at once, is
//! slow, and shares no code with the server.

/// A whole message of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    Text(String),
    Binary(Vec<u8>),
}

/// The state of the connection behind the client's last byte.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// More may come.
    Open,
    /// The client sent a close frame; the answer must carry its code.
    Goodbye(Option<u16>),
    /// The client broke a rule: a close frame with one of these codes must come. If the fault is in
    /// the payload of a frame that is not complete yet, the close frame may come later, unless the
    /// fault is invalid UTF-8.
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
    /// The fault of its payload.
    faults: Vec<u16>,
    /// Without its mask, as far as it is there.
    payload: Vec<u8>,
    whole: bool,
    /// The payload is invalid UTF-8, whatever follows.
    hopeless: bool,
    /// With its header.
    len: usize,
}

/// Reads a client's bytes to their end, or to the end of the connection.
pub(super) fn account(mut bytes: &[u8], message_bytes: usize) -> Account {
    let mut account = Account { said: Vec::new(), pings: Vec::new(), end: End::Open };
    let mut open: Open = None;
    loop {
        let so_far = open.as_ref().map(|(_, message)| message.len());
        let codes = header_faults(bytes, so_far, message_bytes);
        if !codes.is_empty() {
            account.end = End::Fault { codes, must: true };
            return account;
        }
        let Some(mut frame) = read_frame(bytes) else { return account };
        if let 8..=10 = frame.opcode {
            account.take_control(&mut frame);
        } else {
            account.take_data(&mut frame, &mut open);
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
}

/// Returns the fault of a header, as far as it is there. `so_far` is the size of the unfinished
/// message, if there is one.
fn header_faults(bytes: &[u8], so_far: Option<usize>, message_bytes: usize) -> Vec<u16> {
    let mut faults = Vec::new();
    let Some(first) = bytes.first() else { return faults };
    let (last, reserved, opcode) = (first & 0x80 != 0, first & 0x70 != 0, first & 0x0f);
    let control = opcode >= 8;
    let known = matches!(opcode, 0..=2 | 8..=10);
    let in_order = control || (opcode == 0) == so_far.is_some();
    if reserved || !known || control && !last || !in_order {
        faults.push(PROTOCOL);
    }
    let Some(second) = bytes.get(1) else { return faults };
    let short = second & 0x7f;
    // A close frame has no body or one that begins with a code of two bytes.
    if second & 0x80 == 0 || control && short > 125 || opcode == 8 && short == 1 {
        faults.push(PROTOCOL);
    }
    // The length may not be all there: it lies between two numbers, whatever follows.
    let (width, shortest) = match short {
        126 => (2, 126),
        127 => (8, 0x1_0000),
        _ => (0, 0),
    };
    let claim = |missing: u8| {
        let digits = bytes[2..].iter().copied().chain(std::iter::repeat(missing)).take(width);
        digits.fold(0_u64, |claim, digit| claim * 256 + u64::from(digit))
    };
    let (least, most) = match width {
        0 => (u64::from(short), u64::from(short)),
        _ => (claim(0), claim(0xff)),
    };
    if most < shortest || least >> 63 == 1 {
        faults.push(PROTOCOL);
    }
    let total = u128::from(least) + so_far.unwrap_or(0) as u128;
    if !control && total > message_bytes as u128 {
        faults.push(TOO_LARGE);
    }
    faults
}

/// The unfinished message: `true` if it is text, and its bytes so far.
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

    fn take_data(&mut self, frame: &mut Frame, open: &mut Open) {
        let (text, mut message) = open.take().unwrap_or((frame.opcode == 1, Vec::new()));
        message.extend(&frame.payload);
        // Half a character at the end may go on in the next frame.
        let last = frame.whole && frame.last;
        let broken =
            std::str::from_utf8(&message).is_err_and(|fault| last || fault.error_len().is_some());
        if text && broken {
            frame.hopeless = true;
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

/// Returns the next frame, if its header is complete and has no fault.
fn read_frame(bytes: &[u8]) -> Option<Frame> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    let (at, claim) = match second & 0x7f {
        126 => (4, u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)),
        len => (2, u64::from(len)),
    };
    let mask = bytes.get(at..at + 4)?;
    let len = at + 4 + usize::try_from(claim).expect("a message that fits into memory");
    let there = &bytes[at + 4..len.min(bytes.len())];
    let payload = there.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
    let (last, opcode, whole) = (first & 0x80 != 0, first & 0x0f, bytes.len() >= len);
    Some(Frame { last, opcode, faults: Vec::new(), payload, whole, hopeless: false, len })
}

fn close_faults(payload: &[u8]) -> Vec<u16> {
    let mut faults = Vec::new();
    let (code, reason) = match payload {
        // One byte was found at the header.
        [] | [_] => return faults,
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
