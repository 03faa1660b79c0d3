//! Properties that must hold for any bytes, one function for each target of `tests/fuzz`. A plain
//! test replays the seeds there, so that no target rots.

mod centrifugo;
mod deflated;
mod forwarded;
mod frames;
mod head;
mod input;
mod json;
mod link;
mod model;
mod oracle;
mod patch;
mod protobuf;
mod proxy;
mod pusher;
mod request;
mod rooms;
mod signed;
mod stream;
mod table;
mod tls;
mod world;

pub use centrifugo::centrifugo;
pub use deflated::deflated;
pub use forwarded::forwarded;
pub use frames::frames;
pub use head::head;
pub use json::json;
pub use link::link;
pub use model::model;
pub use patch::patches;
pub use protobuf::protobuf;
pub use proxy::proxy;
pub use pusher::{pusher, pusher_names};
pub use rooms::rooms;
pub use signed::signed;
pub use stream::stream;
pub use tls::tls;

use crate::sim::dice::Dice;

/// A schedule of whole shards: each byte is one throw of the dice.
pub fn schedule(data: &[u8]) {
    crate::sim::simulate(Dice::given(data), 7);
}

/// Checks the properties of one input; panics if one does not hold.
pub type Target = fn(&[u8]);

/// The targets by their names.
pub const TARGETS: [(&str, Target); 18] = [
    ("head", head),
    ("proxy", proxy),
    ("forwarded", forwarded),
    ("frames", frames),
    ("deflated", deflated),
    ("json", json),
    ("centrifugo", centrifugo),
    ("protobuf", protobuf),
    ("pusher", pusher),
    ("pusher_names", pusher_names),
    ("patches", patches),
    ("link", link),
    ("model", model),
    ("rooms", rooms),
    ("signed", signed),
    ("stream", stream),
    ("tls", tls),
    ("schedule", schedule),
];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_seed_holds() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz");
        for (name, target) in TARGETS {
            let seeds = folder.join("seeds").join(name);
            let mut count = 0;
            for seed in seeds.read_dir().expect("each target has seeds") {
                let path = seed.unwrap().path();
                let data = std::fs::read(&path).unwrap();
                let outcome = std::panic::catch_unwind(|| target(&data));
                assert!(outcome.is_ok(), "{}", path.display());
                count += 1;
            }
            assert!(count > 0, "{name} has no seeds");
            let program = folder.join("targets").join(name).with_extension("rs");
            let text = std::fs::read_to_string(program).unwrap();
            assert!(text.contains(&format!("fuzz::{name}(data)")), "{name} is not fuzzed");
        }
    }
}
