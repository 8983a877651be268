"""The store under killing, locking and damage, and secrets looked for wherever they must not be."""
import contextlib
import json
import pathlib
import random
import re
import resource
import signal
import sqlite3
import subprocess
import threading
import time

import pytest
from conftest import basic_config
from formats import FORMATS
from gateway import BINARY, KEY, Sluice, provider, wait_for
from test_otlp import Collector
from test_requests import ADMIN, CHAT, LIST, ask, config_with_keys
from upstream import failure


def store(s):
    return contextlib.closing(sqlite3.connect(s.folder / "data" / "sluice.db", timeout=60))


def kill_while_busy(s, acknowledged, seconds):
    """Makes requests and keys until it is killed; notes each key whose making was acknowledged."""
    def requests():
        with contextlib.suppress(Exception):
            while True:
                ask(s, "[[error 500 x]]", request_id="r-killed%02d" % random.randrange(100))
                ask(s, "fine")

    def keys():
        with contextlib.suppress(Exception):
            while True:
                r = s.post("/sluice/v1/keys", {"label": "made"}, headers=s.auth(ADMIN))
                if r.status_code == 201:
                    acknowledged.append(r.json()["id"])

    told = len(acknowledged)
    threads = [threading.Thread(target=f) for f in (requests, keys)]
    for t in threads:
        t.start()
    wait_for(lambda: len(acknowledged) > told, "a key is made")
    time.sleep(seconds)
    s.process.send_signal(signal.SIGKILL)
    s.process.wait()
    for t in threads:
        t.join()
    s.http.close()
    s.log.close()


def test_killed_twenty_times(scripted, tmp_path):
    """No acknowledged change is lost, no record is half there, and it starts again each time."""
    config, acknowledged = config_with_keys(scripted.origin), []
    config["server"]["log_bodies"] = "errors"
    rng = random.Random(1)
    config["server"]["api_keys"], in_file = [], config["server"]["api_keys"]
    config["server"]["api_keys"] = in_file
    for n in range(20):
        s = Sluice(tmp_path, config if n == 0 else json.loads((tmp_path / "sluice.jsonc").read_text()))
        kill_while_busy(s, acknowledged, .02 + rng.random() * .25)
    s = Sluice(tmp_path, json.loads((tmp_path / "sluice.jsonc").read_text()))
    try:
        has, after = set(), ""
        while True:
            page = s.get("/sluice/v1/keys?limit=10000" + after, headers=s.auth(ADMIN)).json()["data"]
            has |= {k["id"] for k in page}
            if len(page) < 10000:
                break
            after = "&after=" + page[-1]["id"]
        assert acknowledged and set(acknowledged) <= has
        with store(s) as db:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            whole = db.execute("SELECT count(*) FROM usage").fetchone()[0]
            assert whole == db.execute("SELECT count(*) FROM usage_fact").fetchone()[0] > 0
            assert db.execute("SELECT count(*) FROM usage_detail WHERE NOT json_valid(text)").fetchone()[0] == 0
        page = s.get(LIST + "?status=error&limit=1000&total=true", headers=s.auth(ADMIN)).json()
        assert page["total"] > 0
        kept = wait_for(lambda: [r for r in page["data"]][:50], "errors")
        for row in kept:  # what a record says of its bodies is true, or they are gone: never another's
            r = s.get("%s/%d/bodies/client-request" % (LIST, row["seq"]), headers=s.auth(ADMIN))
            assert r.status_code == 404 or "[[error" in r.json()["text"]
    finally:
        s.stop()


def test_another_process_locks_the_store(start_sluice, scripted):
    s = start_sluice(config_with_keys(scripted.origin))
    assert ask(s).status_code == 200
    wait_for(lambda: s.get(LIST, headers=s.auth(ADMIN)).json()["data"], "the store is in use")
    with store(s) as db:
        db.execute("BEGIN EXCLUSIVE")
        for n in range(5):
            assert ask(s, request_id="r-locked%02d" % n).status_code == 200
        wait_for(lambda: s.get("/healthz", auth=False).json()["status"] == "degraded", "it says so")
        assert ask(s, request_id="r-locked05").status_code == 200
        db.rollback()
    wait_for(lambda: s.get("/healthz", auth=False).json()["status"] == "ok", "it recovers")
    wait_for(lambda: sum(r["id"].startswith("r-locked") for r in s.get(LIST, headers=s.auth(ADMIN)).json()["data"]) == 6, "nothing was lost")


@pytest.mark.parametrize("damage", ["garbage", "header", "cut"])
def test_a_damaged_store_is_named_and_left_alone(scripted, tmp_path, damage):
    s = Sluice(tmp_path, config_with_keys(scripted.origin))
    for n in range(50):
        s.post("/sluice/v1/keys", {"label": "k%d" % n}, headers=s.auth(ADMIN))
    s.stop()
    path = tmp_path / "data" / "sluice.db"
    whole = path.read_bytes()
    path.write_bytes({"garbage": b"x" * len(whole), "header": b"not a store at all" + whole[18:], "cut": whole[:len(whole) // 3 // 4096 * 4096]}[damage])
    before = path.read_bytes()
    for command in (["check", str(tmp_path / "sluice.jsonc"), "--data", str(tmp_path / "data")],
                    ["serve", "--config", str(tmp_path / "sluice.jsonc"), "--data", str(tmp_path / "data"), "--port", "0"]):
        try:
            done = subprocess.run([str(BINARY), *command], capture_output=True, text=True, timeout=30 if damage == "cut" else 100, check=False)
        except subprocess.TimeoutExpired:
            assert damage == "cut" and command[0] == "serve"  # what is damaged was not needed to start
            continue
        assert done.returncode == 1 and str(path) in done.stderr and "damaged" in done.stderr, done.stderr
        assert path.read_bytes() == before


# Canaries

def marked_config(origin, marks, collector, folder):
    """A mark in every secret that a configuration can hold."""
    headers = folder / "collector-headers"
    headers.write_text("authorization: Bearer %s\n" % marks["collector"])
    config = basic_config(origin)
    config["providers"]["marked"] = {**provider("chat", origin), "api_key": marks["provider"], "headers": {"x-extra-token": marks["header"]}}
    config["providers"]["proxied"] = {**provider("chat", origin), "api_key": "${MARKED_KEY}",
                                      "proxy": "http://user:%s@127.0.0.1:9" % marks["proxyuser"]}
    config["models"].update(marked={"provider": "marked"}, proxied={"provider": "proxied"})
    config["server"].update(log_bodies="all", log_clients=True, log_level="debug", admin_password=marks["operator"] + "-long enough",
                            otlp_endpoint=collector.origin, otlp_interval_ms=50, otlp_metrics_interval_ms=100, otlp_headers_file=str(headers))
    config["server"]["api_key"] = marks["legacy"]  # the one key of older files
    config["server"]["api_keys"] += [{"id": "ad000000", "key": ADMIN, "scopes": ["inference", "models", "admin"]},
                                     {"id": "0b000000", "key": marks["client"], "label": "marked"}]
    return config


def administer(s, marks, say):
    """Sign-ins, and secrets set over each surface's API."""
    admin = s.auth(ADMIN)
    assert say(s.post("/sluice/v1/session", {"password": marks["guess"]}, auth=False)).status_code == 401
    r = s.post("/sluice/v1/session", {"password": marks["operator"] + "-long enough"}, auth=False)
    assert r.status_code == 201, r.text
    marks["session"] = r.json()["token"]
    s.http.cookies.clear()
    owner = {"Authorization": "Bearer " + marks["session"]}
    say(s.get("/sluice/v1/sessions", headers=owner, auth=False))
    marks["internal"] = s.get("/admin/api/internal-token", headers=admin).json()["token"]
    assert say(s.post("/sluice/v1/operators", {"name": "marked", "role": "viewer", "password": marks["password"] + "-long enough"},
                      headers=owner, auth=False)).status_code == 201
    say(s.get("/sluice/v1/operators", headers=owner, auth=False))
    assert say(s.post("/sluice/v1/providers", {"name": "posted", "type": "openai-compatible", "base_url": s.origin + "/v1", "api_key": marks["posted"]},
                      headers=admin)).status_code == 201
    assert say(s.post("/api/providers", {"provider": "openai", "name": "omni", "apiKey": marks["omni"],
                                         "providerSpecificData": {"extraApiKeys": [marks["extra"]]}}, headers=admin)).status_code == 201
    assert say(s.call("PATCH", "/sluice/v1/settings/proxy", {"value": "http://user:%s@127.0.0.1:9" % marks["proxy"]}, headers=admin)).status_code == 200
    assert say(s.call("PATCH", "/sluice/v1/settings/proxy", {"value": "http://***@127.0.0.1:9"}, headers=admin)).status_code == 200  # as it is shown
    assert say(s.call("PATCH", "/sluice/v1/settings/proxy", {"value": "http://***@127.0.0.1:10"}, headers=admin)).status_code == 400
    assert say(s.call("PATCH", "/sluice/v1/settings/proxy", {"value": None}, headers=admin)).status_code == 200
    # what would be shown everywhere cannot be said
    for name in ("otlp_endpoint", "diagnostics_ip_url", "diagnostics_connect_url"):
        r = s.call("PATCH", "/sluice/v1/settings/" + name, {"value": "http://user:%s@127.0.0.1:9/" % marks["address"]}, headers=admin)
        assert r.status_code == 400 and "must not hold" in r.text
        say(r)
    r = s.post("/sluice/v1/providers", {"name": "inside", "type": "openai-compatible", "base_url": "http://user:%s@127.0.0.1:9" % marks["address"]},
               headers=admin)
    assert r.status_code == 400 and r.json()["error"]["param"] == "base_url"
    say(r)
    for address in ("http://user:%s@127.0.0.1:9", "http://127.0.0.1:9/v1?key=%s"):
        r = s.call("PUT", "/admin/api/config/providers/inside", {"type": "openai", "api_key": "x" * 20, "base_url": address % marks["address"]}, headers=admin)
        assert r.status_code == 400 and "base_url" in r.text, r.text
        say(r)
    carried = {"type": "openai", "api_key": "x" * 20, "base_url": s.origin + "/v1", "proxy": "http://user:%s@127.0.0.1:9" % marks["rosettaproxy"]}
    assert say(s.call("PUT", "/admin/api/config/providers/carried", carried, headers=admin)).status_code == 200
    assert say(s.call("PUT", "/admin/api/config/server", {"proxy": carried["proxy"]}, headers=admin)).status_code == 200
    say(s.get("/admin/api/config", headers=admin))
    say(s.get("/admin/api/diagnostics/network", headers=admin))
    typed = {"type": "http", "host": "127.0.0.1", "port": 9, "username": "user", "password": marks["typedproxy"]}
    assert say(s.call("PATCH", "/api/settings/proxy", {"level": "global", "proxy": typed}, headers=admin)).status_code == 200
    say(s.get("/api/settings/proxy", headers=admin))
    say(s.post("/api/settings/proxy/test", {"proxy": typed}, headers=admin))
    say(s.post("/api/settings/proxy/test", {"proxy": {**typed, "type": "gopher"}}, headers=admin))
    assert say(s.call("DELETE", "/api/settings/proxy?level=global", headers=admin)).status_code == 200
    r = s.post("/admin/api/keys", {"label": "manual", "key": marks["manual"]}, headers=admin)  # shown once, to who made it
    assert r.status_code == 200 and r.json()["key"]["key"] == marks["manual"]
    for key in (marks["manual"], marks["legacy"]):
        say(ask(s, key=key, model="echo"))
    say(s.get("/admin/api/keys", headers=admin))
    assert say(s.call("PUT", "/api/db-backups", headers=admin)).status_code == 200


def test_secrets_are_nowhere(start_sluice, scripted, upstream, tmp_path):
    marks = {name: "canary-%s-0123456789abcdef" % name for name in
             ("provider", "client", "header", "proxyuser", "operator", "env", "guess", "posted", "omni", "extra", "proxy", "address", "password", "collector",
              "legacy", "rosettaproxy", "typedproxy", "manual", "otel")}
    collector = Collector()
    s = start_sluice(marked_config(scripted.origin, marks, collector, tmp_path), env={"MARKED_KEY": marks["env"],
                                                                                         "OTEL_EXPORTER_OTLP_HEADERS": "x-otel=" + marks["otel"]})
    marks["claim"] = (re.search(r"claim#(\S+)", s.output()) or [None, "none was made"])[1]
    seen = []

    def say(r):
        seen.append(r.text + str(r.headers))
        return r

    # upstreams that repeat what they got, in every way
    for status in (400, 401, 403, 429, 500):
        upstream.play(failure(FORMATS["chat"], status, "bad key %s, header %s" % (marks["provider"], marks["header"])))
        for stream in (False, True):
            ask(s, key=marks["client"], model="marked", stream=stream)
    for model in ("proxied", "marked", "nobody"):
        say(ask(s, key=marks["client"], model=model))
    s.post(CHAT, b'{"model": broken', headers=s.auth(marks["client"]))
    words = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
    for carrier in ({"params": {"key": marks["client"]}}, {"headers": {"x-goog-api-key": marks["client"]}}, {"headers": {"x-api-key": marks["client"]}}):
        assert say(s.post("/v1beta/models/echo:generateContent", words, auth=False, **carrier)).status_code == 200
    administer(s, marks, say)
    listed = json.loads(s.get("/openapi.json").text)["paths"]
    paths = [p for p, item in listed.items() if "get" in item and "{" not in p and item["get"]["tags"][0] in ("sluice", "llm-rosetta", "OmniRoute")
             and not any(word in p for word in ("/tail", "/events", "/stream", "reveal", "internal-token", "dashboard", "/docs", "openapi"))
             and "text/event-stream" not in item["get"]["responses"].get("200", {}).get("content", {})
             and "server-sent events" not in item["get"]["summary"]]
    assert len(paths) > 60
    for path in [*paths, "/sluice/v1/providers/marked", "/sluice/v1/requests?limit=1000"]:
        say(s.get(path, headers=s.auth(ADMIN)))
    wait_for(lambda: len(s.get(LIST + "?limit=1000", headers=s.auth(ADMIN)).json()["data"]) >= 13, "all are logged")
    for row in s.get(LIST + "?limit=1000", headers=s.auth(ADMIN)).json()["data"]:
        say(s.get("%s/%d" % (LIST, row["seq"]), headers=s.auth(ADMIN)))
        for which in ("client-request", "upstream-request", "upstream-response", "client-response"):
            say(s.get("%s/%d/bodies/%s" % (LIST, row["seq"], which), headers=s.auth(ADMIN)))
    out = subprocess.run([str(BINARY), "export", "--config", str(s.config_path), "--data", str(s.folder / "data")], capture_output=True, text=True,
                         env={"MARKED_KEY": marks["env"], "PATH": "/usr/bin:/bin"}, check=False)
    wait_for(lambda: len(collector.taken("/v1/traces")) > 1 and collector.taken("/v1/metrics"), "traces and metrics arrive")
    assert marks["otel"] not in str(collector.requests), "a file with headers comes before the environment"
    unmarked = json.loads(s.config_path.read_text(encoding="utf-8"))
    del unmarked["server"]["otlp_headers_file"]
    s.write_config(unmarked)
    say(s.post("/admin/api/config/reload", headers=s.auth(ADMIN)))
    wait_for(lambda: marks["otel"] in str([r[1] for r in collector.requests]), "the environment's headers are sent", 60)
    s.process.send_signal(signal.SIGTERM)
    s.process.wait(30)
    collector.stop()
    traces = b"".join(body for _, _, body, _ in collector.requests).decode("latin-1")
    assert marks["collector"] in str(collector.requests[0][1]), "the one place where it belongs"
    places = {"answers": "".join(seen), "log": s.output().replace("claim#" + marks["claim"], ""), "export": out.stdout,
              "export's errors": out.stderr, "traces and metrics": traces}
    for path in (s.folder / "data").rglob("*"):
        if path.is_file():
            places[str(path.relative_to(s.folder))] = path.read_bytes().decode("latin-1")
    assert len(places) > 6 and any("backup" in place for place in places), list(places)
    for name, mark in marks.items():
        for place, text in places.items():
            assert mark not in text, "%s's secret is in %s: …%s" % (name, place, text[max(0, text.find(mark) - 200):][:300])
    assert KEY not in places["log"] and ADMIN not in places["log"]


def test_a_core_holds_no_secret(tmp_path, scripted):
    """It is killed in the way a fault kills it, where the system writes cores; what it held is not in there."""
    marks = dict.fromkeys(("provider", "client", "header", "proxyuser", "operator", "collector", "legacy"), "canary-%s-0123456789abcdef")
    marks = {name: mark % name for name, mark in marks.items()}
    s = Sluice(tmp_path / "core", marked_config(scripted.origin, marks, scripted, tmp_path), env={"ASAN_OPTIONS": "disable_coredump=0", "MARKED_KEY": "canary-env"})
    pid = s.process.pid
    assert ask(s, key=marks["client"], model="echo").status_code == 200
    assert int(pathlib.Path("/proc/%d/coredump_filter" % pid).read_text(), 16) == 0
    resource.prlimit(pid, resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    s.process.send_signal(signal.SIGABRT)
    assert s.process.wait(60) == -signal.SIGABRT
    s.http.close()
    s.log.close()
    where = pathlib.Path("/proc/sys/kernel/core_pattern").read_text()
    if where[0] not in "|/":  # else a program of the system takes it, with the same filter
        cores = list(s.folder.glob(where.split("%")[0].strip() + "*"))
        assert len(cores) == 1, list(s.folder.iterdir())
        core = cores[0].read_bytes()
        assert core.startswith(b"\x7fELF") and b"sluice" in core
        assert b"canary-" not in core


def test_a_master_key_that_is_gone_is_missed(tmp_path):
    """None is made in its place: it would open nothing, and what it sealed would be lost once the old one is back."""
    def run(*arguments):
        return subprocess.run([str(BINARY), *arguments, "--data", str(tmp_path)], capture_output=True, text=True, timeout=120)

    assert run("provider", "add", "p", "--type", "openai", "--api-key", "sk-kept").returncode == 0
    (tmp_path / "master.key").rename(tmp_path / "kept")
    for command in (("serve", "--port", "0"), ("provider", "add", "q", "--type", "openai", "--api-key", "sk-new")):
        r = run(*command)
        assert r.returncode != 0 and "master.key' is missing" in r.stderr, (command, r.stderr)
        assert not (tmp_path / "master.key").exists()
    (tmp_path / "kept").rename(tmp_path / "master.key")
    assert run("provider", "add", "q", "--type", "openai", "--api-key", "sk-new").returncode == 0
