"""The vendors' own Python SDKs, each over each upstream format."""
import anthropic
import httpx
import ollama
import openai
import pytest
from formats import FORMATS
from formats.common import HELLO, THINKING, Call, Turn, Usage
from google import genai
from upstream import answer, http

ups = pytest.mark.parametrize("up", FORMATS)
TURN = Turn(reasoning=THINKING, text=HELLO, finish="stop", usage=Usage(40, 30, 0, 10))
CALLING = Turn(calls=[Call("get_weather", '{"city":"Paris"}', "call_1"), Call("get_weather", '{"city":"Rome"}', "call_2")],
               finish="tool_calls")
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
USER = [{"role": "user", "content": "Hi"}]


@pytest.fixture
def client(sluice):
    """An httpx client that notes what the SDK calls."""
    with httpx.Client(event_hooks={"request": [sluice.note]}, trust_env=False, timeout=60) as c:
        yield c


@pytest.fixture
def openai_sdk(sluice, client):
    return openai.OpenAI(base_url=sluice.origin + "/v1", api_key=sluice.key, http_client=client, max_retries=0)


@pytest.fixture
def anthropic_sdk(sluice, client):
    try:
        return anthropic.Anthropic(base_url=sluice.origin, api_key=sluice.key, http_client=client, max_retries=0)
    except TypeError:  # an SDK on another HTTP library
        return anthropic.Anthropic(base_url=sluice.origin, api_key=sluice.key, max_retries=0)


@pytest.fixture
def google_sdk(sluice):
    return genai.Client(api_key=sluice.key, vertexai=False, http_options={"base_url": sluice.origin})


@pytest.fixture
def ollama_sdk(sluice):
    return ollama.Client(host=sluice.origin, headers=sluice.auth())


def play(upstream, up, turn):
    upstream.play(answer(FORMATS[up], turn))


# openai

@ups
def test_openai_chat(upstream, openai_sdk, up):
    play(upstream, up, TURN)
    r = openai_sdk.chat.completions.create(model="to-" + up, messages=USER)
    assert r.choices[0].message.content == HELLO and r.choices[0].finish_reason == "stop"
    assert r.usage.total_tokens == 70


@ups
def test_openai_chat_stream(upstream, openai_sdk, up):
    play(upstream, up, TURN)
    chunks = list(openai_sdk.chat.completions.create(model="to-" + up, messages=USER, stream=True,
                                                     stream_options={"include_usage": True}))
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == HELLO
    assert chunks[-1].usage.prompt_tokens == 40


@ups
def test_openai_chat_stream_helper_with_tools(upstream, openai_sdk, up):
    play(upstream, up, CALLING)
    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": PARAMETERS, "strict": True}}]
    with openai_sdk.chat.completions.stream(model="to-" + up, messages=USER, tools=tools) as events:
        for _ in events:
            pass
        message = events.get_final_completion().choices[0]
    assert [c.function.arguments for c in message.message.tool_calls] == ['{"city":"Paris"}', '{"city":"Rome"}']
    assert message.finish_reason == "tool_calls"


@ups
def test_openai_responses(upstream, openai_sdk, up):
    play(upstream, up, TURN)
    r = openai_sdk.responses.create(model="to-" + up, input="Hi", store=False)
    assert r.output_text == HELLO and r.status == "completed"
    assert r.usage.total_tokens == 70
    assert [i.type for i in r.output] == ["reasoning", "message"]


@ups
@pytest.mark.parametrize("turn", [TURN, CALLING], ids=["text", "tools"])
def test_openai_responses_stream_helper(upstream, openai_sdk, up, turn):
    play(upstream, up, turn)
    with openai_sdk.responses.stream(model="to-" + up, input="Hi", store=False) as events:
        kinds = [e.type for e in events]
        final = events.get_final_response()
    assert kinds[0] == "response.created" and kinds[-1] == "response.completed"
    assert final.output_text == turn.text
    assert [i.arguments for i in final.output if i.type == "function_call"] == [c.arguments for c in turn.calls]


def test_openai_embeddings_default_to_base64(upstream, openai_sdk):
    """The SDK asks for base64 by default and decodes it: three floats 1, -2, 0.5."""
    upstream.play(http(200, '{"object":"list","data":[{"object":"embedding","index":0,"embedding":"AACAPwAAAMAAAAA/"}],'
                            '"model":"e","usage":{"prompt_tokens":3,"total_tokens":3}}'))
    r = openai_sdk.embeddings.create(model="to-chat", input="Hi")
    assert r.data[0].embedding == [1.0, -2.0, 0.5]
    assert upstream.last.path == "/v1/embeddings"
    assert upstream.last.json["encoding_format"] == "base64" and upstream.last.json["model"] == "chat-model"


def test_openai_models(sluice, openai_sdk):
    assert {m.id for m in openai_sdk.models.list()} >= {"to-" + n for n in FORMATS}
    assert openai_sdk.models.retrieve("to-chat").id == "to-chat"


def test_openai_errors_are_typed(openai_sdk):
    with pytest.raises(openai.NotFoundError) as e:
        openai_sdk.chat.completions.create(model="nothing", messages=USER)
    assert e.value.code == "model_not_found"
    with pytest.raises(openai.AuthenticationError):
        openai_sdk.with_options(api_key="wrong").chat.completions.create(model="to-chat", messages=USER)


# anthropic

@ups
def test_anthropic_messages(upstream, anthropic_sdk, up):
    play(upstream, up, TURN)
    r = anthropic_sdk.messages.create(model="to-" + up, max_tokens=512, messages=USER)
    assert [b.type for b in r.content] == ["thinking", "text"]
    assert r.content[1].text == HELLO and r.stop_reason == "end_turn"
    assert (r.usage.input_tokens, r.usage.output_tokens) == (40, 30)


@ups
@pytest.mark.parametrize("turn", [TURN, CALLING], ids=["text", "tools"])
def test_anthropic_stream_helper(upstream, anthropic_sdk, up, turn):
    play(upstream, up, turn)
    with anthropic_sdk.messages.stream(model="to-" + up, max_tokens=512, messages=USER) as events:
        text = "".join(events.text_stream)
        final = events.get_final_message()
    assert text == turn.text
    assert [b.input for b in final.content if b.type == "tool_use"] == [{"city": "Paris"}, {"city": "Rome"}][:len(turn.calls)]
    assert final.usage.output_tokens == turn.usage.output
    assert final.stop_reason == ("tool_use" if turn.calls else "end_turn")


def test_anthropic_count_tokens(upstream, anthropic_sdk):
    upstream.play(http(200, '{"input_tokens":17}'))
    assert anthropic_sdk.messages.count_tokens(model="to-anthropic", messages=USER).input_tokens == 17
    assert upstream.last.path == "/v1/messages/count_tokens" and upstream.last.json["model"] == "anthropic-model"


@pytest.mark.parametrize("up", ["chat", "responses", "google", "ollama"])
def test_anthropic_count_tokens_estimate(upstream, anthropic_sdk, up):
    """Where the upstream cannot count, a documented estimate: more for more."""
    upstream.play(http(404, "{}"))
    short = anthropic_sdk.messages.count_tokens(model="to-" + up, messages=USER).input_tokens
    long = anthropic_sdk.messages.count_tokens(model="to-" + up, messages=[
        {"role": "user", "content": "many words " * 100}], system="and a system prompt").input_tokens
    assert 0 < short < 50 < long < 2000


def test_anthropic_models(anthropic_sdk):
    assert "to-chat" in {m.id for m in anthropic_sdk.models.list()}


def test_anthropic_errors_are_typed(anthropic_sdk):
    with pytest.raises(anthropic.NotFoundError):
        anthropic_sdk.messages.create(model="nothing", max_tokens=5, messages=USER)
    with pytest.raises(anthropic.AuthenticationError):
        anthropic_sdk.with_options(api_key="wrong").messages.create(model="to-chat", max_tokens=5, messages=USER)


# google-genai

@ups
def test_google_generate(upstream, google_sdk, up):
    play(upstream, up, TURN)
    r = google_sdk.models.generate_content(model="to-" + up, contents="Hi")
    assert r.text == HELLO and r.candidates[0].finish_reason.name == "STOP"
    assert r.usage_metadata.prompt_token_count == 40


@ups
def test_google_stream(upstream, google_sdk, up):
    play(upstream, up, TURN)
    chunks = list(google_sdk.models.generate_content_stream(model="to-" + up, contents="Hi"))
    assert "".join(c.text or "" for c in chunks) == HELLO
    assert chunks[-1].usage_metadata.prompt_token_count == 40


@ups
def test_google_tools(upstream, google_sdk, up):
    play(upstream, up, CALLING)
    config = {"tools": [{"function_declarations": [{"name": "get_weather", "parameters": {
        "type": "OBJECT", "properties": {"city": {"type": "STRING"}}}}]}],
        "automatic_function_calling": {"disable": True}}
    r = google_sdk.models.generate_content(model="to-" + up, contents="Hi", config=config)
    assert [c.args for c in r.function_calls] == [{"city": "Paris"}, {"city": "Rome"}]
    tool = FORMATS[up].understand(upstream.last).tools[0]
    assert tool[0] == "get_weather"
    if up != "google":  # types of a Google schema are written small elsewhere
        assert tool[2] == {"type": "object", "properties": {"city": {"type": "string"}}}


def test_google_count_tokens(upstream, google_sdk):
    upstream.play(http(200, '{"totalTokens":9}'))
    assert google_sdk.models.count_tokens(model="to-google", contents="Hi").total_tokens == 9
    assert upstream.last.path.endswith("/models/google-model:countTokens")


def test_google_embed(upstream, google_sdk):
    upstream.play(http(200, '{"embeddings":[{"values":[1.0,2.0]}],"embedding":{"values":[1.0,2.0]}}'))
    assert google_sdk.models.embed_content(model="to-google", contents="Hi").embeddings[0].values == [1.0, 2.0]


def test_google_models(google_sdk):
    assert "models/to-chat" in {m.name for m in google_sdk.models.list()}


def test_google_errors_are_typed(google_sdk):
    with pytest.raises(genai.errors.ClientError) as e:
        google_sdk.models.generate_content(model="nothing", contents="Hi")
    assert e.value.code == 404 and e.value.status == "NOT_FOUND"


# ollama

@ups
def test_ollama_chat(upstream, ollama_sdk, up):
    play(upstream, up, TURN)
    r = ollama_sdk.chat(model="to-" + up, messages=USER)
    assert r.message.content == HELLO and r.message.thinking == THINKING and r.done
    assert (r.prompt_eval_count, r.eval_count) == (40, 30)


@ups
@pytest.mark.parametrize("turn", [TURN, CALLING], ids=["text", "tools"])
def test_ollama_stream(upstream, ollama_sdk, up, turn):
    play(upstream, up, turn)
    chunks = list(ollama_sdk.chat(model="to-" + up, messages=USER, stream=True))
    assert "".join(c.message.content or "" for c in chunks) == turn.text
    calls = [t.function.arguments for c in chunks for t in c.message.tool_calls or []]
    assert calls == [{"city": "Paris"}, {"city": "Rome"}][:len(turn.calls)]
    assert [c.done for c in chunks].count(True) == 1 and chunks[-1].done


@ups
def test_ollama_generate(upstream, ollama_sdk, up):
    play(upstream, up, Turn(text=HELLO))
    if up == "ollama":
        upstream.play(http(200, '{"model":"m","created_at":"2026-01-02T03:04:05Z","response":"hi","done":true,'
                                '"done_reason":"stop"}'))
        assert ollama_sdk.generate(model="to-ollama", prompt="Hi").response == "hi"
        assert upstream.last.path == "/api/generate"
        return
    assert ollama_sdk.generate(model="to-" + up, prompt="Hi").response == HELLO
    assert "".join(c.response for c in ollama_sdk.generate(model="to-" + up, prompt="Hi", stream=True)) == HELLO


def test_ollama_lists(sluice, ollama_sdk):
    assert "to-chat" in {m.model for m in ollama_sdk.list().models}
    assert ollama_sdk.show("to-chat").modelfile is not None or ollama_sdk.show("to-chat").details is not None
    assert sluice.get("/api/version").json()["version"]


def test_ollama_embed(upstream, ollama_sdk):
    upstream.play(http(200, '{"model":"m","embeddings":[[1.0,2.0]],"total_duration":1,"prompt_eval_count":2}'))
    assert ollama_sdk.embed(model="to-ollama", input="Hi").embeddings == [[1.0, 2.0]]
