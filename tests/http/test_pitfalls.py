"""The pitfalls of translation and the defects of other translators, one test each: what must not happen again."""
import base64
import json
import subprocess

import pytest
from conftest import basic_config
from formats import FORMATS
from formats.common import HELLO, THINKING, Ask, Call, Turn, Usage, dump, sse
from gateway import BINARY
from upstream import answer, http, stream

CHAT, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/messages", "/v1/responses"
USER = [{"role": "user", "content": "Hi"}]
FUNCTION = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
CROSS = [u for u in FORMATS if u != "chat"]


@pytest.fixture
def sent(sluice, upstream):
    """sent(path, body, up): what reached the upstream of that format, as JSON."""
    def send(path, body, up, turn=None, **options):
        upstream.reset()
        upstream.play(answer(FORMATS[up], turn or Turn(text=HELLO)))
        r = sluice.post(path, body, **options)
        assert r.status_code == 200, r.text
        FORMATS[up].understand(upstream.last)  # strict: it is a request that the vendor would accept
        return upstream.last.json

    return send


def chat(messages, up, **more):
    return {"model": "to-" + up, "messages": messages, **more}


def tool_round(call_id="call_1", result="18"):
    return [{"role": "user", "content": "x"},
            {"role": "assistant", "content": None, "tool_calls": [
                {"id": call_id, "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": call_id, "content": result}]


# Parameters

def test_max_tokens_has_a_default_for_anthropic(sent):
    assert sent(CHAT, chat(USER, "anthropic"), "anthropic")["max_tokens"] >= 1024


def test_the_new_spelling_of_max_tokens_wins(sent):
    body = sent(CHAT, chat(USER, "anthropic", max_tokens=5, max_completion_tokens=77), "anthropic")
    assert body["max_tokens"] == 77


def test_absent_stays_absent(sent):
    """Nothing is invented: no temperature, no penalties, no safety settings, no instructions, no tools."""
    for up, unwanted in (("anthropic", ["temperature", "top_p", "system", "tools", "tool_choice", "thinking", "metadata"]),
                         ("google", ["safetySettings", "systemInstruction", "tools", "toolConfig"]),
                         ("responses", ["instructions", "temperature", "tools", "tool_choice", "reasoning"]),
                         ("ollama", ["tools", "format", "think"])):
        body = sent(CHAT, chat(USER, up), up)
        assert not set(unwanted) & set(body), up
    body = sent(MESSAGES, {"model": "to-chat", "max_tokens": 9, "messages": USER}, "chat")
    assert not {"temperature", "top_p", "tools", "tool_choice", "stop", "n"} & set(body)


def test_responses_upstream_does_not_store_unasked(sent):
    assert sent(CHAT, chat(USER, "responses"), "responses")["store"] is False


def test_temperature_above_one_for_anthropic(sluice, sent):
    assert sent(CHAT, chat(USER, "anthropic", temperature=1.7), "anthropic")["temperature"] == 1


def test_stop_strings(sent):
    assert sent(CHAT, chat(USER, "anthropic", stop="END"), "anthropic")["stop_sequences"] == ["END"]
    assert sent(CHAT, chat(USER, "anthropic", stop=["END", "  \n"]), "anthropic")["stop_sequences"] == ["END"]
    body = sent(MESSAGES, {"model": "to-chat", "max_tokens": 5, "messages": USER,
                           "stop_sequences": list("abcdef")}, "chat")
    assert body["stop"] == list("abcd")
    assert sent(CHAT, chat(USER, "google", stop=["x"]), "google")["generationConfig"]["stopSequences"] == ["x"]


def test_thinking_and_its_limits_for_anthropic(sent):
    """A budget under max_tokens, no forced tool, no temperature."""
    body = sent(CHAT, chat(USER, "anthropic", reasoning_effort="high", max_tokens=2000, temperature=0.2,
                           tools=[FUNCTION], tool_choice="required"), "anthropic")
    thinking = body["thinking"]
    if thinking["type"] == "enabled":
        assert 1024 <= thinking["budget_tokens"] < body["max_tokens"]
    assert body.get("temperature", 1) == 1
    assert body["tool_choice"]["type"] == "auto"


def test_effort_and_budget(sent):
    for budget, effort in ((1024, "low"), (8000, "medium"), (30000, "high")):
        body = sent(MESSAGES, {"model": "to-chat", "max_tokens": 40000, "messages": USER,
                               "thinking": {"type": "enabled", "budget_tokens": budget}}, "chat")
        assert body["reasoning_effort"] == effort
    body = sent("/v1beta/models/to-chat:generateContent", {
        "contents": [{"role": "user", "parts": [{"text": "x"}]}],
        "generationConfig": {"thinkingConfig": {"thinkingBudget": 10240}}}, "chat")
    assert body["reasoning_effort"] == "medium"
    body = sent(CHAT, chat(USER, "google", reasoning_effort="high"), "google")
    config = body["generationConfig"]["thinkingConfig"]
    assert config.get("thinkingBudget", 0) > 10240 or config.get("thinkingLevel") == "high"


def test_user_and_metadata(sent):
    body = sent(CHAT, chat(USER, "anthropic", user="u-1"), "anthropic")
    assert body["metadata"] == {"user_id": "u-1"}
    body = sent(MESSAGES, {"model": "to-chat", "max_tokens": 5, "messages": USER, "metadata": {"user_id": "u-2"}}, "chat")
    assert "u-2" in (body.get("user"), body.get("safety_identifier"))


def test_foreign_extensions_are_not_forwarded(sluice, sent):
    body = sent(CHAT, chat(USER, "anthropic", zz_unknown={"a": 1}, prediction={"x": 1}), "anthropic")
    assert "zz_unknown" not in dump(body) and "prediction" not in body


def test_legacy_functions(sent):
    messages = [{"role": "user", "content": "x"},
                {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": '{"a":1}'}},
                {"role": "function", "name": "f", "content": "18"}, {"role": "user", "content": "y"}]
    body = sent(CHAT, chat(messages, "anthropic", functions=[{"name": "f", "parameters": {"type": "object"}}],
                           function_call="auto"), "anthropic")
    assert body["tools"][0]["name"] == "f"
    call = body["messages"][1]["content"][0]
    assert (call["type"], call["input"]) == ("tool_use", {"a": 1})
    assert body["messages"][2]["content"][0]["tool_use_id"] == call["id"]


# System messages

@pytest.mark.parametrize("up", CROSS)
def test_every_system_and_developer_message_arrives(sent, upstream, up):
    """None is lost, the content of arrays is not joined with spaces, the order stays."""
    sent(CHAT, chat([{"role": "system", "content": "one"}, {"role": "developer", "content": [
        {"type": "text", "text": "two"}, {"type": "text", "text": "three"}]}, {"role": "system", "content": "four"}]
        + USER, up), up)
    ask = FORMATS[up].understand(upstream.last)
    text = "|".join(m[1] for m in ask.messages if m[0] == "system")
    assert text.replace("\n\n", "|").replace("two|three", "twothree") == "one|twothree|four"


@pytest.mark.parametrize("up", CROSS)
def test_a_system_message_in_the_middle_stays_in_place(sent, upstream, up):
    sent(CHAT, chat([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"},
                     {"role": "system", "content": "MIDDLE"}, {"role": "user", "content": "c"}], up), up)
    words = [m[1] for m in FORMATS[up].understand(upstream.last).messages]
    joined = "|".join(words)
    assert joined.index("a") < joined.index("b") < joined.index("MIDDLE") < joined.rindex("c")


def test_system_role_inside_anthropic_messages(sent, upstream):
    """As Claude Code sends it."""
    sent(MESSAGES, {"model": "to-chat", "max_tokens": 5, "system": [{"type": "text", "text": "top"}],
                    "messages": [{"role": "user", "content": "a"}, {"role": "system", "content": "MIDDLE"},
                                 {"role": "user", "content": "b"}]}, "chat")
    assert [(m["role"], m["content"]) for m in upstream.last.json["messages"]] == [
        ("system", "top"), ("user", "a"), ("system", "MIDDLE"), ("user", "b")]


# Tools in the history

@pytest.mark.parametrize("up", ["responses", "anthropic", "google"])
def test_a_call_without_a_result_gets_one(sent, upstream, up):
    messages = tool_round()[:2] + [{"role": "user", "content": "never mind"}]
    sent(CHAT, chat(messages, up, tools=[FUNCTION]), up)
    results = [m for m in FORMATS[up].understand(upstream.last).messages if m[0] == "result"]
    assert len(results) == 1 and results[0][3] == "[No output available yet]"


@pytest.mark.parametrize("up", ["responses", "anthropic", "google"])
def test_a_result_without_a_call_is_dropped(sent, upstream, up):
    messages = [{"role": "user", "content": "x"}, {"role": "tool", "tool_call_id": "call_gone", "content": "18"}] + USER
    sent(CHAT, chat(messages, up, tools=[FUNCTION]), up)
    assert all(m[0] == "user" for m in FORMATS[up].understand(upstream.last).messages)


def test_results_out_of_order_and_twice(sent, upstream):
    """Call order, one for each id, the last one wins; all in one user message."""
    calls = [{"id": "call_%d" % i, "type": "function", "function": {"name": "f", "arguments": "{}"}} for i in (1, 2)]
    messages = [{"role": "user", "content": "x"}, {"role": "assistant", "content": None, "tool_calls": calls},
                {"role": "tool", "tool_call_id": "call_2", "content": "old"},
                {"role": "tool", "tool_call_id": "call_1", "content": "one"},
                {"role": "tool", "tool_call_id": "call_2", "content": "two"}]
    body = sent(CHAT, chat(messages, "anthropic", tools=[FUNCTION]), "anthropic")
    blocks = body["messages"][2]["content"]
    assert [b["tool_use_id"] for b in blocks] == ["call_1", "call_2"]
    assert "one" in dump(blocks[0]) and "two" in dump(blocks[1]) and "old" not in dump(body)


@pytest.mark.parametrize("call_id", ["call:1.2", "x" * 200, "ünïcode", "a b"])
def test_ids_that_the_target_cannot_hold(sent, upstream, call_id):
    """Rewritten the same way at every place, and never refused."""
    for up, longest in (("anthropic", 10**6), ("responses", 64)):
        sent(CHAT, chat(tool_round(call_id), up, tools=[FUNCTION]), up)
        messages = FORMATS[up].understand(upstream.last).messages
        used = {m[1].id for m in messages if m[0] == "call"} | {m[1] for m in messages if m[0] == "result"}
        assert len(used) == 1
        new = used.pop()
        assert len(new) <= longest
        if up == "anthropic":
            assert all(c.isascii() and (c.isalnum() or c in "_-") for c in new)


def test_long_ids_of_a_foreign_format_to_chat(sent, upstream):
    """OpenAI takes forty characters."""
    long = "toolu_" + "a" * 60
    sent(MESSAGES, {"model": "to-chat", "max_tokens": 5, "messages": [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": long, "name": "f", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": long, "content": "18"}]}],
        "tools": [{"name": "f", "input_schema": {"type": "object"}}]}, "chat")
    messages = upstream.last.json["messages"]
    assert messages[1]["tool_calls"][0]["id"] == messages[2]["tool_call_id"]
    assert len(messages[2]["tool_call_id"]) <= 40


def test_ids_reused_in_later_turns(sent, upstream):
    sent(CHAT, chat(tool_round("call_0", "first") + tool_round("call_0", "second"), "anthropic", tools=[FUNCTION]),
         "anthropic")
    results = [m[3] for m in FORMATS["anthropic"].understand(upstream.last).messages if m[0] == "result"]
    assert results == ["first", "second"]


@pytest.mark.parametrize("arguments,wanted", [
    ("", {}), ("{}", {}), ('{"a":1}', {"a": 1}), ("{broken", {"raw_arguments": "{broken"}), ("[1,2]", {"input": [1, 2]}),
    ('"text"', {"input": "text"}), ('{"n":12345678901234567890}', {"n": 12345678901234567890})])
def test_arguments_in_the_history(sent, arguments, wanted):
    messages = tool_round()
    messages[1]["tool_calls"][0]["function"]["arguments"] = arguments
    body = sent(CHAT, chat(messages, "anthropic", tools=[FUNCTION]), "anthropic")
    assert body["messages"][1]["content"][0]["input"] == wanted
    body = sent(CHAT, chat(messages, "google", tools=[FUNCTION]), "google")
    assert body["contents"][1]["parts"][0]["functionCall"]["args"] == wanted


def test_results_are_not_parsed_again(sent):
    """"1" stays a string, and an array of text parts is its text."""
    body = sent(CHAT, chat(tool_round(result='{"a": 1.0}'), "responses", tools=[FUNCTION]), "responses")
    assert [i for i in body["input"] if i.get("type") == "function_call_output"][0]["output"] == '{"a": 1.0}'
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    body = sent(MESSAGES, {"model": "to-chat", "max_tokens": 5, "messages": [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "f", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": parts}]}],
        "tools": [{"name": "f", "input_schema": {"type": "object"}}]}, "chat")
    assert body["messages"][2]["content"] in ("ab", parts)


def test_error_results_to_google_and_back(sent):
    body = sent(MESSAGES, {"model": "to-google", "max_tokens": 5, "messages": [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "f", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "no", "is_error": True}]}],
        "tools": [{"name": "f", "input_schema": {"type": "object"}}]}, "google")
    response = body["contents"][2]["parts"][0]["functionResponse"]
    assert response["response"] == {"error": "no"} and response["name"] == "f"


def test_images_in_results_to_chat(sent):
    """Text tells where they are, one user message behind the group holds them."""
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
    body = sent(MESSAGES, {"model": "to-chat", "max_tokens": 5, "messages": [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "f", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": [
            {"type": "text", "text": "see"}, image]}]}],
        "tools": [{"name": "f", "input_schema": {"type": "object"}}]}, "chat")
    after = body["messages"][3]
    assert after["role"] == "user"
    assert any(p.get("image_url", {}).get("url") == "data:image/png;base64,iVBORw0KGgo=" for p in after["content"])
    assert after["content"][0]["text"] == '<tool-content call-id="t1">' and after["content"][-1]["text"] == "</tool-content>"


# Tool definitions

def test_tool_choice_none_stays_none(sent):
    assert sent(CHAT, chat(USER, "anthropic", tools=[FUNCTION], tool_choice="none"), "anthropic")["tool_choice"] == {
        "type": "none"}
    body = sent(CHAT, chat(USER, "google", tools=[FUNCTION], tool_choice="none"), "google")
    assert body["toolConfig"]["functionCallingConfig"]["mode"] == "NONE"
    assert "tools" not in sent(CHAT, chat(USER, "ollama", tools=[FUNCTION], tool_choice="none"), "ollama")


def test_named_choice_and_parallel_flag(sent):
    named = {"type": "function", "function": {"name": "f"}}
    body = sent(CHAT, chat(USER, "anthropic", tools=[FUNCTION], tool_choice=named, parallel_tool_calls=False), "anthropic")
    assert body["tool_choice"] == {"type": "tool", "name": "f", "disable_parallel_tool_use": True}
    body = sent(CHAT, chat(USER, "anthropic", tools=[FUNCTION], parallel_tool_calls=False), "anthropic")
    assert body["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}
    body = sent(CHAT, chat(USER, "responses", tools=[FUNCTION], tool_choice=named), "responses")
    assert body["tool_choice"] == {"type": "function", "name": "f"}


def test_choice_without_tools_is_stripped(sent):
    body = sent(CHAT, chat(USER, "anthropic", tools=[], tool_choice="auto", parallel_tool_calls=True), "anthropic")
    assert "tools" not in body and "tool_choice" not in body


def test_strict_defaults_differ(sent):
    """Absent is false in Chat and true in Responses."""
    assert sent(CHAT, chat(USER, "responses", tools=[FUNCTION]), "responses")["tools"][0]["strict"] is False
    strict = {"type": "function", "function": {**FUNCTION["function"], "strict": True}}
    assert sent(CHAT, chat(USER, "responses", tools=[strict]), "responses")["tools"][0]["strict"] is True
    body = sent(RESPONSES, {"model": "to-chat", "input": "x", "tools": [
        {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}, "strict": True}]}, "chat")
    assert body["tools"][0]["function"]["strict"] is True


def test_one_tools_element_for_google(sent):
    two = [FUNCTION, {"type": "function", "function": {"name": "g"}}]
    body = sent(CHAT, chat(USER, "google", tools=two), "google")
    assert len(body["tools"]) == 1
    assert [d["name"] for d in body["tools"][0]["functionDeclarations"]] == ["f", "g"]


def test_a_property_called_const_survives(sent):
    schema = {"type": "object", "required": ["const", "$ref"], "additionalProperties": False,
              "properties": {"const": {"type": "string"}, "$ref": {"type": "integer"}, "k": {"const": "v"}}}
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    for up in ("anthropic", "google", "responses", "ollama"):
        body = sent(CHAT, chat(USER, up, tools=[tool]), up)
        assert '"const":{' in dump(body).replace(" ", "")
        assert '"$ref":{' in dump(body).replace(" ", "")


def test_anthropic_schema_gets_a_type(sent):
    body = sent(CHAT, chat(USER, "anthropic", tools=[{"type": "function", "function": {"name": "f"}}]), "anthropic")
    assert body["tools"][0]["input_schema"] == {"type": "object", "properties": {}}


def test_tool_names_that_a_format_cannot_hold_come_back_as_they_were(sluice, upstream):
    """Google allows dots and colons, OpenAI does not: renamed on the way, and back in the answer."""
    async def script(conn, request):
        name = request.json["tools"][0]["function"]["name"]
        await answer(FORMATS["chat"], Turn(calls=[Call(name, "{}", "c1")], finish="tool_calls"))(conn, request)

    upstream.play(script)
    r = sluice.post("/v1beta/models/to-chat:generateContent", {
        "contents": [{"role": "user", "parts": [{"text": "x"}]}],
        "tools": [{"functionDeclarations": [{"name": "files.read:all", "description": "d"}]}]})
    name = upstream.last.json["tools"][0]["function"]["name"]
    assert all(c.isalnum() or c in "_-" for c in name)
    assert FORMATS["google"].read(r.content).calls[0].name == "files.read:all"


@pytest.mark.parametrize("names", [["a.b", "a_b"], ["a_b", "a.b"], ["a.b", "a:b", "a_b"], ["x" * 70, "x" * 71, "x" * 64]])
def test_a_renamed_tool_never_takes_the_name_of_another(sluice, upstream, names):
    """Names that need no change are kept, wherever in the list they stand, and each call comes back to the tool it was for."""
    asked = {"contents": [{"role": "user", "parts": [{"text": "x"}]}], "tools": [{"functionDeclarations": [{"name": n} for n in names]}]}
    upstream.play(answer(FORMATS["chat"], Turn(text="x")))
    sluice.post("/v1beta/models/to-chat:generateContent", asked)
    sent = [t["function"]["name"] for t in upstream.last.json["tools"]]
    assert len(set(sent)) == len(names)
    assert all(s == n for n, s in zip(names, sent) if len(n) <= 64 and "." not in n and ":" not in n)
    upstream.play(answer(FORMATS["chat"], Turn(calls=[Call(s, "{}", "c%d" % i) for i, s in enumerate(sent)], finish="tool_calls")))
    r = sluice.post("/v1beta/models/to-chat:generateContent", asked)
    assert [c.name for c in FORMATS["google"].read(r.content).calls] == names


def test_hosted_tools_that_the_target_lacks_are_refused_by_name(sluice, upstream):
    r = sluice.post(RESPONSES, {"model": "to-chat", "input": "x", "tools": [{"type": "file_search", "vector_store_ids": ["v"]}]})
    assert r.status_code == 400 and "file_search" in r.json()["error"]["message"]
    assert not upstream.requests


# Content

def test_text_parts_are_not_joined_with_spaces(sent, upstream):
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    for up in CROSS:
        sent(CHAT, chat([{"role": "user", "content": parts}], up), up)
        assert "".join(m[1] for m in FORMATS[up].understand(upstream.last).messages) == "ab"


def test_empty_texts_for_anthropic(sent):
    messages = [{"role": "user", "content": [{"type": "text", "text": ""}, {"type": "text", "text": "x"}]},
                {"role": "assistant", "content": ""}, {"role": "user", "content": "y"}]
    body = sent(CHAT, chat(messages, "anthropic"), "anthropic")
    assert '"text":""' not in dump(body)


def test_prefill_is_right_trimmed_for_anthropic(sent):
    body = sent(CHAT, chat(USER + [{"role": "assistant", "content": "It is \n"}], "anthropic"), "anthropic")
    last = body["messages"][-1]
    text = last["content"] if isinstance(last["content"], str) else last["content"][-1]["text"]
    assert last["role"] == "assistant" and text == "It is"


def test_pdf_documents(sent):
    pdf = "data:application/pdf;base64,JVBERi0xLjQ="
    part = {"type": "file", "file": {"filename": "a.pdf", "file_data": pdf}}
    body = sent(CHAT, chat([{"role": "user", "content": [{"type": "text", "text": "x"}, part]}], "anthropic"), "anthropic")
    block = body["messages"][0]["content"][1]
    assert block["type"] == "document"
    assert block["source"] == {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0xLjQ="}
    body = sent(CHAT, chat([{"role": "user", "content": [{"type": "text", "text": "x"}, part]}], "google"), "google")
    assert body["contents"][0]["parts"][1]["inlineData"] == {"mimeType": "application/pdf", "data": "JVBERi0xLjQ="}
    body = sent(RESPONSES, {"model": "to-anthropic", "input": [{"role": "user", "content": [
        {"type": "input_file", "filename": "a.pdf", "file_data": pdf}, {"type": "input_text", "text": "x"}]}]}, "anthropic")
    assert body["messages"][0]["content"][0]["source"]["media_type"] == "application/pdf"


def test_image_urls_to_private_addresses_are_not_fetched(sluice, upstream):
    """Formats without URL images would need a fetch: never from inside the network."""
    for url in (upstream.origin + "/secret.png", "http://169.254.169.254/latest", "file:///etc/passwd", "http://localhost/x.png"):
        upstream.reset()
        r = sluice.post(CHAT, chat([{"role": "user", "content": [
            {"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": url}}]}], "ollama"))
        assert r.status_code == 400, r.text
        assert not upstream.requests


def test_reasoning_of_foreign_origin_is_dropped_from_history(sent):
    history = [{"role": "user", "content": "a"}, {"role": "assistant", "content": [
        {"type": "thinking", "thinking": "SECRET-THOUGHT", "signature": "c2ln"}, {"type": "text", "text": "b"}]},
        {"role": "user", "content": "c"}]
    for up in ("chat", "responses", "google", "ollama"):
        body = sent(MESSAGES, {"model": "to-" + up, "max_tokens": 9, "messages": history}, up)
        assert "SECRET-THOUGHT" not in dump(body) and "c2ln" not in dump(body), up


def test_cache_marks_do_not_travel(sent):
    mark = {"type": "ephemeral"}
    body = sent(MESSAGES, {"model": "to-chat", "max_tokens": 9, "system": [
        {"type": "text", "text": "s", "cache_control": mark}], "messages": [
        {"role": "user", "content": [{"type": "text", "text": "x", "cache_control": mark}]}]}, "chat")
    assert "cache_control" not in dump(body)


# Odd spellings of requests

def test_google_in_snake_case_and_other_shapes(sent, upstream):
    sent("/v1beta/models/models%2Fto-chat:generateContent", {
        "system_instruction": {"parts": {"text": "sys"}},
        "contents": [{"parts": {"text": "x"}}],
        "generation_config": {"max_output_tokens": 7, "top_p": 0.5, "stop_sequences": ["E"]},
        "tools": [{"function_declarations": [{"name": "f"}]}],
        "tool_config": {"function_calling_config": {"mode": "any", "allowed_function_names": ["f"]}}}, "chat")
    ask = FORMATS["chat"].understand(upstream.last)
    assert ask.messages == [("system", "sys"), ("user", "x")]
    assert (ask.max_tokens, ask.top_p, ask.stop, ask.tool_choice) == (7, 0.5, ["E"], ("tool", "f"))


def test_google_results_are_matched_by_name_without_ids(sent, upstream):
    sent("/v1beta/models/to-chat:generateContent", {"contents": [
        {"role": "user", "parts": [{"text": "x"}]},
        {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}, {"functionCall": {"name": "g", "args": {}}}]},
        {"role": "function", "parts": [{"functionResponse": {"name": "g", "response": {"result": "two"}}},
                                       {"functionResponse": {"name": "f", "response": {"a": 1}}}]}],
        "tools": [{"functionDeclarations": [{"name": "f"}, {"name": "g"}]}]}, "chat")
    messages = upstream.last.json["messages"]
    ids = [c["id"] for c in messages[1]["tool_calls"]]
    assert [m["tool_call_id"] for m in messages[2:]] == ids
    assert json.loads(messages[2]["content"]) == {"a": 1} and messages[3]["content"] == "two"


def test_responses_input_shapes(sent, upstream):
    sent(RESPONSES, {"model": "to-chat", "instructions": "top", "input": [
        {"role": "developer", "content": "dev"}, {"role": "user", "content": "a"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "b", "annotations": []}]},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "zzz"},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "18"}]},
        {"role": "user", "content": [{"type": "input_text", "text": "c"}]}],
        "tools": [{"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}]}, "chat")
    ask = FORMATS["chat"].understand(upstream.last)
    assert [(m[0], m[1] if m[0] not in ("call", "result") else None) for m in ask.messages] == [
        ("system", "top"), ("system", "dev"), ("user", "a"), ("assistant", "b"), ("call", None), ("result", None), ("user", "c")]
    assert "zzz" not in dump(upstream.last.json)


# Streams as upstreams really send them

def chunks(*deltas, finish="stop", usage=None, **more):
    """A chat stream of hand-made deltas."""
    def event(choices, **members):
        return sse(dump({"id": "c1", "object": "chat.completion.chunk", "created": 1700000000, "model": "m",
                         "choices": choices, **members}))

    out = [event([{"index": 0, "delta": d, "finish_reason": None}]) for d in deltas]
    if finish:
        out.append(event([{"index": 0, "delta": {}, "finish_reason": finish}]))
    if usage:
        out.append(event([], usage=usage))
    return out + [sse("[DONE]")]


def call_delta(index, arguments=None, call_id=None, name=None):
    function = {k: v for k, v in (("name", name), ("arguments", arguments)) if v is not None}
    return {"tool_calls": [{k: v for k, v in (("index", index), ("id", call_id), ("function", function)) if v is not None}]}


def through(sluice, upstream, frames, client, tools=True):
    f = FORMATS[client]
    upstream.play(stream(frames, "text/event-stream"))
    ask = Ask(model="to-chat", stream=True, tools=[("f", "d", {"type": "object", "properties": {}}),
                                                   ("g", "d", {"type": "object", "properties": {}})] if tools else [])
    r = sluice.post(f.path(ask), f.request(ask))
    assert r.status_code == 200, r.text
    return f.read_stream(r.content)


others = pytest.mark.parametrize("client", CROSS)


@others
def test_interleaved_parallel_arguments(sluice, upstream, client):
    got = through(sluice, upstream, chunks(
        {"role": "assistant", "content": None}, call_delta(0, "", "c0", "f"), call_delta(1, "", "c1", "g"),
        call_delta(0, '{"a":'), call_delta(1, '{"b":'), call_delta(0, "1}"), call_delta(1, "2}"), finish="tool_calls"), client)
    assert [(c.name, json.loads(c.arguments)) for c in got.calls] == [("f", {"a": 1}), ("g", {"b": 2})]
    assert got.finish == "tool_calls"


@others
def test_a_call_in_one_chunk_with_the_wrong_finish(sluice, upstream, client):
    """`stop` although there are calls, and no index."""
    got = through(sluice, upstream, chunks(
        {"role": "assistant"}, {"tool_calls": [{"id": "c0", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}]},
        {"tool_calls": [{"id": "c1", "type": "function", "function": {"name": "g", "arguments": ""}}]}, finish="stop"), client)
    assert [(c.name, json.loads(c.arguments or "{}")) for c in got.calls] == [("f", {"a": 1}), ("g", {})]
    assert got.finish == "tool_calls"


@others
def test_a_new_id_at_the_same_index_is_a_new_call(sluice, upstream, client):
    got = through(sluice, upstream, chunks(
        call_delta(0, '{"a":1}', "c0", "f"), call_delta(0, '{"b":2}', "c1", "g"), finish="tool_calls"), client)
    assert [(c.name, json.loads(c.arguments)) for c in got.calls] == [("f", {"a": 1}), ("g", {"b": 2})]


@others
def test_reasoning_text_and_two_calls_are_separate_blocks(sluice, upstream, client):
    """The block structure is checked by the readers; another translator puts all of it into block 0."""
    got = through(sluice, upstream, chunks(
        {"role": "assistant", "content": ""}, {"reasoning_content": "think "}, {"reasoning_content": "more"},
        {"content": "say "}, {"content": "this"}, call_delta(0, "{}", "c0", "f"), call_delta(1, "{}", "c1", "g"),
        finish="tool_calls"), client)
    assert (got.text, [c.name for c in got.calls]) == ("say this", ["f", "g"])
    if client != "google":  # thoughts only where the client asked for them
        assert got.reasoning == "think more"


@others
def test_usage_after_finish_never_comes(sluice, upstream, client):
    got = through(sluice, upstream, chunks({"role": "assistant", "content": "x"}), client, tools=False)
    assert got.text == "x" and got.finish == "stop"


@others
def test_usage_with_details_behind_finish(sluice, upstream, client):
    got = through(sluice, upstream, chunks({"content": "x"}, usage={
        "prompt_tokens": 50, "completion_tokens": 20, "total_tokens": 70,
        "prompt_tokens_details": {"cached_tokens": 30}, "completion_tokens_details": {"reasoning_tokens": 5}}), client)
    wanted = Usage(50, 20, 30, 5)
    for count in FORMATS[client].counts:
        assert getattr(got.usage, count) == getattr(wanted, count)


@others
def test_framing_oddities(sluice, upstream, client):
    """CRLF, no space after the colon, comments, ids, an event over several data lines, a preflight chunk, a BOM, and no
    blank line at the end."""
    data = dump({"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m",
                 "choices": [{"index": 0, "delta": {"content": "é 1"}, "finish_reason": None}]})
    half = data.index('"choices"')
    frames = [b"\xef\xbb\xbf", b": hello\r\n\r\n",
              b'data: {"id":"","object":"","created":0,"model":"","choices":[],"prompt_filter_results":[]}\r\n\r\n',
              b"event: message\nid: 7\nretry: 10\ndata:" + data.encode() + b"\n\n",
              b"data: " + data[:half].encode() + b"\ndata: " + data[half:].replace("é 1", " 2").encode() + b"\r\n\r\n",
              b": keep-alive\n\n",
              b"data: " + data.replace('"finish_reason":null', '"finish_reason":"stop"').replace("é 1", " 3").encode() + b"\n\n",
              b"data: [DONE]"]
    assert through(sluice, upstream, frames, client).text == "é 1 2 3"


def test_empty_answers(sluice, upstream):
    for client in FORMATS:
        for up in FORMATS:
            upstream.play(answer(FORMATS[up], Turn(text="")))
            if up in ("google",) or client == up:
                continue
            f, ask = FORMATS[client], Ask(model="to-" + up)
            got = f.read(sluice.post(f.path(ask), f.request(ask)).content)
            assert got.text == "" and got.finish == "stop", (client, up)


def test_google_blocked_prompt(sluice, upstream):
    """No candidates but a reason: a filter, not a failure."""
    upstream.play(http(200, dump({"promptFeedback": {"blockReason": "SAFETY"}, "modelVersion": "g", "responseId": "r",
                                  "usageMetadata": {"promptTokenCount": 4, "totalTokenCount": 4}})))
    r = sluice.post(CHAT, chat(USER, "google"))
    assert r.status_code == 200, r.text
    assert r.json()["choices"][0]["finish_reason"] == "content_filter"


def test_google_finish_reasons(sluice, upstream):
    for reason, wanted in (("RECITATION", "content_filter"), ("BLOCKLIST", "content_filter"), ("MAX_TOKENS", "length")):
        body = FORMATS["google"].reply(Turn(text="x"))
        body["candidates"][0]["finishReason"] = reason
        upstream.play(http(200, dump(body)))
        assert sluice.post(CHAT, chat(USER, "google")).json()["choices"][0]["finish_reason"] == wanted, reason


def test_thoughts_are_shown_to_google_only_if_asked(sluice, upstream):
    upstream.play(answer(FORMATS["chat"], Turn(text=HELLO, reasoning=THINKING)))
    r = sluice.post("/v1beta/models/to-chat:generateContent", {"contents": [{"role": "user", "parts": [{"text": "x"}]}]})
    assert THINKING not in r.text
    assert FORMATS["google"].read(r.content).text == HELLO


def test_anthropic_usage_adds_the_cache(sluice, upstream):
    """input_tokens of Anthropic leave the cache out, prompt_tokens of OpenAI count it in."""
    body = FORMATS["anthropic"].reply(Turn(text="x"))
    body["usage"] = {"input_tokens": 10, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 1000, "output_tokens": 7}
    upstream.play(http(200, dump(body)))
    usage = sluice.post(CHAT, chat(USER, "anthropic")).json()["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (1110, 7, 1117)
    assert usage["prompt_tokens_details"]["cached_tokens"] == 100


def test_anthropic_stream_usage_is_cumulative(sluice, upstream):
    frames = FORMATS["anthropic"].events(Turn(text="x", usage=Usage(40, 9, 16)))
    extra = sse(dump({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None},
                      "usage": {"input_tokens": 24, "cache_read_input_tokens": 16, "output_tokens": 9}}), "message_delta")
    upstream.play(stream(frames[:-2] + [extra] + frames[-1:], "text/event-stream"))
    got = FORMATS["chat"].read_stream(sluice.post(CHAT, FORMATS["chat"].request(Ask(model="to-anthropic", stream=True))).content)
    assert (got.usage.input, got.usage.cached, got.usage.output) == (40, 16, 9)


def test_responses_echo_the_request(sluice, upstream):
    upstream.play(answer(FORMATS["chat"], Turn(text=HELLO)))
    r = sluice.post(RESPONSES, {"model": "to-chat", "input": "x", "instructions": "sys", "temperature": 0.25,
                                "max_output_tokens": 99, "metadata": {"a": "b"}, "store": False, "tools": [
                                    {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}]}).json()
    assert (r["instructions"], r["temperature"], r["max_output_tokens"], r["metadata"]) == ("sys", 0.25, 99, {"a": "b"})
    assert r["tools"][0]["name"] == "f" and "strict" in r["tools"][0]
    assert r["parallel_tool_calls"] is True and r["tool_choice"] == "auto" and r["truncation"] == "disabled"


def test_ids_have_the_prefix_of_their_format(sluice, upstream):
    upstream.play(answer(FORMATS["google"], Turn(text=HELLO)))
    for client, prefix in (("chat", "chatcmpl-"), ("responses", "resp_"), ("anthropic", "msg_")):
        f, ask = FORMATS[client], Ask(model="to-google")
        assert f.read(sluice.post(f.path(ask), f.request(ask)).content).id.startswith(prefix)


def test_citations(sluice, upstream):
    """A web citation of one vendor is one of the other."""
    body = FORMATS["responses"].reply(Turn(text="See this."))
    body["output"][0]["content"][0]["annotations"] = [{"type": "url_citation", "start_index": 0, "end_index": 3,
                                                       "url": "https://example.org/a", "title": "A"}]
    upstream.play(http(200, dump(body)))
    message = sluice.post(CHAT, chat(USER, "responses")).json()["choices"][0]["message"]
    assert message["annotations"][0]["url_citation"]["url"] == "https://example.org/a"


CLAIM = "Claim é 🙂."
PAGE = {"url": "https://example.org/a", "title": "A"}


def cited_by_anthropic():
    body = FORMATS["anthropic"].reply(Turn(text="x"))
    body["content"] = [
        {"type": "text", "text": "So: "},
        {"type": "text", "text": CLAIM, "citations": [{"type": "web_search_result_location", "cited_text": "foo", "encrypted_index": "e", **PAGE}]},
        {"type": "text", "text": " More.", "citations": [{"type": "char_location", "cited_text": "bar", "document_index": 0,
                                                          "document_title": "D", "start_char_index": 0, "end_char_index": 3}]}]
    return body


def frames_of(body):
    """The reply as Anthropic streams it: citations may come before the text that they are of."""
    yield sse(dump({"type": "message_start", "message": {**body, "content": [], "stop_reason": None}}), "message_start")
    for i, block in enumerate(body["content"]):
        yield sse(dump({"type": "content_block_start", "index": i, "content_block": {"type": "text", "text": ""}}), "content_block_start")
        for delta in [{"type": "citations_delta", "citation": c} for c in block.get("citations", [])] + [{"type": "text_delta", "text": block["text"]}]:
            yield sse(dump({"type": "content_block_delta", "index": i, "delta": delta}), "content_block_delta")
        yield sse(dump({"type": "content_block_stop", "index": i}), "content_block_stop")
    yield sse(dump({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None},
                    "usage": {"output_tokens": 3}}), "message_delta")
    yield sse(dump({"type": "message_stop"}), "message_stop")


def test_a_citation_of_anthropic_is_of_its_block(sluice, upstream):
    """Its offsets are into a document; in the answer it stands for the block that it came with."""
    upstream.play(http(200, dump(cited_by_anthropic())))
    r = sluice.post(CHAT, chat(USER, "anthropic"))
    message = r.json()["choices"][0]["message"]
    [found] = [a["url_citation"] for a in message["annotations"]]
    assert found["url"] == PAGE["url"] and message["content"][found["start_index"]:found["end_index"]] == CLAIM
    assert r.headers["x-sluice-dropped"] == "citations"  # the document's
    r = sluice.post(RESPONSES, {"model": "to-anthropic", "input": "x", "store": False})
    parts = [p for item in r.json()["output"] for p in item["content"]]
    [(text, found)] = [(p["text"], a) for p in parts for a in p["annotations"]]
    assert text[found["start_index"]:found["end_index"]] == CLAIM
    r = sluice.post("/api/chat", {"model": "to-anthropic", "messages": USER, "stream": False})
    assert r.headers["x-sluice-dropped"] == "citations"

    upstream.play(stream(list(frames_of(cited_by_anthropic()))))
    text, found = "", []
    for line in sluice.post(CHAT, chat(USER, "anthropic", stream=True)).text.splitlines():
        for choice in json.loads(line[6:])["choices"] if line.startswith("data: {") else []:
            text += choice["delta"].get("content") or ""
            found += choice["delta"].get("annotations", [])
    assert [text[a["url_citation"]["start_index"]:a["url_citation"]["end_index"]] for a in found] == [CLAIM]


def test_citations_are_not_made_up(sluice, upstream):
    body = FORMATS["responses"].reply(Turn(text="See " + CLAIM))
    body["output"][0]["content"][0]["annotations"] = [
        {"type": "file_citation", "file_id": "f", "index": 0, "filename": "n.txt"},
        {"type": "url_citation", "start_index": 4, "end_index": 4 + len(CLAIM), **PAGE}]
    upstream.play(http(200, dump(body)))
    r = sluice.post(MESSAGES, {"model": "to-responses", "max_tokens": 9, "messages": USER})
    [found] = r.json()["content"][0]["citations"]
    assert (found["type"], found["url"], found["cited_text"]) == ("web_search_result_location", PAGE["url"], CLAIM)
    assert r.headers["x-sluice-dropped"] == "citations"
    r = sluice.post("/v1beta/models/to-responses:generateContent", {"contents": [{"role": "user", "parts": [{"text": "x"}]}]})
    sources = r.json()["candidates"][0]["citationMetadata"]["citationSources"]
    assert [(s.get("uri"), s["title"]) for s in sources] == [(None, "n.txt"), (PAGE["url"], "A")]


FOREIGN = {
    "anthropic": (lambda b: b["content"].extend([
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
        {"type": "web_search_tool_result", "tool_use_id": "s", "content": []}, {"type": "redacted_thinking", "data": "zz"}]),
                  {"server_tool_use", "web_search_tool_result", "redacted_thinking"}),
    "google": (lambda b: b["candidates"][0]["content"]["parts"].extend([
        {"executableCode": {"language": "PYTHON", "code": "1"}}, {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}}]),
               {"executableCode", "codeExecutionResult"}),
    "responses": (lambda b: b["output"].extend([
        {"type": "web_search_call", "id": "ws_1", "status": "completed"},
        {"type": "code_interpreter_call", "id": "ci_1", "code": "1", "status": "completed", "container_id": "c", "outputs": []}]),
                  {"web_search_call", "code_interpreter_call"})}


@pytest.mark.parametrize("up", FOREIGN)
def test_what_only_its_own_format_can_carry_is_named(sluice, upstream, up):
    add, names = FOREIGN[up]
    body = FORMATS[up].reply(Turn(text=HELLO))
    add(body)
    upstream.play(http(200, dump(body)))
    for client in FORMATS:
        f, ask = FORMATS[client], Ask(model="to-" + up)
        r = sluice.post(f.path(ask), f.request(ask))
        assert r.status_code == 200, r.text
        dropped = set(r.headers.get("x-sluice-dropped", "").split(", ")) - {""}
        assert dropped == (set() if client == up else names), client


def test_what_a_request_loses_is_named(sluice, upstream):
    for path, up, body, names in (
            (RESPONSES, "chat", {"input": "x", "store": False, "metadata": {"a": "b"}}, {"metadata"}),
            (RESPONSES, "anthropic", {"input": "x", "store": False, "include": ["reasoning.encrypted_content"]}, {"include"}),
            (MESSAGES, "chat", {"max_tokens": 9, "messages": [{"role": "user", "content": [
                {"type": "document", "title": "T", "context": "C", "citations": {"enabled": True},
                 "source": {"type": "text", "media_type": "text/plain", "data": "t"}}]}]},
             {"document.title", "document.context", "document.citations"})):
        r = sluice.post(path, {"model": "to-" + up, **body})
        assert r.status_code == 200, r.text
        assert names <= set(r.headers.get("x-sluice-dropped", "").split(", ")), r.headers


def test_logprobs_across_the_openai_formats(sluice, upstream):
    body = FORMATS["chat"].reply(Turn(text="x"))
    logprobs = {"content": [{"token": "x", "logprob": -0.1, "bytes": [120], "top_logprobs": []}], "refusal": None}
    body["choices"][0]["logprobs"] = logprobs
    upstream.play(http(200, dump(body)))
    r = sluice.post(RESPONSES, {"model": "to-chat", "input": "x", "include": ["message.output_text.logprobs"], "store": False})
    assert r.json()["output"][0]["content"][0]["logprobs"][0]["token"] == "x"
    assert upstream.last.json["logprobs"] is True


def test_several_choices_keep_apart(sluice, upstream):
    """n=2 to a format that can, from one that can."""
    body = FORMATS["google"].reply(Turn(text="first"))
    body["candidates"].append({"content": {"parts": [{"text": "second"}], "role": "model"}, "finishReason": "STOP", "index": 1})
    upstream.play(http(200, dump(body)))
    r = sluice.post(CHAT, chat(USER, "google", n=2))
    assert upstream.last.json["generationConfig"]["candidateCount"] == 2
    assert [c["message"]["content"] for c in r.json()["choices"]] == ["first", "second"]
    assert [c["index"] for c in r.json()["choices"]] == [0, 1]


@pytest.mark.parametrize("model", ["to-anthropic", "to-plain"])
def test_structured_output_for_anthropic_comes_back_as_text(sluice, upstream, model):
    """However it is said or emulated, the client sees JSON text and `stop`."""
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}

    async def script(conn, request):
        forced = (request.json.get("tool_choice") or {}).get("name")
        turn = Turn(calls=[Call(forced, '{"a":1}', "t1")], finish="tool_calls") if forced else Turn(text='{"a":1}')
        await answer(FORMATS["anthropic"], turn)(conn, request)

    upstream.play(script)
    for client in ("chat", "responses", "google", "ollama"):
        for streaming in (False, True):
            f, ask = FORMATS[client], Ask(model=model, schema=schema, stream=streaming)
            r = sluice.post(f.path(ask), f.request(ask))
            got = (f.read_stream if streaming else f.read)(r.content)
            assert json.loads(got.text) == {"a": 1} and got.finish == "stop" and not got.calls, client
            assert '"a"' in upstream.last.body.decode(), "the schema did not arrive"


SOUND = [sse(dump({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m",
                   "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}))
         for delta, finish in (({"role": "assistant", "content": None}, None), ({"audio": {"id": "a", "transcript": "Hel"}}, None),
                               ({"audio": {"id": "a", "data": "AAEC"}}, None), ({"audio": {"id": "a", "transcript": "lo."}}, None),
                               ({"audio": {"id": "a", "expires_at": 9}}, None), ({}, "stop"))] + [b"data: [DONE]\n\n"]


@pytest.mark.parametrize("client", ["anthropic", "responses", "ollama", "google"])
@pytest.mark.parametrize("how", ["whole", "events"])
def test_sound_of_a_stream_is_not_lost_in_silence(sluice, upstream, client, how):
    """The transcript stands in for the sound where the format has no place for it, and the loss is named."""
    upstream.play(stream(SOUND, how=how))
    f, ask = FORMATS[client], Ask(model="to-chat", stream=True)
    r = sluice.post(f.path(ask), f.request(ask))
    if client == "google":
        assert "audio/L16;codec=pcm;rate=24000" in r.text and "AAEC" in r.text
    else:
        assert f.read_stream(r.content).text == "Hello."
    if how == "whole":  # else the head is out before the sound comes
        assert r.headers["x-sluice-dropped"] == ("audio.transcript" if client == "google" else "audio")


@pytest.fixture
def stopping(start_sluice, scripted):
    config = basic_config(scripted.origin)
    config["server"]["emulate_stop"] = True
    return start_sluice(config)


@pytest.mark.parametrize("client", ["chat", "anthropic", "google", "ollama"])
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_stop_sequences_for_an_upstream_that_has_none(stopping, upstream, client, size):
    f, up = FORMATS[client], FORMATS["responses"]
    for text, stop, expected in ((HELLO, ["zzz", "日本語"], HELLO[:HELLO.index("日本語")]), ("one two", ["twofold"], "one two"),
                                 ("stop at once", ["stop"], "")):
        for streaming in (False, True):
            upstream.reset()
            ask = Ask(model="to-responses", stream=streaming, stop=stop)
            frames = up.events(Turn(text=text))
            upstream.play(stream(frames, how=size) if streaming else answer(up, Turn(text=text)))
            r = stopping.post(f.path(ask), f.request(ask))
            assert r.status_code == 200, r.text
            got = (f.read_stream if streaming else f.read)(r.content)
            assert (got.text, got.finish) == (expected, "stop"), (text, streaming)
            assert "stop" not in r.headers.get("x-sluice-dropped", "") and "stop" not in upstream.last.json
            if client == "anthropic" and expected != text:
                assert stop[-1] in r.text and '"stop_reason":"stop_sequence"' in r.text


def test_a_stopped_stream_lets_its_upstream_go(stopping, upstream):
    """What comes behind the sequence would be paid for by nobody's wish."""
    up, frames = FORMATS["responses"], FORMATS["responses"].events(Turn(text="one END two"))
    upstream.play(stream(frames[:-1], end="silence"))
    for path, body in ((CHAT, chat(USER, "responses", stop="END", stream=True)), (CHAT, chat(USER, "responses", stop="END"))):
        r = stopping.post(path, body)
        assert r.status_code == 200 and "one" in r.text and "two" not in r.text
        assert upstream.last.gone.wait(30)


def test_stop_is_named_where_nobody_heeds_it(sluice, upstream):
    upstream.play(answer(FORMATS["responses"], Turn(text="one END two")))
    r = sluice.post(CHAT, chat(USER, "responses", stop="END"))
    assert r.headers["x-sluice-dropped"] == "stop" and r.json()["choices"][0]["message"]["content"] == "one END two"


# What an operator knows of a server

def test_quirks_of_providers_and_of_kinds_of_ones_own(start_sluice, scripted, upstream, tmp_path):
    """Those of a provider count more than its kind's, and these more than what is known of a model."""
    config = basic_config(scripted.origin)
    config["kinds"] = {"mine": {"title": "Mine", "prefix": "m", "base": "openai-compatible", "api": "chat", "base_url": scripted.origin + "/v1",
                                "quirks": {"no_system_role": True, "max_tokens_old": False}}}
    config["providers"] |= {
        "own": {"type": "mine", "api_key": "k"}, "other": {"type": "mine", "api_key": "k", "quirks": {"no_system_role": False}},
        "old": {"type": "google", "api_key": "k", "base_url": scripted.origin, "quirks": {"https_file_uri": False, "schema_gemini": True}}}
    s = start_sluice(config)
    ask = {"max_tokens": 9, "system": "Be brief.", "messages": USER}
    upstream.play(answer(FORMATS["chat"], Turn(text=HELLO)))
    assert s.post(MESSAGES, {"model": "own/x", **ask}).status_code == 200
    assert [m["role"] for m in upstream.last.json["messages"]] == ["user"] and upstream.last.json["max_completion_tokens"] == 9
    assert s.post(MESSAGES, {"model": "other/x", **ask}).status_code == 200
    assert [m["role"] for m in upstream.last.json["messages"]] == ["system", "user"] and upstream.last.json["max_completion_tokens"] == 9
    upstream.play(answer(FORMATS["google"], Turn(text=HELLO)))
    s.post(CHAT, {"model": "old/gemini-3-pro", "messages": USER, "tools": [FUNCTION | {"function": {"name": "f", "parameters": {
        "type": "object", "properties": {"a": {"const": "x"}}}}}]})
    assert upstream.last.json["tools"][0]["functionDeclarations"][0]["parameters"]["properties"]["a"]["enum"] == ["x"]
    config["providers"]["own"]["quirks"] = {"no_system": True}
    folder = tmp_path / "check"
    folder.mkdir()
    (folder / "sluice.jsonc").write_text(json.dumps(config))
    r = subprocess.run([str(BINARY), "check", str(folder / "sluice.jsonc")], capture_output=True, text=True, check=False)
    assert r.returncode != 0 and "'no_system'" in r.stderr and "providers.own" in r.stderr


SYSTEM, DEVELOPER = {"role": "system", "content": "Be brief."}, {"role": "developer", "content": "Be kind."}
CALLED = [*USER, {"role": "assistant", "content": None, "tool_calls": [{"id": "call_abcdefghijkl", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
          {"role": "tool", "tool_call_id": "call_abcdefghijkl", "content": "1"}]
NOTE = {"type": "file", "file": {"filename": "a.txt", "file_data": "data:text/plain;base64,aGVsbG8="}}
ADAPTED = {  # quirk: what a Chat client sends, and what of it arrives at a Chat upstream
    "max_tokens_old": ({"max_completion_tokens": 5}, lambda b: b["max_tokens"] == 5 and "max_completion_tokens" not in b),
    "max_tokens_new": ({"max_tokens": 5}, lambda b: b["max_completion_tokens"] == 5 and "max_tokens" not in b),
    "no_stream_options": ({"stream": True, "stream_options": {"include_usage": True}}, lambda b: "stream_options" not in b),
    "no_parallel_field": ({"tools": [FUNCTION], "parallel_tool_calls": False}, lambda b: "parallel_tool_calls" not in b and b["tools"]),
    "no_reasoning_effort": ({"reasoning_effort": "low"}, lambda b: "reasoning_effort" not in b),
    "no_system_role": ({"messages": [SYSTEM, DEVELOPER, *USER]}, lambda b: [m["role"] for m in b["messages"]] == ["user"] and "Be brief." in str(b["messages"]) and "Be kind." in str(b["messages"])),
    "id_9": ({"messages": CALLED}, lambda b: len(b["messages"][1]["tool_calls"][0]["id"]) == 9 and b["messages"][2]["tool_call_id"] == b["messages"][1]["tool_calls"][0]["id"]),
    "reasoning_replay": ({"messages": CALLED}, lambda b: "reasoning_content" in b["messages"][1] and b["messages"][2]["tool_call_id"] == "call_abcdefghijkl"),
    "no_reasoning_history": ({"messages": [*USER, {"role": "assistant", "content": "x", "reasoning_content": "why"}, *USER]}, lambda b: "reasoning_content" not in b["messages"][1]),
    "no_files": ({"messages": [{"role": "user", "content": [{"type": "text", "text": "Read"}, NOTE]}]}, lambda b: "hello" in str(b["messages"][0]) and "'file'" not in str(b["messages"][0])),
    "schema_inline_refs": ({"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}, "$defs": {
        "A": {"type": "string"}}}}}]}, lambda b: b["tools"][0]["function"]["parameters"]["properties"]["a"] == {"type": "string"}),
}


@pytest.mark.parametrize("quirk", ADAPTED)
def test_a_chat_upstream_gets_what_it_takes_from_chat_clients_too(start_sluice, scripted, upstream, quirk):
    """The same format on both sides is no reason to send what an upstream refuses. What nobody must change stays, also what is not known here, and
    the reply passes as it comes."""
    config = basic_config(scripted.origin)
    for name, said in (("with", {quirk: True}), ("without", {quirk: False, "max_tokens_old": False, "developer_role": True})):
        config["providers"][name] = {"type": "openai-compatible", "api_key": "k", "base_url": scripted.origin + "/v1", "quirks": said}
    s = start_sluice(config)
    sent, arrived = ADAPTED[quirk]
    body = {"messages": USER, **sent, "x_unknown": {"a": [1]}}
    asked = body.get("stream", False)
    whole = dump({"id": "c-1", "object": "chat.completion", "created": 1, "model": "m", "x_more": 1.50, "choices": [
        {"index": 0, "message": {"role": "assistant", "content": HELLO}, "finish_reason": "stop"}]})
    for name in ("with", "without"):
        upstream.play(answer(FORMATS["chat"], Turn(text=HELLO)) if asked else http(200, whole))
        r = s.post(CHAT, {"model": name + "/m", **body})
        assert r.status_code == 200 and (asked or r.text == whole), r.text
        got = upstream.last.json
        assert got["model"] == "m" and got["x_unknown"] == {"a": [1]}
        if name == "with":
            assert arrived(got), got
            lost = r.headers.get("x-sluice-dropped", "")
            assert lost == {"no_parallel_field": "parallel_tool_calls", "no_reasoning_effort": "reasoning_effort"}.get(quirk, ""), lost
        else:
            assert {k: v for k, v in got.items() if k not in ("model", "stream_options")} == {k: v for k, v in body.items() if k != "stream_options"}


def test_developer_messages_may_be_many(sluice, upstream):
    upstream.play(answer(FORMATS["chat"], Turn(text=HELLO)))
    assert sluice.post(CHAT, chat([DEVELOPER, *USER] * 300, "chat")).status_code == 200
    assert [m["role"] for m in upstream.last.json["messages"]] == ["system", "user"] * 300


# Images that sluice fetches, for formats that take bytes only. Tests have no public server: a proxy stands for all of them

PNG = bytes.fromhex("89504e470d0a1a0a0000000d")


@pytest.fixture
def fetching(start_sluice, scripted, upstream):
    """ask(url, up): an answer to a request with that image; upstream also plays the proxy, by the table `files`."""
    config = basic_config(scripted.origin)
    config["server"] |= {"proxy": scripted.origin, "image_max_bytes": 100_000, "image_timeout_ms": 5000}
    files = {"http://images.example/a.png": http(200, PNG, "image/png; charset=binary"),
             "http://images.example/large.png": http(200, PNG + b"x" * 100_000, "image/png"),
             "http://images.example/page": http(200, "<html>", "text/html"),
             "http://images.example/gone.png": http(404, "no", "text/plain"),
             "http://images.example/slow.png": stream([PNG], "image/png", end="silence"),
             "http://images.example/moved.png": http(302, "", headers=[("Location", "/a.png")]),
             "http://images.example/round.png": http(302, "", headers=[("Location", "http://images.example/round.png")]),
             "http://images.example/inward.png": http(302, "", headers=[("Location", "http://169.254.169.254/latest")])}

    async def script(conn, request):
        asked = request.target if request.target.startswith("http://") else ""
        if request.method == "CONNECT":  # what follows on the connection is for the upstream
            conn.send(b"HTTP/1.1 200 OK\r\n\r\n")
        elif request.method == "GET":
            await files.get(asked, http(200, "SECRET", "image/png"))(conn, request)
        else:
            await answer(FORMATS["google" if "enerateContent" in request.path else "ollama"], Turn(text=HELLO))(conn, request)

    upstream.play(script)
    s = start_sluice(config)

    def ask(url, up="ollama", **more):
        upstream.requests.clear()
        return s.post(CHAT, {"model": "to-" + up, "messages": [{"role": "user", "content": [
            {"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": url}}]}], **more})

    return ask


@pytest.mark.parametrize("up", ["ollama", "google"])
@pytest.mark.parametrize("streaming", [False, True])
def test_images_are_fetched_for_formats_that_take_bytes(fetching, upstream, up, streaming):
    for url in ("http://images.example/a.png", "http://images.example/moved.png"):
        r = fetching(url, up, stream=streaming)
        assert r.status_code == 200, r.text
        FORMATS[up].understand(upstream.last)
        assert base64.b64encode(PNG).decode() in upstream.last.body.decode()


@pytest.mark.parametrize("url,why", [
    ("http://images.example/large.png", "larger than 100000 bytes"), ("http://images.example/page", "is not an image"),
    ("http://images.example/gone.png", "HTTP 404"), ("http://images.example/slow.png", "ime"),
    ("http://images.example/round.png", "edirect"), ("http://images.example/inward.png", "private address"),
    ("http://127.0.0.1/a.png", "private address"), ("http://127.1/a.png", "private address"), ("http://2130706433/a.png", "private address"),
    ("http://[::1]/a.png", "private address"), ("http://[::ffff:10.0.0.1]/a.png", "private address"), ("http://router/a.png", "private address"),
    ("http://metadata.internal/a.png", "private address"), ("ftp://images.example/a.png", "ftp"), ("file:///etc/passwd", "file")])
def test_what_is_not_fetched_is_a_400_that_names_it(fetching, upstream, url, why):
    """Also where a proxy would do the connecting; nothing of it reaches the model's upstream."""
    r = fetching(url)
    assert r.status_code == 400, r.text
    message = FORMATS["chat"].read_error(400, r.content).message
    assert url in message and why in message
    assert not [q for q in upstream.requests if q.method == "POST"]
    assert not [q for q in upstream.requests if "169.254" in q.target or "127" in q.target.replace("127.0.0.1:%d" % upstream.port, "")]
