"""`sluice top`, in a terminal and for scripts."""
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import threading
import time

import pytest
from formats.common import Ask
from gateway import BINARY, wait_for
from test_metrics import ADMIN, CHAT, actives, ask, begun, node, settle  # noqa: F401: a fixture


def top(s, *arguments, key=ADMIN, **options):
    env = {**os.environ, "HOME": str(s.folder), **({"SLUICE_ADMIN_KEY": key} if key else {})}
    return subprocess.run([BINARY, "top", "--url", s.origin, *arguments], env=env, capture_output=True, text=True, timeout=100,
                          check=False, stdin=subprocess.DEVNULL, **options)


def test_once(node, upstream):
    for _ in range(3):
        assert ask(node, "to-chat").status_code == 200
    ask(node, "to-ollama", stream=True)
    settle(node, 4)
    r = top(node, "--once", "--json")
    assert r.returncode == 0, r.stderr
    out = json.loads(r.stdout)
    assert [m["id"] for m in out["series"]["models"]] == ["to-chat", "to-ollama"] and out["info"]["keys"] >= 1
    assert out["active"]["data"] == []
    r = top(node, "--once")
    assert r.returncode == 0 and "\x1b" not in r.stdout
    for word in ("req/s", "MODEL", "to-chat", "UPSTREAM", "ollama", "KEY", "tests (0a1b2c3d)"):
        assert word in r.stdout, (word, r.stdout)


def test_what_it_costs(node, upstream):
    """By model, upstream and key; a price that nobody knows is never $0."""
    r = node.post("/sluice/v1/prices", {"provider": "chat", "model": "chat-model", "price": {"input": 1000000, "output": 1000000}})
    assert r.status_code in (200, 201), r.text
    assert ask(node, "to-chat").status_code == 200
    ask(node, "to-ollama", stream=True)
    settle(node, 2)
    out = json.loads(top(node, "--once", "--json").stdout)["series"]
    priced, unpriced = ({m["id"]: m for m in out["models"]}[n] for n in ("to-chat", "to-ollama"))
    tokens = priced["tokens_in"] + priced["tokens_out"]
    assert tokens > 0 and priced["cost_nanousd"] == tokens * 10**9 and priced["unpriced"] == 0
    assert unpriced["cost_nanousd"] == 0 and unpriced["unpriced"] == 1
    (key,) = out["keys"]
    assert key["cost_nanousd"] == priced["cost_nanousd"] == sum(p["cost_nanousd"] for p in out["series"]) and key["unpriced"] == 1
    text = top(node, "--once").stdout
    rows = {line.split()[0]: line for line in text.splitlines() if line.strip()}
    assert all(re.search(part, text) for part in (r"cost/h \$[0-9]", "in flight [0-9]", "streams [0-9]")), text
    assert all(len(line) <= 100 for line in text.splitlines() if "req/s" in line or "streams" in line)
    assert "COST/H" in rows["MODEL"] and "$" in rows["to-chat"] and "?" in rows["to-ollama"] and "+" in rows["tests"], text


def test_who_may(node):
    for key in (None, "sk-wrong-key-0000000000000000", node.client_key):
        r = top(node, "--once", key=key)
        assert r.returncode == 1 and "SLUICE_ADMIN_KEY" in r.stderr and not r.stdout, r.stderr
    r = top(node, "--once", "--api-key", ADMIN, key=None)
    assert r.returncode == 0, r.stderr


def test_nobody_there(tmp_path):
    env = {**os.environ, "HOME": str(tmp_path)}
    r = subprocess.run([BINARY, "top", "--once", "--url", "http://127.0.0.1:1"], env=env, capture_output=True, text=True, check=False)
    assert r.returncode == 1 and r.stderr.startswith("sluice: ")
    r = subprocess.run([BINARY, "top", "--once", "--port", "1", "--data", str(tmp_path / "data")], env=env, capture_output=True,
                       text=True, check=False)
    assert r.returncode == 1 and r.stderr.startswith("sluice: ")


class Terminal:
    """A screen of a size, that remembers what was written to it."""

    def __init__(self, s, *arguments, rows=24, columns=90):
        self.out = b""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update({"SLUICE_ADMIN_KEY": ADMIN, "HOME": str(s.folder), "TERM": "xterm"})
            os.execv(BINARY, [str(BINARY), "top", "--url", s.origin, "--interval", "100", *arguments])
        self.resize(rows, columns)

    def resize(self, rows, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self):
        while select.select([self.fd], [], [], 0.02)[0]:
            try:
                data = os.read(self.fd, 65536)
            except OSError:
                return False
            if not data:
                return False
            self.out += data
        return True

    def frame(self):
        """The last whole one: lines of text."""
        self.read()
        frames = re.split(rb"\x1b\[H", self.out)
        whole = [f.split(b"\x1b[J")[0] for f in frames[1:] if b"\x1b[J" in f]
        if not whole:
            return []
        return re.sub(rb"\x1b\[[0-9;?]*[a-zA-Z]", b"", whole[-1]).decode().split("\r\n")[:-1]

    def end(self, how):
        how(self)
        end = time.monotonic() + 30
        while time.monotonic() < end:
            self.read()
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.read()
                os.close(self.fd)
                return os.waitstatus_to_exitcode(status)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        raise AssertionError("it does not end")


@pytest.mark.parametrize("how", [lambda t: os.write(t.fd, b"q"), lambda t: os.kill(t.pid, signal.SIGTERM),
                                 lambda t: os.write(t.fd, b"\x03")], ids=["q", "term", "ctrl-c"])
def test_the_screen(node, upstream, how):
    t = Terminal(node)
    wait_for(lambda: any("req/s" in line for line in t.frame()), "the first frame")
    assert not any("to-chat" in line for line in t.frame())
    upstream.play(begun(CHAT))
    stop = threading.Event()

    def client():
        with node.stream("/v1/chat/completions", CHAT.request(Ask(model="to-chat", stream=True)), headers={"X-Request-Id": "req-on-screen"}) as r:
            came = r.iter_raw()
            next(came)
            stop.wait(100)

    c = threading.Thread(target=client)
    c.start()
    try:
        line = wait_for(lambda: next((x for x in t.frame() if x.startswith("req-on-screen") and "answering" in x), None),
                        "the request is on the screen")
        assert "to-chat" in line
    finally:
        stop.set()
        c.join()
    wait_for(lambda: any(x.startswith("to-chat") for x in t.frame()), "its model is on the screen")
    for rows, columns in ((10, 60), (40, 140)):
        t.resize(rows, columns)
        wait_for(lambda: (f := t.frame()) and len(f[0]) == columns and len(f) < rows, "it is drawn in %d x %d" % (columns, rows))
    assert t.end(how) == 0
    assert t.out.startswith(b"\x1b[?1049h\x1b[?25l\x1b[?7l") and t.out.rstrip().endswith(b"\x1b[?7h\x1b[?25h\x1b[?1049l")
    wait_for(lambda: not actives(node), "nothing is served any more")


def test_names_do_not_steer_the_terminal(start_sluice, scripted, upstream):
    from conftest import basic_config
    from test_metrics import with_admin
    config = with_admin(basic_config(scripted.origin))
    evil = "evil\x1b[31m\x07\u009b2Jname"
    config["models"][evil] = "echo"
    s = start_sluice(config, key=ADMIN)
    s.client_key = ADMIN
    assert ask(s, evil).status_code == 200
    settle(s, 1)
    r = top(s, "--once")
    assert r.returncode == 0 and "evil?[31m??2Jname" in r.stdout and "\x1b" not in r.stdout and "\x9b" not in r.stdout


def test_the_server_goes_and_comes(node):
    t = Terminal(node)
    wait_for(lambda: any("req/s" in line for line in t.frame()), "the first frame")
    node.process.send_signal(signal.SIGTERM)
    node.process.wait(60)
    wait_for(lambda: len(t.frame()) == 1 and "req/s" not in t.frame()[0], "it says that nobody answers")
    assert t.end(lambda x: os.write(x.fd, b"q")) == 0
