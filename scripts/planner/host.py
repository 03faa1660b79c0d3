"""The limits of a host, read and not guessed.

What a kernel or a container does not show is None, and no limit is made of it. `root` is another
file system's root in tests.
"""

import hashlib
import json
import os
import resource
import subprocess

UNLIMITED = 1 << 63


def _text(root, path):
    try:
        with open(os.path.join(root, path), encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return None


def _numbers(root, path):
    words = (_text(root, path) or "").split()
    return [int(word) for word in words if word.lstrip("-").isdigit()]


def _number(root, path):
    return next(iter(_numbers(root, path)), None)


def sysctl(root, name):
    """A kernel setting's first number, by its dotted name."""
    return _number(root, "proc/sys/" + name.replace(".", "/"))


def facts(root="/"):
    """What tells this host from another."""
    cpu = next(
        (
            line.split(":", 1)[1].strip()
            for line in (_text(root, "proc/cpuinfo") or "").splitlines()
            if line.startswith("model name")
        ),
        os.uname().machine,
    )
    return {
        "name": os.uname().nodename,
        "kernel": f"{os.uname().sysname} {os.uname().release}",
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": _meminfo(root).get("MemTotal", 0),
    }


def identity(host):
    """A short name for a host by its facts."""
    words = "|".join(str(host[key]) for key in ("name", "kernel", "cpu", "cores"))
    return hashlib.sha256(words.encode()).hexdigest()[:8]


def _meminfo(root):
    found = {}
    for line in (_text(root, "proc/meminfo") or "").splitlines():
        words = line.split()
        if len(words) == 3 and words[2] == "kB":
            found[words[0].rstrip(":")] = int(words[1]) * 1024
    return found


def kernel_bytes(root="/"):
    """Memory of the kernel's own objects and of all TCP buffers, in bytes: what sockets are made
    of.
    """
    slab = _meminfo(root).get("Slab")
    pages = tcp_pages(root)
    return None if slab is None or pages is None else slab + pages * os.sysconf("SC_PAGESIZE")


def tcp_pages(root="/"):
    """Pages that TCP's buffers hold."""
    for line in (_text(root, "proc/net/sockstat") or "").splitlines():
        words = line.split()
        if words[:1] == ["TCP:"] and "mem" in words:
            return int(words[words.index("mem") + 1])
    return None


def _groups(root):
    """The folders of this process's control groups, and all above them: of both versions."""
    for line in (_text(root, "proc/self/cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and not {"memory", "cpu"} & set(controllers.split(",")):
            continue
        top, path = os.path.join("sys/fs/cgroup", controllers), path.strip("/")
        while path:
            yield os.path.join(top, path)
            path = os.path.dirname(path)
        yield top


def _memory(root):
    """Bytes that may still be used, the control groups' bounds included."""
    bounds = [_meminfo(root).get("MemAvailable")]
    for group in _groups(root):
        bounds += [
            _number(root, os.path.join(group, name))
            for name in ("memory.max", "memory.limit_in_bytes")
        ]
    return min((bound for bound in bounds if bound is not None), default=None)


def _quota(root):
    """Cores' worth of time that the control groups allow; None: all."""
    shares = []
    for group in _groups(root):
        words = _numbers(root, os.path.join(group, "cpu.max"))
        words = words or [
            _number(root, os.path.join(group, f"cpu.cfs_{name}_us")) for name in ("quota", "period")
        ]
        if len(words) == 2 and None not in words and words[0] > 0:
            shares.append(words[0] / words[1])
    return min(shares, default=None)


def _cards(root):
    """Speed of each network card that is up, in bit/s; None where it does not say."""
    folder = os.path.join(root, "sys/class/net")
    found = {}
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        path = f"sys/class/net/{name}"
        state = (_text(root, f"{path}/operstate") or "").strip()
        if (
            name == "lo"
            or state != "up"
            or not os.path.exists(os.path.join(folder, name, "device"))
        ):
            continue
        speed = _number(root, f"{path}/speed")
        found[name] = speed * 1_000_000 if speed and speed > 0 else None
    return found


def needs(server):
    """What a server needs of a host, as its binary tells; None if it does not."""
    try:
        asked = subprocess.run([server, "doctor", "--json"], capture_output=True, timeout=30)
        return dict(json.loads(asked.stdout)["needs"])
    except (OSError, ValueError, KeyError, TypeError, subprocess.TimeoutExpired):
        return None


def _bound(kind):
    soft, hard = resource.getrlimit(kind)
    return [UNLIMITED if value == resource.RLIM_INFINITY else value for value in (soft, hard)]


def limits(root="/"):
    """Everything that may bound a broadcast server here."""
    nofile, memlock = _bound(resource.RLIMIT_NOFILE), _bound(resource.RLIMIT_MEMLOCK)
    ports = _numbers(root, "proc/sys/net/ipv4/ip_local_port_range")
    tcp_mem = _numbers(root, "proc/sys/net/ipv4/tcp_mem")
    wmem = _numbers(root, "proc/sys/net/ipv4/tcp_wmem")
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu_quota": _quota(root),
        "nofile": nofile[1],
        "nr_open": sysctl(root, "fs.nr_open"),
        "file_max": sysctl(root, "fs.file-max"),
        "memlock": memlock[1],
        "memory_bytes": _memory(root),
        "page_bytes": os.sysconf("SC_PAGESIZE"),
        "tcp_mem_pages": tcp_mem[2] if len(tcp_mem) == 3 else None,
        "tcp_wmem_max": wmem[2] if len(wmem) == 3 else None,
        "wmem_max": sysctl(root, "net.core.wmem_max"),
        "somaxconn": sysctl(root, "net.core.somaxconn"),
        "syn_backlog": sysctl(root, "net.ipv4.tcp_max_syn_backlog"),
        "ports": ports[1] - ports[0] + 1 if len(ports) == 2 else None,
        "watches": sysctl(root, "fs.epoll.max_user_watches"),
        "conntrack_max": sysctl(root, "net.netfilter.nf_conntrack_max"),
        "conntrack_count": sysctl(root, "net.netfilter.nf_conntrack_count"),
        "cards": _cards(root),
    }
