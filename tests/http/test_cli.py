"""The command line: what newcomers type, and that a running server follows."""
import json
import os
import pwd
import re
import select
import subprocess
import time

import httpx
import pytest
from formats import FORMATS
from formats.common import Turn
from gateway import BINARY, Sluice, wait_for
from upstream import answer, http

NOWHERE = {"OLLAMA_HOST": "127.0.0.1:1", "LLAMA_ARG_PORT": "1"}  # whatever this machine may run


class Cli:
    def __init__(self, folder):
        self.folder, self.data = folder, folder / "data"
        self.env = {k: v for k, v in os.environ.items() if not k.endswith("_API_KEY") and not k.startswith("SLUICE_")}
        self.env.update(HOME=str(folder), SLUICE_DATA=str(self.data))

    def run(self, *words, stdin="", env=None):
        return subprocess.run([str(BINARY), *words], input=stdin, capture_output=True, text=True, timeout=60, cwd=self.folder,
                              env={**self.env, **(env or {})}, check=False)

    def ok(self, *words, **options):
        r = self.run(*words, **options)
        assert r.returncode == 0, (words, r.stdout, r.stderr)
        return r.stdout

    def refused(self, *words, status=2, **options):
        r = self.run(*words, **options)
        assert r.returncode == status, (words, r.returncode, r.stdout, r.stderr)
        assert r.stderr.startswith("sluice: "), r.stderr
        return r.stderr


@pytest.fixture
def cli(tmp_path):
    return Cli(tmp_path)


def rows(text):
    return [re.split(r"  +", line.strip()) for line in text.splitlines()]


def test_help_teaches(cli):
    text = cli.ok("--help")
    for word in ("serve", "check", "export", "provider add", "key create", "log", "completion", "First steps"):
        assert word in text
    assert cli.run().returncode == 2
    commands = re.findall(r"^  ([a-z]+(?: [a-z-]+)?)  ?", text.split("First steps")[0], re.M)
    assert len(commands) > 15
    for command in commands:
        words = command.split()
        for spelled in ([*words, "--help"], [*words, "-h"], ["help", *words]):
            text = cli.ok(*spelled)
            assert text.startswith("usage: sluice " + command) and "--help" in text, spelled
    assert not cli.data.exists(), "asking for help made a store"


@pytest.mark.parametrize("words, near", [
    (["serv"], "'serve'"), (["provider", "ad"], "'provider add'"), (["key", "creat"], "'key create'"),
    (["serve", "--prot", "1"], "--port"), (["key", "create", "--lable", "x"], "--label"),
    (["provider", "add", "x", "--type", "antropic"], "'anthropic'"), (["setting", "set", "max_atempts", "1"], "'max_attempts'"),
    (["model", "add", "m", "echo", "--capabilities", "visoin"], "'vision'"),
])
def test_near_names(cli, words, near):
    assert "did you mean " + near in cli.refused(*words)


@pytest.mark.parametrize("words", [["log"], ["log", "-f"], ["key", "list"], ["provider", "list"], ["model", "list"], ["price", "list"],
                                   ["setting", "list"], ["config", "history"], ["audit", "verify"]])
def test_a_look_makes_no_store(cli, words):
    """In a folder that was mistyped it would show nothing and say nothing, and the first start would be none."""
    text = cli.refused(*words, status=1)
    assert "no store" in text and str(cli.data) in text
    assert not cli.data.exists()


@pytest.mark.parametrize("words, part", [
    (["serve", "--port", "x"], "0 to 65535"), (["serve", "--port"], "needs a value"), (["serve", "extra"], "unexpected argument"),
    (["key", "create", "--expires", "soon"], "no time"), (["key", "create", "--scopes", "root"], "unknown scope"),
    (["provider", "add"], "missing argument"), (["provider", "add", "a/b", "--type", "openai"], "slashes"),
    (["provider", "add", "a", "--type", "openai-compatible"], "base_url"), (["log", "--json=yes"], "takes no value"),
    (["log", "-x"], "-x"), (["completion", "tcsh"], "bash, zsh or fish"), (["setting", "set", "port", "70000"], "0 to 65535"),
])
def test_what_cannot_be_is_refused(cli, words, part):
    assert part in cli.refused(*words)


def test_providers_models_and_keys(cli):
    assert "openai_chat" in cli.ok("provider", "kinds")
    cli.ok("provider", "add", "cloud", "--type", "openai", "--api-key", "-", stdin="sk-very-secret-1234\n")
    cli.ok("provider", "add", "ollama")
    listed = cli.ok("provider", "list")
    assert "sk-v***1234" in listed and "very-secret" not in listed
    assert [r[0] for r in rows(listed)] == ["NAME", "cloud", "ollama", "echo"]
    assert b"very-secret" not in b"".join(p.read_bytes() for p in cli.data.iterdir())
    cli.ok("model", "add", "gpt", "cloud/gpt-5.1", "ollama/llama3", "--capabilities", "text,vision")
    models = {m["name"]: m for m in json.loads(cli.ok("model", "list", "--json"))}
    assert [t["upstream_model"] for t in models["gpt"]["targets"]] == ["gpt-5.1", "llama3"]
    assert models["gpt"]["capabilities"] == ["text", "vision"] and models["echo"]["origin"] == "default"
    assert "no provider 'nobody'" in cli.refused("model", "add", "x", "nobody/y", status=1)
    cli.ok("provider", "disable", "cloud")
    assert json.loads(cli.ok("provider", "list", "--json"))[0]["enabled"] is False
    cli.ok("provider", "enable", "cloud")
    cli.ok("model", "remove", "gpt")
    assert "gpt" in cli.refused("model", "remove", "gpt", status=1)
    cli.ok("provider", "remove", "cloud")
    assert "cloud" in cli.refused("provider", "remove", "cloud", status=1)
    key = cli.ok("key", "create", "--label", "me", "--models", "gpt*, echo", "--expires", "2d", "--id", "abcd1234").strip()
    assert re.fullmatch(r"sk-sluice-[0-9a-f]{64}", key)
    assert key not in cli.ok("key", "list")
    (entry,) = json.loads(cli.ok("key", "list", "--json"))
    assert entry["allowed_models"] == ["gpt*", "echo"] and entry["scopes"] == "inference,models" and entry["enabled"]
    assert "already" in cli.refused("key", "create", "--id", "abcd1234", status=1)
    cli.ok("key", "disable", "abcd1234")
    assert rows(cli.ok("key", "list"))[1][5] == "off"
    cli.ok("key", "remove", "abcd1234")
    cli.refused("key", "remove", "abcd1234", status=1)


def test_a_file_is_checked_with_the_place_of_its_fault(cli):
    path = cli.folder / "c.jsonc"
    path.write_text('{ // ours\n  "providers": { "a": { "type": "echo" } },\n  "models": { "m": "a" },\n}\n')
    assert "is fine: 2 providers on, 2 models" in cli.ok("check", "c.jsonc")
    assert not cli.data.exists(), "checking a file made a store"
    path.write_text('{\n  "providers": {\n    "a": { "type": "ecko" } } }')
    assert "c.jsonc:3:" in cli.refused("check", "c.jsonc", status=1)
    path.write_text('{\n  "providers": [\n')
    assert "line 3" in cli.refused("check", "c.jsonc", status=1)
    assert "missing.jsonc" in cli.refused("check", "missing.jsonc", status=1)
    path.write_text('{ "provider": {} }')
    r = cli.run("check", "c.jsonc")
    assert r.returncode == 0 and "provider" in r.stderr  # an unknown member is said, and ignored
    path.write_text(json.dumps({"providers": {"a": {"type": "echo", "labels": 1}}, "models": {"m": {"targets": [{"provider": "a", "model": "x", "weight": 2}]}},
                                "server": {"api_keys": [{"id": "0a1b2c3d", "key": "sk-0123456789", "models": ["m"], "allowed_models": ["m"], "tags": ["t"]}]}}))
    r = cli.run("check", "c.jsonc")
    assert r.returncode == 0 and re.findall(r"member=(\S+)", r.stderr) == ["providers.a.labels", "models.m.targets[0].model", "server.api_keys[0].models"]


def test_export_reproduces_the_state(cli):
    (cli.folder / "c.jsonc").write_text(json.dumps({
        "providers": {"file": {"type": "openai-compatible", "base_url": "http://127.0.0.1:9/v1", "api_key": "${FILE_KEY}"},
                      "plain": {"type": "openai", "api_key": "sk-plain-text-secret"}},
        "models": {"m": "file"}, "server": {"max_attempts": 3, "api_keys": [{"id": "k1", "key": "sk-client-in-file"}]}}))
    env = {"SLUICE_CONFIG": str(cli.folder / "c.jsonc"), "FILE_KEY": "sk-from-env"}
    cli.ok("provider", "add", "stored", "--type", "anthropic", "--api-key", "sk-stored-secret", env=env)
    cli.ok("model", "add", "n", "stored/claude", "--context-tokens", "1000", env=env)
    cli.ok("setting", "set", "keepalive_ms", "1234", env=env)
    cli.ok("key", "create", "--id", "k2", "--models", "n", env=env)
    os.chmod(cli.folder / "c.jsonc", 0o444)
    cli.ok("provider", "add", "sealed", "--type", "openai", "--api-key", "sk-sealed-secret", env=env)  # into the store
    cli.ok("key", "create", "--id", "k3", env=env)
    assert "c.jsonc" in cli.refused("setting", "set", "max_attempts", "4", status=1, env=env)
    assert "c.jsonc" in cli.refused("provider", "remove", "file", "--cascade", status=1, env=env)
    os.chmod(cli.folder / "c.jsonc", 0o644)
    text = cli.ok("export", env=env)
    assert "secret" not in text and "sk-client" not in text and "${FILE_KEY}" in text and "${SLUICE_KEY_STORED}" in text
    second = Cli(cli.folder / "second")
    second.folder.mkdir()
    second.data.mkdir()
    whole = cli.ok("export", "--secrets", env=env)
    (second.data / "sluice.jsonc").write_text(whole)
    same = {"FILE_KEY": "sk-from-env"}
    for command in ("provider", "model", "key"):
        def told(who, more):
            found = json.loads(who.ok(command, "list", "--json", env=more))
            return sorted(json.dumps({k: v for k, v in row.items() if k not in ("origin", "created_ms")}, sort_keys=True)
                          for row in found)
        assert told(cli, env) == told(second, same), command
    assert json.loads(re.sub(r"^//.*$", "", second.ok("export", "--secrets", env=same), flags=re.M)) == \
        json.loads(re.sub(r"^//.*$", "", whole, flags=re.M))


BY_HAND = """// mine
{ "providers": { "oa": { "type": "openai", "api_key": "${SERVER_ONLY}" }, // paid
                 "box": {"type":"openai-compatible","base_url":"${BOX_URL}"} },
  "models": { "m": "oa", "n": {"targets": ["oa", "box"]} },   /* two */
  "server": { "max_attempts": 3, "keepalive_ms": "${BEAT}" } }
"""


def test_the_shell_changes_what_stands_in_the_file_by_the_rules_of_all(cli):
    """Comments and order stay, references stay whole, versions and audit know it; variables may be the server's alone."""
    path = cli.folder / "c.jsonc"
    path.write_text(BY_HAND)
    cli.env["SLUICE_CONFIG"] = str(path)
    cli.ok("provider", "disable", "oa")
    assert path.read_text() == BY_HAND.replace('"${SERVER_ONLY}" }', '"${SERVER_ONLY}", "enabled": false }')
    cli.ok("provider", "enable", "oa")
    assert path.read_text() == BY_HAND
    assert "'m', 'n'" in cli.refused("provider", "remove", "oa", status=1)
    assert path.read_text() == BY_HAND
    cli.ok("setting", "set", "max_attempts", "4")
    assert "environment as ${BEAT}" in cli.refused("setting", "set", "keepalive_ms", "9", status=1)
    assert "environment as ${SERVER_ONLY}" in cli.refused("provider", "add", "oa", "--api-key", "x", status=1)
    key = cli.ok("key", "create", "--id", "k9", "--label", "by shell").strip()
    text = path.read_text()
    assert key not in text and '"k9"' in text and "// mine" in text and "/* two */" in text and '"max_attempts": 4' in text
    assert "Model 'm' is removed" in cli.ok("provider", "remove", "oa", "--cascade")
    assert '"oa"' not in path.read_text() and '"n"' in path.read_text()
    history = json.loads(cli.ok("config", "history", "--json"))
    assert {v["actor"] for v in history} == {"shell", "file"}
    assert "provider oa" in history[0]["what"]
    (cli.folder / "list.json").write_text(json.dumps({"prices": {"openai/gpt-x": {"input": 1, "output": 2}}}))
    cli.ok("price", "import", "list.json")
    audit = [json.loads(line) for line in cli.ok("audit", "list", "--json").splitlines()]
    assert {"provider", "model", "key", "setting", "prices"} <= {row["kind"] for row in audit}
    assert {row["actor"] for row in audit if row["actor_kind"] == "shell"} == {pwd.getpwuid(os.getuid()).pw_name}
    assert [row["after"] for row in audit if row["kind"] == "prices"] == [{"rows": 1, "added": 1}]
    assert key not in json.dumps(audit) and "SERVER_ONLY" not in json.dumps([row.get("after") for row in audit if row["kind"] == "key"])
    cli.ok("audit", "verify")
    cli.ok("config", "rollback", str(history[-1]["id"]))
    assert '"oa"' in path.read_text() and '"k9"' in path.read_text()  # keys stay
    assert not any(key.encode() in f.read_bytes() for f in cli.data.iterdir())


def test_completion_is_accepted_by_its_shell(cli):
    assert "provider" in cli.ok("completion", "fish") and "#compdef" in cli.ok("completion", "zsh")
    script = cli.ok("completion", "bash") + """
complete_words() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _sluice; echo "${COMPREPLY[*]}"; }
complete_words sluice pro
complete_words sluice key cr
complete_words sluice serve --po
complete_words sluice completion z
"""
    r = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, check=False)
    assert r.returncode == 0, r.stderr
    assert r.stdout.split("\n")[:4] == ["provider", "create", "--port --port-file", "zsh"]


def test_completion_is_accepted_by_the_other_shells(cli, tmp_path):
    """zsh parses and autoloads it; fish offers what stands in it."""
    (tmp_path / "_sluice").write_text(cli.ok("completion", "zsh"))
    for words in (["-n", str(tmp_path / "_sluice")],
                  ["-fc", "fpath=(%s $fpath); autoload -Uz compinit _sluice; compinit -D; autoload +X _sluice; print $_comps[sluice]" % tmp_path]):
        r = subprocess.run(["zsh", *words], capture_output=True, text=True, check=False, env={**cli.env, "HOME": str(tmp_path)})
        assert (r.returncode, r.stderr) == (0, ""), r
    assert r.stdout.strip() == "_sluice"
    (tmp_path / "sluice.fish").write_text(cli.ok("completion", "fish"))
    subprocess.run(["fish", "-n", str(tmp_path / "sluice.fish")], check=True)
    script = "source %s/sluice.fish; complete -C 'sluice pro'; complete -C 'sluice key cr'; complete -C 'sluice serve --po'; complete -C 'sluice completion z'"
    r = subprocess.run(["fish", "--no-config", "-c", script % tmp_path], capture_output=True, text=True, check=False,
                       env={**cli.env, "HOME": str(tmp_path)})
    assert (r.returncode, r.stderr) == (0, ""), r
    offered = [line.split("\t")[0] for line in r.stdout.splitlines()]
    assert offered == ["provider", "create", "--port", "--port-file", "zsh"]


def test_first_start_makes_one_key_and_shows_it_once(start_sluice, tmp_path):
    s = start_sluice({}, key=None, env={"GROQ_API_KEY": "gsk-1"})
    key = re.search(r"^  (sk-sluice-\S+)$", s.output(), re.M)[1]
    assert s.output().count("This is the first start") == 1
    command = re.search(r"^ *(curl .*)$", s.output(), re.M)[1]
    assert '"Hello"' in subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False).stdout
    assert s.get("/v1/models", auth=False).status_code == 401
    assert s.get("/sluice/v1/keys", headers={"x-api-key": key}, auth=False).status_code == 403  # it does not administer
    assert "Groq" not in s.output()  # there is a file: what stands in the environment is not offered
    again = Sluice(tmp_path / "sluice0", {}, key=key)
    try:
        assert "sk-sluice-" not in again.output()
        assert again.get("/v1/models").status_code == 200
    finally:
        again.stop()


def test_without_a_file_the_environment_is_offered(tmp_path):
    cli, out = Cli(tmp_path), tmp_path / "out"
    for more, offered in ([], True), (["--no-detect"], False):
        port = tmp_path / "port"
        port.unlink(missing_ok=True)
        with open(out, "wb") as f:
            p = subprocess.Popen([str(BINARY), "serve", "--port", "0", "--port-file", str(port), *more], stdout=f,
                                 stderr=subprocess.STDOUT, env={**cli.env, "GROQ_API_KEY": "gsk-1"}, cwd=tmp_path)
        try:
            end = time.monotonic() + 30
            while not port.exists() and time.monotonic() < end and p.poll() is None:
                time.sleep(0.01)
            assert port.exists(), out.read_text()
        finally:
            p.terminate()
            assert p.wait(30) == 0
        assert ("Groq (GROQ_API_KEY): models are named groq/MODEL" in out.read_text()) == offered
        assert "gsk-1" not in out.read_text()
    assert b"gsk-1" not in b"".join(f.read_bytes() for f in cli.data.iterdir())


def serve_bare(cli, folder, env, offered=(), probe=lambda origin, key: None):
    """A first start without a file: its greeting; probe is called while it runs."""
    port, out = folder / "port", folder / "out"
    port.unlink(missing_ok=True)
    with open(out, "wb") as f:
        p = subprocess.Popen([str(BINARY), "serve", "--port", "0", "--port-file", str(port)], stdout=f, stderr=subprocess.STDOUT,
                             env={**cli.env, **env}, cwd=folder)
    try:
        wait_for(lambda: p.poll() is not None or (port.exists() and port.read_text().strip()
                                                  and re.search(r"^  (sk-sluice-\S+)$", out.read_text(), re.M)), "it greets", 60)
        assert p.poll() is None, out.read_text()
        probe("http://127.0.0.1:" + port.read_text().strip(), re.search(r"^  (sk-sluice-\S+)$", out.read_text(), re.M)[1])
    finally:
        p.terminate()
        assert p.wait(30) == 0
    return out.read_text()


KEYS = {"OPENAI_API_KEY": ("OpenAI", "openai"), "ANTHROPIC_API_KEY": ("Anthropic", "anthropic"), "GEMINI_API_KEY": ("Google Gemini", "google"),
        "OPENROUTER_API_KEY": ("OpenRouter", "openrouter"), "MISTRAL_API_KEY": ("Mistral", "mistral"), "DEEPSEEK_API_KEY": ("DeepSeek", "deepseek"),
        "XAI_API_KEY": ("xAI", "xai")}


def test_first_start_offers_the_vendors_whose_keys_are_there(tmp_path):
    cli = Cli(tmp_path)
    cli.env.update(NOWHERE)
    secret = "sk-secret-of-the-environment"

    def probe(origin, key):
        ids = [m["id"] for m in httpx.get(origin + "/v1/models", headers={"Authorization": "Bearer " + key}, timeout=60).json()["data"]]
        assert ids == ["echo"]  # theirs are asked for as provider/model

    text = serve_bare(cli, tmp_path, {name: secret for name in KEYS} | {"GITHUB_TOKEN": secret}, probe=probe)
    for name, (title, provider) in KEYS.items():
        assert "%s (%s): models are named %s/MODEL" % (title, name, provider) in text, text
    assert "GitHub" not in text and secret not in text  # a token has other purposes


@pytest.mark.parametrize("spelling", ["127.0.0.1:%d", "http://127.0.0.1:%d", "0.0.0.0:%d", ":%d", "localhost:%d/"])
def test_first_start_finds_a_local_ollama(tmp_path, scripted, upstream, spelling):
    """Where Ollama's own variable says that it listens, else at its usual port."""
    async def script(conn, request):
        if request.path == "/api/tags":
            await http(200, '{"models":[{"name":"qwen3:4b","model":"qwen3:4b"}]}')(conn, request)
        else:
            await answer(FORMATS["chat"], Turn(text="I am local."))(conn, request)  # which it speaks as well

    def probe(origin, key):
        headers = {"Authorization": "Bearer " + key}
        assert "ollama/qwen3:4b" in [m["id"] for m in httpx.get(origin + "/v1/models", headers=headers, timeout=60).json()["data"]]
        r = httpx.post(origin + "/v1/chat/completions", headers=headers, timeout=60, json={"model": "ollama/qwen3:4b", "messages": [{"role": "user", "content": "x"}]})
        assert r.status_code == 200, r.text
        assert r.json()["choices"][0]["message"]["content"] == "I am local."
        assert upstream.last.json["model"] == "qwen3:4b"

    upstream.play(script)
    cli = Cli(tmp_path)
    text = serve_bare(cli, tmp_path, NOWHERE | {"OLLAMA_HOST": spelling % scripted.port}, probe=probe)
    assert "Ollama (running here): models are named ollama/MODEL" in text


def test_first_start_finds_a_local_llama_server(tmp_path, scripted, upstream):
    """But takes nothing for one that does not list its models as it does."""
    cli = Cli(tmp_path)
    env = NOWHERE | {"LLAMA_ARG_HOST": "127.0.0.1", "LLAMA_ARG_PORT": str(scripted.port)}
    upstream.play(http(200, "<html>another program</html>", "text/html"))
    assert "llama.cpp" not in serve_bare(cli, tmp_path, env)
    other = tmp_path / "other"
    other.mkdir()
    upstream.play(http(200, '{"object":"list","data":[{"id":"tiny","object":"model"}],"models":[{"name":"tiny"}]}'))
    text = serve_bare(Cli(other), other, env)
    assert "llama.cpp (running here): models are named llamacpp/MODEL" in text and upstream.last.path == "/v1/models"


def follows(check):
    """A running server takes a change over within moments."""
    end = time.monotonic() + 60
    while not check():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_running_server_follows_and_the_log_shows(start_sluice, tmp_path):
    s = start_sluice({"server": {"api_keys": [{"id": "0a1b2c3d", "key": "sk-test-0123456789"}]}}, key="sk-test-0123456789")
    cli = Cli(tmp_path)
    cli.env.update(SLUICE_DATA=str(s.folder / "data"), SLUICE_CONFIG=str(s.config_path))
    chat = {"model": "alias", "messages": [{"role": "user", "content": "hi"}]}
    assert s.post("/v1/chat/completions", chat).status_code == 404
    assert "takes it over" in cli.run("model", "add", "alias", "echo/echo").stderr
    follows(lambda: s.post("/v1/chat/completions", chat).status_code == 200)
    key = cli.ok("key", "create", "--id", "fresh").strip()
    follows(lambda: s.get("/v1/models", headers=s.auth(key), auth=False).status_code == 200)
    cli.ok("key", "disable", "fresh")
    follows(lambda: s.get("/v1/models", headers=s.auth(key), auth=False).status_code in (401, 403))
    tail = subprocess.Popen([str(BINARY), "log", "-f", "-n", "0", "--json"], stdout=subprocess.PIPE, text=True, env=cli.env)
    try:
        asked = {}  # until it listens

        def shown():
            r = s.post("/v1/chat/completions", chat, headers={"x-request-id": "tail-me-%d" % len(asked)})
            asked[r.headers["x-request-id"]] = r
            return select.select([tail.stdout], [], [], 0.5)[0]

        wait_for(shown, "the tail to show a request")
        row = json.loads(tail.stdout.readline())
    finally:
        tail.kill()
        tail.wait()
        tail.stdout.close()
    assert row["model"] == "alias" and row["provider"] == "echo" and row["status"] == 200 and row["key"] == "0a1b2c3d"
    assert row["request_id"] in asked and row["duration_us"] > 0
    shown = cli.ok("log", "-n", "1")
    assert re.search(r"\d\d:\d\d:\d\d\.\d{3}Z  200  alias -> echo/echo", shown), shown
    statuses = {json.loads(line)["status"] for line in cli.ok("log", "--json").splitlines()}
    assert {200, 404} <= statuses


def test_two_servers_do_not_share_a_pid_file(start_sluice, tmp_path):
    s = start_sluice({"server": {"allow_anonymous": True}})
    assert (s.folder / "data" / "sluice.pid").read_text().strip() == str(s.process.pid)
    s.stop()
    assert not (s.folder / "data" / "sluice.pid").exists()
    cli = Cli(tmp_path)
    cli.env["SLUICE_DATA"] = str(s.folder / "data")
    (s.folder / "data" / "sluice.pid").write_text("1\n")  # left by a crash: nobody holds it, nobody is signalled
    assert "takes it over" not in cli.run("key", "create").stderr
