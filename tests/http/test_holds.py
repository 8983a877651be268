"""What is held and what is settled, where a request or its upstream does not make it easy: counts written in odd ways, members that stand there
twice, replies without usage, context that the upstream keeps, replies that go on in the background."""
import json
import threading

import pytest
from gateway import KEY, wait_for
from test_limits import ADMIN as LIMITS_ADMIN, chat, config as limits_config
from test_money import ALL, CHAT, SAY, admin, ask, budget, lines, money_config, reply, start, told  # noqa: F401  (start: a fixture)
from upstream import http, stream

EVER = {"scope": "all", "period": "ever"}
WORDS = "word " * 400


def chunk(**choice):
    return b"data: " + json.dumps({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
                                   "choices": [{"index": 0, "finish_reason": None, **choice}]}).encode() + b"\n\n"


@pytest.mark.parametrize("path", [CHAT, "/v1/messages"])
@pytest.mark.parametrize("is_stream", [False, True])
def test_a_reply_without_usage_costs_the_same_under_a_budget(start, scripted, path, is_stream):
    """Settled before its bytes go out, it is estimated by them all the same."""
    whole = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [
        {"index": 0, "message": {"role": "assistant", "content": WORDS}, "finish_reason": "stop"}]}
    frames = [chunk(delta={"content": "word "}) for _ in range(100)] + [chunk(delta={}, finish_reason="stop"), b"data: [DONE]\n\n"]
    out = []
    for n, budgets in enumerate(({}, {"b": {**EVER, "limit_usd": 5}})):
        s = start(money_config(scripted, budgets=budgets), "usage%d" % n)
        scripted.play(stream([b"".join(frames)], how="whole") if is_stream else http(200, json.dumps(whole)))
        r = s.post(path, {"model": "to-chat", "max_tokens": 600, "stream": is_stream, **SAY}, headers=s.auth(KEY))
        assert r.status_code == 200 and r.text.count("word ") == (100 if is_stream else 400)
        line = lines(s, 1)[0]
        assert line["usage_quality"] == "estimated" and line["ended"] == "done"
        out.append(line["output_tokens"])
        s.stop()
    assert out[0] == out[1] > 20, out
