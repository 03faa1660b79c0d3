"""The files for containers and clusters: Helm itself renders the chart, Kubernetes' schemas hold what comes out, and the
server accepts each setting in them.

Usage: deploy_files.py STENTOR
"""
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

import helm_python
import kubernetes_validate
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "scripts/deploy/helm"
STENTOR = sys.argv[1]
KEYS = {"name": "chat-keys", "apiKey": "api-key", "tokenHmacSecret": "hmac"}
FULL = {
    "secret": KEYS,
    "history": {"volume": True, "storageClass": "fast"},
    "ingress": {"enabled": True, "className": "nginx", "tlsSecret": "chat-tls", "path": "/chat/"},
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "seccompProfile": {"type": "Localhost", "localhostProfile": "stentor.json"},
    "trustedProxies": "10.0.0.0/8",
    "env": {"STENTOR_MAX_CLIENTS_PER_IP": 50, "STENTOR_PUBLIC_API": False},
    "args": ["serve"],
    "imagePullSecrets": [{"name": "registry"}],
    "nodeSelector": {"kubernetes.io/arch": "amd64"},
    "tolerations": [{"operator": "Exists"}],
    "podLabels": {"team": "chat"},
    "podAnnotations": {"a": "b"},
    "service": {"type": "LoadBalancer", "port": 443, "annotations": {"a": "b"}},
}


def render(values, **more):
    """The objects that the chart makes, by kind and name."""
    with helm_python.Chart.load(str(CHART)) as chart:
        chart.validate_schema(values)
        files = chart.render(values, name="chat", namespace="prod", **more)
    texts = [text for name, text in files.items() if not name.endswith("NOTES.txt")]
    objects = [one for text in texts for one in yaml.safe_load_all(text) if one]
    return {(one["kind"], one["metadata"]["name"]): one for one in objects}


def names_of_settings():
    told = subprocess.run([STENTOR, "config", "env"], check=True, capture_output=True, text=True).stdout
    return set(re.findall(r"^(?:# )?(STENTOR_[A-Z0-9_]+)=", told, re.M)) | {"STENTOR_CONFIG"}


def container(objects):
    return objects["Deployment", "chat-stentor"]["spec"]["template"]["spec"]["containers"][0]


class Chart(unittest.TestCase):
    def test_kubernetes_takes_what_the_chart_makes(self):
        for values in ({}, FULL, {"secret": {"name": "keys", "tokenHmacSecret": "hmac"}}):
            objects = render(values)
            for (kind, name), one in objects.items():
                if kind != "ServiceMonitor":  # Of an operator.
                    kubernetes_validate.validate(one, "1.33", strict=True)
        self.assertEqual(len(objects), 3)
        self.assertEqual(len(render(FULL)), 7)

    def test_the_api_leaves_the_pod_only_with_a_key(self):
        plain, full = container(render({})), container(render(FULL))
        for one, is_reached in ((plain, False), (full, True)):
            variables = {each["name"]: each["value"] for each in one["env"]}
            self.assertEqual("STENTOR_ADMIN" in variables, is_reached)
            self.assertEqual("STENTOR_API_KEY_FILE" in variables, is_reached)
            self.assertLessEqual(set(variables), names_of_settings())
        self.assertNotIn(("Service", "chat-stentor-admin"), render({}))
        self.assertEqual(render(FULL)["Service", "chat-stentor-admin"]["spec"]["type"], "ClusterIP")

    def test_two_pods_never_share_a_history(self):
        strategy = render(FULL)["Deployment", "chat-stentor"]["spec"]["strategy"]
        self.assertEqual(strategy, {"type": "Recreate"})
        self.assertEqual(render({})["Deployment", "chat-stentor"]["spec"]["replicas"], 1)

    def test_a_changed_configuration_rolls_out(self):
        def marks(config):
            pod = render({"config": config})["Deployment", "chat-stentor"]["spec"]["template"]
            return pod["metadata"]["annotations"]["stentor/config"]

        self.assertNotEqual(marks("history = 1"), marks("history = 2"))

    def test_the_server_takes_the_configuration(self):
        config = 'drain_delay = "10s"\n\n[[namespace]]\nname = "chat"\n'
        for values in ({}, {"config": config}):
            text = render(values)["ConfigMap", "chat-stentor"]["data"]["stentor.toml"]
            with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
                file.write(text)
                file.flush()
                subprocess.run([STENTOR, "check", "--config", file.name], check=True, capture_output=True)

    def test_wrong_values_are_refused(self):
        wrong = [
            {"replicas": 2},
            {"env": {"PATH": "/"}},
            {"service": {"port": 0}},
            {"secret": {"apiKey": "key"}},
            {"serviceMonitor": {"enabled": True}},
        ]
        for values in wrong:
            with self.assertRaises(helm_python.HelmError, msg=values):
                render(values)

    def test_helm_has_nothing_to_say_of_the_chart(self):
        self.assertNotIn("ERROR", str(helm_python.lint(str(CHART))))
        manifest = yaml.safe_load((CHART / "Chart.yaml").read_text())
        cargo = (ROOT / "Cargo.toml").read_text()
        version = cargo.split('\nversion = "')[1].split('"')[0]
        self.assertEqual((manifest["version"], manifest["appVersion"]), (version, version))


class Others(unittest.TestCase):
    def test_kubernetes_takes_the_example(self):
        for one in yaml.safe_load_all((ROOT / "scripts/deploy/kubernetes.yaml").read_text()):
            kubernetes_validate.validate(one, "1.33", strict=True)

    def test_compose_names_settings_and_files_that_are_there(self):
        folder = ROOT / "scripts/deploy"
        compose = yaml.safe_load((folder / "compose.yaml").read_text())
        stentor = compose["services"]["stentor"]
        self.assertLessEqual(set(stentor["environment"]), names_of_settings())
        self.assertTrue((folder / stentor["build"] / "Dockerfile").is_file())
        (profile,) = [one for one in stentor["security_opt"] if one.startswith("seccomp:")]
        self.assertTrue((folder / profile.removeprefix("seccomp:")).is_file())
        for service in compose["services"].values():
            for volume in service["volumes"]:
                source = volume.split(":")[0]
                self.assertTrue(source in compose["volumes"] or (folder / source).is_dir(), source)
        # The image begins the volume of the history as a folder of its user.
        image = (ROOT / "Dockerfile").read_text()
        self.assertIn(f"install -d -o 65534 -g 65534 {stentor['environment']['STENTOR_HISTORY_FILE']}", image)

    def test_the_linter_takes_the_image(self):
        hadolint = pathlib.Path(sys.executable).with_name("hadolint")
        told = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True)
        self.assertEqual((told.returncode, told.stdout), (0, ""))

    def test_the_image_copies_the_manifest_of_each_package(self):
        image = (ROOT / "Dockerfile").read_text()
        cargo = (ROOT / "Cargo.toml").read_text()
        (members,) = re.findall(r"^members = \[(.*)\]$", cargo, re.M)
        for member in re.findall(r'"([^"]+)"', members):
            self.assertIn(f"COPY {member}/Cargo.toml {member}/\n", image)
        with tempfile.TemporaryDirectory() as folder:
            room = pathlib.Path(folder)
            for line in re.findall(r"^COPY (.*)$", image.split("RUN skeleton &&")[0], re.M):
                *sources, target = line.split()
                for source in sources:
                    if target.startswith("/"):
                        continue
                    place = room / target / pathlib.Path(source).name if target.endswith("/") else room / target
                    place.parent.mkdir(parents=True, exist_ok=True)
                    subprocess.run(["cp", "-r", ROOT / source, place], check=True)
            subprocess.run(["bash", ROOT / "scripts/docker/skeleton.sh"], cwd=room, check=True)
            command = ["cargo", "metadata", "--offline", "--locked", "--format-version", "1"]
            told = subprocess.run(command, cwd=room, capture_output=True, text=True)
            self.assertEqual(told.returncode, 0, told.stderr)


class Start(unittest.TestCase):
    """The image's first process, with a program in the server's place."""

    def started(self, *arguments, **variables):
        with tempfile.TemporaryDirectory() as folder:
            stand_in = pathlib.Path(folder) / "stentor"
            stand_in.write_text('#!/bin/sh\necho "admin=${STENTOR_ADMIN-none} $*"\n')
            stand_in.chmod(0o755)
            command = ["bash", ROOT / "scripts/docker/start.sh", *arguments]
            variables = {"PATH": "/usr/bin:/bin", "STENTOR": str(stand_in), **variables}
            told = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
        return told.stdout.strip()

    def test_the_admin_address_is_reached_with_a_key_alone(self):
        self.assertEqual(self.started("serve", "--shards", "2"), "admin=none serve --shards 2")
        self.assertEqual(self.started(STENTOR_API_KEY="k"), "admin=0.0.0.0:9002")
        self.assertEqual(self.started(STENTOR_API_KEY_FILE="/k"), "admin=0.0.0.0:9002")
        self.assertEqual(self.started(STENTOR_API_KEY="k", STENTOR_ADMIN="off"), "admin=off")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
