"""Every client format over a real llama-server in its Chat, Responses and Messages formats: exact text, reasoning and
calls from the programmed model, and what happens to the noise model's broken UTF-8."""
import base64
import json
import struct

import anthropic
import httpx
import openai
import pytest
from formats import FORMATS
from formats.common import Ask, Call
from formats.responses import SKELETON
from gateway import KEY, Sluice
from llama import TEXT, THOUGHT
from node import run_sdk

WIRES = {"chat": "openai_chat", "responses": "openai_responses", "anthropic": "anthropic"}
WEATHER = ("get_weather", "Weather of a city", {
    "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]})
PAIRS = [(c, u) for c in FORMATS for u in WIRES]
pairs = pytest.mark.parametrize("client,up", PAIRS, ids=["%s-over-llama-%s" % p for p in PAIRS])
streamed = pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streamed"])


def config(script, noise):
    providers, models = {}, {}
    for where, server in (("script", script), ("noise", noise)):
        for name, wire in WIRES.items():
            providers["%s-%s" % (where, name)] = {"type": "llamacpp", "base_url": server.origin + "/v1", "wire": wire}
            models["%s-%s" % (where, name)] = {"provider": "%s-%s" % (where, name), "upstream_model": "tiny"}
    return {"providers": providers, "models": models,
            "server": {"api_keys": [{"id": "0a1b2c3d", "key": KEY, "label": "tests"}]}}


@pytest.fixture(scope="module")
def real(llama, llama_noise, calls, tmp_path_factory):
    s = Sluice(tmp_path_factory.mktemp("real"), config(llama, llama_noise), calls)
    yield s
    s.stop()


def ask_for(sluice, client, up, ask, where="script"):
    f = FORMATS[client]
    ask.model = "%s-%s" % (where, up)
    r = sluice.post(f.path(ask), f.request(ask))
    assert r.status_code == 200, r.text
    if ask.stream:
        return f.read_stream(r.content)
    if client == "responses" == up:  # bytes as llama-server wrote them, which leaves members out
        return f.read_response({**dict.fromkeys(SKELETON), **r.json()})
    return f.read(r.content)


@pairs
@streamed
def test_exact_text(real, client, up, streaming):
    got = ask_for(real, client, up, Ask(messages=[("system", "x"), ("user", "Hi")], reasoning="low", stream=streaming))
    assert got.text == TEXT
    assert got.reasoning.strip() == THOUGHT.strip()
    assert got.finish == "stop"
    assert got.usage.input > 0 and got.usage.output > 10


@pairs
@streamed
def test_tool_call(real, client, up, streaming):
    got = ask_for(real, client, up, Ask(tools=[WEATHER], stream=streaming))
    assert [(c.name, json.loads(c.arguments)) for c in got.calls] == [("get_weather", {"city": "Paris"})]
    assert got.finish == "tool_calls"


@pairs
@streamed
def test_after_a_tool_result(real, client, up, streaming):
    history = [("user", "Weather?"), ("call", Call("get_weather", '{"city": "Paris"}', "call_1")),
               ("result", "call_1", "get_weather", "18 degrees")]
    got = ask_for(real, client, up, Ask(messages=history, tools=[WEATHER], stream=streaming))
    assert got.text == TEXT and not got.calls and got.finish == "stop"


@pairs
@streamed
def test_length(real, client, up, streaming):
    got = ask_for(real, client, up, Ask(max_tokens=9, stream=streaming))
    assert got.finish == "length"
    assert TEXT.startswith(got.text)


@pairs
@streamed
def test_noise(real, client, up, streaming):
    """Broken UTF-8 from a model never becomes a broken answer: the readers insist on valid UTF-8 and JSON."""
    if streaming and client == up == "chat":  # llama-server's own bytes, whose first delta may lack its role
        f, ask = FORMATS[client], Ask(model="noise-chat", max_tokens=48, temperature=1.0, stream=True)
        frames = real.post(f.path(ask), f.request(ask)).content.decode("utf-8").split("\n\n")
        assert "data: [DONE]" in frames
        assert all("choices" in json.loads(x[6:]) for x in frames if x.startswith("data: {"))
        return
    for _ in range(20):  # the noise may begin with the token that ends it: then there is nothing to look at
        got = ask_for(real, client, up, Ask(max_tokens=48, temperature=1.0, stream=streaming), where="noise")
        assert got.finish in ("length", "stop")
        if got.text + got.reasoning:
            return
    raise AssertionError("twenty answers without a word")


@pytest.mark.parametrize("client", FORMATS)
def test_error_of_the_real_server(real, client):
    """A prompt beyond the context: 400 in the caller's envelope, with llama-server's words."""
    f, ask = FORMATS[client], Ask(model="script-chat", messages=[("user", "é " * 20000)])
    r = real.post(f.path(ask), f.request(ask))
    assert r.status_code == 400, r.text
    assert "context" in f.read_error(400, r.content).message


def test_embeddings_floats_and_base64_agree(real):
    body = {"model": "noise-chat", "input": ["one", "two é"]}
    floats = real.post("/v1/embeddings", body).json()["data"]
    coded = real.post("/v1/embeddings", {**body, "encoding_format": "base64"}).json()["data"]
    assert len(floats) == len(coded) == 2 and len(floats[0]["embedding"]) == 64
    for a, b in zip(floats, coded):
        values = struct.unpack("<64f", base64.b64decode(b["embedding"]))
        assert values == pytest.approx(a["embedding"], abs=1e-5)


def test_count_tokens_is_the_servers_own(real, llama):
    """The upstream's count where it has one."""
    body = {"model": "script-anthropic", "messages": [{"role": "user", "content": "How many tokens is this?"}]}
    ours = real.post("/v1/messages/count_tokens", body).json()["input_tokens"]
    theirs = httpx.post(llama.origin + "/v1/messages/count_tokens", json={**body, "model": "tiny"}, timeout=60).json()
    assert ours == theirs["input_tokens"]


def test_completions(real):
    r = real.post("/v1/completions", {"model": "script-chat", "prompt": "x", "max_tokens": 4})
    assert r.status_code == 200, r.text
    assert r.json()["object"] == "text_completion"


# llama-server's own streams break strict clients: Anthropic blocks that overlap, Responses events without numbers.
# These two validate what they read, and are the proof that sluice repairs it.

@pytest.mark.parametrize("up", WIRES)
@pytest.mark.parametrize("sdk", ["ai-openai", "ai-openai-chat", "ai-anthropic", "ai-google", "ai-compatible"])
def test_strict_sdk(real, sdk, up):
    out = run_sdk(sdk, real.origin, KEY, "script-" + up)
    assert out["text"].get("text") == TEXT, out["text"]
    assert out["stream"].get("text") == TEXT and out["stream"]["errors"] == [], out["stream"]
    assert out["tools"] == {"text": TEXT, "steps": 2, "results": ["18 degrees in Paris"]}
    assert out["toolsStream"] == {"text": TEXT, "results": ["18 degrees in Paris"], "errors": []}


@pytest.mark.parametrize("up", WIRES)
def test_responses_stream_helper(real, up):
    client = openai.OpenAI(base_url=real.origin + "/v1", api_key=KEY, max_retries=0)
    with client.responses.stream(model="script-" + up, input="Hi", store=False) as events:
        for _ in events:
            pass
        final = events.get_final_response()
    assert final.output_text == TEXT and final.status == "completed"


@pytest.mark.parametrize("up", WIRES)
def test_anthropic_stream_helper(real, up):
    client = anthropic.Anthropic(base_url=real.origin, api_key=KEY, max_retries=0)
    with client.messages.stream(model="script-" + up, max_tokens=512, messages=[{"role": "user", "content": "Hi"}]) as events:
        assert "".join(events.text_stream) == TEXT
        assert events.get_final_message().stop_reason == "end_turn"
