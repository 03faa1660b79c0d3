"""The Python package for servers, installed from its wheel, against a real server: each call, tokens, errors, retries.

Usage: python_package.py http://ADMIN API_KEY ws://ADDRESS HMAC_SECRET, for a server that keeps history with recovery.
"""
import asyncio
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import unittest.mock
import warnings
import zipfile

import httpx
import websockets.sync.client as websockets

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "clients/python"
ADMIN, KEY, CLIENTS, SECRET = sys.argv[1:5]
ROOM = tempfile.mkdtemp()


def pip(*arguments):
    # Without isolation: the build's own package is one of the tests', and nothing is downloaded.
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    subprocess.run(command, check=True, cwd=ROOM)


# From a copy, so that a build leaves nothing in the tree.
shutil.copytree(PACKAGE, f"{ROOM}/python", ignore=shutil.ignore_patterns("dist", "__pycache__"))
pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", ROOM, f"{ROOM}/python")
(WHEEL,) = pathlib.Path(ROOM).glob("*.whl")
pip("install", "--no-deps", "--target", f"{ROOM}/installed", str(WHEEL))
sys.path.insert(0, f"{ROOM}/installed")

import stentor_server as s  # noqa: E402
from stentor_server import calls  # noqa: E402


def client(user, channel):
    token = s.Tokens(SECRET, expires_in=60).connection(user, info={"name": user.title()})
    url = f"{CLIENTS}/ws?channel={channel}&token={token}"
    return websockets.connect(url, subprotocols=["stentor.v1"])


def heard(socket, kind):
    """The next message of a kind."""
    while True:
        message = json.loads(socket.recv(timeout=10))
        if message["type"] == kind:
            return message


class Package(unittest.TestCase):
    def test_the_wheel_has_the_modules_the_types_and_the_licences(self):
        with zipfile.ZipFile(WHEEL) as wheel:
            names = wheel.namelist()
            metadata = wheel.read(next(name for name in names if name.endswith("/METADATA"))).decode()
        modules = ["__init__", "answers", "calls", "client", "errors", "exchange", "tokens"]
        expected = {f"stentor_server/{name}.py" for name in modules} | {"stentor_server/py.typed"}
        self.assertEqual({name for name in names if name.startswith("stentor_server/")}, expected)
        self.assertEqual(sum("/licenses/" in name for name in names), 2)
        cargo = (ROOT / "Cargo.toml").read_text()
        version = cargo.split('\nversion = "')[1].split('"')[0]
        self.assertIn(f"\nVersion: {version}\n", metadata)
        self.assertEqual(s.__version__, version)
        for name in ("LICENSE-MIT", "LICENSE-APACHE"):
            self.assertEqual((PACKAGE / name).read_text(), (ROOT / name).read_text())

    def test_types_are_strict(self):
        use = pathlib.Path(ROOM) / "use.py"
        use.write_text(
            "import stentor_server as s\n"
            "def one(server: s.Stentor) -> s.Position:\n    return server.publish('a', 1)\n"
            "async def two(server: s.AsyncStentor) -> list[str]:\n"
            "    return (await server.presence('a')).users\n"
            "def three(server: s.Stentor) -> None:\n    server.publish(1, 2)\n"
        )
        command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary"]
        command += ["--cache-dir", f"{ROOM}/mypy"]  # Of both runs, and not in the tree.
        strict = subprocess.run(command, cwd=PACKAGE, capture_output=True, text=True)
        self.assertEqual((strict.returncode, strict.stdout), (0, ""))
        command += ["--python-executable", sys.executable, str(use)]
        told = subprocess.run(
            command, cwd=ROOM, capture_output=True, text=True, env={"MYPYPATH": f"{ROOM}/installed"}
        )
        self.assertEqual(told.stdout.count("error:"), 1, told.stdout)
        self.assertIn('use.py:7: error: Argument 1 has incompatible type "int"', told.stdout)


class Calls(unittest.TestCase):
    def setUp(self):
        self.server = s.Stentor(ADMIN, KEY)
        self.addCleanup(self.server.close)

    def test_what_is_published_is_heard_and_kept(self):
        with client("ana", "py") as ana:
            heard(ana, "welcome")
            position = self.server.publish("py", {"text": "hé"}, tags={"kind": "greeting"})
            message = heard(ana, "message")
            self.assertEqual(message["body"], {"text": "hé"})
            self.assertEqual(message["offset"], position.offset)
            self.server.publish("py", b"\x00\xff")
            self.assertEqual(heard(ana, "message")["body"], "AP8=")
            ana.send(json.dumps({"type": "publish", "body": 3, "id": 1}))
            self.assertEqual(heard(ana, "message")["body"], 3)
            self.assertEqual(self.server.direct("ana", None), 1)
            self.assertIsNone(heard(ana, "message")["body"])
        history = self.server.history("py")
        self.assertEqual([kept.data for kept in history.publications], [{"text": "hé"}, b"\x00\xff", 3])
        self.assertEqual(history.publications[0].tags, {"kind": "greeting"})
        self.assertIsNone(history.publications[0].sender)
        self.assertEqual(history.publications[2].sender.user, "ana")
        since = s.Position(history.position.epoch, 1)
        later = self.server.history("py", since=since, limit=1)
        self.assertEqual([kept.offset for kept in later.publications], [2])
        newest = self.server.history("py", limit=1, reverse=True)
        self.assertEqual([kept.offset for kept in newest.publications], [3])
        self.assertEqual(self.server.history("py", limit=0).publications, [])
        self.server.history_remove("py")
        self.assertEqual(self.server.history("py").publications, [])

    def test_a_key_publishes_once_and_versions_go_forward(self):
        first = self.server.publish("once", 1, idempotency_key="k")
        self.assertEqual(self.server.publish("once", 2, idempotency_key="k"), first)
        self.server.publish("once", "v5", version=5)
        self.server.publish("once", "v4", version=4)
        data = [kept.data for kept in self.server.history("once").publications]
        self.assertEqual(data, [1, "v5"])

    def test_a_broadcast_and_a_batch_tell_of_each_part(self):
        one, bad = self.server.broadcast(["many", ""], 1)
        self.assertEqual(one.offset, 1)
        self.assertIsInstance(bad, s.BadRequest)
        replies = self.server.batch([calls.publish("many", 2), calls.history(""), calls.history("many")])
        self.assertEqual(replies[0].offset, 2)
        self.assertIsInstance(replies[1], s.BadRequest)
        self.assertEqual([kept.data for kept in replies[2].publications], [1, 2])

    def test_people_come_are_seen_and_are_sent_away(self):
        with client("ben", "people") as ben, client("cleo", "people") as cleo:
            identity = heard(ben, "welcome")["client"]
            heard(cleo, "welcome")
            presence = self.server.presence("people")
            self.assertEqual(presence.users, ["ben", "cleo"])
            member = next(member for member in presence.members if member.client == identity)
            self.assertEqual((member.user, member.info), ("ben", {"name": "Ben"}))
            stats = self.server.presence_stats("people")
            self.assertEqual((stats.clients, stats.users, stats.truncated), (2, 2, False))
            self.assertIn(s.Channel("people", 2), self.server.channels("peo*"))
            self.assertGreaterEqual(self.server.info()[0].clients, 2)
            self.assertEqual(self.server.subscribe("side", user="ben", data={"a": 1}), 1)
            self.assertEqual(heard(ben, "joined")["data"], {"a": 1})
            self.assertEqual(self.server.unsubscribe("side", client=identity), 1)
            heard(ben, "left")
            self.assertEqual(self.server.refresh(user="ben", expire_at=int(time.time()) + 5), 1)
            heard(ben, "expiring")
            self.assertEqual(self.server.disconnect(user="ben", whitelist=[identity]), 0)
            self.assertEqual(self.server.disconnect(client=identity), 1)
            with self.assertRaisesRegex(Exception, "3501"):
                while True:
                    ben.recv(timeout=10)
            self.assertEqual(self.server.revoke(user="cleo", issued_before=int(time.time()) + 1), 1)
        with self.assertRaisesRegex(Exception, "401"):
            client("cleo", "people")
        self.assertEqual(self.server.reload(), 0)

    def test_a_token_for_one_channel_opens_it(self):
        with client("dan", "lobby") as dan:
            token = s.Tokens(SECRET).subscription("$secret", "dan")
            dan.send(json.dumps({"type": "join", "channel": "$secret", "id": 1}))
            self.assertEqual(heard(dan, "error")["code"], "denied")
            dan.send(json.dumps({"type": "join", "channel": "$secret", "token": token, "id": 2}))
            self.assertEqual(heard(dan, "joined")["channel"], "$secret")

    def test_hmac_tokens_are_those_of_pyjwt(self):
        import jwt

        warnings.simplefilter("ignore", jwt.InsecureKeyLengthWarning)
        for algorithm in ("HS256", "HS384", "HS512"):
            tokens = s.Tokens(SECRET, algorithm, issuer="app", audience="chat", key_id="k1")
            text = tokens.connection("é", expires_in=9, channels=["a"], claims={"iat": 1})
            claims = jwt.decode(text, SECRET.encode(), [algorithm], audience="chat", issuer="app",
                                options={"verify_exp": False})
            self.assertEqual((claims["sub"], claims["channels"], claims["iat"]), ("é", ["a"], 1))
            self.assertEqual(jwt.get_unverified_header(text)["kid"], "k1")
        with self.assertRaises(ValueError):
            s.Tokens("")

    def test_private_keys_sign_by_pyjwt_and_say_so_where_it_lacks(self):
        import jwt
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519

        key = ed25519.Ed25519PrivateKey.generate()
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        text = s.Tokens(pem, "EdDSA", key_id="k2").subscription("$a", "ana", client="7")
        claims = jwt.decode(text, key.public_key(), ["EdDSA"])
        self.assertEqual((claims["channel"], claims["client"]), ("$a", "7"))
        self.assertEqual(jwt.get_unverified_header(text)["kid"], "k2")
        with unittest.mock.patch.dict(sys.modules, {"jwt": None}):
            with self.assertRaisesRegex(ImportError, r"stentor-server\[jwt\]"):
                s.Tokens(pem, "EdDSA")
            s.Tokens("HMAC needs nothing").connection()

    def test_errors_say_what_happened(self):
        with self.assertRaises(s.BadRequest) as caught:
            self.server.publish("", 1)
        self.assertIn("publish: bad request: channel", str(caught.exception))
        self.assertEqual((caught.exception.method, caught.exception.code), ("publish", 107))
        with s.Stentor(ADMIN, "wrong") as other, self.assertRaises(s.Unauthorized):
            other.info()
        with s.Stentor(CLIENTS.replace("ws", "http")) as other, self.assertRaises(s.BadAnswer) as caught:
            other.info()
        self.assertIn("which is no Stentor API", str(caught.exception))
        past = s.Position("00000000", 1)
        self.server.publish("epochs", 1)
        with self.assertRaises(s.WrongEpoch):
            self.server.history("epochs", since=past)
        with self.assertRaises(ValueError):
            self.server.publish("numbers", float("nan"))
        with self.assertRaisesRegex(ValueError, "begins with http"):
            s.Stentor("localhost:9002")

    def test_the_same_in_asyncio(self):
        async def run():
            async with s.AsyncStentor(f"{ADMIN}/api", KEY) as server:
                await asyncio.gather(*(server.publish("async", number) for number in range(20)))
                kept = (await server.history("async")).publications
                self.assertEqual(sorted(one.data for one in kept), list(range(20)))
                with self.assertRaises(s.BadRequest):
                    await server.publish("", 1)

        asyncio.run(run())
        self.assertIn("Publishes to a channel", s.AsyncStentor.publish.__doc__)

    def test_threads_share_a_client(self):
        threads = [threading.Thread(target=self.server.publish, args=("threads", n)) for n in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(len(self.server.history("threads").publications), 20)


class Retries(unittest.TestCase):
    """Answers that are lost or come late, between the package and the real server."""

    def through(self, *faults, retries=2):
        """A client whose first requests meet these faults, and the methods that were asked."""
        faults, asked, real = list(faults), [], httpx.HTTPTransport()

        def handle(request):
            asked.append(request.url.path.rsplit("/", 1)[-1])
            fault = faults.pop(0) if faults else None
            if fault == "unsent":
                raise httpx.ConnectError("refused", request=request)
            if isinstance(fault, httpx.Response):
                return fault
            answer = real.handle_request(request)
            answer.read()
            if fault == "lost":
                raise httpx.ReadTimeout("timed out", request=request)
            return answer

        http = httpx.Client(transport=httpx.MockTransport(handle))
        self.addCleanup(http.close)
        self.addCleanup(real.close)
        return s.Stentor(ADMIN, KEY, http=http, retries=retries), asked

    def kept(self, channel):
        with s.Stentor(ADMIN, KEY) as server:
            return [one.data for one in server.history(channel).publications]

    def test_a_publication_whose_answer_was_lost_is_repeated_and_made_once(self):
        server, asked = self.through("lost", "lost")
        self.assertEqual(server.publish("lost", 1).offset, 1)
        self.assertEqual((len(asked), self.kept("lost")), (3, [1]))

    def test_keys_are_sent_only_where_something_may_be_repeated(self):
        def sent(retries, call):
            bodies = []

            def handle(request):
                bodies.append(json.loads(request.content))
                return httpx.Response(200, json={"replies": [], "result": {"epoch": "e", "offset": 1}})

            with httpx.Client(transport=httpx.MockTransport(handle)) as http:
                try:
                    s.Stentor(ADMIN, http=http, retries=retries).perform(call)
                except s.BadAnswer:
                    pass  # A batch of two has two replies.
            return bodies[0]

        self.assertEqual(sent(0, calls.publish("a", 1)), {"channel": "a", "data": 1})
        self.assertEqual(len(sent(1, calls.publish("a", 1))["idempotency_key"]), 32)
        self.assertEqual(sent(1, calls.publish("a", 1, idempotency_key="k"))["idempotency_key"], "k")
        batch = sent(1, calls.batch([calls.publish("a", 1), calls.publish("a", 1)]))["commands"]
        keys = {one["publish"]["idempotency_key"] for one in batch}
        self.assertEqual(len(keys), 2)

    def test_a_direct_message_is_repeated_only_if_it_cannot_have_arrived(self):
        with client("eva", "lobby") as eva:
            heard(eva, "welcome")
            server, asked = self.through("unsent")
            self.assertEqual((server.direct("eva", 1), len(asked)), (1, 2))
            server, asked = self.through("lost")
            with self.assertRaises(s.NotReached) as caught:
                server.direct("eva", 2)
            self.assertTrue(caught.exception.maybe_done)
            self.assertEqual(len(asked), 1)
            self.assertEqual([heard(eva, "message")["body"] for _ in range(2)], [1, 2])
            server, asked = self.through("lost")
            with self.assertRaises(s.NotReached):
                server.batch([calls.publish("x", 1), calls.direct("eva", 3)])
            self.assertEqual(len(asked), 1)

    def test_a_busy_server_is_asked_again_when_it_says(self):
        busy = httpx.Response(
            503, headers={"Retry-After": "1"}, json={"error": {"code": 100, "message": "busy"}}
        )
        server, asked = self.through(busy)
        began = time.monotonic()
        server.publish("busy", 1)
        self.assertGreaterEqual(time.monotonic() - began, 1)
        later = httpx.Response(503, headers={"Retry-After": "60"}, json={"error": {"code": 100}})
        server, asked = self.through(later)
        with self.assertRaises(s.Busy):
            server.publish("busy", 2)
        self.assertEqual(len(asked), 1)

    def test_attempts_end_and_say_how_many_there_were(self):
        server, asked = self.through("unsent", "unsent", "unsent", "unsent")
        with self.assertRaisesRegex(s.NotReached, "tried 3 times: refused") as caught:
            server.info()
        self.assertFalse(caught.exception.maybe_done)
        server, asked = self.through("unsent", retries=0)
        with self.assertRaisesRegex(s.NotReached, "tried once"):
            server.info()
        proxy = httpx.Response(502, text="<h1>Bad\n Gateway</h1>")
        server, asked = self.through(proxy, proxy, proxy)
        with self.assertRaisesRegex(s.BadAnswer, "answered 502, .*: <h1>Bad Gateway") as caught:
            server.info()
        self.assertEqual((caught.exception.status, len(asked)), (502, 3))
        odd = httpx.Response(200, json={"result": {"nodes": [{}]}})
        server, asked = self.through(odd)
        with self.assertRaisesRegex(s.BadAnswer, "info: the result is not one of Stentor's"):
            server.info()


if __name__ == "__main__":
    try:
        unittest.main(argv=sys.argv[:1])
    finally:
        shutil.rmtree(ROOM)
