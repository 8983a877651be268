"""Tests that the documentation names are there: `test_x.py::test_y`, `::test_z` of the same file, and `test_x.c`, `name`."""
import pathlib
import re
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
NAMED = re.compile(r"`(test_\w+\.(?:py|c))?(?:::(\w+))?`(?:, `(\w+)`)?(?:, `(\w+)`)?")


def missing(page):
    found, file = [], None
    for name, test, *of_c in NAMED.findall(page.read_text(encoding="utf-8")):
        file = name or file
        if not name and not test:
            continue
        path = ROOT / ("tests/http" if file.endswith(".py") else "tests/unit") / file
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        wanted = [r"def %s\b" % test] if test else [r"START_TEST\(%s\)" % t for t in of_c if t and file.endswith(".c")]
        found += [] if text and all(re.search(w, text) for w in wanted) else ["%s: %s %s" % (page.name, file, wanted)]
    return found


class NamedTests(unittest.TestCase):
    def test_every_named_test_is_there(self):
        pages = sorted((ROOT / "docs").glob("*.md"))
        self.assertEqual([m for page in pages if page.name != "status.md" for m in missing(page)], [])

    def test_one_that_is_not_there_is_found(self):
        page = ROOT / "docs" / "omniroute.md"
        self.assertTrue(NAMED.search(page.read_text(encoding="utf-8")))


if __name__ == "__main__":
    unittest.main()
