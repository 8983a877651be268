"""The vendors' Node SDKs and Vercel's `ai`, each over each upstream format. `ai` validates every event it reads."""
import base64
import struct

import pytest
from conftest import basic_config
from formats import FORMATS
from formats.common import HELLO, THINKING, Call, Turn, Usage, dump
from node import run_sdk
from upstream import answer, http, stream

ups = pytest.mark.parametrize("up", FORMATS)
TURN = Turn(text=HELLO, usage=Usage(40, 30, 0, 0))
FULL = Turn(text=HELLO, reasoning=THINKING, usage=Usage(40, 30, 0, 10))
CALL = Turn(calls=[Call("get_weather", '{"city":"Paris"}', "call_1")], finish="tool_calls")
PATHS = {"openai": ["/v1/chat/completions", "/v1/responses"], "anthropic": ["/v1/messages"], "ollama": ["/api/chat"],
         "google": []}


VECTOR = [1.0, -2.0, 0.5]
EMBEDDING = ["chat", "responses", "google", "ollama"]  # Anthropic has none


def embedded(request):
    """What the upstream of the path's format answers: OpenAI's in the encoding that is asked for."""
    ask = request.json
    if request.path.startswith("/v1beta"):
        return {"embeddings": [{"values": VECTOR}] * len(ask["requests"])} if "requests" in ask else {"embedding": {"values": VECTOR}}
    n = len(ask["input"]) if isinstance(ask["input"], list) else 1
    if request.path == "/api/embed":
        return {"model": "m", "embeddings": [VECTOR] * n, "prompt_eval_count": 2}
    data = base64.b64encode(struct.pack("<3f", *VECTOR)).decode() if ask.get("encoding_format") == "base64" else VECTOR
    return {"object": "list", "data": [{"object": "embedding", "index": i, "embedding": data} for i in range(n)], "model": "m",
            "usage": {"prompt_tokens": 2, "total_tokens": 2}}


@ups
@pytest.mark.parametrize("sdk", ["openai", "anthropic", "google", "ollama"])
def test_sdk(sluice, upstream, calls, up, sdk):
    async def script(conn, request):
        if request.path.endswith("count_tokens"):
            await http(200, '{"input_tokens":17}')(conn, request)
        elif "mbed" in request.path:
            await http(200, dump(embedded(request)))(conn, request)
        else:
            await answer(FORMATS[up], TURN)(conn, request)

    upstream.play(script)
    out = run_sdk(sdk, sluice.origin, sluice.key, "to-" + up)
    for path in PATHS[sdk]:
        calls.note("POST", path)
    stop = {"openai": "stop", "anthropic": "end_turn", "google": "STOP", "ollama": "stop"}[sdk]
    assert out["text"] == {"text": HELLO, "finish": stop, "usage": 70}
    assert out["stream"] == {"text": HELLO, "finish": stop, "usage": 70}
    if sdk == "openai":
        assert out["responses"] == {"text": HELLO, "status": "completed", "usage": 70}
        assert out["responsesStream"] == {"text": HELLO, "deltas": HELLO, "status": "completed",
                                          "last": "response.completed"}
        assert out["unknown"] == {"name": "NotFoundError", "status": 404, "code": "model_not_found"}
        if up in EMBEDDING:
            assert out["embeddings"] == {"vectors": [VECTOR, VECTOR], "usage": 0 if up == "google" else 2}  # Google counts none
            assert out["embeddingsFloat"] == VECTOR
            calls.note("POST", "/v1/embeddings")
        else:
            assert "404" in out["embeddings"]["error"] or "400" in out["embeddings"]["error"]
    if sdk == "anthropic":
        assert out["count"] == 17 if up == "anthropic" else out["count"] > 0
        assert out["unknown"] == {"name": "NotFoundError", "status": 404}
    if sdk in ("openai", "anthropic", "ollama"):
        assert "to-" + up in out["models"]
    assert out["unknown"]["status"] == 404


@ups
@pytest.mark.parametrize("sdk", ["ai-openai", "ai-openai-chat", "ai-anthropic", "ai-google", "ai-compatible"])
def test_ai(sluice, upstream, up, sdk):
    async def script(conn, request):
        """A call first where the request has tools and no result yet; the answer otherwise."""
        ask = FORMATS[up].understand(request)
        wants_call = ask.tools and not any(m[0] == "result" for m in ask.messages)
        turn = CALL if wants_call else TURN if ask.tools or not wants_reasoning else FULL
        await answer(FORMATS[up], turn)(conn, request)

    wants_reasoning = sdk != "ai-google"  # which gets thoughts only where it asked for them
    upstream.play(script)
    out = run_sdk(sdk, sluice.origin, sluice.key, "to-" + up)
    assert out["text"].get("text") == HELLO, out["text"]
    assert out["text"]["finish"] == "stop"
    assert out["stream"].get("text") == HELLO and out["stream"]["errors"] == [], out["stream"]
    assert out["stream"]["finish"] == "stop"
    if sdk in ("ai-openai", "ai-anthropic", "ai-compatible"):
        assert out["stream"]["reasoning"] == THINKING
        assert out["text"]["reasoning"] == THINKING
    assert out["tools"] == {"text": HELLO, "steps": 2, "results": ["18 degrees in Paris"]}
    assert out["toolsStream"] == {"text": HELLO, "results": ["18 degrees in Paris"], "errors": []}


@pytest.mark.parametrize("sdk", ["openai", "ai-openai-chat", "ai-compatible"])
def test_streams_that_never_say_a_role(start_sluice, upstream, sdk):
    """Of a llama-server: OpenAI's stream helper fails without one, so it is put in."""
    chat = FORMATS["chat"]

    async def script(conn, request):
        turn = CALL if request.json.get("tools") and request.json["messages"][-1]["role"] != "tool" else TURN
        if not chat.wants_stream(request):
            await answer(chat, turn)(conn, request)
            return
        frames = [f.replace(b'"role":"assistant",', b"").replace(b'"role":"assistant"', b"") for f in chat.events(turn)]
        assert not any(b"role" in f for f in frames)
        await stream(frames)(conn, request)

    upstream.play(script)
    config = basic_config(upstream.origin)
    config["providers"]["chat"] = {"type": "llamacpp", "base_url": upstream.origin}
    sluice = start_sluice(config)
    out = run_sdk(sdk, sluice.origin, sluice.key, "to-chat")
    assert out["stream"].get("text") == HELLO, out["stream"]
    assert out["stream"]["finish"] == "stop"
    if sdk != "openai":
        assert out["stream"]["errors"] == []
        assert out["toolsStream"] == {"text": HELLO, "results": ["18 degrees in Paris"], "errors": []}
