"""sluice export, a server started on what it wrote with a fresh data folder, and sluice export of that one: the same bytes. Of what stands
in a file, and of what was made over the API in the store; with every noun, all their members, and settings of all kinds."""
import json
import os
import random
import re
import subprocess

import pytest
from gateway import BINARY, ROOT

ADMIN = "sk-admin-0123456789abcdef"
CHEAP = {"password_memory_bytes": 8192, "password_passes": 1}
# What a server could not start with, or would start differently by: addresses, sizes of the machine, files, other people's servers.
APART = re.compile("^(host|port|threads|proxy|capabilities|trusted_proxies|ip_filter|log_json|require_login|semantic_cache_model|"
                   "max_memory_bytes|max_conns|max_head_bytes|max_target_bytes|max_headers|max_body_bytes|max_json_depth|metrics_max_labels|admin_cors_origins|global_fallback_model)$|"
                   "_url$|^otlp_|^password_|_timeout_ms$")
TEXTS = {"log_bodies": ["off", "errors", "all"], "response_cache_scope": [], "log_redact_pattern": ["[0-9]{16}", "(secret|geheim): .*"],
         "log_redact_fields": ["password,pin", ""], "cors_origins": ["https://a.example", "*"], "ip_allow": ["10.0.0.0/8, 2001:db8::/32"],
         "ip_deny": ["203.0.113.0/24"], "system_prompt": ["Be brief.\n\tÜber \"alles\" \\ // no comment /* */", "Grüße"],
         "system_prompt_except": ["echo,gpt-*"], "target_strategy": ["weighted", "p2c"], "combo_strategy": ["random", "least-used"],
         "thinking_mode": ["auto", "custom"], "thinking_effort": ["low"], "log_level": ["debug", "warn"]}


def settings(rng, share):
    """Some of the settings, with values of their types within their bounds."""
    out = {}
    for line in (ROOT / "docs/configuration.md").read_text(encoding="utf-8").splitlines():
        found = re.match(r"\| `(\w+)` \| .*? \| (true, false|(-?\d+) … (\d+)|text) \| `SLUICE_", line)
        if not found or APART.search(found[1]) or rng.random() > share:
            continue
        if found[2] == "text":
            if TEXTS.get(found[1]):
                out[found[1]] = rng.choice(TEXTS[found[1]])
        elif found[3] is None:
            out[found[1]] = rng.random() < 0.5
        else:
            least, most = int(found[3]), int(found[4])
            out[found[1]] = rng.choice([least, most, rng.randint(least, most), rng.randint(least, min(most, least + 100000))])
    for pair in (("login_lockout_ms", "login_lockout_max_ms"), ("session_idle_ms", "session_ttl_ms")):
        if all(name in out for name in pair):
            out[pair[0]], out[pair[1]] = sorted((out[pair[0]], out[pair[1]]))
    return out


LIMITS = {"requests_per_minute": 100, "requests_per_hour": 500, "requests_per_day": 1000, "tokens_per_minute": 10**6, "tokens_per_day": 10**9, "concurrency": 7}
POLICY = {"user": "ada", "org": "acme", "tags": ["a", "b c"], "limits": LIMITS, "allowed_ips": ["10.0.0.0/8", "2001:db8::1", "127.0.0.1"],
          "schedule": {"days": ["mon", "sun"], "from": "22:00", "until": "06:30", "time_zone": "Europe/Berlin", "paused": True},
          "no_system_prompt": True, "no_log": True, "log_bodies": "errors"}
COMBO = {"strategy": "weighted", "sticky": "prefix", "max_retries": 0, "retry_delay_ms": 5, "timeout_ms": 1000, "concurrency": 3,
         "queue_timeout_ms": 10, "patience_ms": 7, "sticky_limit": 4, "hedge_after_ms": 300, "hedge_percentile": 90,
         "auto": {"quota": 0.5, "health": 1, "cost": 0.25, "explore": 0.05}, "enabled": True,
         "members": [{"model": "m1", "weight": 3, "priority": 1, "price_nanousd": 250, "enabled": True}, {"model": "echo"}]}
PRICE = {"input": 2.5, "output": 10, "cache_read": 0.25, "note": "as agreed"}
BUDGET = {"scope": "tag", "subject": "a", "period": "week", "time_zone": "Europe/Berlin", "limit_usd": 1.5, "warn_percent": 80, "action": "warn",
          "cut_streams": True, "enabled": True}


def everything(folder, rng):
    """A file with all nouns and all members; some are left out by chance. (config, secrets)"""
    def some(members):
        return {k: v for k, v in members.items() if rng.random() < 0.7}

    (folder / "ca.pem").write_text("")
    secrets = ["sk-%032x" % rng.getrandbits(128) for _ in range(7)]
    providers = {
        "full": {"type": "openai-compatible", "base_url": "http://10.1.2.3:8000/v1", **some({
            "api_key": secrets[0] + "," + secrets[1], "proxy": "http://user:%s@p.example:8080" % secrets[2], "wire": "openai_responses", "enabled": False, "allow_private": True,
            "headers": {"x-team": "Grün", "authorization": secrets[3], "x-plain-name": secrets[6]}, "http2": True, "insecure": True, "fetch_images": False, "map_hosted_tools": True, "quirks": {"no_files": True, "top_k": False},
            "connect_timeout_ms": 100, "first_byte_timeout_ms": 200, "between_timeout_ms": 300, "total_timeout_ms": 400, "label": "Voll // \"x\"",
            "id": "0b7e0000-0000-4000-8000-000000000001", "default_model": "m", "priority": -3, "weight": 9, "limits": LIMITS})},
        "shimmed": {"type": "openai_chat", "shim": "deepseek", "base_url": "https://llm.example", "api_key": "${SOME_KEY}", "priority": 7},
        "azure": {"type": "azure", "base_url": "https://x.openai.azure.com", "api_version": "2024-10-21", "api_key": secrets[4]},
        "own": {"type": "own-kind", "api_key": "k", "pool": "own-kind", "extra": {"group": "g", "a": [1, 1.50, None]}},
        "echo": {"type": "echo"}}
    models = {"m1": "echo", "m two": {"provider": "full", "upstream_model": "up/stream", **some({
        "capabilities": ["text", "vision", "x-word"], "context_tokens": 4096, "max_output_tokens": 512, "show_alias": True, "enabled": False, "label": "Zwei",
        "limits": {"requests_per_day": 9}, "source": "manual"})},
        "org/m3": {"targets": [{"provider": "azure", "upstream_model": "u", "weight": 3, "priority": 1, "price_nanousd": 5}, "echo"], "strategy": "p2c"}}
    server = {**settings(rng, 0.4), **CHEAP, "api_keys": [{"id": "ad000001", "key": ADMIN, "label": "admin", "scopes": ["admin", "inference"]},
                                                 {"id": "f0000001", "key": secrets[5], "label": "Ü", "expires": "2030-01-01T00:00:00Z", "allowed_models": ["m*"], **some(POLICY)}],
              "admin_password": "hunter-two", "x_unknown": "kept"}
    config = {"providers": providers, "models": models, "server": server, "orgs": {"acme": {"name": "Acme", "limits": LIMITS}},
              "users": {"ada": {"org": "acme", "name": "Ada", **some({"enabled": False, "limits": {"concurrency": 3}})}},
              "kinds": {"own-kind": {"title": "Own", "prefix": "mine", "base": "openai-compatible", "api": "responses", "base_url": "https://own.example/v1",
                                     **some({"chat_path": "/c", "models_path": "/m", "quirks": {"no_files": True, "developer_role": False}})}},
              "combos": {"k0": {"id": "c1", **some(COMBO), "members": COMBO["members"]}, "outer": {"members": ["k0", "m two"]}},
              "chains": {"m1": ["echo", {"provider": "azure", "priority": 3, "enabled": False}]},
              "aliases": {"fast": "m1", "gpt-*": {"to": "k0", "priority": 3, "enabled": False, "id": "a1"}},
              "prices": {"openai/gpt-x": PRICE, "*/free*": [{"input": 0}]}, "budgets": {"b one": some(BUDGET) | {"scope": "tag", "subject": "a", "limit_usd": 1.50}, "key": {"scope": "key", "subject": "f0000001", "limit_usd": "2"}}}
    return {k: config[k] for k in rng.sample(list(config), len(config))}, secrets


def export(folder, *options, **env):
    done = subprocess.run([str(BINARY), "export", "--config", str(folder / "sluice.jsonc"), "--data", str(folder / "data"), *options],
                          env={"PATH": os.environ["PATH"], "HOME": str(folder), **env}, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def variables(text):
    """What the text asks for, to be set before it is used."""
    names = re.findall(r"\$\{(\w+)\}", text.decode())
    return {name: "http://u:p@set.example:1" if "PROXY" in name else "set-before-use-%s" % name for name in names}


def reproduced(start_sluice, first, env):
    """Starts on it with nothing else, and exports while it serves and when it has stopped."""
    other = start_sluice(first.decode(), key=ADMIN, env=env)
    assert other.get("/sluice/v1/info").status_code == 200
    assert export(other.folder, **env) == first
    other.stop()
    assert export(other.folder, **env) == first
    return other


@pytest.mark.parametrize("seed", range(3))
def test_a_server_on_an_exported_file_exports_the_same(start_sluice, tmp_path, seed):
    rng = random.Random(seed)
    folder = tmp_path / "first"
    (folder / "data").mkdir(parents=True)
    config, secrets = everything(folder, rng)
    (folder / "sluice.jsonc").write_text(json.dumps(config, ensure_ascii=False, indent=rng.choice([None, 1])), encoding="utf-8")
    first = export(folder, SOME_KEY="x")
    for secret in [*secrets, ADMIN, "hunter-two"]:
        assert secret.encode() not in first
    for noun in config:
        assert '"%s"' % noun in first.decode(), noun
    for name, value in config["server"].items():
        if name != "api_keys":
            assert '"%s"' % name in first.decode(), (name, value)
    reproduced(start_sluice, first, variables(first))


LISTS = ("providers", "models", "keys", "combos", "chains", "aliases", "orgs", "users", "budgets", "prices", "settings", "ip-filter", "system-prompt", "thinking-budget")


def shown(s):
    """Everything that the API lists, without what tells one installation from another."""
    def plain(v):
        if isinstance(v, list):
            return [plain(x) for x in v]
        if isinstance(v, dict):
            return {k: plain(x) for k, x in v.items() if k not in ("origin", "created_at", "version", "valid_from", "begins", "ends", "forecast_nanousd")}
        return v
    out = {}
    for noun in LISTS:
        r = s.get("/sluice/v1/" + noun)
        assert r.status_code == 200, (noun, r.text)
        found = plain(r.json())
        if noun == "settings":
            found = [x for x in found["data"] if x["name"] not in ("port", "log_level")]
        out[noun] = found
    return out


@pytest.mark.parametrize("seed", range(2))
def test_what_the_store_holds_is_exported_whole(start_sluice, tmp_path, seed):
    """With a file that may not be written all that is made over the API stands in the store."""
    rng = random.Random(1000 + seed)
    folder = tmp_path / "sluice0"
    folder.mkdir()
    path = folder / "sluice.jsonc"
    path.write_text(json.dumps({"server": {"api_keys": [{"id": "ad000001", "key": ADMIN, "scopes": ["admin", "inference"]}]}}))
    path.chmod(0o444)
    s = start_sluice(None, key=ADMIN)
    made = []

    def make(noun, body, method="POST"):
        r = s.call(method, "/sluice/v1/" + noun, body)
        assert r.status_code in (200, 201), (noun, r.text)
        made.append(noun)
        return r.json()

    make("orgs", {"id": "acme", "name": "Acme", "limits": LIMITS})
    make("users", {"id": "ada", "name": "Ada", "org": "acme", "enabled": False, "limits": {"concurrency": 3}})
    make("providers", {"name": "full", "type": "openai-compatible", "base_url": "http://10.1.2.3:8000/v1", "api_key": "sk-of-the-provider-0001",
                       "proxy": "http://user:pw-of-the-proxy@p.example:1", "wire": "openai_responses", "enabled": False, "priority": -3, "weight": 9, "limits": LIMITS})
    make("providers", {"name": "az", "type": "azure", "base_url": "https://x.openai.azure.com", "api_version": "2024-10-21", "api_key": "sk-of-azure-000001"})
    make("models", {"name": "m1", "targets": [{"provider": "echo"}], "capabilities": ["text"], "context_tokens": 4096, "max_output_tokens": 512})
    make("models", {"name": "org/m2", "targets": [{"provider": "full", "upstream_model": "u", "weight": 3}, {"provider": "az", "upstream_model": "v"}], "enabled": False})
    key = make("keys", {"label": "Ü \"k\"", "scopes": ["inference"], "allowed_models": ["m*"], "enabled": True, "expires_at": "2030-01-01T00:00:00Z",
                        **{k: v for k, v in POLICY.items() if rng.random() < 0.8}})
    make("combos", {"name": "k0", "id": "c1", **COMBO})
    make("chains/m1", {"chain": [{"provider": "az", "priority": 3, "enabled": False}]}, "PUT")
    make("aliases", {"alias": "gpt-*", "to": "k0", "priority": 3, "enabled": False})
    make("budgets", {"name": "b one", **BUDGET})
    make("prices", {"provider": "az", "model": "v", "price": PRICE})
    make("ip-filter", {"mode": "deny", "deny": ["203.0.113.0/24"], "allow": []}, "PUT")
    make("system-prompt", {"enabled": True, "prompt": "Be brief.\n\"x\"", "except_models": ["echo"]}, "PUT")
    r = s.post("/api/provider-nodes", {"type": "openai-compatible", "name": "Own", "prefix": "mine", "baseUrl": "https://own.example/v1", "apiType": "chat"})
    assert r.status_code == 201, r.text
    values = settings(rng, 0.15)
    values.pop("credential_visible", None)
    for name, value in values.items():
        r = s.call("PATCH", "/sluice/v1/settings/" + name, {"value": value})
        assert r.status_code == 200, (name, value, r.text)
    assert json.loads(path.read_text()) == {"server": {"api_keys": [{"id": "ad000001", "key": ADMIN, "scopes": ["admin", "inference"]}]}}  # it may not be written
    first = export(folder)
    text = first.decode()
    for noun in ("orgs", "users", "providers", "models", "combos", "chains", "aliases", "budgets", "prices", "kinds"):
        assert '"%s"' % noun in text, noun
    for name in values:
        assert '"%s"' % name in text, name
    kept = b"".join(f.read_bytes() for f in (folder / "data").rglob("*") if f.is_file())
    for secret in (key["key"], "sk-of-the-provider-0001", "sk-of-azure-000001", "pw-of-the-proxy"):
        assert secret.encode() not in kept, "at rest it is sealed"
    for secret in (key["key"], "sk-of-the-provider-0001", "sk-of-azure-000001", "pw-of-the-proxy", ADMIN):
        assert secret not in text
    env = {"SLUICE_KEY_FULL": "sk-of-the-provider-0001", "SLUICE_KEY_AZ": "sk-of-azure-000001", "SLUICE_PROXY_OF_FULL": "http://user:pw-of-the-proxy@p.example:1"}
    assert set(variables(first)) == set(env)
    before = shown(s)
    other = start_sluice(text, key=ADMIN, env=env)
    assert export(other.folder, **env) == first
    assert shown(other) == before
    assert other.get("/v1/models", headers=other.auth(key["key"]), auth=False).status_code in (200, 403)  # a schedule or an address may close it
