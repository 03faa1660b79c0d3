//! The limits of this process's control groups: its own and all above it, of both versions.

use std::fs;
use std::path::{Path, PathBuf};

/// The bounds of all groups together.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Bounds {
    /// Cores' worth of time, and the file that says so; `None`: all of them.
    pub(crate) cpus: Option<(f64, PathBuf)>,
    /// Bytes of memory, and the file that says so; `None`: all there is.
    pub(crate) memory: Option<(u64, PathBuf)>,
}

/// Where one hierarchy is mounted.
struct Mount {
    /// The group that is shown at `at`: in a container its own, or one above it.
    top: String,
    at: PathBuf,
    /// Version 2, or the controllers of a hierarchy of version 1.
    controllers: Option<Vec<String>>,
}

/// Reads the bounds under `root`, which is `/` but in tests.
pub(crate) fn read(root: &Path) -> Bounds {
    let mut bounds = Bounds::default();
    for folder in folders(root) {
        let shown = Path::new("/").join(folder.strip_prefix(root).unwrap_or(&folder));
        let text = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default();
        for name in ["memory.max", "memory.limit_in_bytes"] {
            if let Ok(bytes) = text(name).trim().parse::<u64>() {
                tighten(&mut bounds.memory, bytes, shown.join(name));
            }
        }
        for (name, words) in [
            ("cpu.max", text("cpu.max")),
            ("cpu.cfs_quota_us", text("cpu.cfs_quota_us") + " " + &text("cpu.cfs_period_us")),
        ] {
            if let Some(cpus) = share(&words) {
                tighten(&mut bounds.cpus, cpus, shown.join(name));
            }
        }
    }
    // Version 1 has no word for "no limit"; it says the largest number of whole pages.
    bounds.memory = bounds.memory.filter(|(bytes, _)| *bytes < 1 << 60);
    bounds
}

fn tighten<T: PartialOrd>(bound: &mut Option<(T, PathBuf)>, value: T, says: PathBuf) {
    if bound.as_ref().is_none_or(|(tightest, _)| value < *tightest) {
        *bound = Some((value, says));
    }
}

/// `150000 100000` is one and a half cores; `max` and `-1` are no bound.
fn share(words: &str) -> Option<f64> {
    let mut words = words.split_whitespace();
    let quota: f64 = words.next()?.parse().ok()?;
    let period: f64 = words.next()?.parse().ok()?;
    (quota > 0.0 && period > 0.0).then(|| quota / period)
}

/// The folders of this process's groups and of all above them, as far as they are shown here.
fn folders(root: &Path) -> Vec<PathBuf> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let mounts = mounts(root);
    let mut found = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let controllers: Vec<&str> = controllers.split(',').filter(|one| !one.is_empty()).collect();
        for mount in mounts.iter().filter(|mount| mount.is_of(&controllers)) {
            // A group that is not below what is mounted here is above it, or out of sight: what is
            // shown at the top is then the nearest.
            let below = path.strip_prefix(&*mount.top).unwrap_or_default();
            let is_shown = !below.split('/').any(|part| part == "..");
            let below = if is_shown { below.trim_matches('/') } else { "" };
            let top = root.join(mount.at.strip_prefix("/").unwrap_or(&mount.at));
            let own = top.join(below);
            found.extend(own.ancestors().take_while(|one| one.starts_with(&top)).map(Into::into));
        }
    }
    found
}

impl Mount {
    /// Returns `true` if it shows the hierarchy of these controllers; none: version 2.
    fn is_of(&self, controllers: &[&str]) -> bool {
        match &self.controllers {
            None => controllers.is_empty(),
            Some(own) => controllers.iter().any(|one| own.iter().any(|own| own == one)),
        }
    }
}

/// Reads lines such as `30 24 0:27 /top /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw`.
fn mounts(root: &Path) -> Vec<Mount> {
    let text = fs::read_to_string(root.join("proc/self/mountinfo")).unwrap_or_default();
    let mounts = text.lines().filter_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let (top, at) = (place.next()?, place.next()?);
        let mut kind = kind.split(' ');
        let controllers = match kind.next()? {
            "cgroup2" => None,
            "cgroup" => Some(kind.nth(1)?.split(',').map(str::to_owned).collect()),
            _ => return None,
        };
        // The top of the tree is a prefix of every path.
        let top = top.trim_end_matches('/').to_owned();
        Some(Mount { top, at: at.into(), controllers })
    });
    mounts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    const V2: &str = "30 24 0:27 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw\n";

    #[test]
    fn a_group_above_bounds_what_is_below_it() {
        let root = tree(&[
            ("proc/self/cgroup", "0::/a/b\n"),
            ("proc/self/mountinfo", V2),
            ("sys/fs/cgroup/a/memory.max", "1000000\n"),
            ("sys/fs/cgroup/a/b/memory.max", "max\n"),
            ("sys/fs/cgroup/a/b/cpu.max", "max 100000\n"),
            ("sys/fs/cgroup/a/cpu.max", "150000 100000\n"),
        ]);
        let bounds = read(root.path());
        let says = |name: &str| PathBuf::from("/sys/fs/cgroup/a").join(name);
        assert_eq!(bounds.memory, Some((1_000_000, says("memory.max"))));
        assert_eq!(bounds.cpus, Some((1.5, says("cpu.max"))));
    }

    #[test]
    fn both_versions_side_by_side() {
        let root = tree(&[
            ("proc/self/cgroup", "4:memory:/x\n2:cpu,cpuacct:/y\n0::/\n"),
            (
                "proc/self/mountinfo",
                "40 2 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                 41 2 0:31 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                 42 2 0:32 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
            ),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/memory/x/memory.limit_in_bytes", "77777\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/y/cpu.cfs_quota_us", "50000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/y/cpu.cfs_period_us", "100000\n"),
        ]);
        let bounds = read(root.path());
        let says = |name: &str| PathBuf::from("/sys/fs/cgroup").join(name);
        assert_eq!(bounds.memory, Some((77_777, says("memory/x/memory.limit_in_bytes"))));
        assert_eq!(bounds.cpus, Some((0.5, says("cpu,cpuacct/y/cpu.cfs_quota_us"))));
    }

    /// A container sees its own group at the top, under the host's path or with a namespace.
    #[test]
    fn a_container_sees_its_own_group_at_the_top() {
        for (cgroup, mount) in [
            ("0::/\n", V2),
            ("0::/docker/abc\n", "30 24 0:27 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n"),
            ("0::/../abc\n", V2),
        ] {
            let root = tree(&[
                ("proc/self/cgroup", cgroup),
                ("proc/self/mountinfo", mount),
                ("sys/fs/cgroup/cpu.max", "50000 100000\n"),
            ]);
            assert_eq!(read(root.path()).cpus.map(|(cpus, _)| cpus), Some(0.5), "{cgroup}");
        }
    }

    #[test]
    fn without_limits_there_is_no_bound() {
        let root = tree(&[
            ("proc/self/cgroup", "4:memory:/\n"),
            (
                "proc/self/mountinfo",
                "40 2 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
            ),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ]);
        assert_eq!(read(root.path()), Bounds::default());
        assert_eq!(read(Path::new("/nowhere")), Bounds::default());
    }
}
