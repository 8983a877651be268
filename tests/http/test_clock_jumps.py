"""The wall clock is set two days on, back, and two days before, under a running server: timers do not notice, nothing is lost, nobody is
locked out for longer than the longest time."""
import struct

from conftest import basic_config
from faults import preloaded
from gateway import Sluice, wait_for

ADMIN = "sk-admin-0123456789abcdef"
DAYS = 2 * 86400


def test_two_days_on_and_two_days_back(library, scripted, calls, tmp_path):
    clock = tmp_path / "clock"
    clock.write_bytes(struct.pack("q", 0))
    config = basic_config(scripted.origin)
    config["server"].update(password_memory_bytes=8192, password_passes=1, admin_password="hunter-two", session_idle_ms=3600000, login_max_failures=2,
                            login_lockout_ms=3600000, login_lockout_max_ms=3600000, trusted_proxies="127.0.0.1")
    config["server"]["api_keys"].append({"id": "ad000001", "key": ADMIN, "scopes": ["admin", "inference"]})
    s = Sluice(tmp_path / "s", config, calls, key=ADMIN, env={**preloaded(library, tmp_path / "gate"), "SLUICE_CLOCK": str(clock)})

    def sign_in(password="hunter-two", address="192.0.2.1"):
        r = s.post("/sluice/v1/session", {"password": password}, auth=False, headers={"X-Forwarded-For": address})
        s.http.cookies.clear()
        return r

    def who(token):
        return s.get("/sluice/v1/session", auth=False, headers={"Authorization": "Bearer " + token}).status_code

    def ask():
        """Served, and in the log within moments: who writes it waits by a clock that nobody sets."""
        r = s.post("/v1/chat/completions", {"model": "echo", "messages": [{"role": "user", "content": "x"}]})
        assert r.status_code == 200, r.text
        name = r.headers["x-request-id"]
        wait_for(lambda: name in [x["id"] for x in s.get("/sluice/v1/requests").json()["data"]], "the request stands in the log")

    for address in ("192.0.2.7",) * 2:
        assert sign_in("wrong", address).status_code in (401, 429)
    assert sign_in(address="192.0.2.7").status_code == 429
    token, made = sign_in().json()["token"], set()
    for n, offset in enumerate((0, DAYS, 0, -DAYS, 0)):
        with open(clock, "r+b") as f:
            f.write(struct.pack("q", offset))
        ask()
        for path in ("/sluice/v1/info", "/sluice/v1/metrics/series", "/admin/api/metrics"):
            assert 0 <= s.get(path).json()["uptime_seconds"] < 3600, path
        for _ in range(2):  # nothing is made twice, whatever the time
            r = s.post("/sluice/v1/orgs", {"id": "o%d" % n, "name": "o"}, headers={"Idempotency-Key": "jump-%d" % n})
            assert r.status_code == 201, r.text
        if offset > 0:  # the session was not used for two days
            assert who(token) == 401
            token = sign_in().json()["token"]
        assert who(token) == 200
        locked = sign_in(address="192.0.2.7")
        if locked.status_code == 429:
            assert int(locked.headers["retry-after"]) <= 3601, "longer than the longest time"
        made.add("o%d" % n)
        assert made <= {o["id"] for o in s.get("/sluice/v1/orgs").json()["data"]}
    assert sign_in(address="192.0.2.8").status_code == 201
    s.stop()
