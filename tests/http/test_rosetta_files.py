"""llm-rosetta's configuration files as they are: written by hand, with comments, old forms, shims, and what is missing in them."""
import json
import os
import pathlib
import socket
import threading

import pytest
from formats import FORMATS
from formats.common import Ask
from gateway import Sluice, wait_for

KEY = "rsk-0123456789abcdef0123456789abcdef"

# The template of its `init`, filled in: comments of both kinds, strings with slashes, models in both forms.
TYPICAL = """\
// LLM-Rosetta Gateway configuration
{
  /* Providers: each has a base URL // and a key */
  "providers": {
    "openai_chat": { "api_key": "${UP_KEY}", "base_url": "@/v1" },            // the name is the type
    "anthropic":   { "api_key": "k-anthropic", "base_url": "@" },
    "google":      { "api_key": "k-google", "base_url": "@/" },               // a slash at the end
    "openai_responses": { "api_key": "k-responses", "base_url": "@/v1/" },
    "mine":        { "type": "open_responses", "api_key": "a-1, a-2,a-3", "base_url": "@/v1" },
    "my-deepseek": { "shim": "deepseek", "type": "openai_chat", "api_key": "k-ds", "base_url": "@/v1" },
    "off":         { "type": "openai_chat", "api_key": "x", "base_url": "@/v1", "enabled": false }
  },
  "models": {
    "gpt-4o": "openai_chat",                                                  // legacy: just the provider
    "claude": { "provider": "anthropic", "capabilities": ["text", "vision", "tools"] },
    "gemini": { "provider": "google", "upstream_model": "gemini-2.5-pro" },
    "o3": { "provider": "openai_responses" },
    "open": { "provider": "mine" },
    "ds": { "provider": "my-deepseek", "upstream_model": "deepseek-chat" },
    "hidden": "off",
    "lost": { "provider": "nobody" }
  },
  "server": { "host": "0.0.0.0", "port": 8765,
    "api_keys": [ { "id": "0a1b2c3d", "key": "%s", "label": "ci", "created": "2025-01-01T00:00:00+00:00" } ] },
  "debug": { "verbose": false, "log_bodies": false }
}
""" % KEY


@pytest.fixture
def serve(tmp_path, scripted, upstream, calls):
    """serve(text, env): sluice with their file, @ in it standing for the upstream's origin."""
    running = []

    class Theirs(Sluice):
        def write_config(self, config):
            self.config_path = self.folder / "config.jsonc"
            self.config_path.write_text(config.replace("@", scripted.origin), encoding="utf-8")

    def start(text, env=None, **options):
        s = Theirs(tmp_path / ("theirs%d" % len(running)), text, calls, arguments=["--host", "127.0.0.1"], env=env,
                   **{"key": KEY, **options})
        running.append(s)
        return s

    yield start
    for s in running:
        s.stop()


def ask(s, model, client="chat"):
    f, a = FORMATS[client], Ask(model=model)
    return s.post(f.path(a), f.request(a))


def test_a_typical_file(serve, upstream):
    s = serve(TYPICAL, {"UP_KEY": "k-openai"})
    names = [m["id"] for m in s.get("/v1/models").json()["data"]]
    assert [n for n in names if n != "echo"] == ["claude", "ds", "gemini", "gpt-4o", "o3", "open"]
    for model, path, header, key in (
            ("gpt-4o", "/v1/chat/completions", "authorization", "Bearer k-openai"), ("claude", "/v1/messages", "x-api-key", "k-anthropic"),
            ("gemini", "/v1beta/models/gemini-2.5-pro:generateContent", "x-goog-api-key", "k-google"),
            ("o3", "/v1/responses", "authorization", "Bearer k-responses"),
            ("open", "/v1/responses", "authorization", "Bearer a-1"), ("open", "/v1/responses", "authorization", "Bearer a-2"),
            ("open", "/v1/responses", "authorization", "Bearer a-3"), ("open", "/v1/responses", "authorization", "Bearer a-1"),
            ("ds", "/v1/chat/completions", "authorization", "Bearer k-ds")):
        r = ask(s, model)
        assert r.status_code == 200, (model, r.text)
        assert (upstream.last.path, upstream.last.header(header)) == (path, key), model
    assert upstream.last.json["model"] == "deepseek-chat"
    for missing in ("hidden", "lost", "nothing"):
        assert ask(s, missing).status_code == 404
    text = s.output()
    assert "model=lost provider=nobody" in text and "model=hidden" not in text  # dropped with a word, hidden without


def test_an_old_file_with_one_key(serve, upstream):
    s = serve('{"providers":{"openai":{"api_key":"k-old","base_url":"@/v1"}},"models":{"m":"openai"},"server":{"api_key":"%s"}}' % KEY)
    assert ask(s, "m").status_code == 200
    assert upstream.last.header("authorization") == "Bearer k-old"
    assert s.post("/v1/chat/completions", {}, auth=False, headers=s.auth("other-key-0001")).status_code == 401


def test_nothing_in_it_is_no_error(serve):
    for text in ("{}", '{"providers":{},"models":{},"server":{}}', '// nothing\n{ "server": { "api_key": "%s" } }' % KEY):
        s = serve(text)
        assert s.get("/livez").status_code == 200


def test_its_own_members_are_no_error(serve, upstream):
    """Sections and members of later versions are passed over, and stay."""
    text = TYPICAL.replace('"debug"', '"profiling": { "enabled": true }, "debug"').replace(
        '"port": 8765,', '"port": 8765, "credential_visible": true, "admin_cors_origins": "https://panel.example", "open_on_no_keys": false,')
    s = serve(text, {"UP_KEY": "k"})
    assert ask(s, "claude").status_code == 200
    assert "member=profiling" in s.output()


@pytest.mark.parametrize("text,fault", [
    ('{"models": {"m": 7}}', "invalid model entry for 'm'"),
    ('{"models": {"m": ["oa"]}}', "invalid model entry for 'm'"),
    ('{"providers": {"oa": {"type": "openai_chat", "base_url": "ftp://x", "api_key": "k"}}}', "must start with http"),
    ('{"providers": {"oa": {"type": "no_such_type", "base_url": "@", "api_key": "k"}}}', "no_such_type"),
    ('{"server": {"port": "x"}}', "port"),
    ('{"providers": ', "config.jsonc"),
])
def test_faults_keep_it_from_starting(serve, text, fault):
    s = serve(text, wait=False)
    assert s.process.wait(60) == 1
    assert fault in s.output(), s.output()
    s.process.returncode = 0  # a refusal is a good end here


def test_an_unset_variable_costs_one_provider_its_key(serve, upstream):
    s = serve(TYPICAL)
    assert ask(s, "claude").status_code == 200
    assert ask(s, "gpt-4o").status_code == 200
    assert upstream.last.header("authorization") is None
    assert "config.key_missing" in s.output() and "UP_KEY" in s.output()


def test_numbers_from_variables(serve, upstream):
    s = serve('{"server": {"api_key": "${CLIENT}", "max_body_bytes": ${LIMIT}}, "providers": {"echo": {"type":"echo"}},'
              ' "models": {"m": "echo"}}', {"CLIENT": KEY, "LIMIT": "2000"})
    assert ask(s, "m").status_code == 200
    assert s.post("/v1/chat/completions", {"model": "m", "messages": [{"role": "user", "content": "x" * 3000}]}).status_code == 413


def test_keys_of_kinds_from_the_environment(serve, tmp_path):
    """Neither URL nor key: the shim's own address with the key of its variable."""
    s = serve('{"providers": {"deepseek": {}, "x": {"shim": "xai", "api_key": "k"}}, "models": {"d": "deepseek"},'
              ' "server": {"api_key": "%s", "proxy": "http://127.0.0.1:1"}}' % KEY, {"DEEPSEEK_API_KEY": "k-env"})
    r = ask(s, "d")
    assert r.status_code == 502  # nobody is behind the proxy, and nothing left this machine
    assert s.get("/v1/models").json()["data"][0]["owned_by"] == "deepseek"


class Proxy:
    """An HTTP proxy that notes who asked for what and passes it on to one origin."""

    def __init__(self, origin):
        self.asked = []
        self.origin = origin
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                conn, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(conn,), daemon=True).start()

    def serve(self, conn):
        with conn, socket.create_connection(("127.0.0.1", int(self.origin.rsplit(":", 1)[1]))) as up:
            data = b""
            while b"\r\n\r\n" not in data:
                data += conn.recv(65536)
            line = data.split(b"\r\n", 1)[0].decode()
            self.asked.append(line)
            if line.startswith("CONNECT"):
                conn.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                data = data.split(b"\r\n\r\n", 1)[1]
            up.sendall(data)
            threading.Thread(target=self.pump, args=(up, conn), daemon=True).start()
            self.pump(conn, up)

    def pump(self, source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass


def test_proxies(serve, scripted):
    one, other = Proxy(scripted.origin), Proxy(scripted.origin)
    text = json.dumps({
        "providers": {"a": {"type": "openai_chat", "api_key": "k", "base_url": "@/v1", "proxy": "http://127.0.0.1:%d" % one.port},
                      "b": {"type": "openai_chat", "api_key": "k", "base_url": "@/v1"}},
        "models": {"ma": "a", "mb": "b"}, "server": {"api_key": KEY, "proxy": "http://127.0.0.1:%d" % other.port}})
    s = serve(text)
    assert ask(s, "ma").status_code == 200 and (len(one.asked), len(other.asked)) == (1, 0)
    assert ask(s, "mb").status_code == 200 and (len(one.asked), len(other.asked)) == (1, 1)


def test_verbose_is_the_log_level(serve):
    quiet = serve('{"server": {"api_key": "%s"}}' % KEY)
    loud = serve('{"server": {"api_key": "%s"}, "debug": {"verbose": true}}' % KEY)
    env = serve('{"server": {"api_key": "%s"}}' % KEY, {"LLM_ROSETTA_VERBOSE": "yes"})
    off = serve('{"server": {"api_key": "%s"}, "debug": {"verbose": true}}' % KEY, {"LLM_ROSETTA_VERBOSE": "0"})
    for s in (quiet, loud, env, off):
        assert s.get("/v1/models").status_code == 200
    wait_for(lambda: "http.request" in loud.output() and "http.request" in env.output(), "debug lines")
    assert "http.request" not in quiet.output() and "http.request" not in off.output()


@pytest.mark.parametrize("debug,env,kept", [("{}", {}, "off"), ('{"log_bodies": true}', {}, "all"), ("{}", {"LLM_ROSETTA_LOG_BODIES": "1"}, "all"),
                                            ('{"log_bodies": true}', {"LLM_ROSETTA_LOG_BODIES": "no"}, "off")])
def test_logging_of_bodies(serve, debug, env, kept):
    admin = "rsk-admin-0123456789"
    s = serve('{"server": {"api_keys": [{"id": "ad000001", "key": "%s", "scopes": ["admin"]}]}, "debug": %s}' % (admin, debug), env, key=admin)
    rows = {r["name"]: r["value"] for r in s.get("/sluice/v1/settings?limit=1000").json()["data"]}
    assert rows["log_bodies"] == kept


def test_the_file_is_left_as_it_is(serve):
    s = serve(TYPICAL, {"UP_KEY": "k"})
    before = pathlib.Path(s.config_path).read_bytes()
    ask(s, "claude")
    s.stop()
    assert pathlib.Path(s.config_path).read_bytes() == before
    assert not [p for p in os.listdir(s.folder) if p.startswith("config.jsonc.")]
