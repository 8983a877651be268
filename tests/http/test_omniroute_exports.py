"""OmniRoute's surface: everything in one archive, and what OpenRouter offers."""
import io
import json
import sqlite3
import tarfile

import pytest
from gateway import provider
from omni import ADMIN, PASSWORD, ok, omni_config, refused, start
from upstream import http

MODELS = [{"id": "a/b", "name": "B", "pricing": {"prompt": "0.000001"}, "architecture": {"input_modalities": ["text"]}}, {"id": "c/d"}]


@pytest.fixture
def s(upstream, calls, tmp_path):
    config = omni_config(upstream.origin)
    config["providers"] = {"one": {**provider("chat", upstream.origin), "api_key": "sk-one-0123456789", "proxy": "http://u:proxypassword@p.example:1"}}
    config["models"] = {"m": "one"}
    config["combos"] = {"best": {"members": ["m"]}}
    running = start(tmp_path / "omni", upstream.origin, calls, config)
    yield running
    running.stop()


def test_everything_in_one_archive(s, tmp_path):
    assert s.api("GET", "/db-backups/exportAll").status_code == 401  # an admin key: it holds password hashes
    token = ok(s.call("POST", "/api/auth/login", {"password": PASSWORD}, auth=False))["token"]
    r = s.api("GET", "/db-backups/exportAll", headers={"Authorization": "Bearer " + token})
    assert r.status_code == 200 and r.headers["content-type"] == "application/gzip", r.text
    assert r.headers["content-disposition"].endswith('.tar.gz"')
    with tarfile.open(fileobj=io.BytesIO(r.content), mode="r:gz") as tar:
        files = {m.name: tar.extractfile(m).read() for m in tar.getmembers()}
        assert all(m.mode == 0o600 and m.isfile() for m in tar.getmembers())
    assert set(files) == {"storage.sqlite", "settings.json", "providers.json", "models.json", "combos.json", "tenants.json", "api-keys.json", "metadata.json"}
    (tmp_path / "copy.sqlite").write_bytes(files.pop("storage.sqlite"))
    db = sqlite3.connect(tmp_path / "copy.sqlite")
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()
    views = {name: json.loads(text) for name, text in files.items()}
    assert views["combos.json"]["combos"]["best"]["members"] == ["m"] and views["models.json"]["models"] == {"m": "one"}
    assert views["providers.json"]["providers"]["one"]["base_url"].startswith("http://127.0.0.1")
    assert [k["id"] for k in views["api-keys.json"]][-2:] == ["ad000001", "0ff00001"] and views["metadata.json"]["exportedAt"]
    text = b"".join(files.values()).decode()
    for secret in (ADMIN, PASSWORD, "sk-one-0123456789", "proxypassword"):
        assert secret not in text
    assert ok(s.api("GET", "/db-backups"))["backups"] == []  # nothing is left behind
    assert not list((s.folder / "data").glob("export_*"))


def test_the_catalogue_is_asked_of_a_connection(s, upstream):
    assert "openrouter" in refused(s.api("GET", "/models/openrouter-catalog"), 400) and not upstream.requests
    s.add(provider="openrouter", name="or", apiKey="sk-or-0123456789", url=upstream.origin + "/api/v1")
    upstream.next(http(200, json.dumps({"data": MODELS})))
    got = ok(s.api("GET", "/models/openrouter-catalog"))
    assert got["object"] == "list" and got["data"] == MODELS and (got["meta"]["source"], got["meta"]["count"]) == ("fresh", 2)
    assert upstream.last.path == "/api/v1/models" and upstream.last.header("authorization") == "Bearer sk-or-0123456789"
    again = ok(s.api("GET", "/models/openrouter-catalog"))
    assert (again["data"], again["meta"]["source"]) == (MODELS, "cache") and len(upstream.requests) == 1
    upstream.next(http(500, "{}"), http(200, json.dumps({"data": MODELS[:1]})))
    bad = ok(s.api("GET", "/models/openrouter-catalog?refresh=true"))
    assert bad["meta"]["source"] == "stale-cache" and bad["meta"]["stale"] is False and "500" in bad["meta"]["error"] and bad["data"] == MODELS
    assert ok(s.api("GET", "/models/openrouter-catalog?refresh=true"))["meta"]["count"] == 1
