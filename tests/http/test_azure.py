"""Azure OpenAI: deployments in the path, api-version in the query, the key in a header of its own."""
import pytest
from conftest import basic_config
from formats import FORMATS
from formats.common import HELLO, Ask, Turn, dump
from upstream import answer, http

VERSION = "2026-01-01-preview"
USER = [{"role": "user", "content": "Hi"}]
CHAT = FORMATS["chat"]


@pytest.fixture(params=["", "/openai"], ids=["origin", "origin/openai"])
def azure(request, start_sluice, upstream):
    config = basic_config(upstream.origin)
    config["providers"]["az"] = {"type": "azure", "api_key": "azure-key", "base_url": upstream.origin + request.param,
                                 "api_version": VERSION}
    config["models"]["az"] = {"provider": "az", "upstream_model": "my deployment"}
    return start_sluice(config)


def check(request, path):
    assert request.target == "/openai%s?api-version=%s" % (path, VERSION)
    assert request.header("api-key") == "azure-key" and request.header("authorization") is None


@pytest.mark.parametrize("client", FORMATS)
@pytest.mark.parametrize("streaming", [False, True])
def test_conversations(azure, upstream, client, streaming):
    wire = FORMATS["responses" if client == "responses" else "chat"]
    upstream.play(answer(wire, Turn(text=HELLO)))
    f, ask = FORMATS[client], Ask(model="az", stream=streaming)
    r = azure.post(f.path(ask), f.request(ask))
    assert r.status_code == 200, r.text
    assert (f.read_stream if streaming else f.read)(r.content).text == HELLO
    check(upstream.last, "/responses" if client == "responses" else "/deployments/my%20deployment/chat/completions")
    if client == "responses":
        assert upstream.last.json["model"] == "my deployment"


@pytest.mark.parametrize("path,more", [("/completions", {"prompt": "x"}), ("/embeddings", {"input": "x"}),
                                       ("/images/generations", {"prompt": "x"}), ("/audio/speech", {"input": "x", "voice": "v"})])
def test_other_operations(azure, upstream, path, more):
    upstream.play(http(body=dump({"object": "list", "data": [], "choices": []})))
    r = azure.post("/v1" + path, {"model": "az", **more})
    assert r.status_code == 200, r.text
    check(upstream.last, "/deployments/my%20deployment" + path)


@pytest.mark.parametrize("path", ["/audio/transcriptions", "/audio/translations", "/images/edits"])
def test_forms(azure, upstream, path):
    upstream.play(http(body=dump({"text": "said"})))
    r = azure.http.post("/v1" + path, data={"model": "az", "prompt": "x"}, files={"file": ("a.wav", b"RIFF")}, headers=azure.auth())
    assert r.status_code == 200, r.text
    check(upstream.last, "/deployments/my%20deployment" + path)


def test_responses_that_azure_keeps(azure, upstream):
    upstream.play(answer(FORMATS["responses"], Turn(text=HELLO)))
    made = azure.post("/v1/responses", {"model": "az", "input": "Hi"}).json()
    upstream.play(http(body=dump({**made, "kept": True})))
    assert azure.get("/v1/responses/" + made["id"]).json()["kept"] is True
    check(upstream.last, "/responses/" + made["id"])
    assert azure.get("/v1/responses/%s/input_items?limit=5" % made["id"]).status_code == 200
    assert upstream.last.target == "/openai/responses/%s/input_items?api-version=%s&limit=5" % (made["id"], VERSION)
    assert azure.call("DELETE", "/v1/responses/" + made["id"]).status_code == 200
    assert upstream.last.method == "DELETE"
    check(upstream.last, "/responses/" + made["id"])
    upstream.play(answer(FORMATS["responses"], Turn(text="more")))
    r = azure.post("/v1/responses", {"model": "az", "input": "Go on", "previous_response_id": made["id"]})
    assert r.status_code == 200 and upstream.last.json["previous_response_id"] == made["id"]


def test_errors_in_its_words(azure, upstream):
    body = dump({"error": {"code": "DeploymentNotFound", "message": "The API deployment for this resource does not exist."}})
    upstream.play(http(404, body))
    r = azure.post("/v1/chat/completions", {"model": "az", "messages": USER})
    assert r.status_code == 404 and r.text == body
    r = azure.post("/v1/messages", {"model": "az", "max_tokens": 5, "messages": USER})
    assert r.status_code == 404 and "does not exist" in FORMATS["anthropic"].read_error(404, r.content).message
