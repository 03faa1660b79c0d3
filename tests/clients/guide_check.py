"""The runner of the guide finds what is wrong with a page; links between the documents lead somewhere; tables are the code's.

Usage: guide_check.py STENTOR
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
STENTOR = sys.argv[1]


def run(**pages):
    with tempfile.TemporaryDirectory() as folder:
        for name, text in pages.items():
            (pathlib.Path(folder) / f"{name}.md").write_text(text)
        variables = {**os.environ, "GUIDE_PAGES": folder, "GUIDE_PATIENCE_S": "10"}
        command = [sys.executable, ROOT / "scripts/guide.py", STENTOR]
        return subprocess.run(command, env=variables, capture_output=True, text=True)


class Runner(unittest.TestCase):
    def test_a_page_is_one_session_and_its_outputs_count(self):
        page = (
            "```text file=a/b.txt\none\n```\n\n```sh run\ncat a/b.txt\nX=two\n```\n```text output\none\n```\n"
            "<!-- check\n[ $X = two ]\n-->\n```sh server\nstentor\n```\n"
            "```sh run\ncurl -s http://127.0.0.1:9001/health; echo and more\n```\n```text output\n...and...\n```\n"
            "```sh elsewhere=on-the-moon\nfalse\n```\n"
        )
        # Two servers at one address, as every page has a network of its own.
        told = run(one=page, two=page)
        self.assertEqual(told.returncode, 0, told.stderr)
        self.assertIn("ok: one.md: 4 blocks, 2 outputs, 1 elsewhere", told.stdout)

    def test_each_fault_is_found_at_its_line(self):
        faults = {
            "```sh run\ntrue\n```\n\n```sh run\nfalse\n```\n": "page.md:5: exit code 1",
            "```sh run\necho one\n```\n```text output\ntwo\n```\n": "page.md:4: promised\ntwo",
            "x\n\n```sh\ntrue\n```\n": "page.md:3: a block of sh says nothing",
            "```sh perhaps\ntrue\n```\n": "page.md:1: unknown word 'perhaps'",
            "```sh elsewhere\ntrue\n```\n": "page.md:1: unknown word 'elsewhere'",
            "```sh server\nstentor --no-such-flag\n```\n": "page.md:1: exit code",
            "<!-- check\nfalse\n-->\n": "page.md:1: exit code 1",
            "```sh run\nsleep 60\n```\n": "no end in 10 s",
        }
        for page, told in faults.items():
            answer = run(page=page, well="```sh run\ntrue\n```\n")
            self.assertEqual(answer.returncode, 1, page)
            self.assertIn(told, answer.stderr)
            self.assertIn("ok: well.md", answer.stdout)


class Documents(unittest.TestCase):
    def test_links_between_documents_lead_somewhere(self):
        count = 0
        documents = [*ROOT.glob("docs/*.md"), *ROOT.glob("docs/guide/*.md"), ROOT / "clients/python/README.md"]
        for document in documents:
            text = re.sub(r"^```.*?^```$", "", document.read_text(), flags=re.M | re.S)
            for target in re.findall(r"\]\(([^)\s]+)\)", text):
                if "://" in target or target.startswith("mailto:"):
                    continue
                count += 1
                path, _, anchor = target.partition("#")
                file = (document.parent / path).resolve() if path else document
                self.assertTrue(file.exists(), f"{document.name}: {target}")
                if anchor and file.suffix == ".md":
                    heads = re.findall(r"^#+ +(.*)$", file.read_text(), re.M)
                    anchors = {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}
                    self.assertIn(anchor, anchors, f"{document.name}: {target}")
        self.assertGreater(count, 100)

    def test_every_page_of_the_guide_is_in_its_index(self):
        index = (ROOT / "docs/guide/README.md").read_text()
        for page in ROOT.glob("docs/guide/*.md"):
            self.assertTrue(page.name == "README.md" or f"]({page.name})" in index, page.name)

    def test_tables_are_those_of_the_code(self):
        told = subprocess.run(
            [sys.executable, ROOT / "scripts/tables.py", "--check"], capture_output=True, text=True
        )
        self.assertEqual((told.returncode, told.stderr), (0, ""))

    def test_the_types_of_the_library_name_every_error_code(self):
        types = (ROOT / "src/web/stentor.d.ts").read_text()
        union = types.split("export type ServerErrorCode =")[1].split(";")[0]
        page = (ROOT / "docs/CODES.md").read_text().split("## Error codes")[1]
        codes = set(re.findall(r"^\| `(\w+)` \|", page, re.M))
        self.assertGreater(len(codes), 15)
        self.assertLessEqual(codes, set(re.findall(r"'(\w+)'", union)))

    def test_the_readme_of_the_python_package_names_what_is_there(self):
        sys.path.insert(0, str(ROOT / "clients/python/src"))
        from stentor_server import Stentor, calls

        readme = (ROOT / "clients/python/README.md").read_text()
        for name, make in vars(calls).items():
            if getattr(make, "__module__", "") == calls.__name__ and name.islower() and name[0] != "_":
                self.assertTrue(hasattr(Stentor, name), name)
                self.assertIn(name, readme)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
