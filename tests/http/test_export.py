"""sluice export: what it writes, loaded by a fresh installation and exported again, is the same text; and no secret stands in it."""
import json
import os
import random
import re
import subprocess

import pytest
from gateway import BINARY

NAMES = ["oa", "an", "a-b", "a_b", "Große Küche", "x.y", "0", "with\"quote", "back\\slash", "${odd", "éclair", "日本", "a" * 60]
WORDS = ["", "text", "$${NO_SUCH}", "$$${A}${", "file:/no/such", "$", "with space", "\u00fcmlaut", "\"", "//no comment", "line\\nbreak", "\U0001F600"]


def text_of(rng, value, depth=0):
    """The value as a person might write it: comments, commas, any white space."""
    blank = lambda: rng.choice(["", " ", "\n" + "  " * depth, " /* c */ ", "\n// note\n"])  # noqa: E731
    if isinstance(value, dict):
        inner = ",".join(blank() + json.dumps(k, ensure_ascii=rng.random() < 0.5) + blank() + ":" + blank() + text_of(rng, v, depth + 1) + blank()
                         for k, v in value.items())
        return "{" + inner + ("," if value and rng.random() < 0.3 else "") + blank() + "}"
    if isinstance(value, list):
        return "[" + ",".join(blank() + text_of(rng, v, depth + 1) for v in value) + ("," if value and rng.random() < 0.3 else "") + "]"
    return json.dumps(value, ensure_ascii=rng.random() < 0.5)


def generated(rng, secrets):
    def secret(prefix="sk-"):
        secrets.append(prefix + "%032x" % rng.getrandbits(128))
        return secrets[-1]

    def some(**members):
        return {k: v() for k, v in members.items() if rng.random() < 0.4}

    names = [n for n in rng.sample(NAMES, rng.randint(0, 6)) if " " not in n and "/" not in n]
    providers = {}
    for name in names:
        providers[name] = {"type": rng.choice(["openai-compatible", "anthropic", "deepseek", "openai_chat", "own-kind"]), "base_url": "https://llm.example/v1",
                           **some(api_key=lambda: rng.choice([secret(), secret() + "," + secret(), "${SOME_KEY}"]),
                                  proxy=lambda: rng.choice(["http://user:%s@p.example:8080" % secret("pw-"), "eu"]), enabled=lambda: rng.random() < 0.5,
                                  headers=lambda: {"x-team": rng.choice(WORDS), "authorization": secret()},
                                  id=lambda: "0b7e0000-0000-4000-8000-%012x" % rng.getrandbits(40), label=lambda: rng.choice(WORDS), pool=lambda: "deepseek",
                                  default_model=lambda: "m", extra=lambda: {"group": "g", "providerSpecificData": {"a": [1]}},
                                  first_byte_timeout_ms=lambda: rng.randint(1, 10**6), limits=lambda: {"concurrency": 4, "requests_per_hour": 9}, quirks=lambda: {rng.choice(["no_files", "id_9"]): rng.random() < 0.5}, x_unknown=lambda: {"deep": [1.50, None, {"er": True}]})}
    models = {}
    for i in range(rng.randint(0, 6)):
        target = rng.choice([*names, "echo"])
        models[rng.choice(["m%d", "org/m%d", "mö%d", "m %d"]) % i] = rng.choice([
            target, {"provider": target, "upstream_model": "up", **some(limits=lambda: {"requests_per_day": 9}, capabilities=lambda: ["text", "x-word"], context_tokens=lambda: 4096)},
            {"targets": [{"provider": target, "upstream_model": "u"}, "echo"], **some(show_alias=lambda: True, enabled=lambda: False)}])
    leads = [*models, "echo", "echo/any"]
    combos = {name: {"members": [rng.choice([to, {"model": to, "weight": rng.randint(0, 9)}]) for to in rng.sample(leads, min(2, len(leads)))], **some(
        id=lambda: "c1", strategy=lambda: rng.choice(["auto", "weighted", "p2c"]), auto=lambda: {"cost": 0.5}, x_unknown=lambda: {"a": [1.0]},
        extra=lambda: {"createdAt": "2026-01-31T12:00:00.000Z"}, enabled=lambda: False, sticky=lambda: "prefix",
        hedge_after_ms=lambda: 300, tool_filter=lambda: "^get_", system_message=lambda: "Say \"no\".\n", hedge_percentile=lambda: 95)} for name in rng.sample(["k0", "org/k 1", "kö"], rng.randint(0, 3))}
    if combos and rng.random() < 0.5:
        combos["outer"] = {"members": [rng.choice(list(combos))]}
    chains = {rng.choice(leads): rng.choice([["echo"], [{"provider": "echo", "priority": 3, "enabled": rng.random() < 0.5}]])}
    aliases = {"fast": rng.choice(leads), "gpt-*": {"to": rng.choice(leads), **some(priority=lambda: 3, enabled=lambda: False, id=lambda: "mapping_1",
                                                   source=lambda: "renamed", extra=lambda: {"description": "d"})}}
    server = some(max_attempts=lambda: rng.randint(1, 9), log_json=lambda: True, proxy=lambda: "http://u:%s@p:1" % secret("pw-"),
                  system_prompt=lambda: rng.choice(["Say $${name}.", "For ${SOME_KEY}: $$${x}", "file:x ${"]), api_key=lambda: secret(), cors_origins=lambda: "https://a.example", x_unknown=lambda: rng.choice(WORDS))
    if rng.random() < 0.6:
        server["api_keys"] = [{"id": "f%07x" % i, "key": secret(), "label": rng.choice(WORDS), **some(
            user=lambda: "ada", tags=lambda: ["a", "b"], log_bodies=lambda: "errors", limits=lambda: {"tokens_per_day": 10**6, "sessions": 4},
            providers=lambda: ["echo"], schedule=lambda: {"from": "08:00", "time_zone": "Europe/Berlin"}, scopes=lambda: ["inference"], expires=lambda: "2030-01-01T00:00:00Z", allowed_models=lambda: ["m*"], enabled=lambda: False)}
            for i in range(rng.randint(0, 3))]
    money = some(prices=lambda: {"openai/gpt-x": {"input": 2.5, "output": "10.0"}, "*/free*": [{"input": 0}]},
                 budgets=lambda: {"b": {"scope": "tag", "subject": "x", "limit_usd": 1.50, "time_zone": "Europe/Berlin"}})
    config = {"providers": providers, "models": models, "server": server, **money, "orgs": {"acme": some(name=lambda: "Acme", enabled=lambda: False)},
              "proxies": {"eu": {"url": "socks5://u:%s@p.example" % secret("pw-"), **some(kinds=lambda: ["own-kind"], region=lambda: "r", x_unknown=lambda: [1])},
                          "a b": {"url": "http://p.example:8080"}},
              "kinds": {"own-kind": {"title": "Own", "prefix": "own", "base": "openai-compatible", "api": "chat", "base_url": "https://own.example/v1",
                                     **some(chat_path=lambda: "/v4/chat")}},
              "users": {"ada": {"org": "acme", **some(limits=lambda: {"concurrency": 3})}},
              **some(combos=lambda: combos, chains=lambda: chains, aliases=lambda: aliases,
                     policies=lambda: {"p 1": {"model": "gpt-*", "action": "deny", **some(key=lambda: "k1", task=lambda: "background", priority=lambda: 2, enabled=lambda: False, x_unknown=lambda: [1])}}),
              **some(debug=lambda: {"verbose": True}, x_section=lambda: [1, {"a": ""}])}
    return {k: config[k] for k in rng.sample(list(config), len(config))}


LITERAL = ["${HOME}", "a${NO_SUCH}b", "$${HOME}", "$$${x}${y}", "${", "$$", "file:/etc/hostname", "{$}"]


class Home:
    def __init__(self, folder):
        self.data = folder
        folder.mkdir()
        self.env = {"PATH": os.environ["PATH"], "HOME": str(folder), "SLUICE_DATA": str(folder), "SOME_KEY": "sk-of-the-environment"}

    def run(self, *arguments, **env):
        done = subprocess.run([str(BINARY), *arguments], env={**self.env, **env}, capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, (arguments, done.stderr.decode())
        return done.stdout

    def export(self, *options):
        first = self.run("export", *options)
        for name in re.findall(rb"\$\{(SLUICE_[A-Z0-9_]+)\}", first):  # as the text says: to be set before it is used
            self.env[name.decode()] = "http://set.example:1" if b"PROXY" in name or b"proxy" in name.lower() else "set-before-use"
        return first


@pytest.mark.parametrize("seed", range(25))
def test_exported_and_loaded_and_exported_it_is_the_same(tmp_path, seed):
    rng, secrets = random.Random(seed), []
    home = Home(tmp_path / "first")
    if rng.random() < 0.4:  # while there is no file: into the store, where every text is what it is
        home.run("setting", "set", "otlp_service_name", rng.choice(LITERAL))
        home.run("setting", "set", "system_prompt_except", rng.choice(LITERAL))
        home.run("provider", "add", "odd", "--type", "openai-compatible", "--base-url", "http://llm.example/" + rng.choice(["v1", "${HOME}", "$${HOME}"]),
                 "--api-key", "sk-odd")
    (home.data / "sluice.jsonc").write_text(text_of(rng, generated(rng, secrets)), encoding="utf-8")
    if rng.random() < 0.7:  # the store has something to say as well
        secrets.append("sk-stored-%d" % seed)
        home.run("provider", "add", "stored", "--type", "anthropic", "--api-key", secrets[-1])
        home.run("model", "add", "kept/here", "stored/claude", "--context-tokens", "1000", "--capabilities", "text,vision")
        if "keepalive_ms" not in (home.data / "sluice.jsonc").read_text():
            home.run("setting", "set", "keepalive_ms", "1234")
        secrets.append(home.run("key", "create", "--label", "made").decode().strip())
    for options in ((), ("--secrets",)):
        first = home.export(*options)
        second = Home(tmp_path / ("second" + "".join(options)))
        second.env = {**home.env, **{k: v for k, v in second.env.items() if k in ("HOME", "SLUICE_DATA")}}
        (second.data / "sluice.jsonc").write_bytes(first)
        assert second.run("export", *options) == first
        if not options:
            for secret in secrets:
                assert secret.encode() not in first
    shown = json.loads(home.run("key", "list", "--json")), json.loads(second.run("key", "list", "--json"))
    assert [{k: v for k, v in row.items() if k not in ("origin", "created_ms")} for row in shown[0]] == \
        [{k: v for k, v in row.items() if k not in ("origin", "created_ms")} for row in shown[1]]


@pytest.mark.parametrize("text", LITERAL)
def test_a_text_of_the_store_means_the_same_in_the_exported_file(tmp_path, text):
    home, second = Home(tmp_path / "first"), Home(tmp_path / "second")
    home.run("setting", "set", "otlp_service_name", text)
    home.run("setting", "set", "system_prompt", "Say " + text)
    (second.data / "sluice.jsonc").write_bytes(home.export())
    assert second.export() == (second.data / "sluice.jsonc").read_bytes()

    def values(of):
        return {line.split()[0]: line for line in of.run("setting", "list").decode().splitlines()}
    for name in ("otlp_service_name", "system_prompt"):
        assert text in values(home)[name] and " file " in values(second)[name]
        assert values(second)[name].replace(" file ", " api  ").split() == values(home)[name].split()


def test_what_is_escaped_is_no_reference_that_covers_a_secret(tmp_path):
    home = Home(tmp_path / "first")
    (home.data / "sluice.jsonc").write_text(json.dumps({"providers": {"p": {"type": "openai-compatible", "base_url": "https://llm.example/v1",
                                                                            "api_key": "sk-$${not}-a-reference"}}}))
    out = home.export()
    assert b"not}-a-reference" not in out and b'"${SLUICE_KEY_P}"' in out
