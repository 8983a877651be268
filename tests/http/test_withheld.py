"""Secrets in places of their own: proxies that are no address, credentials in headers of any name, large pools of keys; and what is done
while the store takes nothing, which is written when it does again."""
import resource
import sqlite3
import subprocess

import pytest
from conftest import basic_config
from formats import FORMATS
from formats.common import Ask
from gateway import BINARY, KEY, wait_for
from upstream import failure

ADMIN = "sk-admin-0123456789abcdef0123456789"
CHAT = FORMATS["chat"]
PROXIES = ["sock5://user:pw-canary@127.0.0.1:1080", "socks4://user:pw-canary@127.0.0.1:1080", "user:pw-canary@127.0.0.1:1080",
           "http://user:pw-canary@bad host", "http://user:pw-canary@127.0.0.1:999999"]


def config_for(scripted, **server):
    config = basic_config(scripted.origin)
    config["server"]["api_keys"].append({"id": "ad000000", "key": ADMIN, "scopes": ["inference", "models", "admin"]})
    config["server"].update(server)
    return config


@pytest.mark.parametrize("proxy", PROXIES)
def test_a_proxy_that_is_none_is_refused_and_not_repeated(start_sluice, scripted, proxy):
    s = start_sluice(config_for(scripted))
    admin = {"headers": s.auth(ADMIN)}
    kept = s.config_path.read_bytes()
    new = {"name": "new", "type": "openai-compatible", "base_url": scripted.origin + "/v1", "api_key": "x" * 20, "proxy": proxy}
    for r in (s.call("PUT", "/admin/api/config/providers/chat", {"type": "openai", "api_key": "x" * 20, "base_url": scripted.origin + "/v1", "proxy": proxy}, **admin),
              s.call("PUT", "/admin/api/config/server", {"proxy": proxy}, **admin),
              s.post("/sluice/v1/providers", new, **admin),
              s.call("PATCH", "/sluice/v1/providers/chat", {"proxy": proxy}, **admin),
              s.call("PATCH", "/sluice/v1/settings/proxy", {"value": proxy}, **admin),
              s.post("/sluice/v1/settings/proxy/check", {"value": proxy}, **admin)):
        assert r.status_code == 400 and "proxy" in r.text and "canary" not in r.text, r.text
    assert s.config_path.read_bytes() == kept
    done = subprocess.run([str(BINARY), "setting", "set", "proxy", proxy, "--config", str(s.config_path), "--data", str(s.folder / "data")],
                          capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "canary" not in done.stdout + done.stderr
    # in a file that is written by hand
    mine = config_for(scripted)
    mine["providers"]["chat"]["proxy"] = proxy
    s.write_config(mine)
    r = s.post("/admin/api/config/reload", **admin)
    assert r.status_code >= 400 and "proxy" in r.text and "canary" not in r.text, r.text
    for path in ("/admin/api/config", "/sluice/v1/config/versions", "/sluice/v1/audit", "/sluice/v1/info"):
        assert "canary" not in s.get(path, **admin).text, path
    assert "canary" not in s.output()


def test_the_shell_shows_no_password(start_sluice, scripted):
    s = start_sluice(config_for(scripted, proxy="http://user:pw-canary@127.0.0.1:9"))
    where = ["--config", str(s.config_path), "--data", str(s.folder / "data")]
    out = subprocess.run([str(BINARY), "setting", "list", *where], capture_output=True, text=True, check=True).stdout
    assert "http://***@127.0.0.1:9" in out and "canary" not in out
    out = subprocess.run([str(BINARY), "setting", "set", "proxy", "http://user:pw-canary@127.0.0.1:10", *where], capture_output=True, text=True, check=True).stdout
    assert "http://***@127.0.0.1:10" in out and "canary" not in out


def test_upstreams_that_repeat_what_they_got(start_sluice, scripted, upstream):
    """A header of any name, and each key of a large pool."""
    keys = ["pool-canary-%03d" % i for i in range(70)]
    config = config_for(scripted, log_bodies="all")
    config["providers"]["chat"].update(api_key=",".join(keys), headers={"X-Custom": "hdr-canary-1", "X-Passphrase": "a phrase of the canary with words", "X-Tier": "standard"})
    s = start_sluice(config)
    r = [s.post("/v1/chat/completions", CHAT.request(Ask(model="to-chat", stream=stream))) for stream in (False, True)
         if upstream.play(failure(CHAT, 400, "got hdr-canary-1, a phrase of the canary with words, standard, " + " ".join(keys))) is None]
    for one in r:
        assert one.status_code == 400 and "canary" not in one.text and "standard" in one.text, one.text
    rows = wait_for(lambda: len(found := s.get("/sluice/v1/requests", headers=s.auth(ADMIN)).json()["data"]) == 2 and found, "both are logged")
    for row in rows:
        for place in ("", "/bodies/upstream-response", "/bodies/client-response", "/bodies/upstream-request"):
            got = s.get("/sluice/v1/requests/%s%s" % (row["id"], place), headers=s.auth(ADMIN))
            assert got.status_code == 200 and "canary" not in got.text, (place, got.text[:3000])
    s.stop()
    assert "canary" not in s.log_path.read_text(errors="replace")


def test_what_is_shown_while_the_store_is_locked_is_in_the_audit_log_later(start_sluice, scripted):
    s = start_sluice(config_for(scripted, credential_visible=True))
    admin = {"headers": s.auth(ADMIN)}
    rows = lambda: [r["path"] for r in s.get("/sluice/v1/audit", **admin).json()["data"]]  # noqa: E731
    holder = sqlite3.connect(s.folder / "data/sluice.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    r = s.get("/admin/api/config/providers/chat/key", **admin)
    assert r.status_code == 200, r.text
    assert "audit.delayed" in s.output()
    assert not [p for p in rows() if p.endswith("/key")]
    holder.execute("ROLLBACK")
    holder.close()

    def is_there():
        s.get("/admin/api/internal-token", **admin)  # whoever comes next writes it
        return [p for p in rows() if p.endswith("/key")]
    wait_for(is_there, "the row is written", 60)
    s.stop()
    done = subprocess.run([str(BINARY), "audit", "verify", "--config", str(s.config_path), "--data", str(s.folder / "data")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_limit_of_file_sizes_is_a_full_disk(start_sluice, scripted):
    """The signal that comes with it ends nothing."""
    s = start_sluice(config_for(scripted))
    admin = {"headers": s.auth(ADMIN)}
    was = resource.prlimit(s.process.pid, resource.RLIMIT_FSIZE, (1024, resource.RLIM_INFINITY))
    provider = {"type": "openai", "api_key": "x" * 3000, "base_url": scripted.origin + "/v1"}
    assert s.call("PUT", "/admin/api/config/providers/large", provider, **admin).status_code >= 500
    assert s.post("/v1/chat/completions", CHAT.request(Ask(model="echo"))).status_code == 200
    resource.prlimit(s.process.pid, resource.RLIMIT_FSIZE, was)
    assert s.call("PUT", "/admin/api/config/providers/large", provider, **admin).status_code == 200
    assert s.process.poll() is None


def test_an_operator_signs_in_while_the_store_takes_nothing(start_sluice, scripted):
    """Who comes to mend the disk must get in: the session lives in memory, and is stored when that works again."""
    s = start_sluice(config_for(scripted, admin_password="a long enough password"))
    holder = sqlite3.connect(s.folder / "data/sluice.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")

    def sign_in():
        s.http.cookies.clear()
        r = s.post("/sluice/v1/session", {"password": "a long enough password"}, auth=False)
        assert r.status_code in (200, 201), r.text
        s.http.cookies.clear()
        return {"auth": False, "headers": {"Authorization": "Bearer " + r.json()["token"]}}

    kept, left = sign_in(), sign_in()
    assert s.post("/sluice/v1/session", {"password": "another one altogether"}, auth=False).status_code == 401
    for one in (kept, left):
        assert s.get("/sluice/v1/settings", **one).status_code == 200
    assert s.call("DELETE", "/sluice/v1/session", **left).status_code == 204
    assert s.get("/sluice/v1/settings", **left).status_code == 401
    holder.execute("ROLLBACK")
    holder.close()
    [row] = wait_for(lambda: (r := s.get("/sluice/v1/sessions", **kept)).status_code == 200 and r.json()["data"], "the store has it")
    assert row["is_current"] is True


@pytest.mark.parametrize("name,value", [("x-a", "one\r\nx-evil: two"), ("x a", "one"), ("", "one"), ("x-a:", "one"), ("x-a", "nul\0")])
def test_headers_that_no_request_can_carry(start_sluice, scripted, name, value):
    s = start_sluice(config_for(scripted))
    config = config_for(scripted)
    config["providers"]["chat"]["headers"] = {name: value}
    s.write_config(config)
    r = s.post("/admin/api/config/reload", headers=s.auth(ADMIN))
    assert r.status_code >= 400 and "has a header that no request can carry" in r.text, r.text
    assert s.post("/v1/chat/completions", CHAT.request(Ask(model="echo"))).status_code == 200


@pytest.mark.parametrize("setting,value", [("log_level", "bogus"), ("price_feed_url", "no address"), ("price_feed_url", "http://user:pw@a.example/")])
def test_settings_that_say_nothing(start_sluice, scripted, setting, value):
    s = start_sluice(config_for(scripted))
    r = s.call("PATCH", "/sluice/v1/settings/" + setting, {"value": value}, headers=s.auth(ADMIN))
    assert r.status_code == 400 and setting in r.text, r.text
