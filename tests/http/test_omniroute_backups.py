"""OmniRoute's surface: a copy of the store is taken away and brought back; which sluice this is."""
import sqlite3

from omni import ADMIN, PASSWORD, invalid, ok, omni_config, refused, start


def owner(s):
    return {"headers": {"Authorization": "Bearer " + ok(s.call("POST", "/api/auth/login", {"password": PASSWORD}, auth=False))["token"]}}


def in_store(s, statement):
    """Written past the file, as the command line does without one."""
    db = sqlite3.connect(next((s.folder / "data").glob("*.db")), timeout=60)
    db.execute(statement)
    db.commit()
    db.close()
    assert s.call("POST", "/sluice/v1/reload", auth=False, headers={"Authorization": "Bearer " + ADMIN}).status_code == 200


def names(s):
    return [c["name"] for c in ok(s.api("GET", "/providers"))["connections"]]


def send(s, data, **more):
    return s.api("POST", "/db-backups/import", files={"file": ("copy.sqlite", data, "application/octet-stream")}, **more)


def test_an_export_is_imported_where_that_is_switched_on(upstream, calls, tmp_path):
    config = omni_config(upstream.origin, capabilities="backup_import")
    s = start(tmp_path / "omni", upstream.origin, calls, config)
    try:
        in_store(s, "INSERT INTO provider(name, position, kind) VALUES('kept', 100, 'echo')")
        assert s.api("GET", "/db-backups/export").status_code == 401  # an admin key: it holds password hashes
        r = s.api("GET", "/db-backups/export", **owner(s))
        assert r.status_code == 200 and r.headers["content-type"] == "application/octet-stream", r.text
        assert r.headers["content-disposition"].endswith('.sqlite"') and r.content.startswith(b"SQLite format 3\0")
        assert ok(s.api("GET", "/db-backups"))["backups"] == []  # nothing is left behind
        copy = r.content
        in_store(s, "DELETE FROM provider WHERE name = 'kept'")
        assert "kept" not in names(s)
        got = ok(send(s, copy))
        assert got["restored"] and got["backupId"].endswith("_import.sqlite")
        assert "kept" in names(s)
        before = len(ok(s.api("GET", "/db-backups"))["backups"])
        invalid(send(s, b"SQLite format 3\0" + b"x" * 100), "file")
        invalid(send(s, b"x" * 5000), "file")
        for damaged in (copy[:4096] + b"\0" * 8192, copy[:len(copy) // 2], copy[:len(copy) // 4 // 4096 * 4096]):
            assert "damaged" in refused(send(s, damaged), 400)
        invalid(s.api("POST", "/db-backups/import", files={"other": ("a", copy)}), "file")
        assert len([b for b in ok(s.api("GET", "/db-backups"))["backups"] if b["reason"] == "import"]) == 1 and before >= 2
        assert "kept" in names(s)
    finally:
        s.stop()


def test_an_import_needs_its_capability(upstream, calls, tmp_path):
    s = start(tmp_path / "omni", upstream.origin, calls)
    try:
        assert "backup_import" in refused(send(s, b"x"), 403)
        got = ok(s.api("GET", "/system/version"))
        assert got["version"] == got["current"] and got["latest"] is None and got["updateAvailable"] is False
        assert ok(s.api("GET", "/openapi/spec")) == ok(s.call("GET", "/openapi.json", auth=False))
    finally:
        s.stop()


def test_a_capability_is_for_callers_on_this_machine(upstream, calls, tmp_path):
    s = start(tmp_path / "omni", upstream.origin, calls, omni_config(upstream.origin, capabilities="backup_import"))
    try:
        far = send(s, b"x", headers={"Authorization": "Bearer " + ADMIN, "X-Forwarded-For": "203.0.113.9"})
        assert "this machine only" in refused(far, 403)
        near = send(s, b"x")
        assert near.status_code == 400 and "no copy" in near.text
    finally:
        s.stop()


def test_the_console_shows_the_newest_lines(upstream, calls, tmp_path):
    s = start(tmp_path / "omni", upstream.origin, calls)
    try:
        ok(s.api("POST", "/combos", {"name": "lost", "models": ["nowhere/m"]}), 201)
        lines = ok(s.api("GET", "/logs/console"))
        assert any("config.combo_leads_nowhere" in x["message"] and x["level"] == "warn" for x in lines)
        assert lines == sorted(lines, key=lambda x: x["timestamp"], reverse=True) and all(x["timestamp"].endswith("Z") for x in lines)
        assert {x["level"] for x in ok(s.api("GET", "/logs/console?level=warn"))} <= {"warn", "error"}
        assert len(ok(s.api("GET", "/logs/console?limit=1"))) == 1
        assert all("nowhere" in x["message"] for x in ok(s.api("GET", "/logs/console?search=NOWHERE")))
        invalid(s.api("GET", "/logs/console?level=loud"), "level")
        assert s.get("/api/logs/console").status_code == 401  # no client key
    finally:
        s.stop()
