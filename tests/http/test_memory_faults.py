"""There is no memory for what a peer chose the size of: an honest error, and the next one is served. Sizes that sluice chooses are small,
and end the process. The sanitizer's allocator refuses what is larger than a limit; other builds have no such thing."""
import gzip
import json
import subprocess

import pytest
from conftest import basic_config
from formats import FORMATS
from formats.common import Ask
from gateway import BINARY, wait_for
from upstream import http

MOST = 3  # MB of one allocation; those of a start are smaller


@pytest.fixture
def poor(start_sluice, scripted):
    if "libasan" not in subprocess.run(["ldd", str(BINARY)], capture_output=True, text=True, check=True).stdout:
        pytest.skip("needs the sanitizer's allocator")
    config = basic_config(scripted.origin)
    config["server"]["max_body_bytes"] = 20_000_000
    # what is refused is said on standard error, which is the log: no report of a fault
    return start_sluice(config, env={"ASAN_OPTIONS": "allocator_may_return_null=1:max_allocation_size_mb=%d:exitcode=99" % MOST,
                                     "UBSAN_OPTIONS": "halt_on_error=1:exitcode=99", "LSAN_OPTIONS": "exitcode=99"})


def works(s):
    r = s.post("/v1/chat/completions", {"model": "echo", "messages": [{"role": "user", "content": "x"}]})
    return r.status_code == 200


def chat(content, **more):
    return json.dumps({"model": "to-chat", "messages": [{"role": "user", "content": content}], **more}).encode()


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_a_body_that_has_no_room(poor, name):
    f, ask = FORMATS[name], Ask(model="to-chat", messages=[("user", "x" * 6_000_000)])
    r = poor.post(f.path(ask), f.request(ask))
    assert r.status_code == 503 and "memory" in f.read_error(r.status_code, r.content).message, r.text[:300]
    assert works(poor)


def test_what_is_made_of_a_body_has_no_room(poor, upstream):
    packed = gzip.compress(chat("x" * 6_000_000))
    tree = {"tools": [], "metadata_list": [1] * 300_000}
    for body, headers in ((packed, {"Content-Encoding": "gzip"}), (json.dumps({**json.loads(chat("x")), "model": "to-anthropic", **tree}).encode(), {})):
        assert len(body) < MOST << 20
        r = poor.post("/v1/chat/completions", body, headers=headers)
        assert r.status_code == 503 and r.json()["error"]["code"] == "no_memory", r.text[:300]
        assert r.headers["retry-after"] == "1"
        assert works(poor)


def test_a_reply_that_has_no_room(poor, upstream):
    huge = json.dumps({"id": "x", "object": "chat.completion", "model": "m", "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "y" * 6_000_000}, "finish_reason": "stop"}]}).encode()
    for client, path in (("anthropic", "/v1/messages"), ("google", "/v1beta/models/to-chat:generateContent")):
        upstream.play(http(200, huge))
        f = FORMATS[client]
        r = poor.post(path, f.request(Ask(model="to-chat")))
        assert r.status_code >= 500 and "memory" in f.read_error(r.status_code, r.content).message, r.text[:300]
        assert works(poor)
    wait_for(lambda: works(poor), "it serves on")
