"""docs/admin-api.md does what it says: its commands are run in one shell, in order, and every answer is compared with the page."""
import json
import re
import subprocess

import pytest
from gateway import ROOT, Sluice
from upstream import http

PAGE = ROOT / "docs" / "admin-api.md"
DOTS = "…"


def blocks():
    """(language, text, line) of every fenced block."""
    out, text, language, start = [], [], None, 0
    for number, line in enumerate(PAGE.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("```"):
            if language is None:
                language, text, start = line[3:], [], number
            else:
                out.append((language, "\n".join(text), start))
                language = None
        elif language is not None:
            text.append(line)
    return out


def values(text):
    """The JSON values that stand in a text one after another."""
    decoder, at, out = json.JSONDecoder(), 0, []
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        value, at = decoder.raw_decode(text, at)
        out.append(value)
    return out


def fits(wanted, got):
    if isinstance(wanted, str) and DOTS in wanted:
        if wanted == DOTS:
            return True
        pattern = ".*".join(re.escape(part) for part in wanted.split(DOTS))
        return isinstance(got, str) and re.fullmatch(pattern, got) is not None
    if isinstance(wanted, dict):
        if not isinstance(got, dict):
            return False
        names = set(wanted) - {DOTS}
        if DOTS not in wanted and names != set(got):
            return False
        return all(name in got and fits(wanted[name], got[name]) for name in names)
    if isinstance(wanted, list):
        if not isinstance(got, list):
            return False
        if DOTS in wanted:  # others may stand there
            at = wanted.index(DOTS)
            head, tail = wanted[:at], wanted[at + 1:]
            return (len(got) >= len(head) + len(tail) and all(fits(w, g) for w, g in zip(head, got))
                    and all(fits(w, g) for w, g in zip(tail, got[len(got) - len(tail):])))
        return len(wanted) == len(got) and all(fits(w, g) for w, g in zip(wanted, got))
    return type(wanted) is type(got) and wanted == got or (
        not isinstance(wanted, bool) and isinstance(wanted, (int, float)) and isinstance(got, (int, float)) and wanted == got)


def is_as(wanted, got):
    try:
        return all(fits(w, g) for w, g in zip(values(wanted), values(got), strict=True))
    except ValueError:
        return False


class Shell:
    """One bash for the whole page: what a block sets is there for the next."""
    END = "--end-of-block--"

    def __init__(self, folder, env):
        self.process = subprocess.Popen(["bash", "--norc"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        text=True, cwd=folder, env=env, encoding="utf-8")

    def run(self, text):
        self.process.stdin.write("{ %s\n} </dev/null\nprintf '\\n%s\\n'\n" % (text, self.END))
        self.process.stdin.flush()
        out = []
        while (line := self.process.stdout.readline()).rstrip("\n") != self.END:
            assert line, "the shell ended: " + "".join(out)
            out.append(line)
        return "".join(out)

    def stop(self):
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


@pytest.fixture
def session(scripted, upstream, tmp_path, calls):
    page = blocks()
    config = next(text for language, text, _ in page if language == "jsonc")

    class Documented(Sluice):
        def write_config(self, _):
            self.config_path = self.folder / "gateway.jsonc"
            self.config_path.write_text(config, encoding="utf-8")

    s = Documented(tmp_path / "sluice", {}, calls)

    async def answer(conn, request):
        models = {"object": "list", "data": [{"id": "gpt-small"}, {"id": "gpt-large"}]}
        script = http(200, json.dumps(models)) if request.method == "GET" else scripted.default(request)
        await script(conn, request)

    upstream.play(answer)
    shell = Shell(tmp_path, {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "URL": s.origin, "UPSTREAM": scripted.origin + "/v1",
                             "UPSTREAM_KEY": "sk-upstream-0123456789"})
    yield s, shell
    shell.stop()
    s.stop()


def test_every_answer_is_as_documented(session):
    s, shell = session
    page, compared = blocks(), 0
    for (language, text, line), following in zip(page, [*page[1:], (None, None, None)]):
        if language != "sh" or text.startswith("sluice serve"):
            continue
        for word in re.findall(r"\$URL(/[^\s\"'?|]*)", text):
            s.calls.note("GET", word.replace("$ID", "x").replace("$TASK", "x").replace("$BEFORE", "1"))
        got = shell.run(text)
        for _ in range(20):  # the page waits for what goes on behind it, and so do slow machines
            if "sleep" not in text or is_as(following[1], got):
                break
            got = shell.run(text)
        if following[0] != "json":
            assert got.strip() == "", "%s:%d printed %s" % (PAGE.name, line, got)
            continue
        wanted = values(following[1])
        try:
            answers = values(got)
        except ValueError:
            raise AssertionError("%s:%d answered no JSON: %s" % (PAGE.name, line, got[:500])) from None
        assert len(answers) == len(wanted), "%s:%d answered %s" % (PAGE.name, line, got[:1500])
        for w, g in zip(wanted, answers):
            assert fits(w, g), "%s:%d\nwanted %s\nanswered %s" % (PAGE.name, line, json.dumps(w), json.dumps(g)[:1500])
        compared += len(wanted)
    assert compared > 35
    assert "// the password is hashed at once" in s.config_path.read_text(encoding="utf-8")


@pytest.mark.parametrize("wanted,got,is_so", [
    ("…", 5, True), ("a…c", "abc", True), ("a…c", "abd", False), ({"a": 1}, {"a": 1, "b": 2}, False),
    ({"a": 1, "…": "…"}, {"a": 1, "b": 2}, True), ({"a": 1, "…": "…"}, {"b": 2}, False), ([1, 2], [1], False),
    (["…", 2], [5, 2], True), ([5, "…"], [5, 2], True), ([5, "…"], [2, 5], False), (["…", 2], [2, 5], False), (0, 0.0, True), (True, 1, False), ("x", "y", False), ({"a": 1}, [], False)])
def test_the_comparison_compares(wanted, got, is_so):
    assert bool(fits(wanted, got)) is is_so
