"""llm-rosetta's client keys: listed masked, made once in the clear, revealed only where that is switched on."""
import re

import pytest
from gateway import KEY

ADMIN = "sk-admin-0123456789abcdef"
KEYS = "/admin/api/keys"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?\+00:00")


def start(start_sluice, **server):
    keys = [{"id": "0a1b2c3d", "key": KEY, "label": "ci", "created": "2025-01-01T00:00:00+00:00", "team": "blue"},
            {"id": "ad000001", "key": ADMIN, "label": "operator", "scopes": ["inference", "models", "admin"]}]
    return start_sluice({"providers": {"echo": {"type": "echo"}}, "models": {"echo": "echo"}, "server": {"api_keys": keys, **server}},
                        key=ADMIN)


@pytest.fixture
def admin(start_sluice):
    return start(start_sluice)


def ok(r):
    assert r.status_code == 200, r.text
    return r.json()


def refused(r, status, text):
    assert (r.status_code, r.json()) == (status, {"error": text}), r.text


def opens(s, key):
    return s.get("/v1/models", auth=False, headers=s.auth(key)).status_code == 200


def listed(s):
    return {k["id"]: k for k in ok(s.get(KEYS))["keys"]}


def test_the_list(admin):
    got = ok(admin.get(KEYS))
    assert set(got) == {"keys"}
    assert got["keys"][0] == {"id": "0a1b2c3d", "key": "sk-t***cdef", "label": "ci", "created": "2025-01-01T00:00:00+00:00",
                              "team": "blue"}
    assert KEY not in admin.get(KEYS).text


@pytest.mark.parametrize("body", [None, b"", b"{", b"nonsense", b"[]", {}, {"label": None}])
def test_a_key_made_without_a_word(admin, body):
    got = ok(admin.post(KEYS, body))
    assert set(got) == {"ok", "key"} and got["ok"] is True
    made = got["key"]
    assert set(made) == {"id", "key", "label", "created"} and made["label"] == ""
    assert re.fullmatch("[0-9a-f]{8}", made["id"]) and re.fullmatch("rsk-[0-9a-f]{48}", made["key"]) and TIME.fullmatch(made["created"])
    assert opens(admin, made["key"])
    shown = listed(admin)[made["id"]]
    assert shown["key"] == "rsk-***" + made["key"][-4:] and TIME.fullmatch(shown["created"])
    assert made["key"] not in admin.get(KEYS).text


def test_a_key_of_the_operator(admin):
    made = ok(admin.post(KEYS, {"label": "staging", "key": "my-own-key-0001"}))["key"]
    assert made["key"] == "my-own-key-0001" and made["label"] == "staging"
    assert opens(admin, "my-own-key-0001") and listed(admin)[made["id"]]["key"] == "my-o***0001"
    r = admin.post(KEYS, {"key": "short"})
    assert r.status_code == 400 and set(r.json()) == {"error"}
    r = admin.post(KEYS, {"key": "my-own-key-0001"})
    assert r.status_code == 409 and set(r.json()) == {"error"}


def test_labels(admin):
    made = ok(admin.post(KEYS, {"label": "a"}))["key"]
    assert ok(admin.call("PUT", KEYS + "/" + made["id"], {"label": "Büro 2"})) == {"ok": True, "id": made["id"], "label": "Büro 2"}
    assert listed(admin)[made["id"]]["label"] == "Büro 2"
    assert ok(admin.call("PUT", KEYS + "/" + made["id"], {})) == {"ok": True, "id": made["id"], "label": "Büro 2"}
    assert ok(admin.call("PUT", KEYS + "/" + made["id"], {"label": ""}))["label"] == ""
    refused(admin.call("PUT", KEYS + "/nobody", {"label": "x"}), 404, "Key 'nobody' not found")
    refused(admin.call("PUT", KEYS + "/nobody", b"{"), 400, "Invalid JSON body")
    assert opens(admin, made["key"])


def test_a_key_deleted(admin):
    made = ok(admin.post(KEYS))["key"]
    assert ok(admin.call("DELETE", KEYS + "/" + made["id"])) == {"ok": True, "deleted": made["id"]}
    assert not opens(admin, made["key"]) and made["id"] not in listed(admin)
    refused(admin.call("DELETE", KEYS + "/" + made["id"]), 404, "Key '%s' not found" % made["id"])


def test_a_key_rotated(admin):
    made = ok(admin.post(KEYS, {"label": "keep"}))["key"]
    got = ok(admin.post(KEYS + "/%s/rotate" % made["id"]))
    assert set(got) == {"ok", "id", "key"} and got["id"] == made["id"] and got["key"] != made["key"]
    assert re.fullmatch("rsk-[0-9a-f]{48}", got["key"])
    assert opens(admin, got["key"]) and not opens(admin, made["key"])
    shown = listed(admin)[made["id"]]
    assert shown["label"] == "keep" and shown["key"] == "rsk-***" + got["key"][-4:] and shown["rotated"]
    refused(admin.post(KEYS + "/nobody/rotate"), 404, "Key 'nobody' not found")


def test_reveal_is_off_by_default(admin):
    made = ok(admin.post(KEYS))["key"]
    for name in (made["id"], "nobody"):
        refused(admin.get(KEYS + "/%s/reveal" % name), 403, "Credential visibility is disabled")
    store = (admin.folder / "data" / "sluice.db").read_bytes()
    wal = admin.folder / "data" / "sluice.db-wal"
    files = store + (wal.read_bytes() if wal.exists() else b"") + admin.config_path.read_bytes()
    assert made["key"].encode() not in files


def test_reveal(start_sluice):
    s = start(start_sluice, credential_visible=True)
    made = ok(s.post(KEYS))["key"]
    assert ok(s.get(KEYS + "/%s/reveal" % made["id"])) == {"key": made["key"]}
    assert ok(s.get(KEYS + "/0a1b2c3d/reveal")) == {"key": KEY}
    refused(s.get(KEYS + "/nobody/reveal"), 404, "Key 'nobody' not found")
    rotated = ok(s.post(KEYS + "/%s/rotate" % made["id"]))["key"]
    assert ok(s.get(KEYS + "/%s/reveal" % made["id"])) == {"key": rotated}
    wal = s.folder / "data" / "sluice.db-wal"
    files = (s.folder / "data" / "sluice.db").read_bytes() + (wal.read_bytes() if wal.exists() else b"") + s.config_path.read_bytes()
    assert rotated.encode() not in files  # sealed


def test_a_key_made_while_it_was_off_stays_a_hash(start_sluice):
    s = start(start_sluice)
    made = ok(s.post(KEYS))["key"]
    assert s.call("PATCH", "/sluice/v1/settings/credential_visible", {"value": True}).status_code == 200
    r = s.get(KEYS + "/%s/reveal" % made["id"])
    assert r.status_code == 404 and "hash only" in r.json()["error"]
