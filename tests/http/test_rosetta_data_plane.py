"""What llm-rosetta promises of the data plane, sentence by sentence: carriers, refusals, envelopes, lists."""
import pytest
from conftest import basic_config
from formats import FORMATS
from formats.common import Ask
from gateway import KEY, wait_for

ADMIN = "sk-admin-0123456789abcdef"
CARRIERS = [{"Authorization": "Bearer " + KEY}, {"x-api-key": KEY}, {"x-goog-api-key": KEY}, None]
PATHS = {"chat": "/v1/chat/completions", "responses": "/v1/responses", "anthropic": "/v1/messages",
         "google": "/v1beta/models/to-chat:generateContent"}


def body(client, model="to-chat"):
    return FORMATS[client].request(Ask(model=model))


def envelope(client, status, message):
    """The parts of an error that the contract names."""
    return {"anthropic": {"error": {"message": message}}, "google": {"error": {"code": status, "message": message}},
            }.get(client, {"error": {"message": message}})


def holds(got, wanted):
    return all(holds(got.get(k, {}), v) if isinstance(v, dict) else got.get(k) == v for k, v in wanted.items())


@pytest.mark.parametrize("client", PATHS)
def test_every_carrier_on_every_path(sluice, client):
    for carrier in CARRIERS:
        path = PATHS[client] + ("" if carrier else "?key=" + KEY)
        r = sluice.post(path, body(client), auth=False, headers=carrier or {})
        assert r.status_code == 200, (client, carrier, r.text)


@pytest.mark.parametrize("client", PATHS)
def test_bad_keys(sluice, client):
    for headers, start in (({"Authorization": "Bearer wrong-key-0001"}, "Invalid or missing API key"), ({}, "Invalid or missing API key")):
        r = sluice.post(PATHS[client], body(client), auth=False, headers=headers)
        assert r.status_code == 401
        error = r.json()["error"]
        assert error["message"].startswith(start)
        if client == "anthropic":
            assert r.json()["type"] == "error" and error["type"] == "authentication_error"
        elif client == "google":
            assert (error["code"], error["status"]) == (401, "UNAUTHENTICATED")
        else:
            assert error["code"] == "invalid_api_key"


@pytest.mark.parametrize("client", PATHS)
def test_bad_json_and_unknown_models(sluice, client):
    r = sluice.post(PATHS[client], b"{")
    assert r.status_code == 400 and "JSON" in r.json()["error"]["message"]
    assert FORMATS[client].read_error(r.status_code, r.content).message
    r = sluice.post(PATHS[client].replace("to-chat", "nothing"), body(client, "nothing"))
    assert r.status_code == 404 and holds(r.json(), envelope(client, 404, "Unknown model: 'nothing'")), r.text


@pytest.mark.parametrize("client", ["chat", "responses", "anthropic"])
def test_no_model(sluice, client):
    asked = body(client)
    del asked["model"]
    r = sluice.post(PATHS[client], asked)
    assert r.status_code == 400 and r.json()["error"]["message"] == "Missing 'model' in request body"


@pytest.mark.parametrize("path", ["/v1beta/models/to-chat:fooBar", "/v1/models/to-chat:fooBar", "/v1beta/models/a/b:x"])
def test_unknown_google_methods(sluice, path):
    r = sluice.post(path, {})
    assert r.status_code == 404 and r.json()["error"]["message"] == "Unknown Google GenAI method"


def test_options_are_answered_everywhere(sluice):
    for path in ("/v1/chat/completions", "/v1/models", "/nothing/at/all", "/admin/api/config", "/admin/api/nothing", "/"):
        r = sluice.call("OPTIONS", path, auth=False, headers={"Origin": "https://x.example"})
        assert r.status_code == 204 and r.content == b"", path
        assert ("access-control-allow-origin" in r.headers) == (not path.startswith("/admin")), path


def test_lists(start_sluice, scripted):
    config = basic_config(scripted.origin)
    config["models"] = {"zz": "chat", "aa": {"provider": "google", "capabilities": ["text", "vision"]}}
    s = start_sluice(config)
    got = s.get("/v1/models").json()
    assert [m["id"] for m in got["data"]] == ["aa", "echo", "zz"] and got["object"] == "list"
    assert (got["first_id"], got["last_id"], got["has_more"]) == ("aa", "zz", False)
    one = got["data"][0]
    assert (one["object"], one["owned_by"], one["api_standard"], one["capabilities"], one["type"], one["display_name"]) == (
        "model", "google", "google", ["text", "vision"], "model", "aa")
    assert one["created"] == 0 and one["created_at"].startswith("1970-01-01T00:00:00")
    got = s.get("/v1beta/models").json()["models"]
    assert (got[0]["name"], got[0]["displayName"]) == ("models/aa", "aa")
    assert {"generateContent", "streamGenerateContent"} <= set(got[0]["supportedGenerationMethods"])


def test_health_names_what_the_caller_may_use(start_sluice, scripted):
    config = basic_config(scripted.origin)
    config["providers"]["off"] = {"type": "openai_chat", "base_url": scripted.origin, "enabled": False}
    config["server"]["api_keys"].append({"id": "0a1b2c3e", "key": "sk-narrow-0001", "allowed_models": ["to-chat"]})
    s = start_sluice(config)
    assert s.get("/health", auth=False).json() == {"status": "ok", "providers": [], "models": []}
    got = s.get("/health").json()
    assert got["status"] == "ok" and "to-chat" in got["models"] and "chat" in got["providers"] and "off" not in got["providers"]
    assert s.get("/health", headers=s.auth("sk-narrow-0001"), auth=False).json()["models"] == ["to-chat"]
    config["server"]["allow_anonymous"] = True
    s.write_config(config)
    assert "chat" in start_sluice(config).get("/health", auth=False).json()["providers"]


def test_without_keys_nobody_is_served(start_sluice):
    """Deleting the last key does not open the gateway, unless anonymous callers are allowed by name."""
    config = {"providers": {"echo": {"type": "echo"}}, "models": {"echo": "echo"},
              "server": {"api_keys": [{"id": "0a1b2c3d", "key": KEY, "label": "last"}]}}
    s = start_sluice(config)
    ask = body("chat", "echo")
    assert s.post("/v1/chat/completions", ask).status_code == 200
    config["server"]["api_keys"] = []
    s.write_config(config)
    wait_for(lambda: s.post("/v1/chat/completions", ask).status_code == 403, "the reload")
    for headers in (s.auth(), {}):
        r = s.post("/v1/chat/completions", ask, auth=False, headers=headers)
        assert r.status_code == 403, r.text
        assert r.json()["error"]["message"] == "No API keys configured. Generate one in the admin panel."
    assert s.post("/v1/messages", body("anthropic", "echo")).json()["error"]["type"] == "permission_error"
    config["server"]["allow_anonymous"] = True
    s.write_config(config)
    wait_for(lambda: s.post("/v1/chat/completions", ask, auth=False).status_code == 200, "the reload")


def test_forwarding_header_of_open_responses(sluice, upstream):
    r = sluice.post("/v1/responses", body("responses", "to-responses"), headers={"OpenResponses-Version": "1.2"})
    assert r.status_code == 200, r.text
    assert upstream.last.header("openresponses-version") == "1.2"
