"""The process log as JSON: every line, with the same names."""
import json
import re

from conftest import basic_config
from formats import FORMATS
from formats.common import Ask
from gateway import wait_for
from test_metrics import ADMIN, with_admin
from upstream import failure

CHAT = FORMATS["chat"]


def lines(s):
    return [json.loads(line) for line in s.output().splitlines()]


def test_every_line_is_json_from_the_first_on(start_sluice, scripted, upstream):
    config = with_admin(basic_config(scripted.origin))
    config["server"].update({"log_json": True, "log_level": "debug", "made_up_setting": 1})  # a warning before the settings are known
    config["models"]["lost"] = {"provider": "nowhere"}
    s = start_sluice(config, key=ADMIN, arguments=("--quiet",))
    upstream.next(failure(CHAT, 503, "busy \"quoted\"\nline"))
    s.post("/v1/chat/completions", CHAT.request(Ask(model="to-chat")), headers={"X-Request-Id": "req-logged"})
    s.config_path.write_text("{ nonsense")
    s.post("/sluice/v1/reload")
    wait_for(lambda: any(x["event"] == "config.refused" for x in lines(s)), "the refusal is said")
    seen = lines(s)
    for x in seen:
        assert list(x)[:3] == ["time", "level", "event"], x
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", x["time"]) and x["level"] in ("debug", "info", "warn", "error")
        assert re.fullmatch(r"[a-z]+\.[a-z_]+", x["event"]), x
    events = {x["event"] for x in seen}
    assert {"config.model_without_provider", "server.listening", "upstream.failed", "relay.failed", "config.refused"} <= events, events
    failed = next(x for x in seen if x["event"] == "upstream.failed")
    assert failed["id"] == "req-logged" and failed["status"] == 503 and failed["attempt"] == 1 and failed["fault"] == "overload"


def test_how_it_looks_changes_while_serving(start_sluice, scripted, upstream):
    s = start_sluice(with_admin(basic_config(scripted.origin)), key=ADMIN, arguments=("--quiet",))
    assert "event=server.listening" in s.output()
    config = with_admin(basic_config(scripted.origin))
    config["server"].update({"log_json": True})
    s.write_config(config)
    assert s.post("/sluice/v1/reload").status_code == 200
    before = len(s.output())
    upstream.next(failure(CHAT, 503, "busy"))
    s.post("/v1/chat/completions", CHAT.request(Ask(model="to-chat")))
    wait_for(lambda: s.output()[before:].endswith("}\n"), "a line of JSON")
    config["server"].update({"log_level": "error"})
    s.write_config(config)
    assert s.post("/sluice/v1/reload").status_code == 200
    before = len(s.output())
    upstream.next(failure(CHAT, 503, "busy"))
    s.post("/v1/chat/completions", CHAT.request(Ask(model="to-chat")))
    assert s.output()[before:] == ""
