"""tools/make-matrix counts what a report says, no more."""
import importlib.machinery
import importlib.util
import tempfile
import unittest
from pathlib import Path

TOOL = Path(__file__).resolve().parents[2] / "tools" / "make-matrix"
REPORT = """<testsuites><testsuite>
<testcase classname="tests.http.test_matrix" name="test_tools[whole-chat-over-google]"/>
<testcase classname="tests.http.test_matrix" name="test_tools[streamed-chat-over-google]"><failure/></testcase>
<testcase classname="tests.http.test_matrix" name="test_tools[whole-chat-over-chat]"/>
<testcase classname="tests.http.test_matrix" name="test_tools[streamed-chat-over-chat]"/>
<testcase classname="tests.http.test_matrix" name="test_tools[whole-ollama-over-chat]"><skipped/></testcase>
<testcase classname="tests.http.test_other" name="test_tools[chat-over-ollama]"/>
</testsuite></testsuites>"""


class Matrix(unittest.TestCase):
    def setUp(self):
        loader = importlib.machinery.SourceFileLoader("make_matrix", str(TOOL))
        self.tool = importlib.util.module_from_spec(importlib.util.spec_from_loader("make_matrix", loader))
        loader.exec_module(self.tool)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.report = Path(folder.name, "report.xml")
        self.report.write_text(REPORT)
        self.tool.PAGE = Path(folder.name, "matrix.md")

    def test_cells(self):
        counts = self.tool.read_report(self.report)
        tools = ["test_tools"]
        self.assertEqual(self.tool.cell(counts, tools, "chat", "google"), ("1 of 2", False))
        self.assertEqual(self.tool.cell(counts, tools, "chat", "chat"), ("2", True))
        self.assertEqual(self.tool.cell(counts, tools, "ollama", "chat"), ("–", False))
        self.assertEqual(self.tool.cell(counts, tools, "chat", "ollama"), ("–", False))

    def test_the_page_is_checked(self):
        self.assertEqual(self.tool.main(["make-matrix", "--check", str(self.report)]), 1)
        self.assertEqual(self.tool.main(["make-matrix", str(self.report)]), 0)
        self.assertEqual(self.tool.main(["make-matrix", "--check", str(self.report)]), 0)
        self.assertIn("1 of 125 cells are proved", self.tool.PAGE.read_text())


if __name__ == "__main__":
    unittest.main()
