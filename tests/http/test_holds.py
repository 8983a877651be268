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


@pytest.mark.parametrize("path, body, member", [
    (CHAT, '"messages":[{"role":"user","content":"x"}],"max_tokens":600,"n":%s', "n"),
    ("/v1/completions", '"prompt":"x","max_tokens":600,"best_of":%s', "best_of"),
    ("/v1beta/models/to-google:generateContent", '"contents":[{"role":"user","parts":[{"text":"x"}]}],"generationConfig":{"maxOutputTokens":600,"candidateCount":%s}', "candidateCount"),
    ("/v1beta/models/to-chat:generateContent", '"contents":[{"role":"user","parts":[{"text":"x"}]}],"generation_config":{"max_output_tokens":600,"candidate_count":%s}', "candidate_count"),
    ("/v1/images/generations", '"prompt":"x","n":%s', "n")])
def test_as_many_answers_are_held_for_as_an_upstream_reads(start, scripted, path, body, member):
    limit = 0.2 if "images" in path else 0.05  # four answers cost less, eight do not
    s = start(money_config(scripted, {p + "/*": {"input": 1, "output": 15, "image": 0} for p in ("chat", "google")}, {"b": {**EVER, "limit_usd": limit}},
                           budget_bytes_per_token=4))
    model = "" if "v1beta" in path else '"model":"to-chat",'

    def post(text):
        return s.post(path, "{%s%s}" % (model, body % text), headers=s.auth(KEY))
    for text in ("8", "8.0", "8e0", "0.8e1", '"8"', "80e-1", "99999999999999999999"):
        r = post(text)
        assert r.status_code == 402 and "has no room" in r.text, (text, r.text)
    for text in ("[8]", '"many"', "true"):
        r = post(text)
        assert r.status_code == 400 and member in r.text, (text, r.text)
    assert not scripted.requests and budget(s)["refused"] == 7


def test_a_maximum_is_read_as_upstreams_read_it(start, scripted):
    s = start(money_config(scripted, budgets={"b": {**EVER, "limit_usd": 0.02}}, budget_hold_tokens=100))
    for path, most in ((CHAT, {"max_tokens": 2000.0}), (CHAT, {"max_completion_tokens": "2000"}), (CHAT, {"max_tokens": 1, "max_completion_tokens": 2000}),
                       ("/api/chat", {"stream": False, "options": {"num_predict": 2e3}})):
        r = s.post(path, json.dumps({"model": "to-chat", **SAY, **most}), headers=s.auth(KEY))
        assert r.status_code == 402, (most, r.text)
    assert not scripted.requests
    # no maximum is one that the budget can pay for, also where it is called 0
    reply(scripted, {"prompt_tokens": 10, "completion_tokens": 5})
    r = ask(s, max_tokens=0)
    assert r.status_code == 200 and 16 < scripted.last.json["max_tokens"] == int(r.headers["x-sluice-budget-max-tokens"])
    # nor is one by a name that nobody heeds
    for foreign in ({"max_output_tokens": 1}, {"options": {"num_predict": 1}}, {"generationConfig": {"maxOutputTokens": 1}}):
        reply(scripted, {"prompt_tokens": 10, "completion_tokens": 5})
        r = s.post(CHAT, {"model": "to-chat", **SAY, **foreign}, headers=s.auth(KEY))
        assert r.status_code == 200 and 16 < scripted.last.json["max_tokens"] == int(r.headers["x-sluice-budget-max-tokens"]), foreign


TWICE = [(CHAT, '"messages":[{"role":"user","content":"x"}],"max_tokens":5', 'model max_tokens max_completion_tokens n stream stream_options service_tier'),
         ("/v1/completions", '"prompt":"x","max_tokens":5', "model max_tokens n best_of stream prompt"),
         ("/v1/messages", '"messages":[{"role":"user","content":"x"}],"max_tokens":5', "model max_tokens stream service_tier"),
         ("/v1/responses", '"input":"x","max_output_tokens":5', "model max_output_tokens stream previous_response_id store background conversation input"),
         ("/v1beta/models/to-google:generateContent", '"contents":[{"role":"user","parts":[{"text":"x"}]}]', "generationConfig generationConfig.maxOutputTokens generation_config.candidate_count cachedContent"),
         ("/api/chat", '"messages":[{"role":"user","content":"x"}]', "model stream options options.num_predict"),
         ("/api/generate", '"prompt":"x"', "model stream options"),
         ("/v1/embeddings", '"input":"x"', "model"), ("/v1/images/generations", '"prompt":"x"', "model n")]


@pytest.mark.parametrize("path, body, names", TWICE)
def test_what_decides_stands_in_a_request_once(sluice, upstream, path, body, names):
    """Parsers differ in which of duplicates wins: what was let in, held and counted for must be what the upstream reads."""
    for name in names.split():
        outer, _, inner = name.rpartition(".")
        members = [] if "v1beta" in path else ['"model":"to-chat"']
        members.append(body)
        for spelled in ('"%s":%%s' % inner, '"%s\\u00%02x":%%s' % (inner[:-1], ord(inner[-1]))):
            member = spelled % ('"to-chat"' if name == "model" else "1")
            if outer:
                twice = ['"%s":{"%s":1,%s}' % (outer, inner, member)]
            else:
                twice = [member] if '"%s":' % name in ",".join(members) else ['"%s":1' % name, member]
            r = sluice.post(path, "{%s}" % ",".join(members + twice))
            assert r.status_code == 400 and "'%s' stands in the request more than once" % name in r.text, (name, r.status_code, r.text)
        # servers in Go take these for the same name, the last two too
        others = {inner.upper(), inner[0].upper() + inner[1:], inner[:-1] + "\\u00%02x" % ord(inner[-1].upper()), inner.replace("k", "\u212a"), inner.replace("s", "\\u017f")}
        for other in others - {inner}:
            member = '"%s":%s' % (other, '"to-chat"' if name == "model" else "1")
            r = sluice.post(path, ("{%s}" % ",".join(members + ['"%s":{%s}' % (outer, member) if outer else member])).encode())
            assert r.status_code == 400 and "'%s' stands in the request with letters of another case" % name in r.text, (other, r.status_code, r.text)
    assert not upstream.requests


def test_no_model_is_reached_by_a_second_name(start, scripted):
    config = money_config(scripted)
    config["models"]["dear"] = {"targets": [{"provider": "chat", "upstream_model": "dear"}]}
    config["server"]["api_keys"].append({"id": "cc000000", "key": "sk-narrow-0123456789abcdef", "allowed_models": ["to-chat"]})
    s = start(config)
    for first, second in (("dear", "to-chat"), ("to-chat", "dear")):
        r = s.post(CHAT, '{"model":"%s","messages":[{"role":"user","content":"x"}],"model":"%s"}' % (first, second), headers=s.auth("sk-narrow-0123456789abcdef"))
        assert r.status_code == 400 and r.json()["error"]["param"] == "model", r.text
    assert not scripted.requests


def test_uses_that_no_tool_is_bounded_by_take_no_search_away(start, scripted):
    price = {"input": 1, "output": 1, "search": 0.01}
    s = start(money_config(scripted, {p + "/*": price for p in ("chat", "anthropic", "responses")}, {"b": {**EVER, "limit_usd": 0.025}}, budget_hold_searches=3))
    search = {"type": "web_search_20250305", "name": "web_search"}

    def post(path, body):
        return s.post(path, {"max_tokens": 10, **body}, headers=s.auth(KEY))
    refused = [
        ("/v1/messages", {"model": "to-anthropic", **SAY, "tools": [search], "metadata": {"max_uses": 0}}),
        ("/v1/messages", {"model": "to-anthropic", **SAY, "tools": [search], "max_tool_calls": 0}),
        ("/v1/messages", {"model": "to-anthropic", **SAY, "tools": [search, {"name": "f", "max_uses": 0, "input_schema": {"type": "object"}}]}),
        ("/v1/messages", {"model": "to-anthropic", **SAY, "tools": [{**search, "max_uses": 1}, search]}),
        (CHAT, {"model": "to-chat", **SAY, "web_search_options": {}, "tools": [{"type": "web_search", "max_uses": 0}]}),
        (CHAT, {"model": "to-chat", **SAY, "web_search_options": {}, "max_tool_calls": 0}),
        ("/v1/responses", {"model": "to-responses", "input": "x", "tools": [{"type": "web_search"}], "metadata": {"max_tool_calls": "0"}})]
    for path, body in refused:
        r = post(path, body)
        assert r.status_code == 402 and "has no room" in r.text, (body, r.text)
    assert not scripted.requests and budget(s)["refused"] == len(refused)
    for path, body in (("/v1/messages", {"model": "to-anthropic", **SAY, "tools": [{**search, "max_uses": 2}]}),
                       ("/v1/responses", {"model": "to-responses", "input": "x", "store": False, "max_output_tokens": 9, "tools": [{"type": "web_search"}], "max_tool_calls": 1})):
        assert post(path, body).status_code == 200, body


# ---- what the upstream keeps ----

def native(scripted, limit, **model):
    """A model `r` of an upstream that keeps responses itself, one `g` of Google's."""
    config = money_config(scripted, {"oai/*": {"input": 3, "output": 15}, "google/*": {"input": 3, "output": 15}},
                          {"b": {**EVER, "limit_usd": limit}} if limit else {})
    config["providers"]["oai"] = {"type": "openai", "api_key": "k", "base_url": scripted.origin + "/v1", "allow_private": True, "wire": "openai_responses"}
    config["models"]["r"] = {"targets": [{"provider": "oai", "upstream_model": "gpt-x"}], **model}
    config["models"]["g"] = {"targets": [{"provider": "google", "upstream_model": "gemini-x"}], **model}
    return config


def response(name, tokens_in=0, tokens_out=0, status="completed"):
    usage = {"input_tokens": tokens_in, "output_tokens": tokens_out, "total_tokens": tokens_in + tokens_out} if status in ("completed", "incomplete") else None
    return {"id": name, "object": "response", "created_at": 1, "status": status, "model": "gpt-x", "background": True, "usage": usage,
            "output": [{"type": "message", "id": "m", "status": "completed", "role": "assistant", "content": [{"type": "output_text", "text": "hi", "annotations": []}]}] if usage else []}


def respond(s, **more):
    return s.post("/v1/responses", {"model": "r", "input": "hi", "max_output_tokens": 50, **more}, headers=s.auth(KEY))


def spent(s, nanousd):
    return wait_for(lambda: (lambda b: (b["spent_nanousd"], b["held_nanousd"]) == (nanousd, 0))(budget(s)), "%d are spent" % nanousd)


def test_context_that_the_upstream_keeps_is_held_for(start, scripted):
    s = start(native(scripted, 0.05), "native")
    scripted.play(http(200, json.dumps(response("resp_a", 4000, 50))))
    assert respond(s).status_code == 200
    spent(s, 4000 * 3000 + 50 * 15000)
    # what its conversation comes to is known: 4050 tokens, and what is new
    scripted.play(http(200, json.dumps(response("resp_b", 12000, 50))))
    assert respond(s, previous_response_id="resp_a").status_code == 200
    spent(s, 16000 * 3000 + 100 * 15000)
    s.stop()
    s = start(None, "native")  # that is kept
    seen = len(scripted.requests)
    r = respond(s, previous_response_id="resp_b")
    assert r.status_code == 402 and r.json()["error"]["code"] == "budget_exceeded", r.text
    # of other things nothing is known
    google = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}], "generationConfig": {"maxOutputTokens": 5}}

    def unknown():
        yield respond(s, previous_response_id="resp_of_before")
        yield respond(s, conversation="conv_1")
        yield respond(s, prompt={"id": "pmpt_1"})
        for name in ("cachedContent", "cached_content"):
            yield s.post("/v1beta/models/g:generateContent", {**google, name: "cachedContents/a"}, headers=s.auth(KEY))
        yield s.post("/v1/responses/compact", {"model": "r", "input": "x", "previous_response_id": "resp_a"}, headers=s.auth(KEY))
    for r in unknown():
        assert r.status_code == 402 and "context_tokens must be set" in r.text, r.text
    s.stop()
    s = start(native(scripted, 1, context_tokens=400000), "context")  # as much as the model takes
    for r in unknown():
        assert r.status_code == 402 and "has no room" in r.text, r.text
    assert len(scripted.requests) == seen
    s.stop()
    s = start(native(scripted, 2, context_tokens=400000), "room")
    scripted.play(http(200, json.dumps(response("resp_c", 300000, 50))))
    assert respond(s, conversation="conv_1").status_code == 200
    spent(s, 300000 * 3000 + 50 * 15000)


def ended(s, name):
    return s.get("/v1/responses/" + name, headers=s.auth(KEY))


@pytest.mark.parametrize("limit", [5, None], ids=["budget", "none"])
@pytest.mark.parametrize("how", ["whole", "stream"])
def test_what_goes_on_in_the_background_is_corrected_once_its_end_is_told(start, scripted, limit, how):
    s = start(native(scripted, limit), "background")
    scripted.play(http(200, json.dumps(response("resp_bg", status="queued"))))
    assert respond(s, background=True, store=True, max_output_tokens=50000).json()["status"] == "queued"
    line = lines(s, 1)[0]
    assert (line["output_tokens"], line["usage_quality"], line["ended"]) == (50000, "estimated", "done")
    assert line["cost_nanousd"] == line["input_tokens"] * 3000 + 50000 * 15000
    if limit:
        spent(s, line["cost_nanousd"])
    scripted.play(http(200, json.dumps(response("resp_bg", status="in_progress"))))
    assert ended(s, "resp_bg").json()["status"] == "in_progress"
    s.stop()
    s = start(None, "background")  # what has yet to be told is known after a restart, too
    assert len(lines(s)) == 1
    over = response("resp_bg", 10, 20000)
    if how == "whole":
        scripted.play(http(200, json.dumps(over)))
        for _ in range(3):
            assert ended(s, "resp_bg").json()["usage"]["output_tokens"] == 20000
    else:
        scripted.play(stream([b"event: response.completed\ndata: " + json.dumps({"type": "response.completed", "sequence_number": 3, "response": over}).encode() + b"\n\n"]))
        assert "20000" in s.get("/v1/responses/resp_bg?stream=true", headers=s.auth(KEY)).text
    cost = 10 * 3000 + 20000 * 15000
    adjust, settle = lines(s, 2)
    assert (settle["entry"], adjust["entry"], adjust["corrects"]) == ("settle", "adjust", line["id"])
    assert settle["cost_nanousd"] + adjust["cost_nanousd"] == cost
    assert (settle["output_tokens"] + adjust["output_tokens"], settle["input_tokens"] + adjust["input_tokens"]) == (20000, 10)
    if limit:
        spent(s, cost)

    def once():
        scripted.play(http(200, json.dumps(over)))
        assert ended(s, "resp_bg").status_code == 200
        check = admin(s, "GET", "/sluice/v1/ledger/verify").json()  # waits for what is on its way
        assert check["ok"] and (check["lines"], check["corrections"]) == (1, 1), check
        costs = admin(s, "GET", "/sluice/v1/costs", params={"bucket": "total"}).json()
        row = costs["data"][0]
        assert costs["total_nanousd"] == cost and (row["requests"], row["input_tokens"], row["output_tokens"]) == (1, 10, 20000)
        if limit:
            spent(s, cost)
    once()
    # prices of the past are of what was used, not of what was estimated
    assert admin(s, "POST", "/sluice/v1/prices", {"provider": "oai", "model": "*", "price": {"input": 3, "output": 30}}).status_code in (200, 400)
    s.stop()
    s = start(None, "background")
    once()


def test_a_background_response_that_failed_costs_nothing_and_one_that_was_cancelled_stays_as_estimated(start, scripted):
    s = start(native(scripted, 5), "ends")
    for name, status in (("resp_f", "failed"), ("resp_c", "cancelled")):
        scripted.play(http(200, json.dumps(response(name, status="queued"))))
        assert respond(s, background=True, max_output_tokens=1000).status_code == 200
    most = sum(x["cost_nanousd"] for x in lines(s, 2))
    for name, status in (("resp_f", "failed"), ("resp_c", "cancelled")):
        scripted.play(http(200, json.dumps(response(name, status=status))))
        assert ended(s, name).json()["status"] == status
    adjust = lines(s, 3)[0]
    assert adjust["entry"] == "adjust" and adjust["cost_nanousd"] == -most // 2
    spent(s, most // 2)
    assert admin(s, "GET", "/sluice/v1/ledger/verify").json()["ok"]


# ---- token limits ----

def used(s, key="k0000001"):
    rows = s.get("/sluice/v1/limits", headers={"Authorization": "Bearer " + LIMITS_ADMIN}, auth=False).json()["data"]
    return next(r["used"] for r in rows if r["id"] == key)


def test_token_limits_count_every_answer(start_sluice):
    s = start_sluice(limits_config({"tokens_per_minute": 1000}, {"limit_queue_ms": 0}))
    assert chat(s, body={"model": "echo", "messages": [{"role": "user", "content": "x"}], "max_tokens": 5}).status_code == 200
    for n in (3, 50, "3", 3.0):
        r = chat(s, body={"model": "echo", "messages": [{"role": "user", "content": "x"}], "max_tokens": 400, "n": n})
        assert r.status_code == 429 and "tokens per minute" in r.text, (n, r.text)


async def silent(conn, request):
    await conn.until_gone()


def test_tokens_of_who_leaves_are_counted(start, scripted):
    config = money_config(scripted)
    config["server"]["api_keys"].append({"id": "k0000001", "key": "sk-tokens-0123456789abcdef", "limits": {"tokens_per_minute": 5000}})
    s = start(config)

    def so_far():
        return next(r["used"] for r in admin(s, "GET", "/sluice/v1/limits").json()["data"] if r["id"] == "k0000001")
    body = json.dumps({"model": "to-chat", "max_tokens": 900, **SAY}).encode()
    for n in (1, 2):
        seen = len(scripted.requests)
        scripted.play(silent)
        with s.connect() as c:
            c.sendall(b"POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sk-tokens-0123456789abcdef\r\nContent-Length: %d\r\n\r\n" % (CHAT.encode(), len(body)) + body)
            scripted.wait(seen + 1)
        lines(s, n)  # it was noticed
        wait_for(lambda n=n: n * 900 < so_far() < n * 1000, "all that it may have come to counts")
    # so does what the operator ended
    scripted.play(silent)
    t = threading.Thread(target=lambda: s.call("POST", CHAT, body, headers=s.auth("sk-tokens-0123456789abcdef"), timeout=60))
    t.start()
    row = wait_for(lambda: [a for a in admin(s, "GET", "/sluice/v1/requests/active").json()["data"] if a["upstream"]], "it waits")[0]
    assert admin(s, "DELETE", "/sluice/v1/requests/active/" + row["id"]).status_code == 204
    t.join(60)
    wait_for(lambda: 2700 < so_far() < 3000, "it counts")
    # what failed does not
    scripted.play(http(400, '{"error":{"message":"no"}}'))
    assert s.call("POST", CHAT, body, headers=s.auth("sk-tokens-0123456789abcdef")).status_code == 400
    wait_for(lambda: 2700 < so_far() < 3000, "a failure costs nothing")


# ---- the books ----

def test_budgets_hear_of_it_when_the_past_is_priced_again(start, scripted):
    config = money_config(scripted, {"chat/*": {"input": 3, "output": 15}}, {"b": {"scope": "tag", "subject": "red", "limit_usd": 0.02}, "other": {"scope": "key", "subject": "ad000000", "limit_usd": 1}})
    s = start(config)
    reply(scripted, {"prompt_tokens": 200, "completion_tokens": 50})
    assert ask(s, "sk-budget-0123456789abcdef").status_code == 200
    lines(s, 1)
    s.stop()
    config["prices"]["chat/*"] = {"input": 60, "output": 300}
    s = start(config)
    assert budget(s)["spent_nanousd"] == 1_350_000
    for dry, total in ((True, 1_350_000), (False, 27_000_000), (False, 27_000_000)):
        r = admin(s, "POST", "/sluice/v1/ledger/reprice", {**ALL, "dry_run": dry})
        assert r.json()["after_nanousd"] == 27_000_000, r.text
        assert budget(s)["spent_nanousd"] == admin(s, "GET", "/sluice/v1/costs").json()["total_nanousd"] == total
    assert budget(s, "other")["spent_nanousd"] == 0
    assert ask(s, "sk-budget-0123456789abcdef", max_tokens=1).status_code == 429  # at once, not with the next start
    s.stop()
    s = start(config)
    assert budget(s)["spent_nanousd"] == 27_000_000


def test_what_has_a_price_by_now_is_unpriced_no_more(start, scripted):
    config = money_config(scripted, {"chat/*": {"output": 15}})
    del config["prices"]["chat/*"]
    s = start(config)
    for tokens in (1000, 0):
        reply(scripted, {"prompt_tokens": tokens, "completion_tokens": 0})
        assert ask(s).status_code == 200
    lines(s, 2)

    def unpriced():
        costs = admin(s, "GET", "/sluice/v1/costs", params={"bucket": "total"}).json()
        check = admin(s, "GET", "/sluice/v1/ledger/verify").json()
        assert check["ok"], check
        return costs["unpriced"], costs["data"][0]["unpriced"], check["unpriced"], len(lines(s, unpriced="true")), costs["total_nanousd"]
    assert unpriced() == (2, 2, 2, 2, None)
    assert admin(s, "POST", "/sluice/v1/prices", {"provider": "chat", "model": "*", "price": {"input": 2, "output": 10}}).status_code == 200
    for changed in (2, 0):  # what comes to nothing is known as well
        r = admin(s, "POST", "/sluice/v1/ledger/reprice", {**ALL, "dry_run": False}).json()
        assert (r["changed"], r["unknown"]) == (changed, 0), r
        assert unpriced() == (0, 0, 0, 0, 2_000_000)


def test_exports_that_cannot_be_read_are_refused_and_empty_ones_are_not(start, scripted):
    s = start(money_config(scripted))

    def imported(data):
        return admin(s, "POST", "/sluice/v1/reconciliation/import", data, params={"provider": "chat"})
    row = {"date": "2026-01-02", "model": "m", "usage": 1, "requests": 1, "prompt_tokens": 5}
    openai = {"object": "bucket", "start_time": 1767312000, "results": [{"input_tokens": 1, "output_tokens": 1, "num_model_requests": 1, "model": "m"}]}
    for data, name in (({"data": [row, {**row, "usage": -1e308}]}, "usage"), ({"data": [row, {**row, "requests": -5}]}, "requests"),
                       ({"data": [row, {**row, "prompt_tokens": 1e300}]}, "prompt_tokens"), ({"data": [row, {**row, "date": "2026-13-45"}]}, "date"),
                       ({"data": [openai, {**openai, "results": [{**openai["results"][0], "output_tokens": -1}]}]}, "output_tokens"),
                       ({"data": [openai, {**openai, "results": [{"amount": {"value": -0.5}, "line_item": "m"}]}]}, "amount.value"),
                       ({"data": [openai, {"starting_at": "2026-01-02T00:00:00Z", "results": [{"amount": "-3", "model": "m"}]}]}, "amount"),
                       (b"date,model,usage,requests\n2026-01-02,m,0.5,1\n2026-01-02,m,0.5,-3\n", "requests")):
        r = imported(data)
        assert r.status_code == 400 and "Row 2" in r.text and "'%s'" % name in r.text, (data, r.text)
    assert admin(s, "GET", "/sluice/v1/reconciliation", params={"provider": "chat"}).json()["data"] == []
    for data in ({"data": []}, [], {"object": "page", "data": [{**openai, "results": []}], "has_more": False}):
        r = imported(data)
        assert r.status_code == 200 and (r.json()["format"], r.json()["rows"]) == ("empty", 0), r.text
    assert imported({"data": [{"x": 1}]}).status_code == imported({"x": 1}).status_code == 400


def test_a_budget_is_of_somebody(start, scripted):
    s = start(money_config(scripted))
    for scope, there in (("key", "0b000000"), ("org", "acme"), ("user", "ann"), ("tag", None)):
        body = {"name": scope, "scope": scope, "subject": "nobody", "limit_usd": 1}
        r = admin(s, "POST", "/sluice/v1/budgets", body)
        if there is None:
            assert r.status_code == 201, r.text  # keys may get it later
            continue
        assert r.status_code == 400 and r.json()["error"]["param"] == "subject" and "no %s 'nobody'" % scope in r.text, r.text
        assert admin(s, "POST", "/sluice/v1/budgets", {**body, "subject": there}).status_code == 201
        r = admin(s, "PATCH", "/sluice/v1/budgets/" + scope, {"subject": "nobody"})
        assert r.status_code == 400 and r.json()["error"]["param"] == "subject", r.text
        assert admin(s, "PATCH", "/sluice/v1/budgets/" + scope, {"limit_usd": 2}).status_code == 200
    r = admin(s, "PATCH", "/sluice/v1/budgets/key", {"scope": "org"})  # a key's id is no organisation
    assert r.status_code == 400, r.text


def test_a_credit_is_of_somebody(start, scripted):
    s = start(money_config(scripted))
    for of, there in (("key", "0b000000"), ("org", "acme"), ("user", "ann")):
        body = {"entry": "credit", "amount_nanousd": 1000, "note": "sorry"}
        r = admin(s, "POST", "/sluice/v1/ledger", {**body, of: "nobody"})
        assert r.status_code == 400 and r.json()["error"]["param"] == of and "no %s 'nobody'" % of in r.text, r.text
        assert admin(s, "POST", "/sluice/v1/ledger", {**body, of: there}).status_code == 201
