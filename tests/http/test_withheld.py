"""Secrets in places of their own: proxies that are no address, credentials in headers of any name, large pools of keys; and what is done
while the store takes nothing, which is written when it does again."""
import json
import resource
import sqlite3
import subprocess

import pytest
from conftest import basic_config
from formats import FORMATS
from formats.common import Ask, Turn
from gateway import BINARY, KEY, Sluice, wait_for
from upstream import answer, dump, failure, http, stream

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


# What each format's upstream says before it fails, and how it fails: as an event, as a whole reply.
BEGUN = {
    "chat": [{"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "u",
              "choices": [{"index": 0, "delta": {"role": "assistant", "content": "hello"}, "finish_reason": None}]}],
    "responses": [{"type": "response.created", "sequence_number": 0, "response": {"id": "resp_1", "object": "response", "created_at": 1,
                                                                               "status": "in_progress", "error": None, "model": "u", "output": []}},
                  {"type": "response.output_item.added", "sequence_number": 1, "output_index": 0,
                   "item": {"id": "m", "type": "message", "role": "assistant", "status": "in_progress", "content": []}},
                  {"type": "response.content_part.added", "sequence_number": 2, "item_id": "m", "output_index": 0, "content_index": 0,
                   "part": {"type": "output_text", "text": "", "annotations": []}},
                  {"type": "response.output_text.delta", "sequence_number": 3, "item_id": "m", "output_index": 0, "content_index": 0, "delta": "hello"}],
    "anthropic": [{"type": "message_start", "message": {"id": "m", "type": "message", "role": "assistant", "content": [], "model": "u", "stop_reason": None,
                                                        "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 1}}},
                  {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
                  {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hello"}}],
    "google": [{"candidates": [{"content": {"parts": [{"text": "hello"}], "role": "model"}, "index": 0}]}],
    "ollama": [{"model": "u", "created_at": "2026-01-01T00:00:00Z", "message": {"role": "assistant", "content": "hello"}, "done": False}]}


def failures(fmt, message):
    """The ways in which an upstream of this format tells of an error under a status of 200."""
    failed = {"id": "resp_1", "object": "response", "created_at": 1, "status": "failed", "model": "u", "output": [],
              "error": {"code": "server_error", "message": message}}
    return {"chat": [{"error": {"message": message, "type": "x"}},
                     {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "u", "error": {"code": 502, "message": message},
                      "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}]},
                     {"object": "error", "message": message, "code": 401}],
            "responses": [{"type": "error", "sequence_number": 4, "code": "x", "message": message, "param": None},
                          {"type": "response.failed", "sequence_number": 4, "response": failed}, failed],
            "anthropic": [{"type": "error", "error": {"type": "api_error", "message": message}}],
            "google": [{"error": {"code": 500, "message": message, "status": "INTERNAL"}}],
            "ollama": [{"error": message}]}[fmt]


def framed(fmt, events, text):
    if fmt == "ollama":
        return [(text(e) + "\n").encode() for e in events]
    return [(("event: %s\n" % e["type"] if "type" in e else "") + "data: " + text(e) + "\n\n").encode() for e in events]


def indented(value):
    return json.dumps(value, indent=2)


def escaped(value):
    return dump(value).replace("/", "\\/").replace("+", "\\u002B")


@pytest.fixture(scope="module")
def repeating(scripted, calls, tmp_path_factory):
    """One whose upstreams' credentials are marked."""
    config = config_for(scripted, log_bodies="all")
    for name in FORMATS:
        config["providers"][name].update(api_key="Kcanary/%s+1234567" % name, headers={"X-Up": "Hcanary/header+7654321"})
    s = Sluice(tmp_path_factory.mktemp("repeating"), config, calls)
    yield s
    s.stop()
    assert "canary" not in s.log_path.read_text(errors="replace")


@pytest.mark.parametrize("up", list(FORMATS))
def test_errors_under_a_status_of_200_repeat_no_credential(repeating, upstream, up):
    """Whoever asks, whole or as a stream, and whether the error comes at first, in the middle or as the whole reply."""
    message = "bad key Kcanary/%s+1234567 header Hcanary/header+7654321" % up
    fmt, told = FORMATS[up], 0
    for n, error in enumerate(failures(up, message)):
        ways = [("%s %s" % (place, how), stream(framed(up, before, dump) + framed(up, [error], text), fmt.stream_type, how))
                for place, before, how, text in (("first", [], "events", dump), ("first", [], "bytes", escaped), ("mid", BEGUN[up], "events", dump),
                                                 ("mid", BEGUN[up], 50, escaped), ("mid", BEGUN[up], "whole", dump))]
        if up != "ollama":  # the head is out, but nothing of an answer
            ways.append(("behind a comment", stream([b": ping\n\n", *framed(up, [error], dump)], fmt.stream_type)))
        ways += [("whole " + text.__name__, http(200, text(error))) for text in (dump, indented, escaped)]
        for way, script in ways:
            upstream.play(script)
            for client in FORMATS.values():
                for is_stream in (True, False):
                    ask = Ask(model="to-" + up, stream=is_stream)
                    asked = len(upstream.requests)
                    r = repeating.post(client.path(ask), client.request(ask))
                    assert len(upstream.requests) > asked, "it was asked"
                    where = (up, n, way, client.name, is_stream, r.status_code)
                    assert "canary" not in r.text + str(r.headers), (where, r.text[:1500])
                    told += "[redacted]" in r.text
    assert told, "some of them say what the upstream said"
    rows = repeating.get("/sluice/v1/requests?limit=500", headers=repeating.auth(ADMIN)).text
    assert "canary" not in rows


def test_googles_list_and_events_of_pictures_repeat_no_credential(repeating, upstream):
    """What passes in pieces that are no frames: the credential is cut wherever it may be."""
    key = "Kcanary/google+1234567"
    body = escaped([*BEGUN["google"], *failures("google", "bad key %s, %s" % (key, key))]).encode()
    for how in ("bytes", 7, 40, "whole"):
        upstream.play(stream([body], "application/json", how))
        r = repeating.post("/v1beta/models/to-google:streamGenerateContent", {"contents": [{"role": "user", "parts": [{"text": "x"}]}]})
        assert r.status_code == 200 and "canary" not in r.text and r.text.count("[redacted]") == 2, r.text
        assert len(r.json()) == 2
    chat = "Kcanary/chat+1234567"
    events = framed("chat", [{"type": "image_generation.partial_image", "b64_json": "QUFB"}, {"type": "error", "error": {"message": "bad key " + chat}}], escaped)
    for how in ("events", "bytes"):
        upstream.play(stream(events, "text/event-stream", how))
        r = repeating.post("/v1/images/generations", {"model": "to-chat", "prompt": "x", "stream": True})
        assert r.status_code == 200 and "QUFB" in r.text and "canary" not in r.text and "[redacted]" in r.text, r.text
    upstream.play(stream([b"no: ", chat.encode()], "text/plain", "bytes"))
    r = repeating.post("/v1/audio/speech", {"model": "to-chat", "input": "x", "voice": "y"})
    assert r.status_code == 200 and r.text == "no: [redacted]", r.text


def test_answers_are_no_errors(repeating, upstream):
    """A model may say what a credential is: only what tells of errors is looked through."""
    said = "Hcanary/header+7654321"
    for name, fmt in FORMATS.items():
        for is_stream in (False, True):
            upstream.play(answer(fmt, Turn(text=said)))
            for client in FORMATS.values():
                ask = Ask(model="to-" + name, stream=is_stream)
                r = repeating.post(client.path(ask), client.request(ask))
                assert r.status_code == 200 and (is_stream or said in r.text), (name, client.name, r.text)


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
