"""Agent programs, the real ones, complete a tool-calling turn through sluice: they ask, run the command that the
scripted model wants, send the result back and print the answer. Each over its own format and across formats.

Claude Code and Codex run with every `make test`; all six with `make test-clients`.
"""
import pathlib

import pytest
from agents import AGENTS
from conftest import CLIENTS
from formats import FORMATS
from formats.common import Call, Turn, dump
from gateway import KEY, wait_for
from llama import TEXT, Llama, make_model
from upstream import answer

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]
SAID = "The file is written and all is well."
# Their own format first, then at least one foreign one each.
OVER = {"claude": ["anthropic", "chat", "responses", "google", "ollama"], "codex": ["responses", "anthropic", "chat", "google"],
        "gemini": ["google", "chat", "anthropic"], "opencode": ["chat", "anthropic", "google"],
        "qwen": ["chat", "anthropic", "responses"], "cline": ["chat", "anthropic", "ollama"]}
IN_EVERY_RUN = {("claude", "anthropic"), ("claude", "chat"), ("codex", "responses"), ("codex", "anthropic")}
TURNS = [(a, u) for a in AGENTS for u in OVER[a]
         if CLIENTS == "all" or (a, u) in IN_EVERY_RUN]
RESULT = {"chat": '"role":"tool"', "responses": '"function_call_output"', "anthropic": '"tool_result"',
          "google": '"functionResponse"', "ollama": '"role":"tool"'}


def glance(up, request):
    """(names of the tools, whether a result is in the history), without insisting on anything else."""
    body = request.json
    tools = body.get("tools") or []
    if up == "google":
        names = [d["name"] for t in tools for d in t.get("functionDeclarations", [])]
    else:
        names = [(t.get("function") or t).get("name") for t in tools]
    return names, RESULT[up] in dump(body)


def living_in(home):
    mark, found = b"HOME=" + str(home).encode(), []
    for place in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if mark in (place / "environ").read_bytes().split(b"\0") and not (place / "stat").read_text().rpartition(")")[2].startswith(" Z"):
                found.append(place.name)
        except OSError:
            pass
    return found


@pytest.mark.parametrize("name,up", TURNS, ids=["%s-over-%s" % t for t in TURNS])
def test_turn(sluice, upstream, calls, tmp_path, name, up):
    agent = AGENTS[name]
    asked = []

    async def script(conn, request):
        names, has_result = glance(up, request)
        asked.append((names, has_result))
        if agent.call[0] in names and not has_result and len(asked) < 20:
            turn = Turn(calls=[Call(agent.call[0], dump(agent.call[1]), "call_1")], finish="tool_calls")
        else:
            turn = Turn(text=SAID)
        await answer(FORMATS[up], turn)(conn, request)

    upstream.play(script)
    done, ran = agent.run(tmp_path, sluice.origin, KEY, "to-" + up)
    assert done.returncode == 0, agent.output[-4000:]
    assert ran == "ran\n", agent.output[-4000:]
    assert SAID in agent.output, agent.output[-4000:]
    assert any(has for _, has in asked), "the result of the tool never came back"
    wait_for(lambda: not living_in(tmp_path / "home"), "all that the agent started ends")
    calls.note("POST", {"anthropic": "/v1/messages", "responses": "/v1/responses", "chat": "/v1/chat/completions",
                        "google": "/v1beta/models/m:streamGenerateContent"}[agent.surface])


WIRES = {"chat": "openai_chat", "responses": "openai_responses", "anthropic": "anthropic"}
REAL = [("claude", "anthropic"), ("claude", "chat"), ("codex", "responses"), ("codex", "anthropic")]


if CLIENTS == "all":  # the scripted upstream covers the turn in every run
    @pytest.mark.parametrize("name,up", REAL, ids=["%s-over-llama-%s" % t for t in REAL])
    def test_turn_with_a_real_model_server(start_sluice, tmp_path, name, up):
        """The same with llama-server, whose programmed model calls the agent's own tool."""
        agent = AGENTS[name]
        model = make_model(tmp_path / "m.gguf", call=(agent.call[0], dump(agent.call[1])))
        with Llama(model, "-c", "262144", "-np", "2", "-kvu", "-b", "4096", "-ub", "2048") as server:
            s = start_sluice({
                "providers": {"real": {"type": "llamacpp", "base_url": server.origin + "/v1", "wire": WIRES[up]}},
                "models": {"m": {"provider": "real", "upstream_model": "tiny"}},
                "server": {"api_keys": [{"id": "0a1b2c3d", "key": KEY, "label": "tests"}]}})
            done, ran = agent.run(tmp_path, s.origin, KEY, "m")
        assert done.returncode == 0, agent.output[-4000:]
        assert ran == "ran\n", agent.output[-4000:]
        assert TEXT.splitlines()[0] in agent.output
