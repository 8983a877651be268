"""tools/check-floors finds what it is for, and leaves honest code alone."""
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

TOOL = Path(__file__).resolve().parents[2] / "tools" / "check-floors"


class CheckFloors(unittest.TestCase):
    def run_on(self, files):
        with tempfile.TemporaryDirectory() as folder:
            for name, text in files.items():
                path = Path(folder, "src", name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            done = subprocess.run([sys.executable, str(TOOL), folder],
                                  capture_output=True, text=True, check=False)
            self.assertEqual(done.stderr, "")
            return done.returncode, done.stdout

    def assert_finds(self, files, *expected):
        status, out = self.run_on(files)
        self.assertEqual(status, 1, out)
        self.assertEqual(len(out.splitlines()), len(expected), out)
        for line, part in zip(out.splitlines(), expected):
            self.assertIn(part, line)

    def test_lower_floors_and_the_own_room_are_fine(self):
        status, out = self.run_on({
            "base/str.h": "",
            "json/json.h": '#include "base/str.h"\n',
            "wire/ir.h": '#include <stdint.h>\n#include "json/json.h"\n',
            "wire/gemini.c": '#include "wire/ir.h"\n#include "version.h"\n',
            "relay/relay.c": '#include "wire/ir.h"\n#include "base/str.h"\n',
            "api/surface/cortex.c": '#include "api/api.h"\n',
            "api/api.h": "",
        })
        self.assertEqual((status, out), (0, ""))

    def test_upstairs(self):
        self.assert_finds({"base/log.c": '\n#include "relay/relay.h"\n', "relay/relay.h": ""},
                          "src/base/log.c:2: \"relay/relay.h\" goes upstairs")

    def test_sideways(self):
        self.assert_finds({"gate/key.c": '#include "route/route.h"\n', "route/route.h": ""},
                          "src/gate/key.c:1: \"route/route.h\" goes sideways")

    def test_include_without_a_room(self):
        self.assert_finds({"base/log.c": '#include "log.h"\n', "base/log.h": ""},
                          "does not name its room")

    def test_include_that_climbs(self):
        self.assert_finds({"base/log.c": '#include "../json/json.h"\n'}, "climbs")

    def test_missing_header_and_unknown_rooms(self):
        self.assert_finds({"attic/a.c": "", "base/log.c": '#include "base/nope.h"\n#include "x/y.h"\n'},
                          "unknown room 'attic'", "does not exist", "names an unknown room")

    def test_file_without_a_room(self):
        self.assert_finds({"stray.c": ""}, "stands in src/ itself")

    def test_wire_does_no_io(self):
        self.assert_finds({"wire/a.c": "#include <uv.h>\n#include <time.h>\n#include <sys/socket.h>\n"},
                          "<uv.h>", "<time.h>", "<sys/socket.h>")

    def test_comments_do_not_count(self):
        status, out = self.run_on({
            "base/log.c": '/*\n#include "relay/relay.h"\n*/\n// #include "api/api.h"\n'})
        self.assertEqual((status, out), (0, ""))


if __name__ == "__main__":
    unittest.main()
