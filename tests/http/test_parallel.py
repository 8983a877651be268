"""Ten thousand requests at once, each on a connection of its own: all of them are open and one byte short of complete, then they are completed. No
limit lets one more in than it says."""
import json
import resource
import select
import socket
import time

import pytest
from gateway import KEY, Sluice, wait_for
from upstream import silence

ADMIN = "sk-admin-0123456789abcdef0123456789"
MANY = 10_000
DAY, PAID, AT_ONCE = 700, 300, 40  # a day, so that none of its window ends meanwhile, however slow the machine
LATE = 600_000  # ms: nobody is timed out


def config(origin):
    keys = [{"id": "ad000000", "key": ADMIN, "scopes": ["admin"]}, {"id": "k0000001", "key": KEY + "1", "limits": {"requests_per_day": DAY}},
            {"id": "k0000002", "key": KEY + "2"}, {"id": "k0000003", "key": KEY + "3", "limits": {"concurrency": AT_ONCE}}]
    return {"providers": {"echo": {"type": "echo"}, "silent": {"type": "openai-compatible", "api_key": "sk-up-0123456789", "base_url": origin + "/v1"}},
            "models": {"echo": {"provider": "echo"}, "silent": {"provider": "silent"}},
            "prices": {"echo/*": {"request": 0.001}}, "budgets": {"b": {"scope": "key", "subject": "k0000002", "limit_usd": 0.001 * PAID, "period": "ever"}},
            "server": {"api_keys": keys, "limit_queue_ms": 0, "head_timeout_ms": LATE, "body_timeout_ms": LATE, "idle_timeout_ms": LATE, "write_timeout_ms": LATE}}


class Crowd:
    """Connections, each with one request at a time."""

    def __init__(self, port):
        self.poll, self.socks = select.epoll(), {}
        for _ in range(MANY):
            sock = socket.create_connection(("127.0.0.1", port), timeout=120)
            sock.setblocking(False)
            self.socks[sock.fileno()] = sock
            self.poll.register(sock, select.EPOLLIN)

    def ask(self, key, model):
        """Sends everything but the last byte on all of them, then the last byte."""
        body = json.dumps({"model": model, "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]})
        request = ("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
                   % (key, len(body), body)).encode()
        for part in (request[:-1], request[-1:]):
            for sock in self.socks.values():
                assert sock.send(part) == len(part)

    def statuses(self, count):
        """Of so many answers, whichever come."""
        found, buffers, end = [], {}, time.monotonic() + 300
        while len(found) < count:
            assert time.monotonic() < end, "%d answers of %d" % (len(found), count)
            for fd, _ in self.poll.poll(1):
                data = buffers.get(fd, b"") + self.socks[fd].recv(65536)
                assert data, "closed"
                head, blank, rest = data.partition(b"\r\n\r\n")
                length = next((int(x[15:]) for x in head.lower().split(b"\r\n") if x.startswith(b"content-length:")), None)
                if blank and len(rest) == length:
                    found.append(int(head[9:12]))
                    data = b""
                buffers[fd] = data
        return found

    def close(self):
        self.poll.close()
        for sock in self.socks.values():
            sock.close()


@pytest.fixture
def s(scripted, calls, tmp_path):
    scripted.reset()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if most != resource.RLIM_INFINITY and most < MANY + 2000:
        pytest.skip("this machine allows a process %d open files" % most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most if most != resource.RLIM_INFINITY else MANY + 2000, most))
    running = Sluice(tmp_path / "many", config(scripted.origin), calls)
    yield running
    running.stop()
    scripted.reset()


def test_ten_thousand_at_once_pass_no_limit_by_one(s, scripted):
    def budget():
        return s.get("/sluice/v1/budgets/b", headers=s.auth(ADMIN), auth=False).json()
    crowd = Crowd(s.port)
    try:
        crowd.ask(KEY + "1", "echo")
        got = crowd.statuses(MANY)
        assert {k: got.count(k) for k in set(got)} == {200: DAY, 429: MANY - DAY}
        crowd.ask(KEY + "2", "echo")
        got = crowd.statuses(MANY)
        assert {k: got.count(k) for k in set(got)} == {200: PAID, 402: MANY - PAID}
        assert (budget()["spent_nanousd"], budget()["held_nanousd"], budget()["refused"]) == (PAID * 1_000_000, 0, MANY - PAID)
        scripted.play(silence)  # whoever is let in stays
        crowd.ask(KEY + "3", "silent")
        got = crowd.statuses(MANY - AT_ONCE)
        assert set(got) == {429}
        assert len(scripted.wait(AT_ONCE, 60)) == AT_ONCE
        view = s.get("/sluice/v1/limits", headers=s.auth(ADMIN), auth=False, params={"id": "k0000003"}).json()["data"][0]
        assert (view["used"], view["refused"]) == (AT_ONCE, MANY - AT_ONCE)
    finally:
        crowd.close()
    wait_for(lambda: s.get("/sluice/v1/limits", headers=s.auth(ADMIN), auth=False, params={"id": "k0000003"}).json()["data"][0]["used"] == 0, "all have left", 60)
    assert len(scripted.requests) == AT_ONCE
