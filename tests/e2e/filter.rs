//! Runs a program under a seccomp filter, as container engines do: a filter of the thread that
//! starts the program is the program's as well.

use std::collections::BTreeSet;

use serde_json::{Value, json};

pub(crate) const EPERM: u64 = 1;
pub(crate) const ENOSYS: u64 = 38;

/// The three calls that engines block.
pub(crate) const RING_CALLS: [&str; 3] = ["io_uring_setup", "io_uring_enter", "io_uring_register"];

/// A filter that answers `calls` with `errno` and lets everything else pass.
pub(crate) fn block(calls: &[&str], errno: u64) -> Value {
    let rules: Vec<Value> = calls.iter().map(|call| json!({"syscall": call})).collect();
    json!({
        "mismatch_action": "allow",
        "match_action": {"errno": errno},
        "filter": rules,
    })
}

/// The filters that a profile in Docker's form stands for, on this machine. Calls that another
/// architecture has are left out.
pub(crate) fn of_profile(profile: &Value, known: &BTreeSet<&str>) -> Vec<Value> {
    let mut filters = Vec::new();
    let mut allowed = Vec::new();
    for group in profile["syscalls"].as_array().unwrap() {
        let names = group["names"].as_array().unwrap().iter().map(|name| name.as_str().unwrap());
        let names: Vec<&str> = names.filter(|name| known.contains(name)).collect();
        if group["action"] == "SCMP_ACT_ERRNO" {
            filters.push(block(&names, group["errnoRet"].as_u64().unwrap()));
            // Of two filters the stricter one wins.
            allowed.extend(names.iter().map(|name| json!({"syscall": name})));
            continue;
        }
        assert_eq!(group["action"], "SCMP_ACT_ALLOW");
        let conditions: Vec<Value> =
            group["args"].as_array().into_iter().flatten().map(of_argument).collect();
        allowed.extend(names.iter().map(|name| {
            if conditions.is_empty() {
                json!({"syscall": name})
            } else {
                json!({"syscall": name, "args": conditions})
            }
        }));
    }
    filters.push(json!({
        "mismatch_action": {"errno": profile["defaultErrnoRet"]},
        "match_action": "allow",
        "filter": allowed,
    }));
    filters
}

fn of_argument(argument: &Value) -> Value {
    assert_eq!(argument["op"], "SCMP_CMP_MASKED_EQ");
    json!({
        "index": argument["index"],
        "type": "qword",
        "op": {"masked_eq": argument["value"]},
        "val": argument["valueTwo"],
    })
}

/// Runs `start` on a thread of its own under `filters`.
pub(crate) fn under<T: Send>(filters: &[Value], start: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let filtered = scope.spawn(|| {
            for filter in filters {
                let text = json!({"main": filter}).to_string();
                let machine = std::env::consts::ARCH.try_into().unwrap();
                let compiled = seccompiler::compile_from_json(text.as_bytes(), machine).unwrap();
                seccompiler::apply_filter(&compiled["main"]).unwrap();
            }
            start()
        });
        filtered.join().unwrap()
    })
}
