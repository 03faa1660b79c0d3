//! The words by which clients of stentor.v1 learn their place in the channel of their URL.

use std::borrow::Cow;

use serde::Deserialize;

use super::track::{Position, Track, first_offset};

/// The beginning of a publication, as this protocol's servers write it. It spares the parsing of
/// each publication.
const MESSAGE: &[u8] = br#"{"type":"message","#;

/// A message that may tell of a place.
#[derive(Deserialize)]
struct Told<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    epoch: Option<String>,
    offset: Option<u64>,
    recovered: Option<bool>,
}

/// Follows a client's place through a message of the server.
pub(super) fn follow(message: &[u8], track: &mut Track) {
    if message.starts_with(MESSAGE) {
        return track.heard_in(message, first_offset(message));
    }
    let Ok(told) = serde_json::from_slice::<Told<'_>>(message) else { return };
    // A client that joins a channel of no URL cannot ask for what it missed by its URL.
    let counts = told.kind == "welcome" || (told.kind == "joined" && track.position.is_some());
    if let (true, Some(epoch), Some(offset)) = (counts, told.epoch, told.offset) {
        track.position = Some(Position { epoch, offset });
        track.recovered = told.recovered.or(track.recovered);
    }
}

/// Returns path and query that ask for all behind a position.
pub(super) fn target(target: &str, since: &Position) -> String {
    let joint = if target.contains('?') { '&' } else { '?' };
    format!("{target}{joint}since={}:{}", since.epoch, since.offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_that_of_the_last_message() {
        let mut track = Track::default();
        let joined = br#"{"type":"joined","channel":"b","offset":9,"epoch":"e"}"#;
        follow(joined, &mut track);
        follow(br#"{"type":"message","channel":"a","offset":7,"body":"x"}"#, &mut track);
        assert_eq!(track, Track::default(), "it has no channel in its URL");
        follow(br#"{"type":"welcome","channel":"a","offset":2,"epoch":"e1"}"#, &mut track);
        follow(br#"{"type":"message","channel":"a","offset":3,"body":"offset"}"#, &mut track);
        follow(br#"{"type":"message","direct":true,"body":"x"}"#, &mut track);
        let position = track.position.clone().unwrap();
        assert_eq!(position, Position { epoch: "e1".into(), offset: 3 });
        assert_eq!(target("/ws?channel=a", &position), "/ws?channel=a&since=e1:3");
        assert_eq!(target("/ws", &position), "/ws?since=e1:3");
        follow(
            br#"{"type":"joined","channel":"a","offset":0,"epoch":"e2","recovered":false}"#,
            &mut track,
        );
        assert_eq!(track.recovered, Some(false));
        assert_eq!(track.position, Some(Position { epoch: "e2".into(), offset: 0 }));
        follow(b"{\"type\":\"joi", &mut track);
    }
}
