"""Limits over the wire: never one too many, the true time to try again, who waits and who is served, what clients are told."""
import concurrent.futures
import json
import re

import httpx
import pytest
from gateway import KEY, provider, wait_for
from upstream import silence

ADMIN = "sk-admin-0123456789abcdef"
OTHER = "sk-other-0123456789abcdef0123456789abcd"
CHAT = {"model": "echo", "messages": [{"role": "user", "content": "hello"}]}


def config(limits=None, settings=None, other=None, **sections):
    return {**{"providers": {"echo": {"type": "echo"}}, "models": {"echo": {"provider": "echo"}}, **sections},
            "server": {**(settings or {}), "api_keys": [
                {"id": "ad000001", "key": ADMIN, "scopes": ["inference", "models", "admin"]},
                {"id": "k0000001", "key": KEY, **({"limits": limits} if limits else {})}, {"id": "k0000002", "key": OTHER, **(other or {})}]}}


def chat(s, key=KEY, body=None, path="/v1/chat/completions", **options):
    return s.call("POST", path, body or CHAT, headers={"Authorization": "Bearer " + key}, auth=False, **options)


def test_so_many_a_minute_and_not_one_more_with_many_clients_at_once(start_sluice):
    s = start_sluice(config({"requests_per_minute": 150}))

    def client(_):
        with httpx.Client(base_url=s.origin, trust_env=False, timeout=60) as http:
            return [http.post("/v1/chat/completions", json=CHAT, headers={"Authorization": "Bearer " + KEY}).status_code for _ in range(25)]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        statuses = [status for some in pool.map(client, range(16)) for status in some]
    assert sorted(set(statuses)) == [200, 429] and statuses.count(200) == 150
    assert chat(s, OTHER).status_code == 200
    view = s.get("/sluice/v1/limits", headers={"Authorization": "Bearer " + ADMIN}, auth=False).json()["data"]
    assert [(v["of"], v["id"], v["kind"], v["used"], v["remaining"], v["refused"]) for v in view] == \
        [("key", "k0000001", "requests_per_minute", 150, 0, 250)]
    metrics = s.get("/metrics", headers={"Authorization": "Bearer " + ADMIN}, auth=False).text
    assert 'sluice_limit_refused_total{of="key",limit="requests_per_minute"} 250' in metrics


@pytest.mark.parametrize("path, body, shape", [
    ("/v1/chat/completions", CHAT, lambda j: j["error"]["code"] == "rate_limit_exceeded"),
    ("/v1/responses", {"model": "echo", "input": "hi"}, lambda j: j["error"]["code"] == "rate_limit_exceeded"),
    ("/v1/messages", {**CHAT, "max_tokens": 9}, lambda j: j["type"] == "error" and j["error"]["type"] == "rate_limit_error"),
    ("/v1beta/models/echo:generateContent", {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}, lambda j: j["error"]["status"] == "RESOURCE_EXHAUSTED"),
    ("/api/chat", CHAT, lambda j: "Rate limit" in j["error"]),
])
def test_every_format_is_refused_in_its_own_words_and_told_when(start_sluice, path, body, shape):
    s = start_sluice(config({"requests_per_minute": 1}))
    first = chat(s, body=body, path=path)
    assert first.status_code == 200
    kind = "anthropic-ratelimit-requests-%s" if path == "/v1/messages" else "x-ratelimit-%s-requests"
    names = [kind % n for n in ("limit", "remaining")]
    assert [first.headers[n] for n in names] == ["1", "0"]
    reset = first.headers[kind % "reset"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z" if path == "/v1/messages" else r"(1m)?\d+s", reset), reset
    refused = chat(s, body=body, path=path)
    assert refused.status_code == 429 and shape(refused.json()), refused.text
    assert 1 <= int(refused.headers["retry-after"]) <= 62
    assert [refused.headers[n] for n in names] == ["1", "0"]


def test_tokens_are_settled_with_what_was_used(start_sluice):
    s = start_sluice(config({"tokens_per_minute": 2000}, {"limit_queue_ms": 0}))
    used = []
    for _ in range(3):  # each reserves 1024 and more, and uses few
        r = chat(s)
        assert r.status_code == 200, r.text
        used.append(r.json()["usage"]["total_tokens"])
    wait_for(lambda: s.get("/sluice/v1/limits", headers={"Authorization": "Bearer " + ADMIN}, auth=False).json()["data"][0]["used"] == sum(used),
             "what was used is all that counts")
    refused = chat(s, body={**CHAT, "max_tokens": 1990, "messages": [{"role": "user", "content": "x " * 200}]})
    assert refused.status_code == 429 and "tokens per minute" in refused.json()["error"]["message"]
    assert chat(s).headers["x-ratelimit-limit-tokens"] == "2000"


def test_limits_of_users_and_organisations_hold_for_all_their_keys(start_sluice):
    s = start_sluice(config(orgs={"acme": {"limits": {"requests_per_day": 3}}}, users={"ada": {"org": "acme", "limits": {"requests_per_minute": 2}}}))
    headers = {"Authorization": "Bearer " + ADMIN}
    for key, owner in (("k0000001", {"user": "ada"}), ("k0000002", {"org": "acme"})):
        assert s.call("PATCH", "/sluice/v1/keys/" + key, owner, headers=headers, auth=False).status_code == 200
    assert [chat(s).status_code for _ in range(2)] == [200, 200]
    refused = chat(s)
    assert refused.status_code == 429 and "this user" in refused.json()["error"]["message"]
    assert chat(s, OTHER).status_code == 200
    refused = chat(s, OTHER)
    assert refused.status_code == 429 and "this organisation" in refused.json()["error"]["message"]
    assert int(refused.headers["retry-after"]) > 80000
    assert s.call("PATCH", "/sluice/v1/orgs/acme", {"limits": {}}, headers=headers, auth=False).status_code == 200  # in force at once
    assert chat(s, OTHER).status_code == 200


def admin(s, method, path, body=None):
    return s.call(method, path, body, headers={"Authorization": "Bearer " + ADMIN}, auth=False)


def limits(s, **wanted):
    return [v for v in admin(s, "GET", "/sluice/v1/limits").json()["data"] if all(v[k] == wanted[k] for k in wanted)]


def held(s, key=KEY, model="echo"):
    """A request that is being served until its socket is closed."""
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "[[delay 300000]] x"}]})
    sock = s.connect()
    sock.sendall(("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\n"
                  "Content-Length: %d\r\n\r\n%s" % (key, len(body), body)).encode())
    return sock


def running(s, n, **wanted):
    wait_for(lambda: [v["used"] for v in limits(s, kind="concurrency", **wanted)] == [n], "%d run" % n)


def waiting(s, n):
    wait_for(lambda: [v["waiting"] for v in limits(s, kind="concurrency")] == [n], "%d wait" % n)


def test_the_next_waits_until_a_place_is_free(start_sluice):
    s = start_sluice(config({"concurrency": 1}, {"limit_queue_ms": 60000}))
    first = held(s)
    running(s, 1)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        others = [pool.submit(chat, s) for _ in range(4)]
        waiting(s, 4)
        first.close()
        assert [o.result().status_code for o in others] == [200] * 4
    running(s, 0)
    assert limits(s)[0]["waiting"] == 0 == limits(s)[0]["refused"]


def test_keys_share_what_they_wait_for_evenly(start_sluice, upstream):
    s = start_sluice(config(None, {"limit_queue_ms": 60000}, providers={"chat": provider("chat", upstream.origin)},
                            models={"one": {"provider": "chat", "limits": {"concurrency": 1}}}))
    upstream.next(silence)
    first = held(s, model="one")
    running(s, 1, of="model")

    def ask(key):
        assert chat(s, key, {"model": "one", "messages": [{"role": "user", "content": key}]}).status_code == 200
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(ask, KEY) for _ in range(6)]
        waiting(s, 6)
        asked += [pool.submit(ask, OTHER) for _ in range(2)]
        waiting(s, 8)
        first.close()
        for one in asked:
            one.result()
    order = [q.json["messages"][0]["content"] for q in upstream.wait(9)[1:]]  # one at a time, as they were let in
    assert order.index(OTHER) <= 2 and [i for i, key in enumerate(order) if key == OTHER][1] <= 4, order


def test_who_goes_away_leaves_the_queue(start_sluice):
    s = start_sluice(config({"concurrency": 1}, {"limit_queue_ms": 60000}))
    first = held(s)
    running(s, 1)
    others = [held(s) for _ in range(3)]
    waiting(s, 3)
    for sock in others:
        sock.close()
    waiting(s, 0)
    first.close()
    running(s, 0)
    assert chat(s).status_code == 200


@pytest.mark.parametrize("settings", [{"limit_queue_ms": 0}, {"limit_queue_max": 0}, {"limit_queue_ms": 200}], ids=["none", "full", "too long"])
def test_who_cannot_wait_or_has_waited_long_enough_is_refused(start_sluice, settings):
    s = start_sluice(config({"concurrency": 1}, settings))
    first = held(s)
    running(s, 1)
    refused = chat(s)
    assert refused.status_code == 429 and "1 requests at once" in refused.json()["error"]["message"] and refused.headers["retry-after"] == "1"
    first.close()
    running(s, 0)
    assert chat(s).status_code == 200


def two(limits_of_first, **more):
    return config(providers={"a": {"type": "echo", "limits": limits_of_first}, "b": {"type": "echo", **more}},
                  models={"m": {"targets": [{"provider": "a"}, {"provider": "b"}]}, "only": "a"}, settings={"limit_queue_ms": 60000})


def test_an_upstream_without_room_leaves_its_turn_to_the_next_target(start_sluice):
    s = start_sluice(two({"requests_per_minute": 2}))
    came = [chat(s, body={**CHAT, "model": "m"}).headers["x-sluice-upstream"] for _ in range(4)]
    assert came == ["a", "a", "b", "b"]
    refused = chat(s, body={**CHAT, "model": "only"})  # longer than anybody waits
    assert refused.status_code == 429 and "the upstreams of this model: 2 requests per minute" in refused.json()["error"]["message"]
    assert 1 <= int(refused.headers["retry-after"]) <= 62 and "x-sluice-upstream" not in refused.headers


def test_all_upstreams_without_room_are_waited_for(start_sluice):
    s = start_sluice(two({"concurrency": 1}, limits={"concurrency": 1}))
    socks = [held(s, model="m"), held(s, model="m")]
    wait_for(lambda: [v["used"] for v in limits(s)] == [1, 1], "both are busy")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(chat, s, KEY, {**CHAT, "model": "m"}) for _ in range(2)]
        wait_for(lambda: sum(v["waiting"] for v in limits(s)) == 2, "two wait")
        socks[0].close()
        assert [a.result().status_code for a in asked] == [200, 200]
    socks[1].close()
    wait_for(lambda: [v["used"] for v in limits(s)] == [0, 0], "nothing is left behind")


def test_limits_of_providers_and_models_are_changed_over_the_api(start_sluice):
    s = start_sluice(config())
    assert admin(s, "PATCH", "/sluice/v1/providers/echo", {"limits": {"requests_per_hour": 7, "requests_per_day": 5}}).json()["limits"] == {"requests_per_hour": 7, "requests_per_day": 5}
    assert admin(s, "PATCH", "/sluice/v1/models/echo", {"limits": {"tokens_per_day": 9}}).json()["limits"] == {"tokens_per_day": 9}
    assert [(v["of"], v["kind"], v["limit"]) for v in limits(s)] == [
        ("model", "tokens_per_day", 9), ("upstream", "requests_per_day", 5), ("upstream", "requests_per_hour", 7)]
    written = json.loads(s.config_path.read_text())
    assert written["providers"]["echo"]["limits"] == {"requests_per_hour": 7, "requests_per_day": 5} and written["models"]["echo"]["limits"] == {"tokens_per_day": 9}
    assert admin(s, "PATCH", "/sluice/v1/models/echo", {"limits": {}}).json()["limits"] == {}
    assert [v["of"] for v in limits(s)] == ["upstream", "upstream"]


def test_without_limits_the_upstreams_own_headers_pass(start_sluice):
    s = start_sluice(config(settings={"limit_headers": False}, limits={"requests_per_minute": 9}))
    assert not [h for h in chat(s).headers if "ratelimit" in h]


def test_so_many_an_hour(start_sluice, calls, tmp_path):
    """A window like the others: counted, told, listed, refused with the time of an hour, and not forgotten by a restart."""
    from gateway import Sluice
    shape = config({"requests_per_minute": 50, "requests_per_hour": 3, "requests_per_day": 100}, {"limit_queue_ms": 0})
    for left in (2, 0):
        s = Sluice(tmp_path / "again", shape, calls)
        try:
            r = chat(s)
            assert r.status_code == 200 and (r.headers["x-ratelimit-limit-requests"], r.headers["x-ratelimit-remaining-requests"]) == ("3", str(left))
            if left:
                assert chat(s).status_code == 200
                continue
            refused = chat(s)
            assert refused.status_code == 429 and 3400 < int(refused.headers["retry-after"]) <= 3840
            assert "3 requests per hour" in refused.json()["error"]["message"]
            (seen,) = [v for v in limits(s) if v["kind"] == "requests_per_hour"]
            assert (seen["limit"], seen["used"], seen["remaining"]) == (3, 3, 0)
        finally:
            s.stop()


def test_a_restart_forgets_no_day(start_sluice, calls, tmp_path):
    from gateway import Sluice
    shape = config({"requests_per_day": 3, "tokens_per_day": 100000}, {"limit_queue_ms": 0})
    for left in (2, 0):
        s = Sluice(tmp_path / "again", shape, calls)
        try:
            r = chat(s)
            assert r.status_code == 200 and r.headers["x-ratelimit-remaining-requests"] == str(left), r.headers
            if left:
                assert chat(s).status_code == 200
            else:
                refused = chat(s)
                assert refused.status_code == 429 and 82800 < int(refused.headers["retry-after"]) <= 92160
        finally:
            s.stop()
