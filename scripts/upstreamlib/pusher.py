"""The integration tests of npm's pusher-js, as its authors wrote them, against the real server, with TLS and without."""

import json
import os
import re
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = "https://github.com/pusher/pusher-js"
COMMIT = "f53faf9f"
PORT = 6001
TLS_PORT = 6002
SUITE_TIMEOUT_S = 600
READY_TIMEOUT_S = 20

# The keys stand in the tests; the secrets are known to the tests' own server for authorization and to this one.
APPS = {"MT1": ("1", "secret-of-mt1", 3000), "EU": ("2", "secret-of-eu", 3001)}

# The packages that the tests need; the library is developed with many more.
NEEDED = (
    "webpack webpack-cli webpack-merge ts-loader typescript jasmine jasmine-spec-reporter source-map-loader faye-websocket xmlhttprequest "
    "@stablelib/base64 @stablelib/utf8 buffer isomorphic-fetch @types/node @types/express-serve-static-core"
).split()

FOLDER = "spec/javascripts/integration/core"
NAMED_IN = {"MT1": "pusher_spec/test_builder.js", "EU": "cluster_config_spec.js"}


def thin_out(place):
    """Leaves out what cannot be had or is not needed, before anything is installed."""
    path = place / "package.json"
    package = json.loads(path.read_text())
    known = package["devDependencies"]
    package["devDependencies"] = {name: known[name] for name in NEEDED if name in known} | {"pusher": "^5.2.0", "express": "^4.22.1"}
    path.write_text(json.dumps(package, indent=2))
    (place / "package-lock.json").unlink(missing_ok=True)


def point(place):
    """Points clients and the tests' own server at this server."""
    replace(place / "src/core/config.ts", r"return `ws-\$\{cluster\}\.pusher\.com`;", "return '127.0.0.1';")
    replace(place / "src/core/defaults.ts", r"wsPort: 80,", f"wsPort: {PORT},")
    replace(place / "src/core/defaults.ts", r"wssPort: 443,", f"wssPort: {TLS_PORT},")
    for cluster in ("mt1", "eu"):
        address = f"host: '127.0.0.1', port: '{PORT}', useTLS: false"
        replace(place / "integration_tests_server/index.js", rf'cluster: "{cluster}",?', address)
    replace(place / "tsconfig.json", r'"exclude": \[\s*"node_modules"', '"exclude": ["src/runtimes/react-native", "node_modules"')


def replace(path, pattern, by):
    text = path.read_text()
    changed = re.sub(pattern, lambda _: by, text, count=1)
    if changed == text and by not in text:
        raise SystemExit(f"{path} does not hold {pattern}: it is of another version")
    path.write_text(changed)


def keys(place):
    """Returns the keys of both apps, as the tests name them."""
    return {name: key_in(place / FOLDER / file) for name, file in NAMED_IN.items()}


def key_in(path):
    found = re.search(r"new Pusher\(\s*[\"']([0-9a-f]{20})[\"']", path.read_text())
    if found is None:
        raise SystemExit(f"{path} names no key: it is of another version")
    return found.group(1)


def settings(place, server):
    """Returns the settings of this server, with a certificate of its own making."""
    files = place / "tmp"
    files.mkdir(exist_ok=True)
    for old in files.glob("dev-*.pem"):
        old.unlink()
    subprocess.run([server, "dev-cert", "--dir", files], check=True, capture_output=True)
    cert, key = files.resolve() / "dev-cert.pem", files.resolve() / "dev-key.pem"
    tls = f'tls_cert = "{cert}"\ntls_key = "{key}"\ntls_listen = "127.0.0.1:{TLS_PORT}"\n'
    apps = [
        f'[[app]]\nid = "{APPS[name][0]}"\nkey = "{key}"\nsecret = "{APPS[name][1]}"\nclient_events_per_second = 1000\n'
        for name, key in keys(place).items()
    ]
    return f'listen = "127.0.0.1:{PORT}"\nadmin = "off"\n{tls}' + "".join(apps)


@contextmanager
def authorizing(place):
    """The tests' own server, which signs for clients and sends events."""
    environment = dict(os.environ)
    for name, key in keys(place).items():
        app, secret, _ = APPS[name]
        prefix = f"INTEGRATION_TESTS_APP_{name}_"
        environment |= {f"{prefix}APP_ID": app, f"{prefix}KEY": key, f"{prefix}SECRET": secret}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(["node", "integration_tests_server/index.js"], cwd=place, env=environment, **quiet) as child:
        try:
            for _, _, port in APPS.values():
                await_port(child, port)
            yield
        finally:
            child.terminate()


def await_port(child, port):
    deadline = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < deadline and child.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit(f"the tests' own server does not listen at {port}")


# Lists each test in one line, instead of a tree for people.
REPORTER = """
const out = [];
jasmine.getEnv().clearReporters();
jasmine.getEnv().addReporter({
  specDone: ({ fullName, status }) => out.push({ fullName, status }),
  jasmineDone: () => require('fs').writeFileSync(process.env.UPSTREAM_RESULTS, JSON.stringify(out)),
});
"""


def run(place):
    """Returns the tests by the parts of the suite, as the report lists them."""
    (place / "spec/config/jasmine/helpers/upstream_reporter.js").write_text(REPORTER)
    build = ["node", "node_modules/webpack/bin/webpack.js", "--config=spec/config/jasmine/webpack.integration.js"]
    built = subprocess.run(build, cwd=place, capture_output=True, text=True, check=False)
    if built.returncode != 0:
        return {"webpack": (built.stdout.strip().splitlines() or ["no word of why"])[-1]}
    results = (place / "tmp" / "results.json").resolve()
    command = ["node", "node_modules/.bin/jasmine", "--config=spec/config/jasmine/integration.json"]
    # The certificate is for this host, and its authority is known to nobody.
    environment = os.environ | {"UPSTREAM_RESULTS": str(results), "NODE_TLS_REJECT_UNAUTHORIZED": "0"}
    with authorizing(place):
        try:
            subprocess.run(command, cwd=place, env=environment, capture_output=True, check=False, timeout=SUITE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return {"jasmine": f"no end after {SUITE_TIMEOUT_S} s"}
    if not results.exists():
        return {"jasmine": "it ended without results"}
    return sorted_by_part(json.loads(results.read_text()))


def sorted_by_part(tests):
    """Puts tests under the words in front of `(integration)`, with which their names begin."""
    parts = {}
    for test in tests:
        part = test["fullName"].split(" (integration)")[0]
        parts.setdefault(part, []).append(test)
    return parts
