"""What an upload may cost and what it uses, however its client sends it: with its length or in chunks, its fields before its file or behind it."""
import json

import httpx
import pytest
from gateway import KEY, wait_for
from test_forms import TYPE, form, part
from test_money import admin, budget, lines, money_config, start  # noqa: F401  (start: a fixture)
from upstream import http

TRANSCRIBE, EDIT = "/v1/audio/transcriptions", "/v1/images/edits"
TOLD = http(200, json.dumps({"text": "hi", "usage": {"type": "tokens", "input_tokens": 100_000, "input_token_details": {
    "text_tokens": 0, "audio_tokens": 100_000}, "output_tokens": 10, "total_tokens": 100_010}}))
UNTOLD = http(200, json.dumps({"text": "hi"}))
LIMITED = "sk-tokens-0123456789abcdef"
M = 1_000_000_000  # nano-USD


def upload(size, *fields, behind=(), files=1):
    def parts(some):
        return [part(name, value) for name, value in some]
    sounds = [part(b"file", b"S" * size, b"a.mp3", b"Content-Type: audio/mpeg\r\n")] * files
    return form(*parts([(b"model", b"to-chat"), *fields]), *sounds, *parts(behind))


def send(s, path, body, how="length", key=KEY):
    content = body if how == "length" else (body[i : i + 64_000] for i in range(0, len(body), 64_000))
    return s.http.post(path, content=content, headers={**s.auth(key), "Content-Type": TYPE, "Connection": "close"})


def is_refused(s, status, words, path, body, how, key=KEY):
    """A client that still sends when it is cut off may miss why."""
    try:
        r = send(s, path, body, how, key)
    except httpx.TransportError:
        return True
    return r.status_code == status and words in r.text


def config_of(scripted, limit=None, price=None, **server):
    budgets = {"b": {"scope": "all", "limit_usd": limit, "period": "ever"}} if limit else {}
    return money_config(scripted, {"chat/*": price or {"input": 1, "audio_in": 1000, "output": 1}}, budgets, **server)


def nothing_is_held(s):
    return wait_for(lambda: (lambda b: b["held_nanousd"] == 0 and b)(budget(s)), "nothing is held")


async def reads(conn, request):
    try:
        await conn.read_body(request)
    except ConnectionError:
        request.left()
        return
    await TOLD(conn, request)

reads.reads_body = True


def test_an_upload_of_unknown_length_is_held_for_as_it_comes(start, scripted):
    """A token for each 60 bytes, however they come: what a budget has no room for is refused, at the latest before all of it has passed."""
    s = start(config_of(scripted, limit=10))
    body = upload(1_000_000)  # 16 667 tokens of 0.001 USD
    last = form(part(b"file", b"S" * 1_000_000, b"a.mp3"), part(b"model", b"to-chat"))
    for n, (how, sent) in enumerate((("length", body), ("chunked", last), ("chunked", body)), 1):
        scripted.play(reads)
        assert is_refused(s, 402, "has no room", TRANSCRIBE, sent, how), how
        wait_for(lambda n=n: budget(s)["refused"] == n, "it was refused")
        assert nothing_is_held(s)["spent_nanousd"] == 0
    assert not scripted.requests  # the third one was called, and got no end
    row = wait_for(lambda: admin(s, "GET", "/sluice/v1/requests").json()["data"][0:3][2:], "three records")[0]
    assert row["status"] == 402 and not row["cost_nanousd"]
    assert admin(s, "PATCH", "/sluice/v1/budgets/b", {"limit_usd": "40"}).status_code == 200
    for n, how in enumerate(("chunked", "length"), 1):  # enough for what its bytes may be
        scripted.play(UNTOLD)
        assert send(s, TRANSCRIBE, body, how).status_code == 200
        line = lines(s, n)[0]
        # what nobody reports is sound by the bytes that came, and no more than was held
        assert (line["usage_quality"], line["input_tokens"], line["audio_in_tokens"]) == ("estimated", 0, len(body) // 60 + 1), line
    state = nothing_is_held(s)
    assert state["spent_nanousd"] == sum(x["cost_nanousd"] for x in lines(s)) and state["spent_nanousd"] > 33 * M


@pytest.mark.parametrize("how", ["length", "chunked"])
def test_pictures_are_held_for_as_many_as_the_form_asks_for(start, scripted, how):
    s = start(config_of(scripted, limit=15, price={"input": 0, "output": 0, "image": 1}))
    held = (b"prompt", b"x")
    scripted.play(http(200, json.dumps({"created": 1, "data": [{"b64_json": "QQ=="}] * 3})))
    # before its file, or behind one that is held whole: nothing is sent
    for n, body in enumerate((upload(1000, held, (b"n", b"20")), upload(1000, held, behind=[(b"n", b" 20 ")]), upload(400_000, held, (b"n", b"2e1"))), 1):
        assert is_refused(s, 402, "has no room", EDIT, body, how)
        wait_for(lambda n=n: budget(s)["refused"] == n, "it was refused")
    assert not scripted.requests
    # behind one that passes: it is not sent to its end
    scripted.play(reads)
    assert is_refused(s, 402, "has no room", EDIT, upload(400_000, held, behind=[(b"n", b"20"), (b"user", b"u" * 200_000)]), how)
    wait_for(lambda: budget(s)["refused"] == 4, "it was refused")
    assert not scripted.requests and nothing_is_held(s)["spent_nanousd"] == 0
    for body, param in ((upload(1000, held, (b"n", b"1"), behind=[(b"n", b"20")]), "n"), (upload(1000, held, (b"n", b"many")), "n"),
                        (form(part(b"model", b"to-chat"), part(b"n", b"20", b"n.txt"), part(b"image", b"x", b"a.png")), "n"),
                        (form(part(b"model", b"to-chat"), part(b"\\n", b"20"), part(b"image", b"x", b"a.png")), None)):
        r = send(s, EDIT, body, how)
        assert r.status_code == 400 and r.json()["error"]["param"] == param, r.text
    # as many as fit, and one where it does not say
    assert admin(s, "PATCH", "/sluice/v1/budgets/b", {"limit_usd": "3.5"}).status_code == 200
    scripted.play(http(200, json.dumps({"created": 1, "data": [{"b64_json": "QQ=="}] * 3})))
    assert send(s, EDIT, upload(1000, held, (b"n", b"3")), how).status_code == 200
    assert lines(s, 1)[0]["images"] == 3
    nothing_is_held(s)
    assert send(s, EDIT, upload(1000, held), how).status_code == 402  # half a USD is left
    assert admin(s, "PATCH", "/sluice/v1/budgets/b", {"limit_usd": "4.5"}).status_code == 200
    scripted.play(http(200, json.dumps({"created": 1, "data": [{"b64_json": "QQ=="}]})))
    assert send(s, EDIT, upload(1000, held), how).status_code == 200
    assert nothing_is_held(s)["spent_nanousd"] == 4 * M and len(scripted.requests) == 2


def test_pictures_that_nobody_counts_are_estimated_each(start, scripted):
    s = start(config_of(scripted, price={"input": 1, "output": 1}))
    for n, files in enumerate((1, 3), 1):
        scripted.play(http(200, json.dumps({"created": 1, "data": []})))
        assert send(s, EDIT, upload(100_000, files=files), "chunked").status_code == 200
        line = lines(s, n)[0]
        assert (line["usage_quality"], line["input_tokens"], line["audio_in_tokens"]) == ("estimated", 4096 * files, 0), line


@pytest.mark.parametrize("of", ["key", "provider"])
def test_token_limits_hold_for_uploads(start, scripted, of):
    config = config_of(scripted, limit_queue_ms=0)
    config["server"]["api_keys"].append({"id": "k0000001", "key": LIMITED})
    (config["server"]["api_keys"][-1] if of == "key" else config["providers"]["chat"])["limits"] = {"tokens_per_minute": 1000, "tokens_per_day": 150_000}
    s = start(config)

    def row(kind):
        return next(r for r in admin(s, "GET", "/sluice/v1/limits").json()["data"] if r["kind"] == kind)

    scripted.play(TOLD)
    for how, status in (("chunked", 200), ("chunked", 429), ("length", 429)):
        if status == 200:
            assert send(s, TRANSCRIBE, upload(600_000), how, LIMITED).status_code == 200
            wait_for(lambda: row("tokens_per_minute")["used"] == 100_010, "what was reported counts")
        else:
            assert is_refused(s, 429, "tokens per minute", TRANSCRIBE, upload(600_000), how, LIMITED)
    wait_for(lambda: row("tokens_per_minute")["refused"] == 2, "it was refused")
    assert len(scripted.requests) == 1
    path = "keys/k0000001" if of == "key" else "providers/chat"
    assert admin(s, "PATCH", "/sluice/v1/" + path, {"limits": {"tokens_per_day": 150_000}}).status_code == 200
    # what nobody reports counts by its bytes, also where its length was not known
    scripted.play(UNTOLD)
    body = upload(600_000)
    assert send(s, TRANSCRIBE, body, "chunked", LIMITED).status_code == 200
    wait_for(lambda: row("tokens_per_day")["used"] == 100_010 + len(body) // 60 + 1, "by its bytes")
    for n in (1, 2):
        assert send(s, TRANSCRIBE, body, "length", LIMITED).status_code == 200
        wait_for(lambda n=n: row("tokens_per_day")["used"] == 100_010 + (n + 1) * (len(body) // 60 + 1), "by its bytes")
    assert is_refused(s, 429, "tokens per day", TRANSCRIBE, upload(1_500_000), "length", LIMITED)  # more than is left
    wait_for(lambda: row("tokens_per_day")["refused"] == 3, "it was refused")
