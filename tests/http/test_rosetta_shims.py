"""llm-rosetta's shims: what each takes out of requests, renames in them, and makes of replies; streamed or whole."""
import json

import pytest
from gateway import KEY
from upstream import http, stream

EXTRAS = {"n": 1, "logit_bias": {"50256": -100}, "seed": 7, "logprobs": True, "top_logprobs": 2, "frequency_penalty": 0.5,
          "presence_penalty": 0.5, "stop": ["END"], "temperature": 0.3}
# type as it stands in a file, what it strips
SHIMS = {
    "openai": (), "openai_chat": (),
    "deepseek": ("n", "logit_bias", "seed"),
    "volcengine": ("logprobs", "top_logprobs"),
    "volcengine--openai_chat": ("logprobs", "top_logprobs"),
    "xai": ("logit_bias",),
    "qwen": ("frequency_penalty", "logit_bias"),
    "moonshot": ("logprobs", "top_logprobs", "logit_bias", "seed"),
    "minimax--openai_chat": ("logprobs", "top_logprobs", "seed", "stop"),
    "zhipu": ("n", "presence_penalty", "frequency_penalty", "logprobs", "top_logprobs", "logit_bias", "seed"),
    "openrouter": (), "openrouter--openai_chat": (), "argo--openai_chat": (),
}
DEFAULTS = {  # URL and variable
    "openai": ("https://api.openai.com/v1", "OPENAI_API_KEY"),
    "openai_responses": ("https://api.openai.com/v1", "OPENAI_API_KEY"),
    "anthropic": ("https://api.anthropic.com", "ANTHROPIC_API_KEY"),
    "google": ("https://generativelanguage.googleapis.com", "GOOGLE_API_KEY"),
    "deepseek": ("https://api.deepseek.com", "DEEPSEEK_API_KEY"),
    "volcengine--openai_chat": ("https://ark.cn-beijing.volces.com/api/v3", "VOLCENGINE_API_KEY"),
    "volcengine--openai_responses": ("https://ark.cn-beijing.volces.com/api/v3", "VOLCENGINE_API_KEY"),
    "xai": ("https://api.x.ai/v1", "XAI_API_KEY"),
    "qwen": ("https://dashscope.aliyuncs.com/compatible-mode/v1", "DASHSCOPE_API_KEY"),
    "moonshot": ("https://api.moonshot.cn/v1", "MOONSHOT_API_KEY"),
    "minimax--openai_chat": ("https://api.minimaxi.com/v1", "MINIMAX_API_KEY"),
    "zhipu": ("https://open.bigmodel.cn/api/paas/v4", "ZHIPU_API_KEY"),
    "openrouter": ("https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    "openrouter--openai_chat": ("https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    "argo--openai_chat": (None, "ARGO_API_KEY"), "argo--anthropic": (None, "ARGO_API_KEY"),
}
ADMIN = "sk-admin-0123456789abcdef"


@pytest.fixture
def shims(start_sluice, scripted, upstream):
    """A model of the shim's name for each; `shim` and `type` mean the same."""
    names = [*SHIMS, "argo--anthropic", "minimax--anthropic", "anthropic"]
    providers = {}
    for i, name in enumerate(names):
        base = scripted.origin + ("" if "anthropic" in name else "/v1")
        word = {"shim": name} if i % 2 else {"type": name}
        providers["p%d" % i] = {"api_key": "k", "base_url": base, **word}
    keys = [{"id": "0a1b2c3d", "key": KEY}, {"id": "ad000001", "key": ADMIN, "scopes": ["admin"]}]
    return start_sluice({"providers": providers, "models": {name: "p%d" % i for i, name in enumerate(names)},
                         "server": {"api_keys": keys}})


def chat(s, model, **more):
    r = s.post("/v1/chat/completions", {"model": model, "messages": [{"role": "user", "content": "Hi"}], **more})
    assert r.status_code == 200, r.text
    return r


def reply(message):
    return http(200, json.dumps({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [
        {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}}))


def events(*deltas, how="events"):
    chunks = [{"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
               "choices": [{"index": 0, "delta": d, "finish_reason": None}]} for d in deltas]
    chunks.append({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
                   "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    return stream([b"data: %s\n\n" % json.dumps(c).encode() for c in chunks] + [b"data: [DONE]\n\n"], how=how)


def streamed(s, model):
    text = chat(s, model, stream=True).text
    out = {"content": "", "reasoning_content": ""}
    for line in text.splitlines():
        if line.startswith("data: {"):
            for choice in json.loads(line[6:])["choices"]:
                for name in out:
                    out[name] += choice["delta"].get(name) or ""
                assert "reasoning" not in choice["delta"]
    return out


@pytest.mark.parametrize("shim", SHIMS)
def test_what_is_stripped(shims, upstream, shim):
    chat(shims, shim, **EXTRAS)
    sent = upstream.last.json
    assert not set(SHIMS[shim]) & set(sent), sent
    kept = set(EXTRAS) - set(SHIMS[shim])
    assert {k: sent.get(k) for k in kept} == {k: EXTRAS[k] for k in kept}


@pytest.mark.parametrize("streaming", [None, "events", "whole", "bytes", 7])
def test_openrouter_reasoning(shims, upstream, streaming):
    if streaming:
        upstream.play(events({"role": "assistant", "content": ""}, {"reasoning": "I "}, {"reasoning": "think"},
                             {"content": "so"}, how=streaming))
        got = streamed(shims, "openrouter")
    else:
        upstream.play(reply({"content": "so", "reasoning": "I think"}))
        got = chat(shims, "openrouter").json()["choices"][0]["message"]
        assert "reasoning" not in got
    assert (got["content"], got["reasoning_content"]) == ("so", "I think")


def test_text_that_speaks_of_reasoning_stays(shims, upstream):
    text = 'the word "reasoning": is no member, nor is "reasoning"'
    upstream.play(reply({"content": text, "reasoning": None}))
    got = chat(shims, "openrouter").json()["choices"][0]["message"]
    assert got["content"] == text and got["reasoning_content"] is None


@pytest.mark.parametrize("streaming", [None, "events", "bytes"])
def test_minimax_think_tags(shims, upstream, streaming):
    if streaming:
        upstream.play(events({"role": "assistant", "content": "<th"}, {"content": "ink>I think</thi"}, {"content": "nk>so"}, how=streaming))
        got = streamed(shims, "minimax--openai_chat")
    else:
        upstream.play(reply({"content": "<think>I think</think>so"}))
        got = chat(shims, "minimax--openai_chat").json()["choices"][0]["message"]
    assert (got["content"], got["reasoning_content"]) == ("so", "I think")


def test_minimax_keeps_its_own_reasoning(shims, upstream):
    upstream.play(reply({"content": "so", "reasoning_content": "I think"}))
    got = chat(shims, "minimax--openai_chat").json()["choices"][0]["message"]
    assert (got["content"], got["reasoning_content"]) == ("so", "I think")


def test_minimax_splits_when_thinking_is_asked_for(shims, upstream):
    chat(shims, "minimax--openai_chat", thinking={"type": "enabled"})
    assert upstream.last.json["reasoning_split"] is True
    chat(shims, "minimax--openai_chat")
    assert "reasoning_split" not in upstream.last.json


def test_argo_takes_the_new_name_of_the_limit(shims, upstream):
    chat(shims, "argo--openai_chat", max_tokens=77)
    assert upstream.last.json["max_completion_tokens"] == 77 and "max_tokens" not in upstream.last.json
    chat(shims, "argo--openai_chat", max_completion_tokens=78)
    assert upstream.last.json["max_completion_tokens"] == 78


@pytest.mark.parametrize("effort,sent", [("low", "low"), ("high", "high"), ("xhigh", "high")])
def test_efforts_of_openai_types(shims, upstream, effort, sent):
    """Towards servers that are not OpenAI's own, nothing above high is sent."""
    r = shims.post("/v1/messages", {"model": "openai_chat", "max_tokens": 4000, "messages": [{"role": "user", "content": "Hi"}],
                                    "thinking": {"type": "adaptive"}, "output_config": {"effort": effort}})
    assert r.status_code == 200, r.text
    assert upstream.last.json["reasoning_effort"] == sent


def test_anthropic_effort(shims, upstream):
    r = chat(shims, "anthropic", reasoning_effort="low", max_completion_tokens=4000)
    assert r.status_code == 200
    sent = upstream.last.json
    assert sent["output_config"]["effort"] == "low"
    chat(shims, "anthropic", reasoning_effort="none", max_completion_tokens=4000)
    assert upstream.last.json["thinking"] == {"type": "disabled"}


def test_they_are_registered(shims):
    got = {s["name"]: s for s in shims.get("/admin/api/config", headers=shims.auth(ADMIN), auth=False).json()["registered_shims"]}
    for name, (url, env) in DEFAULTS.items():
        assert (got[name]["default_base_url"], got[name]["default_api_key_env"]) == (url, env), name
