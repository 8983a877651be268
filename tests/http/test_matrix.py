"""Five client formats over five upstream formats: what is asked arrives, what is answered arrives, exactly.

The upstream is scripted and plays the other end of each pair with the independent writers of formats/.
docs/matrix.md is made from the names of these tests: the bracket is <client>-over-<upstream>.
"""
import json

import httpx
import pytest
from formats import FORMATS
from formats.common import HELLO, THINKING, Ask, Call, Turn, Usage
from upstream import answer, failure, http, stream

PAIRS = [(c, u) for c in FORMATS for u in FORMATS]
pairs = pytest.mark.parametrize("client,up", PAIRS, ids=["%s-over-%s" % p for p in PAIRS])
foreign = pytest.mark.parametrize("client,up", [p for p in PAIRS if p[0] != p[1]],
                                  ids=["%s-over-%s" % p for p in PAIRS if p[0] != p[1]])
streamed = pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streamed"])

WEATHER = ("get_weather", "Weather of a city", {
    "type": "object", "properties": {"city": {"type": "string", "description": "Its name"}, "n": {"type": "integer"}},
    "required": ["city"]})
CLOCK = ("get_time", "Time in a zone", {"type": "object", "properties": {"tz": {"type": "string"}}, "required": ["tz"]})
CONVERSATION = [("system", "Be brief. 简短。"), ("user", "Hi, who are you?"), ("assistant", "A model.\n"),
                ("user", "Tell me more — é 🙂")]
# Bigger than a double holds, a nested object, a quote, a line break, and no space that a writer would add.
ARGUMENTS = '{"city":"Zürich \\"HB\\"\\n","n":12345678901234567890}'
CALLS = [Call("get_weather", ARGUMENTS, "call_up1"), Call("get_time", '{"tz":"Asia/Tokyo"}', "call_up2")]


def exchange(sluice, client, up, ask):
    """Asks through sluice: (the answer as the client reads it, the request as the upstream reads it)."""
    c, u = FORMATS[client], FORMATS[up]
    ask.model = "to-" + up
    r = sluice.post(c.path(ask), c.request(ask))
    assert r.status_code == 200, r.text
    kind = r.headers["content-type"].partition(";")[0]
    if ask.stream:
        assert kind == c.stream_type
        turn = c.read_stream(r.content)
    else:
        assert kind == "application/json"
        turn = c.read(r.content)
    assert r.headers["x-request-id"]
    return turn, r


def seen(upstream, up):
    request = upstream.last
    ask = FORMATS[up].understand(request)
    assert ask.model == up + "-model"
    return ask


def same_counts(turn, wanted, client, up):
    for count in FORMATS[client].counts & FORMATS[up].counts:
        assert getattr(turn.usage, count) == getattr(wanted, count), count


def same_words(got, sent):
    """The conversation arrived: every word, in order, in its role. Several system texts may be joined."""
    def texts(messages, role):
        return [m[1] for m in messages if m[0] == role]

    assert "\n\n".join(texts(got, "system")) == "\n\n".join(texts(sent, "system"))
    assert [m for m in got if m[0] in ("user", "assistant")] == [m for m in sent if m[0] in ("user", "assistant")]


@pairs
def test_non_stream(sluice, upstream, client, up):
    turn = Turn(text=HELLO, usage=Usage(40, 12, 16, 0))
    upstream.play(answer(FORMATS[up], turn))
    got, _ = exchange(sluice, client, up, Ask(messages=CONVERSATION, temperature=0.5, stop=["END", "fin"]))
    assert got.text == HELLO and not got.reasoning and not got.calls
    assert got.finish == "stop"
    same_counts(got, turn.usage, client, up)
    ask = seen(upstream, up)
    same_words(ask.messages, CONVERSATION)
    assert ask.max_tokens == 512 and ask.temperature == 0.5 and ask.stream is False
    if "responses" not in (client, up):  # Responses has no stop
        assert ask.stop == ["END", "fin"]


@pairs
@pytest.mark.parametrize("how", ["events", "bytes", "whole"])
def test_stream(sluice, upstream, client, up, how):
    turn = Turn(text=HELLO, usage=Usage(40, 12, 16, 0))
    upstream.play(answer(FORMATS[up], turn, how))
    got, _ = exchange(sluice, client, up, Ask(messages=CONVERSATION, stream=True))
    assert got.text == HELLO and not got.reasoning and not got.calls
    assert got.finish == "stop"
    same_counts(got, turn.usage, client, up)
    ask = seen(upstream, up)
    same_words(ask.messages, CONVERSATION)
    assert ask.stream is True


@pairs
@streamed
def test_tools(sluice, upstream, client, up, streaming):
    """A finished tool round in the history, two parallel calls in the answer."""
    turn = Turn(calls=CALLS, finish="tool_calls", usage=Usage(70, 33))
    upstream.play(answer(FORMATS[up], turn))
    history = [("user", "Weather and time, please"),
               ("call", Call("get_weather", '{"city":"Paris"}', "call_1")),
               ("call", Call("get_time", '{"tz":"Europe/Paris"}', "call_2")),
               ("result", "call_1", "get_weather", "18 degrees, clear"),
               ("result", "call_2", "get_time", '"12:00"'),
               ("user", "And in Zürich?")]
    got, _ = exchange(sluice, client, up,
                      Ask(messages=history, tools=[WEATHER, CLOCK], tool_choice="any", stream=streaming))
    assert got.finish == "tool_calls" and not got.text
    assert [c.name for c in got.calls] == ["get_weather", "get_time"]
    assert [json.loads(c.arguments) for c in got.calls] == [json.loads(c.arguments) for c in CALLS]
    if {client, up} <= {"chat", "responses"}:
        assert [c.arguments for c in got.calls] == [c.arguments for c in CALLS]
    if {client, up} <= {"chat", "responses", "anthropic"}:
        assert [c.id for c in got.calls] == [c.id for c in CALLS]
    elif client in ("chat", "responses", "anthropic"):
        assert len({c.id for c in got.calls}) == 2
    same_counts(got, turn.usage, client, up)

    ask = seen(upstream, up)
    assert [m[0] for m in ask.messages] == [m[0] for m in history]
    calls = [m[1] for m in ask.messages if m[0] == "call"]
    results = [m for m in ask.messages if m[0] == "result"]
    assert [(c.name, json.loads(c.arguments)) for c in calls] == [
        ("get_weather", {"city": "Paris"}), ("get_time", {"tz": "Europe/Paris"})]
    assert [r[3] for r in results] == ["18 degrees, clear", '"12:00"']
    if up in ("chat", "responses", "anthropic"):
        assert [c.id for c in calls] == [r[1] for r in results] and len({c.id for c in calls}) == 2
        if client != "ollama":
            assert [c.id for c in calls] == ["call_1", "call_2"]
    else:
        assert [r[2] for r in results] == ["get_weather", "get_time"]
    assert [(t[0], t[1]) for t in ask.tools] == [("get_weather", WEATHER[1]), ("get_time", CLOCK[1])]
    assert [t[2] for t in ask.tools] == [WEATHER[2], CLOCK[2]]
    if client != "ollama" and up != "ollama":  # Ollama has no tool choice
        assert ask.tool_choice == "any"


@pairs
@streamed
def test_reasoning(sluice, upstream, client, up, streaming):
    """Reasoning, then text, then a call: three blocks in one answer, and the wish for reasoning in the request."""
    turn = Turn(reasoning=THINKING, text=HELLO, calls=CALLS[:1], finish="tool_calls", usage=Usage(50, 40, 0, 25))
    upstream.play(answer(FORMATS[up], turn))
    got, _ = exchange(sluice, client, up, Ask(
        messages=[("user", "Think")], tools=[WEATHER], reasoning="low", stream=streaming))
    assert got.reasoning == THINKING
    assert got.text == HELLO
    assert [(c.name, json.loads(c.arguments)) for c in got.calls] == [("get_weather", json.loads(ARGUMENTS))]
    assert got.finish == "tool_calls"
    same_counts(got, turn.usage, client, up)
    ask = seen(upstream, up)
    assert ask.reasoning
    if up in ("chat", "responses"):
        assert ask.reasoning == ("medium" if client == "ollama" else "low")


TYPES = {400: ("invalid_request_error", "invalid_request_error", "INVALID_ARGUMENT"),
         429: ("rate_limit_error", "rate_limit_error", "RESOURCE_EXHAUSTED")}


def kind_of(client, status):
    openai, anthropic, google = TYPES[status]
    return {"chat": openai, "responses": openai, "anthropic": anthropic, "google": google, "ollama": None}[client]


@pairs
@streamed
def test_error(sluice, upstream, client, up, streaming):
    """The upstream refuses the request: its message and status in the client's own envelope, also before a stream."""
    upstream.play(failure(FORMATS[up], 400, "messages.0: the upstream dislikes this"))
    c, ask = FORMATS[client], Ask(model="to-" + up, stream=streaming)
    r = sluice.post(c.path(ask), c.request(ask))
    assert r.status_code == 400
    assert r.headers["content-type"].startswith("application/json")
    problem = c.read_error(400, r.content)
    assert "messages.0: the upstream dislikes this" in problem.message
    assert problem.type == kind_of(client, 400)


@pairs
def test_error_in_stream(sluice, upstream, client, up):
    """The upstream breaks off with an error event: the words so far, then the error as the client's format says it."""
    c, u = FORMATS[client], FORMATS[up]
    frames = u.events(Turn(text=HELLO))
    middle = next(i for i, f in enumerate(frames) if b"scripte" in f)
    upstream.play(stream(frames[:middle] + [u.stream_error("the upstream broke down")], u.stream_type))
    ask = Ask(model="to-" + up, stream=True)
    r = sluice.post(c.path(ask), c.request(ask))
    assert r.status_code == 200
    assert b"Hello" in r.content
    assert "the upstream broke down" in c.read_stream_error(r.content).message


@pairs
def test_error_by_truncation(sluice, upstream, client, up):
    """The upstream's stream ends in the middle of an event without a word: never a good end for the client."""
    c, u = FORMATS[client], FORMATS[up]
    data = b"".join(u.events(Turn(text=HELLO)))
    upstream.play(stream([data[: data.index(b"scripte") + 3]], u.stream_type, end="close"))
    ask = Ask(model="to-" + up, stream=True)
    try:
        r = sluice.post(c.path(ask), c.request(ask))
    except httpx.RemoteProtocolError:
        assert client == up  # bytes went through as they came, and so did their end
        return
    assert b"Hello" in r.content
    if client == up:  # the half event went through; what follows it must not look like an end
        assert b"error" in r.content
    else:
        assert c.read_stream_error(r.content).message


@foreign
def test_answer_without_stream_where_one_was_asked(sluice, upstream, client, up):
    """JSON from an upstream that was asked to stream is replayed as a stream."""
    u = FORMATS[up]
    turn = Turn(reasoning=THINKING, text=HELLO, calls=CALLS, finish="tool_calls", usage=Usage(50, 40, 0, 25))
    upstream.play(http(200, json.dumps(u.reply(turn, "up"))))
    got, _ = exchange(sluice, client, up, Ask(tools=[WEATHER, CLOCK], reasoning="low", stream=True))
    assert (got.reasoning, got.text, got.finish) == (THINKING, HELLO, "tool_calls")
    assert [json.loads(x.arguments) for x in got.calls] == [json.loads(x.arguments) for x in CALLS]


@pairs
@streamed
def test_length(sluice, upstream, client, up, streaming):
    upstream.play(answer(FORMATS[up], Turn(text=HELLO, finish="length")))
    got, _ = exchange(sluice, client, up, Ask(stream=streaming))
    assert (got.text, got.finish) == (HELLO, "length")


@pairs
@streamed
def test_refusal(sluice, upstream, client, up, streaming):
    """A refusal's words arrive, and where both formats can say that it is one, they say it."""
    turn = Turn(refusal="I will not do that.", finish="refusal")
    upstream.play(answer(FORMATS[up], turn))
    got, _ = exchange(sluice, client, up, Ask(stream=streaming))
    assert (got.refusal or got.text) == turn.refusal
    if client in ("chat", "responses") and up in ("chat", "responses"):
        assert got.refusal == turn.refusal and got.text == ""
    if client == "anthropic" and up in ("chat", "responses", "anthropic"):
        assert got.finish == "refusal"


@pairs
def test_image(sluice, upstream, client, up):
    """An image by value reaches the upstream with its bytes untouched."""
    data = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    ask = Ask(messages=[("user", "What is this?"), ("image", "image/png", data)])
    exchange(sluice, client, up, ask)
    got = seen(upstream, up).messages
    assert ("user", "What is this?") in got
    images = [m for m in got if m[0] == "image"]
    assert [m[2] for m in images] == [data]
    if up != "ollama":
        assert images[0][1] == "image/png"


SCHEMAS = [p for p in PAIRS if p[0] != "anthropic"]  # whose requests have output_config only; see test_passthrough


@pytest.mark.parametrize("client,up", SCHEMAS, ids=["%s-over-%s" % p for p in SCHEMAS])
def test_schema(sluice, upstream, client, up):
    """Structured output: the bare schema arrives in the upstream's own place, or is emulated for Anthropic."""
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    turn = Turn(text='{"a":1}')
    upstream.play(answer(FORMATS[up], turn))
    ask = Ask(schema=schema)
    if up == "anthropic":
        c = FORMATS[client]
        ask.model = "to-anthropic"
        sluice.post(c.path(ask), c.request(ask))
        assert '"a"' in upstream.last.body.decode()  # by tool, by output_config or by instruction
        return
    got, _ = exchange(sluice, client, up, ask)
    assert got.text == '{"a":1}'
    assert seen(upstream, up).schema == schema
