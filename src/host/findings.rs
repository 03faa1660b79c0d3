//! Findings: limits that keep the server from running here, or from running well. `serve`, `check`
//! and `doctor` print the same lines.

use std::fmt;

use stentor_shards::Ring;
use stentor_shards::rt::NoRing;

use super::{Host, Needs, ring, show_bytes};
use crate::config::Settings;

/// One thing that is wrong, with what cures it: a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// `true` if the server cannot start.
    pub(crate) fatal: bool,
    /// The name of the limit.
    pub(crate) limit: &'static str,
    pub(crate) cause: String,
    pub(crate) cure: String,
}

impl Finding {
    pub(crate) fn fatal(limit: &'static str, cause: String, cure: String) -> Self {
        Self { fatal: true, limit, cause, cure }
    }

    fn warning(limit: &'static str, cause: String, cure: String) -> Self {
        Self { fatal: false, limit, cause, cure }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.cause, self.cure)
    }
}

/// The way in which the server would run here.
#[derive(Debug, Clone)]
pub(crate) struct Verdict {
    /// The core of each shard; empty where they cannot be placed.
    pub(crate) cores: Vec<usize>,
    /// Where shards sleep: as set, and `Off` where `Auto` finds no ring.
    pub(crate) ring: Ring,
    pub(crate) needs: Needs,
    pub(crate) findings: Vec<Finding>,
}

impl Verdict {
    /// Looks at everything; `try_ring` tries out whether so many bytes can be locked in a ring.
    pub(super) fn of(
        host: &Host,
        settings: &Settings,
        try_ring: impl Fn(u64) -> Result<(), NoRing>,
    ) -> Self {
        let mut findings = Vec::new();
        let cores = host.place(settings).unwrap_or_else(|finding| {
            findings.push(finding);
            Vec::new()
        });
        let shards = if cores.is_empty() { host.cores.len() } else { cores.len() };
        let mut ring = settings.shards.ring;
        if ring != Ring::Off
            && let Err(missing) = ring::missing(host, Needs::of(shards, ring), &try_ring)
        {
            findings.push(without_ring(ring, missing));
            if ring == Ring::Auto {
                ring = Ring::Off;
            }
        }
        let needs = Needs::of(shards, ring);
        findings.extend(take_over(host, settings, needs, try_ring));
        findings.extend(descriptors(host, needs));
        findings.extend(watches(host, needs));
        findings.extend(quota(host, settings, shards));
        findings.extend(outboxes(host, settings, shards));
        Self { cores, ring, needs, findings }
    }

    /// The findings that keep the server from starting, a line each; `None`: it can start.
    pub(crate) fn refusal(&self) -> Option<String> {
        let lines: Vec<String> =
            self.findings.iter().filter(|one| one.fatal).map(Finding::to_string).collect();
        (!lines.is_empty()).then(|| lines.join("\n"))
    }

    /// The findings that the server can live with.
    pub(crate) fn warnings(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|one| !one.fatal)
    }
}

fn without_ring(ring: Ring, (cause, cure): (String, String)) -> Finding {
    if ring == Ring::Required {
        let cause = format!("io_uring is required, and {cause}");
        return Finding::fatal("io_uring", cause, format!("{cure}, or --ring auto"));
    }
    let cause = format!("without io_uring shards sleep in epoll; {cause}");
    Finding::warning("io_uring", cause, format!("{cure}; --ring off says that it is meant so"))
}

/// Finds memory to lock that is enough for this server and not for the next one, which runs beside
/// it during a take-over. The limit alone decides if it is large enough: beside a running server an
/// attempt would ask for room for a third one. Where it is not, the attempt tells whether it binds
/// this user at all.
fn take_over(
    host: &Host,
    settings: &Settings,
    needs: Needs,
    try_ring: impl Fn(u64) -> Result<(), NoRing>,
) -> Option<Finding> {
    let (own, both) = (needs.locked_bytes(), needs.two_servers_locked_bytes());
    let yields = settings.take_over && settings.unix.is_none();
    if !needs.ring || !yields || host.memlock >= both {
        return None;
    }
    (try_ring(both) == Err(NoRing::Memory)).then(|| {
        let outcome = if settings.shards.ring == Ring::Required {
            "could not start"
        } else {
            "would sleep in epoll"
        };
        let cause = format!(
            "memlock is {} for all of a user's io_urings together: {} shards lock {}, and a second \
             server that takes over {outcome}",
            show_bytes(host.memlock),
            needs.shards,
            show_bytes(own)
        );
        Finding::warning("memlock", cause, format!("{}, or --take-over=false", ring::cure(both)))
    })
}

fn descriptors(host: &Host, needs: Needs) -> Option<Finding> {
    let (least, shards) = (needs.descriptors(), needs.shards);
    (host.nofile <= least).then(|| {
        let cause =
            format!("nofile is {}, and {shards} shards need more than {least}", host.nofile);
        let cure = "LimitNOFILE=1048576 in a unit, docker run --ulimit nofile=1048576, \
                    or ulimit -Hn 1048576";
        Finding::fatal("nofile", cause, cure.into())
    })
}

fn watches(host: &Host, needs: Needs) -> Option<Finding> {
    let (least, shards) = (needs.watches(), needs.shards);
    (host.watches <= least).then(|| {
        let cause = format!(
            "fs.epoll.max_user_watches is {} for all of a user's processes, and {shards} shards \
             need more than {least}",
            host.watches
        );
        let cure = "sysctl -w fs.epoll.max_user_watches=2097152";
        Finding::fatal("watches", cause, cure.into())
    })
}

fn quota(host: &Host, settings: &Settings, shards: usize) -> Option<Finding> {
    let (cpus, says) = host.group.cpus.as_ref().filter(|_| host.quota().is_some())?;
    let asked = settings.shard_count.is_some() || !settings.cores.is_empty();
    (asked && shards > host.quota_shards()).then(|| {
        let cause = format!(
            "{shards} shards share the time of {cpus} cores ({}) and stop when it is used up",
            says.display()
        );
        let cure = format!("--shards {}, or a larger quota", host.quota_shards());
        Finding::warning("cpu quota", cause, cure)
    })
}

fn outboxes(host: &Host, settings: &Settings, shards: usize) -> Option<Finding> {
    let each = settings.shards.outbox_total_bytes as u64;
    let all = each.saturating_mul(shards as u64);
    (all > host.memory).then(|| {
        let fits = host.memory / 2 / shards.max(1) as u64;
        let least = settings.shards.outbox_bytes as u64;
        let cause = format!(
            "slow clients may fill {} of outboxes on {shards} shards, and there is {} of memory",
            show_bytes(all),
            show_bytes(host.memory)
        );
        let cure = format!("--outbox-total-bytes {}", show_bytes(fits.max(least)));
        Finding::warning("memory", cause, cure)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Bounds;

    fn host() -> Host {
        Host {
            cores: vec![0, 1],
            nofile: 20_000,
            memlock: 8 << 20,
            io_uring_disabled: Some(0),
            seccomp: false,
            kernel: "6.1".into(),
            watches: 1 << 20,
            memory: 4 << 30,
            group: Bounds::default(),
            ..Host::read()
        }
    }

    fn settings(ring: Ring) -> Settings {
        let mut settings = Settings::default();
        settings.shards.ring = ring;
        settings
    }

    fn found(host: &Host, ring: Ring, answer: Result<(), NoRing>) -> (Verdict, String) {
        let verdict = Verdict::of(host, &settings(ring), |_| answer);
        let lines: Vec<String> = verdict.findings.iter().map(Finding::to_string).collect();
        assert!(lines.iter().all(|line| !line.contains('\n')), "{lines:?}");
        (verdict, lines.join("\n"))
    }

    #[test]
    fn a_host_with_everything_has_no_findings() {
        let (verdict, lines) = found(&host(), Ring::Required, Ok(()));
        assert_eq!((verdict.cores.len(), verdict.ring, &*lines), (2, Ring::Required, ""));
        assert_eq!(verdict.refusal(), None);
    }

    #[test]
    fn each_cause_of_a_missing_ring_has_its_cure() {
        let refused = |errno| NoRing::Refused { call: "io_uring_setup", errno };
        let filtered = Host { seccomp: true, ..host() };
        let off = Host { io_uring_disabled: Some(2), ..host() };
        let kept = Host { io_uring_disabled: Some(1), ..filtered.clone() };
        let small = Host { memlock: 400 << 10, ..host() };
        let others = Host { memlock: 600 << 10, ..host() };
        for (host, why, cause, cure) in [
            (&filtered, refused(1), "seccomp filter answers io_uring_setup", "seccomp.json"),
            (&filtered, refused(38), "with ENOSYS", "SystemCallFilter="),
            (&host(), refused(38), "6.1, has no io_uring_setup", "Linux 5.8"),
            (&host(), refused(1), "security module", "SELinux"),
            (&off, refused(1), "io_uring_disabled is 2", "sysctl -w"),
            (&kept, refused(1), "io_uring_disabled is 1", "io_uring_group"),
            (&host(), NoRing::TooOld, "6.1, lacks operations", "Linux 5.8"),
            (&small, NoRing::Memory, "memlock is 400KiB", "LimitMEMLOCK=524288"),
            (&others, NoRing::Memory, "other processes have locked", "LimitMEMLOCK=1138688"),
            (&host(), refused(24), "Too many open files", "descriptors"),
        ] {
            let (verdict, line) = found(host, Ring::Required, Err(why));
            assert!(line.contains(cause) && line.contains(cure), "{line}");
            assert!(verdict.refusal().is_some(), "{line}");
            let (verdict, line) = found(host, Ring::Auto, Err(why));
            assert!(line.contains(cause) && line.contains(cure), "{line}");
            assert_eq!((verdict.refusal(), verdict.ring), (None, Ring::Off), "{line}");
        }
    }

    #[test]
    fn a_ring_that_nobody_asked_for_is_not_tried() {
        let verdict = Verdict::of(&host(), &settings(Ring::Off), |_| panic!("it is tried"));
        assert!(verdict.findings.is_empty());
    }

    #[test]
    fn locked_memory_is_asked_for_all_shards_at_once() {
        let asked = std::cell::Cell::new(0);
        let try_ring = |bytes| {
            asked.set(bytes);
            Ok(())
        };
        Verdict::of(&host(), &settings(Ring::Auto), try_ring);
        assert_eq!(asked.get(), 2 * stentor_shards::rt::RING_BYTES);
    }

    #[test]
    fn a_take_over_that_lacks_locked_memory_is_foretold() {
        let lines = |host: &Host, settings: &Settings, room: u64| {
            let try_ring = |bytes| if bytes <= room { Ok(()) } else { Err(NoRing::Memory) };
            let verdict = Verdict::of(host, settings, try_ring);
            assert_eq!(verdict.refusal(), None);
            verdict.findings.iter().map(Finding::to_string).collect::<Vec<_>>().join("\n")
        };
        let small = Host { memlock: 700 << 10, ..host() };
        for (ring, outcome) in
            [(Ring::Auto, "would sleep in epoll"), (Ring::Required, "could not start")]
        {
            let line = lines(&small, &settings(ring), 700 << 10);
            assert!(line.contains("memlock is 700KiB") && line.contains(outcome), "{line}");
            assert!(line.contains("LimitMEMLOCK=1048576"), "{line}");
            assert_eq!(line.lines().count(), 1, "{line}");
        }
        // A limit that does not bind a privileged user, and one with room for both, which the
        // server that runs already may have used up.
        assert_eq!(lines(&small, &settings(Ring::Auto), u64::MAX), "");
        let enough = Host { memlock: 1 << 20, ..host() };
        assert_eq!(lines(&enough, &settings(Ring::Auto), 512 << 10), "");
        let stays = Settings { take_over: false, ..settings(Ring::Auto) };
        assert_eq!(lines(&small, &stays, 700 << 10), "");
        assert_eq!(lines(&small, &settings(Ring::Off), 0), "");
    }

    #[test]
    fn other_limits_are_named_with_both_numbers() {
        let few = Host { nofile: 60, ..host() };
        let (verdict, line) = found(&few, Ring::Off, Ok(()));
        assert!(line.contains("nofile is 60, and 2 shards need more than 72"), "{line}");
        assert!(verdict.refusal().is_some());
        let blind = Host { watches: 4, ..host() };
        assert!(found(&blind, Ring::Off, Ok(())).0.refusal().is_some());
        let small = Host { memory: 200 << 20, ..host() };
        let (verdict, line) = found(&small, Ring::Off, Ok(()));
        assert!(line.contains("512MiB") && line.contains("--outbox-total-bytes 50MiB"), "{line}");
        assert_eq!(verdict.refusal(), None);
        let group = Bounds { cpus: Some((0.5, "/x/cpu.max".into())), memory: None };
        let throttled = Host { group, ..host() };
        assert_eq!(found(&throttled, Ring::Off, Ok(())).1, "");
        let mut asked = settings(Ring::Off);
        asked.shard_count = Some(2);
        let verdict = Verdict::of(&throttled, &asked, |_| Ok(()));
        let line = verdict.findings[0].to_string();
        assert!(line.contains("0.5 cores (/x/cpu.max)") && line.contains("--shards 1"), "{line}");
    }

    #[test]
    fn every_fault_is_named_at_once() {
        let mut asked = settings(Ring::Required);
        asked.shard_count = Some(3);
        let poor = Host { nofile: 10, ..host() };
        let verdict = Verdict::of(&poor, &asked, |_| Err(NoRing::TooOld));
        assert_eq!(verdict.refusal().unwrap().lines().count(), 3);
    }
}
