"""tools/make-status matches operations with endpoint rows, and sees a page that is out of date."""
import importlib.machinery
import importlib.util
import stat
import tempfile
import unittest
from pathlib import Path

TOOL = Path(__file__).resolve().parents[2] / "tools" / "make-status"


def load():
    loader = importlib.machinery.SourceFileLoader("make_status", str(TOOL))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("make_status", loader))
    loader.exec_module(module)
    return module


class Matching(unittest.TestCase):
    def test_names_of_parameters_do_not_matter(self):
        status = load()
        self.assertTrue(status.serves("/a/{id}", "/a/{name}"))
        self.assertTrue(status.serves("/a/{rest*}", "/a/{name*}"))
        self.assertFalse(status.serves("/a/{id}", "/a/lookup"))
        self.assertFalse(status.serves("/a", "/a/{id}"))

    def test_tails_and_verbs(self):
        status = load()
        self.assertTrue(status.serves("/v1beta/models/{m*}:countTokens", "/v1beta/models/{model}:countTokens"))
        self.assertTrue(status.serves("/v1beta/models/{m*}:countTokens", "/v1beta/models/{path}"))
        self.assertTrue(status.serves("/v1/models/{id*}", "/v1/models/{id}"))
        self.assertFalse(status.serves("/v1beta/models/{m*}:embedContent", "/v1beta/models/{m}:countTokens"))
        self.assertFalse(status.serves("/v1/{path*}", "/v1/chat"))
        self.assertFalse(status.serves("/v1/{path*}", "/v1/chat/{id}"))

    def test_aliases(self):
        status = load()
        aliases = [("/api/v1/", "/v1/", "prefix"), ("/models", "/v1/models", "exact"),
                   ("/codex/", "/v1/responses", "whole")]
        self.assertEqual(status.canonical("/api/v1/chat/completions", aliases), "/v1/chat/completions")
        self.assertEqual(status.canonical("/models", aliases), "/v1/models")
        self.assertEqual(status.canonical("/models/x", aliases), "/models/x")
        self.assertEqual(status.canonical("/codex/{path*}", aliases), "/v1/responses")
        self.assertEqual(status.canonical("/api/v1/chat/completions", [("/api/", "/", "prefix"), *aliases]),
                         "/v1/chat/completions")


class Page(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        self.status = load()
        self.status.OPERATIONS = self.root / "operations.tsv"
        self.status.PAGE = self.root / "status.md"
        self.status.CALLS = self.root / "calls.tsv"
        self.status.OPERATIONS.write_text(
            "surface\torigin\tmethod\tpath\tsentence\n"
            "node\tcore\tGET\t/livez\tSay so\n"
            "sluice\tcore\tGET\t/sluice/v1/keys/{id}\tShow a key\n"
            "sluice\tcore\tGET\t/sluice/v1/keys/all\tShow all keys\n")
        self.serve("GET\t/livez\tnode\tanyone\tSay so")

    def serve(self, *rows):
        self.binary = self.root / "sluice"
        self.binary.write_text("#!/bin/sh\ncat <<'END'\n" + "\n".join(rows) + "\nEND\n")
        self.binary.chmod(self.binary.stat().st_mode | stat.S_IXUSR)

    def run_tool(self, *arguments):
        return self.status.main(["make-status", *arguments, str(self.binary)])

    def test_a_new_row_makes_the_page_out_of_date(self):
        self.assertEqual(self.run_tool(), 0)
        self.assertEqual(self.run_tool("--check"), 0)
        self.serve("GET\t/livez\tnode\tanyone\tSay so", "GET\t/sluice/v1/keys/{key}\tsluice\tadmin\tShow")
        self.assertEqual(self.run_tool("--check"), 1)
        self.assertEqual(self.run_tool(), 0)
        self.assertEqual(self.run_tool("--check"), 0)

    def test_a_row_that_went_away_too(self):
        self.assertEqual(self.run_tool(), 0)
        self.serve("GET\t/other\tnode\tanyone\tOther")
        self.assertEqual(self.run_tool("--check"), 1)

    def test_an_alias_serves(self):
        self.status.OPERATIONS.write_text(
            "surface\torigin\tmethod\tpath\tsentence\nalias\tcore\tGET\t/api/livez\tSay so\n")
        self.serve("GET\t/livez\tnode\tanyone\tSay so", "ALIAS\t/api/\t/\tprefix")
        self.assertEqual(self.run_tool(), 0)
        self.assertIn("| `GET /api/livez` | Say so | yes |", self.status.PAGE.read_text())

    def test_calls_go_to_the_most_specific_operation(self):
        self.status.CALLS.write_text("GET\t/livez\ttest_a\nGET\t/livez\ttest_b\n"
                                     "GET\t/sluice/v1/keys/all?x=1\ttest_c\n")
        self.assertEqual(self.run_tool(), 0)
        page = self.status.PAGE.read_text()
        self.assertIn("| `GET /livez` | Say so | yes | `test_a` and 1 more |", page)
        self.assertIn("| `GET /sluice/v1/keys/all` | Show all keys | no | `test_c` |", page)
        self.assertIn("| `GET /sluice/v1/keys/{id}` | Show a key | no |  |", page)

    def test_without_calls_the_page_keeps_the_tests_it_names(self):
        self.status.CALLS.write_text("GET\t/livez\ttest_a\n")
        self.assertEqual(self.run_tool(), 0)
        self.status.CALLS.unlink()
        self.assertEqual(self.run_tool(), 0)
        self.assertIn("| `GET /livez` | Say so | yes | `test_a` |", self.status.PAGE.read_text())


if __name__ == "__main__":
    unittest.main()
