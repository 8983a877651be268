"""What replies report of their usage, and what is estimated of them where they do not."""
import gzip
import json
import zlib

import pytest
from gateway import KEY, read_all, wait_for
from test_money import CHAT, ask, budget, lines, money_config, quiet, start  # noqa: F401 (a fixture)
from upstream import http, stream

PRICE = {"input": 3, "output": 15}
PRICES = {p + "/*": PRICE for p in ("chat", "responses", "anthropic", "google", "ollama")}


def sse(body, name=None):
    return (("event: %s\n" % name if name else "") + "data: %s\n\n" % json.dumps(body)).encode()


def chunk(delta=None, usage=None, finish=None):
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    return sse({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices, **({"usage": usage} if usage else {})})


def completion(usage):
    """usage: an object, or the text of one."""
    body = json.dumps({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "usage": 0,
                       "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}]})
    return body.replace('"usage": 0', '"usage": ' + (usage if isinstance(usage, str) else json.dumps(usage)))


def settled(s, scripted, script, path=CHAT, **body):
    """The answer to a request that the upstream answers so, and its line."""
    n = len(lines(s))
    scripted.play(script)
    r = s.post(path, {"model": "to-chat", "messages": [{"role": "user", "content": "x"}], "max_tokens": 9000, **body}, headers=s.auth(KEY))
    assert r.status_code == 200, r.text
    return r, lines(s, n + 1)[0]


@pytest.mark.parametrize("is_stream", [False, True])
def test_what_clients_call_usage_hides_nothing(start, scripted, is_stream):  # noqa: F811
    """The Responses API repeats the metadata of a request behind its usage."""
    s = start(money_config(scripted, PRICES))
    for metadata in ({}, {"usage": "x", "service_tier": "flex", "incomplete_details": "y"}, {"usage": {"input_tokens": 1, "output_tokens": 1}}):
        response = {"id": "r", "object": "response", "created_at": 1, "status": "completed", "model": "m", "tools": [],
                    "output": [{"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": [{"type": "output_text", "text": "hi", "annotations": []}]}],
                    "usage": {"input_tokens": 1000, "output_tokens": 5000, "output_tokens_details": {"reasoning_tokens": 4900}, "total_tokens": 6000},
                    "user": None, "metadata": metadata}
        frames = [sse({"type": "response.created", "response": {**response, "status": "in_progress", "usage": None}}, "response.created"),
                  sse({"type": "response.output_text.delta", "delta": "hi"}, "response.output_text.delta"),
                  sse({"type": "response.completed", "response": response, "sequence_number": 4}, "response.completed")]
        r, line = settled(s, scripted, stream(frames) if is_stream else http(200, json.dumps(response)), "/v1/responses",
                          model="to-responses", input="x", stream=is_stream, metadata=metadata)
        assert (line["usage_quality"], line["cost_nanousd"], line["reasoning_tokens"]) == ("reported", 78_000_000, 4900), (metadata, line)


def test_what_a_vendor_counts_apart_is_paid_for_wherever_it_goes(start, scripted):  # noqa: F811
    """xAI's reasoning stands outside of completion_tokens, and in the sum."""
    s = start(money_config(scripted, PRICES))
    usage = {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 850, "completion_tokens_details": {"reasoning_tokens": 700}}
    frames = [chunk({"role": "assistant", "content": "hi"}), chunk({}, finish="stop"), chunk(usage=usage), b"data: [DONE]\n\n"]
    for path in (CHAT, "/v1/messages"):
        for is_stream in (False, True):
            r, line = settled(s, scripted, stream(frames) if is_stream else http(200, completion(usage)), path, stream=is_stream)
            assert (line["usage_quality"], line["output_tokens"], line["reasoning_tokens"], line["cost_nanousd"]) == ("reported", 50, 700, 11_550_000), (path, line)
            assert path == CHAT or '"output_tokens":750' in r.text, r.text


def test_what_is_no_count_is_not_taken_for_one(start, scripted):  # noqa: F811
    s = start(money_config(scripted, PRICES))
    for usage, told in (('{"prompt_tokens": 1e3, "completion_tokens": 5E2, "total_tokens": 1.5e3}', (1000, 500)),
                        ('{"prompt_tokens": 1000.0, "completion_tokens": 500.0}', (1000, 500)),
                        ('{"prompt_tokens": 99999999999999999999, "completion_tokens": 1}', (None, 1)),
                        ('{"prompt_tokens": 9223372036854775807, "completion_tokens": 500.5}', (None, None)),
                        ('{"prompt_tokens": 7, "completion_tokens": "500"}', (7, None)),
                        ('{"prompt_tokens": -5, "completion_tokens": -7, "total_tokens": -12}', (None, None)), ("{}", (None, None))):
        for path in (CHAT, "/v1/messages"):
            r, line = settled(s, scripted, http(200, completion(usage)), path)
            assert line["usage_quality"] == ("estimated" if None in told else "reported"), (usage, line)
            for found, expected in zip((line["input_tokens"], line["output_tokens"]), told):
                assert found == expected if expected is not None else 0 < found < 1000, (usage, path, line)


@pytest.mark.parametrize("path", [CHAT, "/v1/messages"])
def test_a_stream_that_tells_no_usage_is_estimated_by_its_text(start, scripted, path):  # noqa: F811
    s = start(money_config(scripted, PRICES))
    end = [chunk({}, finish="stop"), b"data: [DONE]\n\n"]
    for texts, tokens in (["word " * 400], 500), (["word "] * 400, 400), (["\u4e16" * 4] * 3, 9), (['"\\\n\t' * 5] * 2, 10):
        frames = [chunk({"role": "assistant", "content": ""})] + [chunk({"content": t}) for t in texts] + end
        for how in ("whole", 700):
            r, line = settled(s, scripted, stream(frames, how=how), path, stream=True)
            assert (line["ended"], line["usage_quality"]) == ("done", "estimated")
            assert tokens <= line["output_tokens"] <= tokens + 2, (texts[0], how, line)  # of many at once the end counts as one of them


@pytest.mark.parametrize("path", [CHAT, "/v1/messages"])
def test_who_leaves_before_the_end_pays_for_what_came(start, scripted, path):  # noqa: F811
    s = start(money_config(scripted, PRICES))
    text = "The quick brown fox jumps over the lazy dog and then continues to run through the forest until it finds a quiet place. ."
    begin = [sse({"type": "message_start", "message": {"id": "m", "type": "message", "role": "assistant", "model": "c", "content": [], "stop_reason": None,
                                                       "stop_sequence": None, "usage": {"input_tokens": 10, "output_tokens": 1}}}, "message_start"),
             sse({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}, "content_block_start")]
    deltas = [sse({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}, "content_block_delta")] * 50
    scripted.play(stream(begin + deltas, end="silence"))
    body = {"model": "to-anthropic", "messages": [{"role": "user", "content": "x"}], "max_tokens": 9000, "stream": True}
    with s.stream(path, body, s.auth(KEY)) as r:
        seen = b""
        for data in r.iter_raw():
            seen += data
            if seen.count(b"quick brown fox") == 50:
                break
    line = lines(s, 1)[0]
    assert (line["ended"], line["usage_quality"], line["input_tokens"], line["output_tokens"]) == ("left", "estimated", 10, 50 * 30), line


def test_who_leaves_googles_list_pays_for_what_its_chunks_told(start, scripted):  # noqa: F811
    s = start(money_config(scripted, PRICES))
    chunks = [json.dumps({"candidates": [{"content": {"role": "model", "parts": [{"text": "word %d" % i}]}}],
                          "usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 70 * (i + 1), "totalTokenCount": 10 + 70 * (i + 1)}}) for i in range(3)]
    scripted.play(stream([("[" + ",\r\n".join(chunks)).encode()], "application/json", end="silence"))
    with s.stream("/v1beta/models/to-google:streamGenerateContent", {"contents": [{"role": "user", "parts": [{"text": "x"}]}]}, s.auth(KEY)) as r:
        seen = b""
        for data in r.iter_raw():
            seen += data
            if b"word 2" in seen:
                break
    line = lines(s, 1)[0]
    assert (line["ended"], line["input_tokens"], line["output_tokens"]) == ("left", 10, 210), line


def test_a_message_that_ends_without_its_usage_is_estimated(start, scripted):  # noqa: F811
    s = start(money_config(scripted, PRICES))
    frames = [sse({"type": "message_start", "message": {"id": "m", "type": "message", "role": "assistant", "model": "c", "content": [], "stop_reason": None,
                                                        "stop_sequence": None, "usage": {"input_tokens": 10, "output_tokens": 1}}}, "message_start"),
              sse({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}, "content_block_start"),
              sse({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "word" * 100}}, "content_block_delta"),
              sse({"type": "content_block_stop", "index": 0}, "content_block_stop"),
              sse({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}}, "message_delta"), sse({"type": "message_stop"}, "message_stop")]
    for path in ("/v1/messages", CHAT):
        r, line = settled(s, scripted, stream(frames), path, model="to-anthropic", stream=True)
        assert (line["ended"], line["usage_quality"], line["input_tokens"], line["output_tokens"]) == ("done", "estimated", 10, 100), line


def test_no_request_switches_usage_off(start, scripted):  # noqa: F811
    s = start(money_config(scripted, PRICES))
    usage = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}

    def asked(path, options, prompt, frames):
        scripted.play(stream(frames))
        n = len(lines(s))
        r = s.post(path, '{"model":"to-chat","stream":true,%s%s}' % (options, prompt), headers=s.auth(KEY))
        assert r.status_code == 200, r.text
        line = lines(s, n + 1)[0]
        assert (line["usage_quality"], line["input_tokens"], line["output_tokens"]) == ("reported", 7, 5)
        sent = json.loads(scripted.last.body, object_pairs_hook=list)
        told = [v for k, v in sent if k == "stream_options"]
        assert len(told) == 1 and [v for k, v in told[0] if k == "include_usage"] == [True], scripted.last.body
        return b"prompt_tokens" in r.content, told[0]
    chat = [chunk({"role": "assistant", "content": "hi"}, finish="stop"), chunk(usage=usage), b"data: [DONE]\n\n"]
    older = [f.replace(b"chat.completion.chunk", b"text_completion").replace(b'"delta": {"role": "assistant", "content": "hi"}', b'"text": "hi"') for f in chat]
    for path, prompt, frames in ((CHAT, '"messages":[{"role":"user","content":"x"}]', chat), ("/v1/completions", '"prompt":"x"', older)):
        for options, shown in (("", False), ('"stream_options":null,', False), ('"stream_options":{"include_usage":true},', True),
                               ('"stream_options":{"include_usage":true,"include_usage":false},', False),
                               ('"stream_options":{"include_usage":false,"include_usage":true},', True),
                               ('"stream_options":{"include_usage":true,"include\\u005fusage":false,"x":1},', False)):
            is_shown, told = asked(path, options, prompt, frames)
            assert is_shown is shown, (path, options)
            assert '"x"' not in options or ("x", "1") in [(k, str(v)) for k, v in told], options


def test_a_transcript_that_comes_in_pieces_tells_its_usage(start, scripted):  # noqa: F811
    s = start(money_config(scripted, {"chat/*": {**PRICE, "audio_in": 6}}))
    usage = {"type": "tokens", "input_tokens": 1000, "input_token_details": {"text_tokens": 200, "audio_tokens": 800}, "output_tokens": 50, "total_tokens": 1050}
    frames = [sse({"type": "transcript.text.delta", "delta": "hello"}), sse({"type": "transcript.text.done", "text": "hello", "usage": usage})]
    form = b"".join(b"--x\r\nContent-Disposition: form-data; name=\"%s\"\r\n\r\n%s\r\n" % f for f in ((b"model", b"to-chat"), (b"stream", b"true"))) + (
        b"--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.mp3\"\r\n\r\n" + b"A" * 100 + b"\r\n--x--\r\n")
    for whole in (False, True):
        scripted.play(http(200, json.dumps({"text": "hello", "usage": usage})) if whole else stream(frames))
        n = len(lines(s))
        r = s.call("POST", "/v1/audio/transcriptions", form, headers={**s.auth(KEY), "Content-Type": "multipart/form-data; boundary=x"})
        assert r.status_code == 200 and "hello" in r.text
        line = lines(s, n + 1)[0]
        assert (line["usage_quality"], line["input_tokens"], line["audio_in_tokens"], line["output_tokens"]) == ("reported", 200, 800, 50), line
        assert line["cost_nanousd"] == 200 * 3000 + 800 * 6000 + 50 * 15000


CODINGS = {"identity": lambda b: b, "gzip": gzip.compress, "deflate": zlib.compress, "chunked": lambda b: b}
ESTIMATED = [("without usage", CHAT, {"messages": [{"role": "user", "content": "word " * 4000}], "max_tokens": 10}),
             ("left", CHAT, {"messages": [{"role": "user", "content": "word " * 4000}], "max_tokens": 10}),
             ("without usage", CHAT, {"messages": [{"role": "user", "content": "word " * 4000}], "max_tokens": 10, "stream": True}),
             ("speech", "/v1/audio/speech", {"input": "The quick brown fox. " * 200, "voice": "alloy"})]


@pytest.mark.parametrize("how, path, body", ESTIMATED)
def test_how_a_request_is_packed_makes_it_no_cheaper(start, scripted, how, path, body):  # noqa: F811
    """Where nobody reports its usage, it is estimated by what was sent, not by what came over the wire."""
    s = start(money_config(scripted, PRICES, {"b": {"scope": "all", "limit_usd": 100, "period": "ever"}}))
    plain, costs = json.dumps({"model": "to-chat", **body}).encode(), []
    frames = [chunk({"role": "assistant", "content": "hi"}), chunk({}, finish="stop"), b"data: [DONE]\n\n"]
    for n, (coding, pack) in enumerate(CODINGS.items()):
        scripted.play({"left": quiet, "speech": http(200, b"ID3" * 3000, "audio/mpeg")}.get(how) or
                      (stream(frames) if body.get("stream") else http(200, completion("null"))))
        packed, seen = pack(plain), len(scripted.requests)
        assert len(packed) < len(plain) // 20 or packed == plain
        head = "POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nConnection: close\r\nContent-Type: application/json\r\n" % (path, KEY)
        with s.connect() as c:
            if coding == "chunked":
                c.sendall((head + "Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(packed)).encode() + packed + b"\r\n0\r\n\r\n")
            else:
                c.sendall((head + "Content-Encoding: %s\r\nContent-Length: %d\r\n\r\n" % (coding, len(packed))).encode() + packed)
            scripted.wait(seen + 1)
            if how != "left":
                assert read_all(c).startswith(b"HTTP/1.1 200")
        line = lines(s, n + 1)[0]
        assert line["usage_quality"] == "estimated" and line["ended"] == ("left_early" if how == "left" else "done"), line
        costs.append((line["input_tokens"], line["output_tokens"], line["audio_out_tokens"], line["cost_nanousd"]))
    assert len(set(costs)) == 1 and costs[0][0] >= len(plain) // 4 and costs[0][3] > 0, costs
    paid = wait_for(lambda: (lambda b: b["held_nanousd"] == 0 and b["spent_nanousd"])(budget(s)), "settled")
    assert paid == 4 * costs[0][3]


def test_zeros_are_no_word_of_what_was_used(start, scripted):  # noqa: F811
    """Some servers tell zeros where they know nothing, or behind what they told before."""
    s = start(money_config(scripted, PRICES))
    zeros = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    told = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}
    text, end = {"role": "assistant", "content": "word " * 40}, [chunk({}, finish="stop"), b"data: [DONE]\n\n"]
    for path in (CHAT, "/v1/messages"):
        for script, is_stream, quality, out in ((http(200, completion(zeros)), False, "estimated", None),
                                                (stream([chunk(text), chunk({}, finish="stop"), chunk(usage=zeros), end[1]]), True, "estimated", 50),
                                                (stream([chunk(text), chunk({}, usage=told, finish="stop"), chunk(usage=zeros), end[1]]), True, "reported", 2)):
            r, line = settled(s, scripted, script, path, stream=is_stream)
            assert (line["usage_quality"], line["ended"]) == (quality, "done"), (path, line)
            assert line["input_tokens"] > 0 and (line["output_tokens"] == out if out == 2 else line["output_tokens"] > 10 if out else line["output_tokens"] > 0), (path, line)
            assert line["cost_nanousd"] > 0


@pytest.mark.parametrize("path, body", [("/v1/responses", {"input": "x"}), (CHAT, {})])
@pytest.mark.parametrize("is_stream", [False, True])
def test_only_searching_is_a_search(start, scripted, path, body, is_stream):  # noqa: F811
    """What the tool opens and looks through afterwards is no call that is billed."""
    s = start(money_config(scripted, {"responses/*": {"input": 0, "output": 0, "search": 0.01}}))
    calls = [{"type": "web_search_call", "id": "w%d" % n, "status": "completed", **({"action": {"type": a, "x": {"type": "search"}}} if a else {})}
             for n, a in enumerate(("search", "open_page", None, "find_in_page"))]
    said = {"type": "message", "id": "m", "role": "assistant", "status": "completed",
            "content": [{"type": "output_text", "text": '{"type":"web_search_call"}', "annotations": []}]}
    response = {"id": "r", "object": "response", "created_at": 1, "status": "completed", "model": "m", "tools": [{"type": "web_search"}],
                "output": [*calls, said], "usage": {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}}
    frames = [sse({"type": "response.created", "response": {**response, "output": [], "status": "in_progress", "usage": None}}, "response.created"),
              sse({"type": "response.completed", "response": response}, "response.completed")]
    r, line = settled(s, scripted, stream(frames) if is_stream else http(200, json.dumps(response)), path, model="to-responses", stream=is_stream, **body)
    assert (line["searches"], line["cost_nanousd"]) == (2, 20_000_000), line
