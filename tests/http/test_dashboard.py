"""The dashboard: how it is handed out, and its first start in a real Chromium."""
import gzip
import json
import re
import subprocess

import pytest
from dashboard import KEY, config, drive
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


@pytest.mark.timeout(300)
def test_first_run(start_sluice):
    """From the claim link to the first request of a client, with the key of a provider that is a sluice itself."""
    other, fresh = start_sluice(config()), start_sluice({"server": {}})
    token = re.search(r"/sluice/claim#(\S+)", fresh.output()).group(1)
    drive(fresh.origin, token, "start", PROVIDER_URL=other.origin, PROVIDER_KEY=KEY)
