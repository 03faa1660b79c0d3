//! Commands of Centrifugo's protocol in both of its forms, JSON and Protobuf.

use crate::raw::{frame, head, text};

/// About so many bytes of commands stand in a message of a flood.
const MESSAGE_BYTES: usize = 60_000;

/// The form in which a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Json,
    Protobuf,
}

pub(crate) const FORMS: [Form; 2] = [Form::Json, Form::Protobuf];

/// The value of a field.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Value<'a> {
    Text(&'a str),
    /// Bytes in Protobuf, and JSON in JSON.
    Data(&'a str),
    Yes,
    Number(i64),
}

/// A field of a command, by its name and its number.
pub(crate) type Field<'a> = (&'a str, u8, Value<'a>);

/// A command, by its name and its number, and the fields in it.
#[derive(Debug, Clone)]
pub(crate) struct Command<'a> {
    /// Zero for one that is not answered.
    pub(crate) id: u8,
    pub(crate) method: (&'a str, u8),
    pub(crate) fields: Vec<Field<'a>>,
}

pub(crate) fn channel(name: &str) -> Field<'_> {
    ("channel", 1, Value::Text(name))
}

pub(crate) fn connect<'a>(fields: &[Field<'a>]) -> Command<'a> {
    Command { id: 1, method: ("connect", 4), fields: fields.to_vec() }
}

pub(crate) fn subscribe<'a>(fields: &[Field<'a>]) -> Command<'a> {
    Command { id: 2, method: ("subscribe", 5), fields: fields.to_vec() }
}

pub(crate) fn unsubscribe(name: &str) -> Command<'_> {
    Command { id: 3, method: ("unsubscribe", 6), fields: vec![channel(name)] }
}

pub(crate) fn publish<'a>(name: &'a str, data: &'a str) -> Command<'a> {
    let fields = vec![channel(name), ("data", 2, Value::Data(data))];
    Command { id: 4, method: ("publish", 7), fields }
}

fn varint(mut number: u64, out: &mut Vec<u8>) {
    while number > 0x7f {
        out.push(u8::try_from(number & 0x7f).unwrap() | 0x80);
        number >>= 7;
    }
    out.push(u8::try_from(number).unwrap());
}

fn bytes(tag: u8, content: &[u8], out: &mut Vec<u8>) {
    out.push(tag << 3 | 2);
    varint(content.len() as u64, out);
    out.extend_from_slice(content);
}

impl Command<'_> {
    fn json(&self) -> String {
        let fields = self.fields.iter().map(|(name, _, value)| match value {
            Value::Text(text) => format!("\"{name}\":\"{text}\""),
            Value::Data(json) => format!("\"{name}\":{json}"),
            Value::Yes => format!("\"{name}\":true"),
            Value::Number(number) => format!("\"{name}\":{number}"),
        });
        let fields = fields.collect::<Vec<_>>().join(",");
        let id = if self.id > 0 { format!("\"id\":{},", self.id) } else { String::new() };
        format!("{{{id}\"{}\":{{{fields}}}}}", self.method.0)
    }

    fn protobuf(&self) -> Vec<u8> {
        let mut fields = Vec::new();
        for (_, tag, value) in &self.fields {
            match value {
                Value::Text(text) | Value::Data(text) => bytes(*tag, text.as_bytes(), &mut fields),
                Value::Yes => fields.extend([tag << 3, 1]),
                Value::Number(number) => {
                    fields.push(tag << 3);
                    varint(number.cast_unsigned(), &mut fields);
                }
            }
        }
        let mut command = if self.id > 0 { vec![8, self.id] } else { Vec::new() };
        bytes(self.method.1, &fields, &mut command);
        let mut out = Vec::new();
        varint(command.len() as u64, &mut out);
        [out, command].concat()
    }
}

impl Form {
    /// The head of the request of a client that speaks this.
    pub(crate) fn head(self, target: &str) -> String {
        let protocol = match self {
            Self::Json => "centrifuge-json",
            Self::Protobuf => "centrifuge-protobuf",
        };
        head(target, &format!("Sec-WebSocket-Protocol: {protocol}\r\n"))
    }

    /// A message of these bytes.
    pub(crate) fn frame(self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Json => text(std::str::from_utf8(message).unwrap()),
            Self::Protobuf => frame(0x82, message),
        }
    }

    fn all_of(self, commands: &[Command<'_>]) -> Vec<u8> {
        match self {
            Self::Json => commands.iter().map(|one| one.json() + "\n").collect::<String>().into(),
            Self::Protobuf => commands.iter().flat_map(Command::protobuf).collect(),
        }
    }

    /// A message of these commands.
    pub(crate) fn message(self, commands: &[Command<'_>]) -> Vec<u8> {
        self.frame(&self.all_of(commands))
    }

    /// A message of these commands as often as they go into one.
    pub(crate) fn flood(self, commands: &[Command<'_>]) -> Vec<u8> {
        let all = self.all_of(commands);
        self.frame(&all.repeat(MESSAGE_BYTES / all.len()))
    }

    /// Returns `true` if a message is the reply to a `connect`.
    pub(crate) fn is_connected(self, message: &[u8]) -> bool {
        match self {
            Self::Json => message.starts_with(b"{\"id\":1,\"connect\":"),
            // Behind its length, and the number of the command.
            Self::Protobuf => message.get(1..4) == Some(b"\x08\x01\x2a"),
        }
    }
}
