"""Health, latency, cache, audit log and backups on OmniRoute's surface."""
import json
import re
import sqlite3

import pytest
from gateway import KEY, wait_for
from test_omniroute_usage import ADMIN, admin, chat, config, ok


@pytest.fixture
def serve(start_sluice, upstream):
    def start(**server):
        return start_sluice(config(upstream.origin, **server))
    return start


def test_latency_by_phase_comes_from_real_requests(serve):
    s = serve()
    assert ok(admin(s, "/api/telemetry/summary")) == {"count": 0, "p50": 0, "p95": 0, "p99": 0, "phaseBreakdown": {}}
    for i in range(4):
        r = chat(s, stream=i % 2 == 0)
        assert r.status_code == 200
    t = wait_for(lambda: (lambda v: v if v["count"] == 4 else None)(ok(admin(s, "/api/telemetry/summary?windowMs=60000"))), "four requests")
    assert 0 < t["p50"] <= t["p95"] <= t["p99"]
    assert t["phaseBreakdown"]["connect"]["count"] >= 2 and t["phaseBreakdown"]["stream"]["count"] == 2
    assert all(p["p50"] <= p["p95"] and p["avg"] >= 0 for p in t["phaseBreakdown"].values())
    assert admin(s, "/api/telemetry/summary?windowMs=0").status_code == 400
    assert ok(admin(s, "/api/token-health")) == {"total": 0, "healthy": 0, "errored": 0, "warning": 0, "lastCheckAt": None, "status": "healthy"}


def test_health_tells_strangers_only_that_it_serves(serve):
    s = serve()
    for headers in ({}, {"Authorization": "Bearer " + KEY}, {"Authorization": "Bearer nonsense"}):
        got = ok(s.call("GET", "/api/monitoring/health", auth=False, headers=headers))
        assert got["status"] == "healthy" and sorted(got) == ["status", "timestamp", "version"]
    ok(chat(s))
    got = ok(admin(s, "/api/monitoring/health"))
    assert got["system"]["pid"] == s.process.pid and got["system"]["memoryUsage"]["rss"] > 1000000
    assert got["providerHealth"]["main"] == {"state": "CLOSED", "failures": 0, "lastFailure": None}
    assert got["providerSummary"]["configuredCount"] == got["providerSummary"]["activeCount"] == 3
    assert got["lockouts"] == [] and got["dedup"] == {"inflightRequests": 0} and got["setupComplete"] is False


def test_check_47_the_cache_is_emptied_by_one_rule_at_a_time(serve):
    """Check 47: two rules at once, or a bad age, are refused; a model's answers are of scope model."""
    s = serve(response_cache=True)
    body = {"temperature": 0, "stream": False}
    ok(chat(s, **body))
    ok(chat(s, **body))
    got = ok(admin(s, "/api/cache"))["semanticCache"]
    assert (got["memoryEntries"], got["hits"], got["misses"], got["hitRate"]) == (1, 1, 1, "50.0") and got["tokensSaved"] > 0
    stats = ok(admin(s, "/api/cache/stats"))
    assert (stats["size"], stats["hits"], stats["misses"], stats["hitRate"]) == (1, 1, 1, 50) and "response" in stats["layers"]
    for bad in ("model=a&signature=b", "staleMs=0", "staleMs=x", "signature=short"):
        r = admin(s, "/api/cache?" + bad, "DELETE")
        assert r.status_code == 400 and isinstance(r.json()["error"], str), bad
    assert ok(admin(s, "/api/cache?model=other", "DELETE")) == {"ok": True, "invalidated": 0, "scope": "model", "model": "other"}
    assert ok(admin(s, "/api/cache", "DELETE")) == {"ok": True, "expiredRemoved": 0, "scope": "all"}
    assert ok(admin(s, "/api/cache?staleMs=3600000", "DELETE")) == {"ok": True, "invalidated": 0, "scope": "stale", "maxAgeMs": 3600000}
    assert ok(admin(s, "/api/cache?signature=" + "0" * 64, "DELETE")) == {"ok": True, "invalidated": 0, "scope": "signature"}
    assert ok(admin(s, "/api/cache?model=echo", "DELETE")) == {"ok": True, "invalidated": 1, "scope": "model", "model": "echo"}
    assert ok(admin(s, "/api/cache"))["semanticCache"]["memoryEntries"] == 0
    assert ok(admin(s, "/api/cache/stats", "DELETE"))["success"] is True
    assert ok(admin(s, "/api/cache/stats"))["misses"] == 0
    assert admin(s, "/api/cache/stats", "POST").status_code == 405


def test_prompt_caches_of_providers_are_summed_up(serve, upstream):
    from test_omniroute_usage import on, reply
    s = serve()
    on(upstream, lambda r: reply())
    ok(chat(s, "m"))
    got = wait_for(lambda: (lambda v: v if v["totalRequests"] else None)(ok(admin(s, "/api/settings/cache-metrics"))), "a request")
    assert (got["totalInputTokens"], got["totalCachedTokens"], got["cacheHitRatePct"]) == (30, 10, 33.3)
    assert got["byProvider"]["openai-compatible"]["cachedTokens"] == 10


def test_the_audit_log_says_who_did_what(serve):
    s = serve()
    for n in range(3):
        assert admin(s, "/sluice/v1/providers", "POST", {"name": "p%d" % n, "type": "echo"}).status_code == 201
    assert admin(s, "/sluice/v1/providers/p1", "DELETE").status_code == 204
    assert s.post("/sluice/v1/session", {"password": "wrong"}, auth=False).status_code in (400, 401)
    rows = ok(admin(s, "/api/compliance/audit-log"))
    assert [r["action"] for r in rows if r["action"].startswith("provider.")] == ["provider.delete"] + ["provider.create"] * 3
    one = next(r for r in rows if r["action"] == "provider.delete")
    assert (one["actor"], one["target"], one["ip_address"]) == ("admin", "p1", "127.0.0.1")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", one["timestamp"]) and one["details"]["outcome"] == "ok"
    targets = lambda query: [r["target"] for r in ok(admin(s, "/api/compliance/audit-log?" + query))]  # noqa: E731
    assert targets("action=provider.create") == ["p2", "p1", "p0"] and targets("action=provider.create&limit=1&offset=1") == ["p1"]
    assert targets("action=provider.create&actor=nobody") == [] and len(targets("actor=admin")) >= 4
    assert admin(s, "/api/compliance/audit-log?limit=0").status_code == 400
    assert s.get("/api/compliance/audit-log").status_code == 401


def names(s):
    return sorted(p["name"] for p in ok(admin(s, "/sluice/v1/providers"))["data"])


def test_check_57_a_backup_is_made_and_a_strange_id_restores_nothing(start_sluice, upstream):
    """Check 57: POST without a body creates; an id that is no backup's is refused and changes nothing."""
    c = config(upstream.origin)
    s = start_sluice({k: v for k, v in c.items() if k == "server"})  # providers in the store alone: nothing of them stands in the file
    assert ok(admin(s, "/api/db-backups")) == {"backups": []}
    r = admin(s, "/api/db-backups", "POST")
    made = ok(r)
    assert made["created"] is True and made["size"] > 4096
    again = ok(admin(s, "/api/db-backups", "PUT"))
    listed = ok(admin(s, "/api/db-backups"))["backups"]
    assert [b["id"] for b in listed] == [again["filename"], made["filename"]] and listed[0]["reason"] == "manual"
    for bad in ("../x", "db_x.sqlite", "../../" + made["filename"], made["filename"] + "/../../sluice.db", "", made["filename"].replace("manual", "gone")):
        r = admin(s, "/api/db-backups", "POST", {"backupId": bad})
        assert r.status_code == 400, (bad, r.text)
    got = ok(admin(s, "/api/storage/health"))
    assert (got["driver"], got["backupCount"], got["retentionDays"]) == ("sqlite", 2, 90) and got["sizeBytes"] > 4096
    assert got["lastBackupAt"] == listed[0]["createdAt"]


def in_store(s, *providers):
    """Written past the file, as the command line does without one."""
    db = sqlite3.connect(next((s.folder / "data").glob("*.db")), timeout=60)
    for i, name in enumerate(providers):
        db.execute("INSERT INTO provider(name, position, kind) VALUES(?, ?, 'echo')", (name, i + 100))
    db.commit()
    db.close()
    assert admin(s, "/sluice/v1/reload", "POST").status_code == 200


def test_restoring_brings_back_what_was_configured_and_leaves_what_happened(serve):
    s = serve()
    in_store(s, "kept")
    ok(chat(s))
    backup = ok(admin(s, "/api/db-backups", "PUT"))["filename"]
    in_store(s, "later")
    assert {"kept", "later"} <= set(names(s))
    got = ok(admin(s, "/api/db-backups", "POST", {"backupId": backup}))
    assert got["restored"] is True and got["connectionCount"] == 1
    assert "kept" in names(s) and "later" not in names(s)  # in force at once
    wait_for(lambda: ok(admin(s, "/api/usage/call-logs")), "the log stays")
    rows = ok(admin(s, "/api/compliance/audit-log"))
    assert [r["target"] for r in rows if r["action"] == "backup.restore"][:1] == [backup]
    assert ok(admin(s, "/api/db-backups"))["backups"][0]["reason"] == "pre-restore"
    versions = ok(admin(s, "/sluice/v1/config/versions"))["data"]
    assert backup in versions[0]["what"]
    ok(chat(s))
    # and it lasts
    s.stop()
    again = type(s)(s.folder, None)
    try:
        assert "kept" in names(again) and "later" not in names(again)
    finally:
        again.stop()


def test_a_damaged_copy_or_one_that_does_not_fit_changes_nothing(serve):
    s = serve()
    in_store(s, "kept")
    good = ok(admin(s, "/api/db-backups", "PUT"))["filename"]
    folder = s.folder / "data" / "db_backups"
    damaged = folder / "db_2026-01-31T12-00-00-123Z_manual.sqlite"
    data = (folder / good).read_bytes()
    damaged.write_bytes(data[:8192] + b"\xff" * 4096 + data[12288:])
    foreign = folder / "db_2026-01-31T12-00-01-123Z_manual.sqlite"
    db = sqlite3.connect(foreign)
    db.execute("CREATE TABLE t(x)")
    db.commit()
    db.close()
    text = folder / "db_2026-01-31T12-00-02-123Z_manual.sqlite"
    text.write_text("no database")
    newer = folder / "db_2026-01-31T12-00-03-123Z_manual.sqlite"
    newer.write_bytes(data)
    db = sqlite3.connect(newer)
    db.execute("PRAGMA user_version = 99999")
    db.close()
    for path in (damaged, foreign, text, newer):
        r = admin(s, "/api/db-backups", "POST", {"backupId": path.name})
        assert r.status_code >= 400 and "error" in r.json(), path.name
        assert "kept" in names(s)
    assert not list(folder.glob(".*")), "what was made on the way is gone"
    assert (folder / good).read_bytes() == data
    assert json.loads(json.dumps(ok(admin(s, "/api/db-backups", "POST", {"backupId": good}))))["restored"] is True
