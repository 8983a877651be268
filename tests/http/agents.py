"""The agent programs: how each is told where its model is, run in an empty folder with an empty home, offline.

They execute what the model says, so the scripted model says one harmless thing: write `ran` into a file.
"""
import json
import os
import pathlib
import signal
import subprocess

from gateway import CACHE
from node import BIN

# The rule of base URLs differs: Anthropic's and Google's are the origin, OpenAI's end in /v1.
COMMAND = "echo ran > ran.txt"


def end_all_of(home):
    """Some leave a daemon behind (Cline its hub), in a session of its own: what lives in this home is theirs, and ends with them."""
    mark = b"HOME=" + str(home).encode()
    for place in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if mark in (place / "environ").read_bytes().split(b"\0"):
                os.kill(int(place.name), signal.SIGKILL)
        except OSError:  # it ended meanwhile, or is another user's
            pass


class Agent:
    """name: of the program; surface: the format it speaks; call: (tool, arguments) that runs COMMAND."""

    def __init__(self, name, surface, call, prepare, extra=False):
        self.name, self.surface, self.call, self.prepare, self.extra = name, surface, call, prepare, extra

    def run(self, folder, origin, key, model):
        folder = pathlib.Path(folder)
        home, work = folder / "home", folder / "work"
        home.mkdir()
        work.mkdir()
        place = CACHE / ("clients-more" if self.extra else "clients") / "node_modules/.bin"
        env = {"PATH": "%s:%s:/usr/bin:/bin" % (place, BIN), "HOME": str(home), "TERM": "dumb", "NO_COLOR": "1",
               "TMPDIR": str(folder)}
        try:
            arguments = self.prepare(home, work, env, origin, key, model)
            done = subprocess.run(arguments, cwd=work, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                  timeout=100, check=False, start_new_session=True)
        finally:
            end_all_of(home)
        self.output = done.stdout + "\n--- stderr\n" + done.stderr
        ran = work / "ran.txt"
        return done, ran.read_text() if ran.exists() else None


def claude(home, work, env, origin, key, model):
    env.update(ANTHROPIC_BASE_URL=origin, ANTHROPIC_API_KEY=key, ANTHROPIC_MODEL=model,
               ANTHROPIC_SMALL_FAST_MODEL=model, CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC="1")
    return ["claude", "-p", "Run the command", "--tools", "Bash", "--allowedTools", "Bash", "--output-format", "json"]


def codex(home, work, env, origin, key, model):
    env["K"] = key
    here = '{name="s",base_url="%s/v1",env_key="K",wire_api="responses"}' % origin
    return ["codex", "exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", "--json",
            "-c", "model=" + json.dumps(model), "-c", 'model_provider="s"', "-c", "model_providers.s=" + here,
            "Run the command"]


def gemini(home, work, env, origin, key, model):
    (home / ".gemini").mkdir()
    (home / ".gemini/settings.json").write_text(json.dumps({
        "security": {"auth": {"selectedType": "gemini-api-key"}}, "privacy": {"usageStatisticsEnabled": False},
        "general": {"disableAutoUpdate": True}}))
    env.update(GEMINI_API_KEY=key, GOOGLE_GEMINI_BASE_URL=origin, GEMINI_CLI_TRUST_WORKSPACE="true")
    return ["gemini", "-m", model, "--yolo", "-p", "Run the command"]


def opencode(home, work, env, origin, key, model):
    (work / "opencode.json").write_text(json.dumps({
        "provider": {"s": {"npm": "@ai-sdk/openai-compatible", "options": {"baseURL": origin + "/v1", "apiKey": key},
                           "models": {model: {}}}},
        "model": "s/" + model, "permission": {"bash": "allow", "edit": "allow"}}))
    env.update(OPENCODE_DISABLE_MODELS_FETCH="1", OPENCODE_DISABLE_AUTOUPDATE="1")
    return ["opencode", "run", "--format", "json", "Run the command"]


def qwen(home, work, env, origin, key, model):
    env.update(OPENAI_API_KEY=key, OPENAI_BASE_URL=origin + "/v1", OPENAI_MODEL=model)
    return ["qwen", "--auth-type", "openai", "--approval-mode", "yolo", "-p", "Run the command"]


def cline(home, work, env, origin, key, model):
    place = env["PATH"].partition(":")[0]
    subprocess.run([place + "/cline", "auth", "-p", "openai", "-k", key, "-m", model, "-b", origin + "/v1"], cwd=work,
                   env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
    return ["cline", "--json", "-P", "openai", "-m", model, "-t", "60", "--retries", "1", "Run the command"]


AGENTS = {a.name: a for a in (
    Agent("claude", "anthropic", ("Bash", {"command": COMMAND, "description": "Write a file"}), claude),
    Agent("codex", "responses", ("exec_command", {"cmd": COMMAND}), codex),
    Agent("gemini", "google", ("run_shell_command", {"command": COMMAND, "description": "Write a file"}), gemini, True),
    Agent("opencode", "chat", ("bash", {"command": COMMAND, "description": "Write a file"}), opencode, True),
    Agent("qwen", "chat", ("run_shell_command", {"command": COMMAND, "is_background": False}), qwen, True),
    Agent("cline", "chat", ("run_commands", {"commands": [COMMAND]}), cline, True),
)}
