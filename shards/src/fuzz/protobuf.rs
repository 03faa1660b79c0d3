//! Commands of Centrifugo's protocol in Protobuf.

use bytes::Bytes;

use crate::model::message::Payload;
use crate::wire::command::{Command, Said};
use crate::wire::dialect::{Dialect, Reading};

const READING: Reading = Reading { text_ping: true, trim_text: false };

/// A message falls into commands without loss, each of which is as long as it says, and no body or
/// name is longer than its command.
pub fn protobuf(data: &[u8]) {
    let mut said = Said::Binary(Bytes::copy_from_slice(data));
    let mut seen = Vec::new();
    loop {
        let left = Dialect::Protobuf.split(&mut said);
        let Said::Binary(first) = &said else { panic!("bytes fall into bytes") };
        seen.extend_from_slice(first);
        let len = first.len();
        assert!(left.as_ref().is_none_or(|left| left.len() + seen.len() == data.len()));
        assert!(left.is_none() || len > 0, "a command has a length at least");
        check_command(&mut said, len);
        let Some(left) = left else { break };
        said = left;
    }
    assert_eq!(seen, data, "nothing is lost between commands");
    let text = Said::Text(String::from_utf8_lossy(data).into_owned().into());
    assert!(Dialect::Protobuf.read(&mut { text }, READING).is_err(), "it is no text protocol");
}

fn check_command(said: &mut Said, len: usize) {
    match Dialect::Protobuf.read(said, READING) {
        Ok(Command::Publish { channel, payload, id }) => {
            let name = channel.expect("it names its channel");
            assert!(!name.is_empty() && name.len() + payload.len() < len);
            assert!(payload.len() > 0);
            assert!(id.is_some_and(|id| id.0.parse::<u32>().is_ok_and(|id| id > 0)));
            if let Payload::Json(json) = payload {
                serde_json::from_str::<&serde_json::value::RawValue>(&json).expect("it is JSON");
            }
        }
        Ok(Command::Join { channel, .. } | Command::Leave { channel, .. }) => {
            assert!(!channel.is_empty() && channel.len() < len);
        }
        Ok(Command::Direct { .. } | Command::Who { .. } | Command::Heartbeat) => {
            panic!("it has no such command")
        }
        Ok(_) => {}
        Err(mistake) => assert!(!mistake.text.is_empty()),
    }
}
