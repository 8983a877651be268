"""A model that shows its own name: every reply calls it as it was asked for, and nothing else in the bytes changes."""
import json

import pytest
from conftest import basic_config
from formats import FORMATS
from formats.common import Ask, Call, Turn, dump
from upstream import http, stream

REAL = "the-real-one"
TURN = Turn(text='You said "model":"%s", modelVersion too.' % REAL, calls=[Call("f", dump({"model": REAL, "modelVersion": REAL}), "call_1")], finish="tool_calls")
ASK = [("user", "Hi")]


@pytest.fixture(scope="module")
def showing(scripted, tmp_path_factory, calls):
    from gateway import Sluice
    config = basic_config(scripted.origin)
    config["providers"]["responses"] = {"type": "openai-responses", "api_key": "upstream-secret-responses", "base_url": scripted.origin + "/v1"}
    for name in FORMATS:
        config["models"]["shown-" + name] = {"provider": name, "upstream_model": REAL, "show_alias": True}
    s = Sluice(tmp_path_factory.mktemp("showing"), config, calls)
    yield s
    s.stop()


def ask(s, fmt, streaming, path=None):
    asked = Ask(messages=ASK, model="shown-" + fmt.name, stream=streaming, max_tokens=50)
    return s.post(path or fmt.path(asked), fmt.request(asked))


def shown(fmt, text):
    """Inside a string the quotes are escaped: only members are meant; those of a call's arguments are not."""
    member = '"modelVersion":"%s"' if fmt.name == "google" else '"model":"%s"'
    marked = text.replace(dump(json.loads(TURN.calls[0].arguments)), "ARGUMENTS")
    assert member % REAL in marked
    return marked.replace(member % REAL, member % ("shown-" + fmt.name)).replace("ARGUMENTS", dump(json.loads(TURN.calls[0].arguments)))


@pytest.mark.parametrize("name", FORMATS)
def test_whole_replies(showing, upstream, name):
    fmt = FORMATS[name]
    body = dump(fmt.reply(TURN, REAL))
    upstream.next(http(200, body))
    r = ask(showing, fmt, False)
    assert r.status_code == 200 and r.text == shown(fmt, body)


@pytest.mark.parametrize("how", ["whole", "bytes"])
@pytest.mark.parametrize("name", FORMATS)
def test_streams(showing, upstream, name, how):
    fmt = FORMATS[name]
    frames = fmt.events(TURN, REAL, True)
    upstream.next(stream(frames, fmt.stream_type, how))
    r = ask(showing, fmt, True)
    assert r.status_code == 200 and r.text == shown(fmt, b"".join(frames).decode())


def test_an_array_of_google(showing, upstream):
    upstream.next(stream(FORMATS["google"].events(TURN, REAL, True), "text/event-stream"))
    r = ask(showing, FORMATS["google"], True, "/v1beta/models/shown-google:streamGenerateContent")
    parts = r.json()
    assert len(parts) > 1 and {p["modelVersion"] for p in parts} == {"shown-google"}


def test_what_is_kept_of_a_response_calls_it_so_as_well(showing, upstream):
    fmt = FORMATS["responses"]
    for streaming in (False, True):
        upstream.next(stream(fmt.events(TURN, REAL, True)) if streaming else http(200, dump(fmt.reply(TURN, REAL))))
        r = ask(showing, fmt, streaming)
        made = json.loads(r.text.split("event: response.completed\ndata: ")[1])["response"] if streaming else r.json()
        assert showing.get("/v1/responses/" + made["id"]).json()["model"] == "shown-responses"


def test_embeddings(showing, upstream):
    body = '{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.5]}],"model":"%s","usage":{"prompt_tokens":1,"total_tokens":1}}' % REAL
    upstream.next(http(200, body))
    r = showing.post("/v1/embeddings", {"model": "shown-chat", "input": "x"})
    assert r.text == body.replace(REAL, "shown-chat")
