//! A property of files of settings that must hold for any bytes, for the target in `tests/fuzz`.
//! A plain test replays the seeds there, so that the target does not rot.

use super::{Layered, file, show};

/// Reads a file of settings. What is read shows as a file with the same rules; what is wrong is
/// told in one line, with a place within the file.
///
/// # Panics
/// If either does not hold.
pub(crate) fn rules(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // Addresses may be names, which would be looked up, and files would be read.
    if ["listen", "admin", "secret_file", "secret-file"].iter().any(|name| text.contains(name)) {
        return;
    }
    let mut layered = Layered::default();
    if let Err((at, why)) = file::lay(text, &|at| format!("byte {at}"), &mut layered) {
        assert!(at <= text.len(), "byte {at} of {}", text.len());
        assert!(!why.is_empty() && !why.contains('\n'), "{why:?}");
        return;
    }
    layered.settings.apps.set_secrets("secret");
    let checked = layered.check_together().and_then(|()| layered.check_channels());
    if let Err(why) = checked {
        assert!(!why.to_string().contains('\n'), "{why}");
        return;
    }
    let shown = show::in_force(&layered).replace("***", "secret");
    let shown: String = shown
        .lines()
        .filter(|line| !line.starts_with("listen") && !line.starts_with("admin"))
        .flat_map(|line| [line, "\n"])
        .collect();
    let mut again = Layered::default();
    let read = file::lay(&shown, &|at| format!("byte {at}"), &mut again);
    assert!(read.is_ok(), "{read:?} in\n{shown}");
    again.check_channels().unwrap_or_else(|why| panic!("{why} in\n{shown}"));
    assert_eq!(again.settings.shards.rules, layered.settings.shards.rules);
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    #[test]
    fn every_seed_holds() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/seeds/rules");
        let seeds: Vec<_> = folder.read_dir().unwrap().map(|seed| seed.unwrap().path()).collect();
        assert!(seeds.len() > 5, "{} seeds", seeds.len());
        for path in seeds {
            let data = std::fs::read(&path).unwrap();
            let outcome = std::panic::catch_unwind(|| super::rules(&data));
            assert!(outcome.is_ok(), "{}", path.display());
        }
    }
}
