"""The limits of a host are read, and what it does not show is none."""

import json
import pathlib
import re
import tempfile
import unittest

from planner import host, limits, site

ROOT = pathlib.Path(__file__).parents[3]

FILES = {
    "proc/meminfo": "MemTotal: 25000000 kB\nMemAvailable: 20000000 kB\nSlab: 500 kB\n",
    "proc/net/sockstat": "sockets: used 9\nTCP: inuse 8 orphan 0 tw 9 alloc 8 mem 25\nUDP: mem 0\n",
    "proc/sys/fs/nr_open": "1048576\n",
    "proc/sys/net/ipv4/tcp_mem": "100\t200\t300\n",
    "proc/sys/net/ipv4/tcp_wmem": "4096\t16384\t4194304\n",
    "proc/sys/net/ipv4/ip_local_port_range": "32768\t60999\n",
    "proc/sys/net/core/somaxconn": "4096\n",
    "proc/sys/net/netfilter/nf_conntrack_max": "262144\n",
    "proc/self/cgroup": "0::/a/b\n",
    "sys/fs/cgroup/a/memory.max": "1000000\n",
    "sys/fs/cgroup/a/b/memory.max": "max\n",
    "sys/fs/cgroup/a/b/cpu.max": "150000 100000\n",
    "sys/class/net/lo/operstate": "unknown\n",
    "sys/class/net/eth0/operstate": "up\n",
    "sys/class/net/eth0/speed": "10000\n",
    "sys/class/net/eth0/device/vendor": "x\n",
    "sys/class/net/eth1/operstate": "up\n",
    "sys/class/net/eth1/speed": "-1\n",
    "sys/class/net/eth1/device/vendor": "x\n",
    "sys/class/net/eth2/operstate": "down\n",
    "sys/class/net/eth2/device/vendor": "x\n",
}


class Host(unittest.TestCase):
    def read(self, files):
        with tempfile.TemporaryDirectory() as folder:
            for name, words in files.items():
                path = pathlib.Path(folder) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(words)
            return host.limits(folder), host.kernel_bytes(folder)

    def test_everything_is_read(self):
        found, kernel = self.read(FILES)
        self.assertEqual(found["nr_open"], 1_048_576)
        self.assertEqual(found["tcp_mem_pages"], 300)
        self.assertEqual(found["tcp_wmem_max"], 4_194_304)
        self.assertEqual(found["ports"], 28_232)
        self.assertEqual(found["conntrack_max"], 262_144)
        self.assertEqual(found["cards"], {"eth0": 10_000_000_000, "eth1": None})
        # A group above bounds what is below it.
        self.assertEqual(found["memory_bytes"], 1_000_000)
        self.assertEqual(found["cpu_quota"], 1.5)
        self.assertEqual(kernel, 500 * 1024 + 25 * found["page_bytes"])

    def test_the_older_control_groups(self):
        files = {
            **FILES,
            "proc/self/cgroup": "4:memory:/x\n3:cpuset:/\n2:cpu,cpuacct:/y\n",
            "sys/fs/cgroup/memory/x/memory.limit_in_bytes": "77777\n",
            "sys/fs/cgroup/cpu,cpuacct/y/cpu.cfs_quota_us": "50000\n",
            "sys/fs/cgroup/cpu,cpuacct/y/cpu.cfs_period_us": "100000\n",
        }
        found, _ = self.read(files)
        self.assertEqual(found["memory_bytes"], 77_777)
        self.assertEqual(found["cpu_quota"], 0.5)

    def test_what_is_not_shown_is_none(self):
        found, kernel = self.read({})
        for key in (
            "nr_open",
            "tcp_mem_pages",
            "ports",
            "conntrack_max",
            "memory_bytes",
            "cpu_quota",
            "watches",
        ):
            self.assertIsNone(found[key], key)
        self.assertEqual(found["cards"], {})
        self.assertIsNone(kernel)

    def test_this_host_has_limits(self):
        found = host.limits()
        self.assertGreater(found["nofile"], 0)
        self.assertGreater(found["memory_bytes"], 0)
        self.assertEqual(len(host.identity(host.facts())), 8)


class Needs(unittest.TestCase):
    """What a server needs is told by its binary and nowhere else."""

    def program(self, folder, words):
        path = pathlib.Path(folder) / "stentor"
        path.write_text(f"#!/bin/sh\n{words}\n")
        path.chmod(0o755)
        return path

    def test_the_binary_is_asked(self):
        needs = {"process_descriptors": 7, "spare_descriptors": 3, "shard_descriptors": 2}
        told = json.dumps({"needs": needs})
        with tempfile.TemporaryDirectory() as folder:
            server = self.program(folder, f"[ \"$*\" = 'doctor --json' ] && echo '{told}'; exit 78")
            found = host.needs(server)
        self.assertEqual(found, needs)
        self.assertEqual(limits.reserved({"needs": found}, 4), 18)
        self.assertEqual(limits.needs({"needs": found})["shard_locked_bytes"], 512 << 10)

    def test_a_server_that_tells_nothing_is_assumed_to_be_an_older_one(self):
        with tempfile.TemporaryDirectory() as folder:
            for words in ("exit 2", "echo no JSON", "echo '[]'", "echo '{\"needs\": 5}'"):
                self.assertIsNone(host.needs(self.program(folder, words)), words)
        self.assertIsNone(host.needs("/nowhere"))
        self.assertEqual(limits.reserved({"needs": None}, 2), 80)
        self.assertEqual(limits.reserved({}, 2), 80)

    def test_the_built_binary_tells_everything(self):
        built = [ROOT / "target" / kind / "stentor" for kind in ("debug", "release")]
        for server in filter(pathlib.Path.exists, built):
            found = host.needs(server)
            if found is None:
                # A build of before it could tell.
                continue
            self.assertLessEqual(set(limits.ASSUMED), set(found))

    def test_the_smallest_message_is_the_generators_stamp(self):
        stamp = (ROOT / "bench" / "src" / "load" / "stamp.rs").read_text()
        (size,) = re.findall(r"const STAMP_BYTES: usize = (\d+);", stamp)
        self.assertEqual(site.BYTES_MIN, int(size))
