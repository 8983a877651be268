"""What the operator adds to conversations, in every client format: to upstreams of the same format, and of another."""
import pytest
from conftest import basic_config
from gateway import KEY

ADMIN = "sk-admin-0123456789abcdef"
PROMPT = "Be kind.\nSay \"please\"."
USER = [{"role": "user", "content": "hi"}]
PART = [{"role": "user", "parts": [{"text": "hi"}]}]
OWN = "Say \"no\"."
BOTH = PROMPT + "\n\nYou are old."

# path, body, what the body is to have then; with an upstream of the same format
ROWS = [
    ("chat", {"messages": USER}, lambda b: b["messages"] == [{"role": "system", "content": PROMPT}, *USER]),
    ("chat", {"messages": [{"role": "system", "content": "You are old."}, *USER]}, lambda b: b["messages"] == [{"role": "system", "content": BOTH}, *USER]),
    ("chat", {"messages": [*USER, {"content": [{"type": "text", "text": "x"}], "role": "system"}]},
     lambda b: b["messages"][1]["content"] == [{"type": "text", "text": PROMPT + "\n\n"}, {"type": "text", "text": "x"}]),
    ("chat", {"messages": []}, lambda b: b["messages"] == [{"role": "system", "content": PROMPT}]),
    ("anthropic", {"messages": USER, "max_tokens": 9}, lambda b: b["system"] == PROMPT),
    ("anthropic", {"messages": USER, "max_tokens": 9, "system": "You are old."}, lambda b: b["system"] == BOTH),
    ("anthropic", {"messages": USER, "max_tokens": 9, "system": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}]},
     lambda b: b["system"] == [{"type": "text", "text": PROMPT + "\n\n"}, {"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}]),
    ("responses", {"input": "hi"}, lambda b: b["instructions"] == PROMPT),
    ("responses", {"input": "hi", "instructions": None}, lambda b: b["instructions"] == PROMPT),
    ("responses", {"input": "hi", "instructions": "You are old."}, lambda b: b["instructions"] == BOTH),
    ("google", {"contents": PART}, lambda b: b["systemInstruction"] == {"parts": [{"text": PROMPT}]}),
    ("google", {"contents": PART, "system_instruction": {"parts": [{"text": "x"}]}},
     lambda b: b["system_instruction"] == {"parts": [{"text": PROMPT + "\n\n"}, {"text": "x"}]}),
    ("ollama", {"messages": USER, "stream": False}, lambda b: b["messages"][0] == {"role": "system", "content": PROMPT}),
]
PATHS = {"chat": "/v1/chat/completions", "anthropic": "/v1/messages", "responses": "/v1/responses", "google": "/v1beta/models/%s:generateContent",
         "ollama": "/api/chat"}


@pytest.fixture(scope="module")
def injecting(scripted, calls, tmp_path_factory):
    from gateway import Sluice
    config = basic_config(scripted.origin)
    for model in list(config["models"]):
        if model.startswith("to-"):
            config["models"][model]["capabilities"] = ["text", "reasoning"]
    config["models"]["m-thinking"] = {"provider": "anthropic", "upstream_model": "m"}
    config["models"]["m-capped"] = {"provider": "anthropic", "upstream_model": "claude-opus-4-5-20251101"}
    config["models"].update({f + "-thinking": {"provider": f, "upstream_model": "m"} for f in ("chat", "responses", "google", "ollama")})
    config["combos"] = {"k-" + f: {"members": ["to-" + f], "system_message": OWN, "tool_filter": "^(get|web)_"} for f in PATHS}
    config["server"]["api_keys"].append({"id": "ad000001", "key": ADMIN, "scopes": ["inference", "models", "admin"]})
    s = Sluice(tmp_path_factory.mktemp("inject"), config, calls, key=ADMIN)
    yield s
    s.stop()


def ask(s, upstream, client, body, model=None, key=KEY):
    model = model or "to-" + client
    upstream.reset()
    path = PATHS[client] % model if "%s" in PATHS[client] else PATHS[client]
    r = s.call("POST", path, body if "%s" in PATHS[client] else {"model": model, **body}, headers={"Authorization": "Bearer " + key}, auth=False)
    assert r.status_code == 200, r.text
    return upstream.requests[-1].json


def set_prompt(s, **body):
    r = s.call("PUT", "/sluice/v1/system-prompt", body)
    assert r.status_code == 200, r.text
    return r.json()


@pytest.mark.parametrize("client, body, expected", ROWS, ids=["%s-%d" % (r[0], i) for i, r in enumerate(ROWS)])
def test_the_prompt_goes_before_the_callers(injecting, upstream, client, body, expected):
    set_prompt(injecting, enabled=True, prompt=PROMPT, except_models=[])
    sent = ask(injecting, upstream, client, body)
    assert expected(sent), sent
    set_prompt(injecting, enabled=False)
    assert PROMPT.split("\n")[0] not in str(ask(injecting, upstream, client, body))


@pytest.mark.parametrize("client, body", [(r[0], r[1]) for r in ROWS if "system" not in str(r[1]) and r[1].get("messages") != []][:6])
@pytest.mark.parametrize("to", ["chat", "anthropic"])
def test_the_prompt_crosses_formats(injecting, upstream, client, body, to):
    set_prompt(injecting, enabled=True, prompt=PROMPT, except_models=[])
    sent = ask(injecting, upstream, client, body, "to-" + to)
    system = sent["messages"][0]["content"] if to == "chat" else sent["system"]
    assert "Be kind." in str(system), sent
    set_prompt(injecting, enabled=False)


def test_keys_and_models_can_be_left_out(injecting, upstream):
    s = injecting
    assert set_prompt(s, enabled=True, prompt=PROMPT, except_models=["to-anth*"]) == {"enabled": True, "prompt": PROMPT, "except_models": ["to-anth*"]}
    assert "system" not in ask(s, upstream, "anthropic", ROWS[4][1])
    assert "Be kind" in str(ask(s, upstream, "chat", ROWS[0][1]))
    assert s.call("PATCH", "/sluice/v1/keys/0a1b2c3d", {"no_system_prompt": True}).json()["no_system_prompt"] is True
    assert "Be kind" not in str(ask(s, upstream, "chat", ROWS[0][1]))
    assert s.call("PATCH", "/sluice/v1/keys/0a1b2c3d", {"no_system_prompt": False}).status_code == 200
    set_prompt(s, enabled=False, except_models=[])
    assert s.get("/sluice/v1/system-prompt").json()["enabled"] is False


def think(s, **body):
    r = s.call("PUT", "/sluice/v1/thinking-budget", body)
    assert r.status_code == 200, r.text


LONG = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}] * 6, "max_tokens": 100000,
        "tools": [{"name": "t%d" % i, "input_schema": {"type": "object"}} for i in range(4)]}
LONG["messages"] = LONG["messages"][:-1] + [{"role": "user", "content": "word " * 500}]
BUDGETS = [
    ({"mode": "custom", "budget": 5000}, "anthropic", {"messages": USER, "max_tokens": 20000}, lambda b: b["thinking"] == {"type": "enabled", "budget_tokens": 5000}),
    ({"mode": "custom", "budget": 5000}, "anthropic", {"messages": USER, "max_tokens": 3000, "thinking": {"type": "enabled", "budget_tokens": 1024}},
     lambda b: b["thinking"] == {"type": "enabled", "budget_tokens": 2999}),
    ({"mode": "custom", "budget": 0}, "anthropic", {"messages": USER, "max_tokens": 20000, "thinking": {"type": "enabled", "budget_tokens": 1024}},
     lambda b: b["thinking"] == {"type": "disabled"}),
    ({"mode": "custom", "budget": 5000}, "chat", {"messages": USER, "reasoning_effort": "high"}, lambda b: b["reasoning_effort"] == "medium"),
    ({"mode": "custom", "budget": 0}, "chat", {"messages": USER, "reasoning_effort": "high"}, lambda b: "reasoning_effort" not in b),
    ({"mode": "custom", "budget": 20000}, "responses", {"input": "hi", "reasoning": {"effort": "low", "summary": "auto"}},
     lambda b: b["reasoning"] == {"summary": "auto", "effort": "high"}),
    ({"mode": "custom", "budget": 700}, "google", {"contents": PART, "generationConfig": {"topK": 3, "thinkingConfig": {"thinkingLevel": "high", "includeThoughts": True}}},
     lambda b: b["generationConfig"] == {"topK": 3, "thinkingConfig": {"includeThoughts": True, "thinkingBudget": 700}}),
    ({"mode": "custom", "budget": 0}, "ollama", {"messages": USER, "stream": False, "think": True}, lambda b: b["think"] is False),
    ({"mode": "auto"}, "anthropic", {"max_tokens": 9000, "thinking": {"type": "enabled", "budget_tokens": 1024}, "messages": USER}, lambda b: "thinking" not in b),
    ({"mode": "auto"}, "chat", {"messages": USER, "reasoning_effort": "high", "thinking": {"type": "enabled"}, "reasoning": {"effort": "low"}},
     lambda b: not {"reasoning_effort", "thinking", "reasoning"} & set(b)),
    ({"mode": "auto"}, "google", {"contents": PART, "generationConfig": {"thinkingConfig": {"thinkingBudget": 5}, "topK": 3}}, lambda b: b["generationConfig"] == {"topK": 3}),
    ({"mode": "auto"}, "responses", {"input": "hi", "reasoning": {"effort": "low"}}, lambda b: "reasoning" not in b),
    ({"mode": "passthrough"}, "chat", {"messages": USER, "reasoning_effort": "high"}, lambda b: b["reasoning_effort"] == "high"),
    ({"mode": "passthrough"}, "anthropic", {"messages": USER, "max_tokens": 20000, "thinkingLevel": "low"},
     lambda b: b["thinking"] == {"type": "enabled", "budget_tokens": 4096} and "thinkingLevel" not in b),
    ({"mode": "passthrough"}, "anthropic", {"thinking_level": "none", "messages": USER, "max_tokens": 20000}, lambda b: b["thinking"] == {"type": "disabled"}),
    ({"mode": "passthrough"}, "chat", {"messages": USER, "thinking_level": "high"}, lambda b: b["reasoning_effort"] == "high" and "thinking_level" not in b),
    ({"mode": "passthrough"}, "chat", {"messages": USER, "thinkingLevel": "high", "reasoning_effort": "low"}, lambda b: b["reasoning_effort"] == "low" and "thinkingLevel" not in b),
    ({"mode": "passthrough"}, "responses", {"input": "hi", "store": False, "thinkingLevel": "medium"}, lambda b: b["reasoning"] == {"effort": "medium"}),
    ({"mode": "passthrough"}, "anthropic", {"messages": [*USER, {"role": "assistant", "content": "So"}], "max_tokens": 9000, "thinking": {"type": "enabled", "budget_tokens": 1024}},
     lambda b: "thinking" not in b and b["messages"][1]["content"] == "So"),
    ({"mode": "passthrough"}, "anthropic", {"messages": USER, "max_tokens": 9000, "thinking": {"type": "enabled", "budget_tokens": 1024}}, lambda b: b["thinking"]["budget_tokens"] == 1024),
    ({"mode": "passthrough"}, "chat", {"messages": [*USER, {"role": "assistant", "content": "So"}], "reasoning_effort": "high"},
     lambda b: "reasoning_effort" not in b and b["messages"][1]["content"] == "So"),
    ({"mode": "passthrough"}, "chat", {"messages": [*USER, {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "assistant", "arguments": "{}"}}]},
                                                    {"role": "tool", "tool_call_id": "c", "content": "assistant"}], "reasoning_effort": "high"},
     lambda b: b["reasoning_effort"] == "high"),
    ({"mode": "custom", "budget": 5000}, "anthropic", {"messages": [*USER, {"role": "assistant", "content": [{"type": "text", "text": "So"}]}], "max_tokens": 9000},
     lambda b: "thinking" not in b),
    ({"mode": "custom", "budget": 5000}, "google", {"contents": [*PART, {"role": "model", "parts": [{"text": "So"}]}], "generationConfig": {"topK": 3, "thinkingConfig": {"thinkingBudget": 1}}},
     lambda b: b["generationConfig"] == {"topK": 3}),
    ({"mode": "adaptive", "effort": "medium"}, "anthropic", LONG, lambda b: b["thinking"] == {"type": "enabled", "budget_tokens": 23552}),
    ({"mode": "adaptive", "effort": "low"}, "anthropic", {"messages": USER, "max_tokens": 9999}, lambda b: b["thinking"] == {"type": "enabled", "budget_tokens": 1024}),
]


@pytest.mark.parametrize("mode, client, body, expected", BUDGETS, ids=["%s-%s-%d" % (r[0]["mode"], r[1], i) for i, r in enumerate(BUDGETS)])
def test_thinking_is_what_the_operator_says(injecting, upstream, mode, client, body, expected):
    think(injecting, **mode)
    sent = ask(injecting, upstream, client, body)
    think(injecting, mode="passthrough")
    assert expected(sent), sent


@pytest.mark.parametrize("client, body", [
    ("chat", {"messages": USER, "reasoning_effort": "low"}), ("responses", {"input": "hi", "store": False, "reasoning": {"effort": "high"}}),
    ("ollama", {"messages": USER, "stream": False, "think": True}), ("ollama", {"messages": USER, "stream": False, "think": "low"})])
def test_the_operators_number_crosses_formats(injecting, upstream, client, body):
    """Also from those that have only words for it, and not to models that refuse one."""
    think(injecting, mode="custom", budget=2048)
    try:
        assert ask(injecting, upstream, client, body, "to-google")["generationConfig"]["thinkingConfig"]["thinkingBudget"] == 2048
        sent = ask(injecting, upstream, client, body, "m-capped")
        assert (sent["thinking"]["type"], sent["thinking"]["budget_tokens"]) == ("enabled", 2048), sent
        assert ask(injecting, upstream, client, body, "to-anthropic")["thinking"]["type"] == "adaptive"
        said_nothing = {k: v for k, v in body.items() if k not in ("reasoning_effort", "reasoning", "think")}
        assert "thinkingConfig" not in ask(injecting, upstream, client, said_nothing, "to-google").get("generationConfig", {})
        think(injecting, mode="custom", budget=0)
        assert ask(injecting, upstream, client, body, "m-capped").get("thinking") in (None, {"type": "disabled"})
    finally:
        think(injecting, mode="passthrough")


def test_a_models_name_asks_for_thinking(injecting, upstream):
    body = {"messages": USER, "max_tokens": 20000}
    assert ask(injecting, upstream, "anthropic", body, "m-thinking")["thinking"] == {"type": "enabled", "budget_tokens": 10240}
    assert ask(injecting, upstream, "anthropic", {**body, "max_tokens": 2000}, "m-thinking")["thinking"]["budget_tokens"] == 1999
    assert ask(injecting, upstream, "anthropic", {**body, "thinking": {"type": "disabled"}}, "m-thinking")["thinking"] == {"type": "disabled"}
    assert "thinking" not in ask(injecting, upstream, "anthropic", {**body, "max_tokens": 900}, "m-thinking")


def test_a_models_name_asks_for_thinking_in_any_format(injecting, upstream):
    assert ask(injecting, upstream, "chat", {"messages": USER}, "chat-thinking")["reasoning_effort"] == "medium"
    assert ask(injecting, upstream, "chat", {"messages": USER, "reasoning_effort": "low"}, "chat-thinking")["reasoning_effort"] == "low"
    assert ask(injecting, upstream, "responses", {"input": "hi", "store": False}, "responses-thinking")["reasoning"] == {"effort": "medium"}
    sent = ask(injecting, upstream, "google", {"contents": PART, "generationConfig": {"topK": 3}}, "google-thinking")
    assert sent["generationConfig"] == {"topK": 3, "thinkingConfig": {"thinkingBudget": 10240}}
    assert ask(injecting, upstream, "google", {"contents": PART}, "google-thinking")["generationConfig"] == {"thinkingConfig": {"thinkingBudget": 10240}}
    assert ask(injecting, upstream, "ollama", {"messages": USER, "stream": False}, "ollama-thinking")["think"] is True


def test_a_model_thinks_no_more_than_it_can(injecting, upstream):
    body = {"messages": USER, "max_tokens": 200000}
    assert ask(injecting, upstream, "anthropic", {**body, "thinkingLevel": "max"}, "m-capped")["thinking"]["budget_tokens"] == 32000
    think(injecting, mode="custom", budget=100000)
    sent = ask(injecting, upstream, "anthropic", {**body, "thinking": {"type": "enabled", "budget_tokens": 2000}}, "m-capped")
    think(injecting, mode="passthrough", budget=10240)
    assert sent["thinking"]["budget_tokens"] == 32000


def test_thinking_crosses_formats(injecting, upstream):
    think(injecting, mode="custom", budget=0)
    sent = ask(injecting, upstream, "anthropic", {"messages": USER, "max_tokens": 20000, "thinking": {"type": "enabled", "budget_tokens": 9000}}, "to-chat")
    think(injecting, mode="passthrough", effort="medium", budget=10240)
    assert sent.get("reasoning_effort") in (None, "none", "minimal"), sent
    assert injecting.get("/sluice/v1/thinking-budget").json() == {"mode": "passthrough", "effort": "medium", "budget": 10240}
    for body in ({"mode": "manual"}, {"budget": 131073}, {"nope": 1}):
        assert injecting.call("PUT", "/sluice/v1/thinking-budget", body).status_code == 400


def fn(name):
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}


def names(name):
    return {"name": name, "input_schema": {"type": "object"}}


OWN_ROWS = [
    ("chat", {"messages": [{"role": "system", "content": "a"}, *USER, {"role": "developer", "content": "b"}]}, lambda b: b["messages"] == [{"role": "system", "content": OWN}, *USER]),
    ("chat", {"messages": [{"role": "system", "content": "only"}]}, lambda b: b["messages"] == [{"role": "system", "content": OWN}]),
    ("anthropic", {"messages": USER, "max_tokens": 9, "system": [{"type": "text", "text": "x"}]}, lambda b: b["system"] == OWN and b["messages"] == USER),
    ("responses", {"instructions": "x", "input": [{"role": "developer", "content": "b"}, *USER], "store": False}, lambda b: b["instructions"] == OWN and b["input"] == USER),
    ("google", {"contents": PART, "system_instruction": {"parts": [{"text": "x"}]}}, lambda b: b["systemInstruction"] == {"parts": [{"text": OWN}]} and "system_instruction" not in b),
    ("ollama", {"messages": USER, "stream": False}, lambda b: b["messages"] == [{"role": "system", "content": OWN}, *USER]),
    ("chat", {"messages": USER, "tools": [fn("get_a"), fn("set_b"), fn("web_c")], "tool_choice": "required"},
     lambda b: [t["function"]["name"] for t in b["tools"]] == ["get_a", "web_c"] and b["tool_choice"] == "required"),
    ("chat", {"messages": USER, "tools": [fn("get_a"), fn("set_b")], "tool_choice": {"type": "function", "function": {"name": "set_b"}}},
     lambda b: [t["function"]["name"] for t in b["tools"]] == ["get_a"] and "tool_choice" not in b),
    ("chat", {"messages": USER, "tools": [fn("set_b")], "tool_choice": "auto"}, lambda b: "tools" not in b and "tool_choice" not in b),
    ("anthropic", {"messages": USER, "max_tokens": 9, "tools": [names("get_a"), names("set_b"), {"type": "web_search_20250305", "name": "web_search"}]},
     lambda b: [t["name"] for t in b["tools"]] == ["get_a", "web_search"]),
    ("responses", {"input": "hi", "store": False, "tools": [{"type": "function", "name": "set_b"}, {"type": "web_search"}, {"type": "custom", "name": "get_\u0061"}]},
     lambda b: b["tools"] == [{"type": "web_search"}, {"type": "custom", "name": "get_a"}]),
    ("google", {"contents": PART, "tools": [{"functionDeclarations": [{"name": "get_a"}, {"name": "set_b"}]}, {"googleSearch": {}}, {"functionDeclarations": [{"name": "x"}]}]},
     lambda b: b["tools"] == [{"functionDeclarations": [{"name": "get_a"}]}, {"googleSearch": {}}]),
    ("ollama", {"messages": USER, "stream": False, "tools": [fn("set_b"), fn("get_a")]}, lambda b: [t["function"]["name"] for t in b["tools"]] == ["get_a"]),
]


@pytest.mark.parametrize("client, body, expected", OWN_ROWS, ids=["%s-%d" % (r[0], i) for i, r in enumerate(OWN_ROWS)])
def test_a_combo_says_its_own_and_leaves_tools_out(injecting, upstream, client, body, expected):
    sent = ask(injecting, upstream, client, body, "k-" + client)
    assert expected(sent), sent


def test_a_combos_own_words_replace_the_operators_and_cross_formats(injecting, upstream):
    set_prompt(injecting, enabled=True, prompt=PROMPT, except_models=[])
    sent = ask(injecting, upstream, "anthropic", {"messages": USER, "max_tokens": 9, "system": "x", "tools": [names("get_a"), names("set_b")]}, "k-chat")
    set_prompt(injecting, enabled=False)
    assert sent["messages"] == [{"role": "system", "content": OWN}, *USER] and [t["function"]["name"] for t in sent["tools"]] == ["get_a"], sent
    shown = injecting.get("/sluice/v1/combos/k-chat").json()
    assert shown["system_message"] == OWN and shown["tool_filter"] == "^(get|web)_"
    r = injecting.call("PATCH", "/sluice/v1/combos/k-chat", {"tool_filter": "(("})
    assert r.status_code == 400 and r.json()["error"]["param"] == "tool_filter", r.text
    assert injecting.call("PATCH", "/sluice/v1/combos/k-chat", {"tool_filter": "", "system_message": ""}).status_code == 200
    assert ask(injecting, upstream, "chat", {"messages": USER, "tools": [fn("set_b")]}, "k-chat")["tools"] == [fn("set_b")]
