//! Why `io_uring` cannot be had here, and the line that cures it.

use stentor_shards::rt::{self, NoRing};

use super::{Host, Needs, show_bytes};

const PERM: i32 = rustix::io::Errno::PERM.raw_os_error();
const ACCESS: i32 = rustix::io::Errno::ACCESS.raw_os_error();
const NOSYS: i32 = rustix::io::Errno::NOSYS.raw_os_error();

/// The settings with which a container or a unit has the ring.
const ALLOW: &str = "docker run --security-opt seccomp=scripts/docker/seccomp.json, or \
                     SystemCallFilter=io_uring_setup io_uring_enter io_uring_register in a unit";

/// Tries out the ring for all shards together. An error is the cause and the cure.
pub(super) fn missing(
    host: &Host,
    needs: Needs,
    try_ring: impl Fn(u64) -> Result<(), NoRing>,
) -> Result<(), (String, String)> {
    // Root's processes may lock what they like, but the runtime asks for this limit of all.
    if host.memlock < rt::MEMLOCK_MIN {
        return Err(memory(host, needs));
    }
    try_ring(needs.locked_bytes()).map_err(|why| words(host, needs, why))
}

fn words(host: &Host, needs: Needs, why: NoRing) -> (String, String) {
    let newer = || "Linux 5.8 or later".to_owned();
    match why {
        NoRing::Memory => memory(host, needs),
        NoRing::TooOld => {
            (format!("the io_uring of this kernel, {}, lacks operations", host.kernel), newer())
        }
        NoRing::Refused { call, errno: PERM | ACCESS } => refused(host, call),
        NoRing::Refused { call, errno: NOSYS } if host.seccomp => {
            (format!("a seccomp filter answers {call} with ENOSYS"), ALLOW.to_owned())
        }
        NoRing::Refused { call, errno: NOSYS } => {
            (format!("this kernel, {}, has no {call}", host.kernel), newer())
        }
        other @ NoRing::Refused { .. } => {
            (other.to_string(), "free descriptors and memory, then try again".to_owned())
        }
    }
}

fn refused(host: &Host, call: &str) -> (String, String) {
    let lift = "sysctl -w kernel.io_uring_disabled=0";
    match host.io_uring_disabled {
        Some(2) => ("kernel.io_uring_disabled is 2: nobody may use io_uring".into(), lift.into()),
        Some(1) => (
            "kernel.io_uring_disabled is 1: only privileged processes may use io_uring".into(),
            format!("{lift}, or put this user into the group of kernel.io_uring_group"),
        ),
        _ if host.seccomp => {
            (format!("a seccomp filter answers {call} with EPERM"), ALLOW.to_owned())
        }
        _ => (
            format!("the kernel answers {call} with EPERM, as a security module makes it"),
            "a rule of that module, such as SELinux's class io_uring".to_owned(),
        ),
    }
}

fn memory(host: &Host, needs: Needs) -> (String, String) {
    let (limit, own) = (host.memlock, needs.locked_bytes().max(rt::MEMLOCK_MIN));
    if limit == u64::MAX {
        let cause = "the kernel has no memory for io_uring, though memlock is unlimited";
        return (cause.into(), "a larger memory limit of the control group".into());
    }
    let shards = needs.shards;
    let has = format!(
        "memlock is {} for all of a user's io_urings together, and {shards} shards lock {}",
        show_bytes(limit),
        show_bytes(own)
    );
    if limit < own {
        return (has, cure(own));
    }
    (
        format!("{has} beside what this user's other processes have locked"),
        // Room for a second server: it is what runs during a take-over.
        cure(limit.saturating_add(own)),
    )
}

/// The line that raises the limit to `bytes`.
pub(super) fn cure(bytes: u64) -> String {
    format!(
        "LimitMEMLOCK={bytes} in a unit, docker run --ulimit memlock={bytes}, or ulimit -l {}",
        bytes.div_ceil(1024)
    )
}
