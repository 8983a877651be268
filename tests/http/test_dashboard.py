"""The dashboard: how it is handed out, and its first start in a real Chromium."""
import gzip
import json
import re
import subprocess

import pytest
from dashboard import ADMIN, KEY, config, drive
from gateway import ROOT
from node import NODE

EMBEDDED = ROOT / "build/web/embed"


@pytest.fixture
def page(sluice):
    r = sluice.get("/dashboard/", auth=False)
    assert r.status_code == 200 and r.headers["content-type"] == "text/html; charset=utf-8"
    assert '<div id="root">' in r.text, "the binary carries no dashboard: run tools/build-web"
    return r


def assets(page):
    return re.findall(r'(?:src|href)="\./([\w.-]+)"', page.text)


@pytest.mark.parametrize("path, to", [("/", "dashboard/"), ("/admin", "dashboard/"), ("/admin/", "../dashboard/"),
                                      ("/dashboard", "dashboard/")])
def test_ways_in(sluice, path, to):
    r = sluice.get(path, auth=False, follow_redirects=False)
    assert r.status_code == 307 and r.headers["location"] == to
    assert sluice.get(path, auth=False, follow_redirects=True).url.path == "/dashboard/"


def test_page_allows_only_its_own_styles_and_scripts(sluice, page):
    policy = page.headers["content-security-policy"]
    nonce = re.search(r'name="style-nonce" content="([0-9a-f]{16,})"', page.text).group(1)
    assert "default-src 'none'" in policy and "script-src 'self';" in policy and "unsafe" not in policy
    assert "'nonce-%s'" % nonce in policy and "frame-ancestors 'none'" in policy
    again = sluice.get("/dashboard/", auth=False)
    assert nonce not in again.text, "a nonce is for one answer"
    assert page.headers["cache-control"] == "no-store" and page.headers["x-content-type-options"] == "nosniff"
    assert not re.search(r"<script(?![^>]* src=)|<style| on\w+=", page.text), "inline code"


@pytest.mark.parametrize("path, base", [("", "./"), ("models", "./"), ("requests/req_1", "./../"), ("models/a%2Fb", "./../"),
                                        ("a/b/c", "./../../")])
def test_every_address_below_leads_to_the_page(sluice, path, base):
    r = sluice.get("/dashboard/" + path, auth=False)
    assert r.status_code == 200 and 'base href="%s"' % base in r.text


def test_files_are_compressed_and_kept_for_ever(sluice, page):
    names = assets(page)
    assert any(n.endswith(".js") for n in names) and any(n.endswith(".css") for n in names)
    for name in names:
        plain = sluice.get("/dashboard/" + name, auth=False, headers={"Accept-Encoding": "identity"})
        assert plain.status_code == 200 and "content-encoding" not in plain.headers
        assert plain.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert plain.content == gzip.decompress((EMBEDDED / (name + ".gz")).read_bytes())
        for accept, coding in [("gzip", "gzip"), ("gzip, br", "br"), ("br;q=0, gzip", "gzip"), ("br;q=0.5", "br")]:
            r = sluice.get("/dashboard/" + name, auth=False, headers={"Accept-Encoding": accept})
            assert r.headers["content-encoding"] == coding and r.headers["vary"] == "accept-encoding"
            assert r.headers["content-length"] == str((EMBEDDED / (name + {"gzip": ".gz", "br": ".br"}[coding])).stat().st_size)


def test_first_screen_is_small(page):
    """At most 300 KB with gzip: the page, what it names, and the charts that it draws thereafter."""
    charts = [p.name.removesuffix(".gz") for p in EMBEDDED.glob("chart-*.gz")]
    names = assets(page) + charts
    assert len(charts) == 2 and sum((EMBEDDED / (n + ".gz")).stat().st_size for n in names) <= 300_000


def test_unknown_files(sluice):
    for path in ("/dashboard/none.js", "/dashboard/index.html", "/dashboard/icon.svg.gz.js"):
        assert sluice.get(path, auth=False).status_code == 404
    page = sluice.get("/dashboard/x/..%2f..%2fetc%2fpasswd", auth=False)
    assert page.status_code == 200 and '<div id="root">' in page.text


def test_both_languages_are_whole():
    """Chinese has every text that English has, none of them empty or left in English, and no text is there that nothing shows."""
    script = """import { readdirSync, readFileSync } from 'node:fs';
        const [{ en }, { zh }] = await Promise.all(['en', 'zh'].map((l) => import(`${process.argv[1]}/i18n/${l}.ts`)));
        const sources = readdirSync(process.argv[1], { recursive: true }).filter((f) => /[.]tsx?$/.test(f) && !f.startsWith('i18n') && !f.includes('schema'));
        console.log(JSON.stringify({ en, zh, text: sources.map((f) => readFileSync(`${process.argv[1]}/${f}`, 'utf8')).join('') }));"""
    done = subprocess.run([str(NODE), "--no-warnings", "--input-type=module", "-e", script, str(ROOT / "web/src")], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    en, zh, text = found["en"], found["zh"], found["text"]
    assert en.keys() == zh.keys() and [k for k in en if not (en[k] and zh[k])] == ["top"]
    assert [k for k in en if en[k] == zh[k] and k not in ("top", "api")] == []
    made = set(re.findall(r"words\[`(\w+_)\$", text)) | {of + "_" for of in re.findall(r"said\(words, '(\w+)'", text)}  # such as words[`span_${s}`]
    assert [k for k in en if not re.search(r"words\.%s\b|['\"`]%s['\"`]" % (re.escape(k), re.escape(k)), text) and not any(k.startswith(m) for m in made)
            and k not in ("pages", "top")] == []


# What somebody wrote in a request of each format: marked, so that it is found wherever it is left.
MINE = {"id": "patient-4711", "code": "PIN 4711", "status": "secret", "type": "secret", "model": "secret", "amount": 4711, "secret name": {"role": "secret"}, "list": [4711]}
WRITTEN = {
    "openai_chat": {"model": "gpt-4o", "max_tokens": 300, "user": "secret", "metadata": MINE, "logit_bias": {"4711": 1}, "stop": ["secret"],
                    "messages": [{"role": "user", "content": [{"type": "text", "text": "secret"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,secret"}}]},
                                 {"role": "assistant", "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "secret", "arguments": json.dumps(MINE)}}]},
                                 {"role": "tool", "tool_call_id": "call_1", "content": [MINE]}],
                    "tools": [{"type": "function", "function": {"name": "secret", "parameters": {"type": "object", "properties": {"secret": MINE}}}}],
                    "response_format": {"type": "json_schema", "json_schema": {"name": "secret", "schema": MINE}}},
    "anthropic": {"model": "claude", "max_tokens": 300, "system": "secret", "metadata": MINE,
                  "messages": [{"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "secret", "input": MINE}]},
                               {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": [MINE]}]}],
                  "tools": [{"name": "secret", "input_schema": MINE}]},
    "openai_responses": {"model": "gpt-4o", "max_output_tokens": 300, "input": [{"role": "user", "content": "secret"}, {"type": "function_call", "call_id": "call_1", "name": "secret", "arguments": json.dumps(MINE)},
                                                                               {"type": "function_call_output", "call_id": "call_1", "output": [MINE]}, {"type": "custom_tool_call", "input": MINE}]},
    "google": {"contents": [{"role": "model", "parts": [{"functionCall": {"name": "secret", "args": MINE}}]}, {"role": "user", "parts": [{"functionResponse": {"name": "secret", "response": MINE}}]}],
               "tools": [{"functionDeclarations": [{"name": "secret", "parameters": MINE, "parametersJsonSchema": MINE}]}]},
    "tokens": {"model": "gpt-4o", "prompt": [4711, 4712], "input": [4711], "data": [{"index": 0, "embedding": [0.4711]}]},
    "code": {"object": "x", "output": [{"type": "code_interpreter_call", "code": "print('secret')"}, {"type": "mcp_call", "arguments": MINE, "output": MINE}]},
}


def test_what_is_shared_without_texts(tmp_path):
    """Nothing that somebody wrote is left: no text, no number of a tool's call, no name in a schema, no word of a provider; the form and the figures are."""
    script = """import { readFileSync } from 'node:fs';
        const { shared } = await import(`${process.argv[1]}/parts/redact.ts`);
        const { record, bodies } = JSON.parse(readFileSync(process.argv[2], 'utf8'));
        console.log(JSON.stringify([shared(record, bodies, false), shared(record, bodies, true)]));"""
    streamed = {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": '{"id": "patient-4711'}}]}}], "usage": {"completion_tokens": 7}}
    texts = {**{k: json.dumps(v) for k, v in WRITTEN.items()}, "stream": "event: secret words\nid: patient-4711\ndata: %s\n\ndata: secret\n\ndata: [DONE]\n" % json.dumps(streamed),
             "lines": '{"message":{"role":"assistant","content":"secret"},"eval_count":7}\n' * 2, "form": "--x\nid: patient-4711\nsecret"}
    bodies = [{"which": k, "text": v, "size": len(v), "truncated": False} for k, v in texts.items()]
    record = {"id": "req_1", "key": "secret", "client_address": "secret", "error_message": "no: secret", "input_tokens": 12,
              "tried": [{"provider": "openai", "status": 400, "message": "Invalid value: 'secret'"}]}
    (tmp_path / "asked.json").write_text(json.dumps({"record": record, "bodies": bodies}))
    done = subprocess.run([str(NODE), "--no-warnings", "--input-type=module", "-e", script, str(ROOT / "web/src"), str(tmp_path / "asked.json")], capture_output=True, text=True, check=True)
    silent, whole = json.loads(done.stdout)
    assert "secret" not in silent and "471" not in silent and "patient" not in silent
    kept = json.loads(silent)
    assert kept["request"]["tried"] == [{"provider": "openai", "status": 400, "message": None}] and kept["request"]["input_tokens"] == 12
    chat = json.loads(kept["bodies"]["openai_chat"]["text"])
    assert (chat["model"], chat["max_tokens"], chat["messages"][0]["role"], chat["messages"][1]["tool_calls"][0]["id"]) == ("gpt-4o", 300, "user", "call_1")
    assert json.loads(kept["bodies"]["openai_responses"]["text"])["input"][1]["type"] == "function_call"
    assert '"completion_tokens":7' in kept["bodies"]["stream"]["text"] and '"eval_count":7' in kept["bodies"]["lines"]["text"]
    assert "Invalid value: 'secret'" in whole and "127.0.0.1" not in whole and json.loads(whole)["request"]["key"] is None


def test_spans_and_days():
    """No duration in the notation of machines; days are those of the calendar."""
    script = """const { span, relative } = await import(`${process.argv[1]}/parts/format.ts`);
        const now = new Date(2026, 10, 30, 22, 15).getTime();
        const to = (...at) => relative(new Date(...at).toISOString(), now, 'en');
        console.log(JSON.stringify([[999, 1200, 9960, 12340, 99960, 999499, 999500, 999999, 3_440_000].map(span), [to(2026, 11, 2), to(2026, 11, 1, 23), to(2026, 10, 29, 21), to(2026, 11, 1, 0, 1)]]));"""
    done = subprocess.run([str(NODE), "--no-warnings", "--input-type=module", "-e", script, str(ROOT / "web/src")], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [["999 µs", "1.2 ms", "10 ms", "12.3 ms", "100 ms", "999 ms", "1.0 s", "1.0 s", "3.4 s"],
                                       ["in 2 days", "tomorrow", "yesterday", "in 1 hour"]]


def test_each_setting_is_told_in_chinese(start_sluice):
    """The server says what a setting does in English; the dashboard has the same in Chinese, of every one and of no other."""
    found = set(re.findall(r"^  (\w+): '[^']*[\u4e00-\u9fff]", (ROOT / "web/src/i18n/settings-zh.ts").read_text(), re.M))
    s = start_sluice(config())
    assert found == {x["name"] for x in s.get("/sluice/v1/settings", headers=s.auth(ADMIN)).json()["data"]}


@pytest.mark.timeout(600)
def test_first_run(start_sluice):
    """From the claim link to the first request of a client, with the key of a provider that is a sluice itself."""
    other, fresh = start_sluice(config()), start_sluice({"server": {}})
    token = re.search(r"/sluice/claim#(\S+)", fresh.output()).group(1)
    drive(fresh.origin, token, "start", PROVIDER_URL=other.origin, PROVIDER_KEY=KEY)
