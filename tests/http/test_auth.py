"""Who may: every spelling of a key on every surface, and keys that never reach a log."""
import pytest
from conftest import basic_config
from formats import FORMATS
from formats.common import Ask
from upstream import failure

clients = pytest.mark.parametrize("client", FORMATS)
SPELLINGS = ["bearer", "x-api-key", "x-goog-api-key", "query"]


def carry(spelling, key, path):
    """(headers, path) that carry a key in one spelling."""
    if spelling == "bearer":
        return {"Authorization": "Bearer " + key}, path
    if spelling == "query":
        return {}, path + ("&" if "?" in path else "?") + "key=" + key
    return {spelling: key}, path


@clients
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_on_every_surface(sluice, upstream, client, spelling):
    f, ask = FORMATS[client], Ask(model="to-" + client)
    headers, path = carry(spelling, sluice.key, f.path(ask))
    r = sluice.post(path, f.request(ask), auth=False, headers=headers)
    assert r.status_code == 200, r.text
    assert sluice.key not in upstream.last.head.decode("latin-1") + upstream.last.body.decode()


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/to-chat", "/v1beta/models", "/api/tags"])
def test_lists_need_a_key_too(sluice, spelling, path):
    assert sluice.get(path, auth=False).status_code == 401
    headers, with_key = carry(spelling, sluice.key, path)
    assert sluice.get(with_key, auth=False, headers=headers).status_code == 200
    headers, with_key = carry(spelling, "wrong-key", path)
    assert sluice.get(with_key, auth=False, headers=headers).status_code == 401


def test_health_needs_none(sluice):
    for path in ("/healthz", "/livez", "/readyz"):
        assert sluice.get(path, auth=False).status_code == 200


def test_keys_are_never_logged(start_sluice, scripted, upstream):
    """Neither a client's key in any spelling, right or wrong, nor the upstream's, on the most talkative level."""
    config = basic_config(scripted.origin)
    config["server"]["log_level"] = "debug"
    s = start_sluice(config)
    wrong = "sk-wrong-but-secret-0123456789"
    for client, f in FORMATS.items():
        for key in (s.key, wrong):
            for spelling in SPELLINGS:
                ask = Ask(model="to-" + client)
                headers, path = carry(spelling, key, f.path(ask))
                s.post(path, f.request(ask), auth=False, headers=headers)
    s.get("/v1/nothing?key=" + s.key)
    s.raw(b"GET /?key=%s HTTP/9\r\n\r\n" % s.key.encode())
    s.stop()
    log = s.log_path.read_text(errors="replace")
    for secret in (s.key, wrong, "upstream-secret"):
        assert secret not in log, "%s in the log" % secret
    stored = b"".join(p.read_bytes() for p in (s.folder / "data").rglob("*") if p.is_file())
    for secret in (s.key, wrong):
        assert secret.encode() not in stored


def test_prompts_are_not_logged(start_sluice, scripted, upstream):
    config = basic_config(scripted.origin)
    config["server"]["log_level"] = "debug"
    s = start_sluice(config)
    for client, f in FORMATS.items():
        s.post(f.path(Ask(model="to-" + client)), f.request(Ask(model="to-" + client, messages=[
            ("user", "a very private sentence")])))
    upstream.play(failure(FORMATS["chat"], 400, "The text 'a very private sentence' is flagged"))  # some repeat it
    assert s.post("/v1/chat/completions", FORMATS["chat"].request(Ask(model="to-chat"))).status_code == 400
    s.stop()
    assert "very private" not in s.log_path.read_text(errors="replace")


def test_no_key_configured_is_not_open(start_sluice, scripted, upstream):
    """Without keys nobody gets in, unless anonymous access is allowed in so many words."""
    config = basic_config(scripted.origin)
    config["server"].pop("api_keys")
    f, ask = FORMATS["chat"], Ask(model="to-chat")
    closed = start_sluice(config)
    assert closed.post(f.path(ask), f.request(ask), auth=False).status_code == 401
    config["server"]["allow_anonymous"] = True
    opened = start_sluice(config)
    assert opened.post(f.path(ask), f.request(ask), auth=False).status_code == 200
    wrong = opened.post(f.path(ask), f.request(ask), auth=False, headers={"Authorization": "Bearer wrong"})
    assert wrong.status_code == 401, "a key that is given must be right"


def test_the_native_carrier_wins(sluice, upstream):
    """Two different keys in one request: the one of the surface decides."""
    f, ask = FORMATS["anthropic"], Ask(model="to-anthropic")
    r = sluice.post(f.path(ask), f.request(ask), auth=False,
                    headers={"x-api-key": sluice.key, "Authorization": "Bearer wrong"})
    assert r.status_code == 200
    f, ask = FORMATS["google"], Ask(model="to-google")
    r = sluice.post(f.path(ask), f.request(ask), auth=False,
                    headers={"x-goog-api-key": sluice.key, "x-api-key": "wrong"})
    assert r.status_code == 200


def test_scheme_is_case_insensitive(sluice):
    assert sluice.get("/v1/models", auth=False, headers={"Authorization": "bearer " + sluice.key}).status_code == 200
