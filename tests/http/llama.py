"""A real llama-server on a generated model. Real upstream for Chat, Responses and Messages."""
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import urllib.request

from gateway import CACHE, ROOT

SERVER = pathlib.Path(os.environ.get("SLUICE_LLAMA_SERVER", CACHE / "llama/root/usr/bin/llama-server"))
TEXT = "Hello, I am a tiny test model. Café 日本語 🙂.\nThat is all!"
THOUGHT = "Let me think first.\n"  # the model closes its thought on a line of its own


def make_model(path, call=None, say=None, words=None):
    """A script model of one's own."""
    command = [sys.executable, str(ROOT / "tests/tools/gguf_tiny.py"), str(path), "script"]
    if call:
        command += ["--call", *call]
    if say:
        command += ["--say", say]
    if words:
        command += ["--words", str(words)]
    subprocess.run(command, check=True)
    return path


class Llama:
    def __init__(self, model, *arguments):
        """model: script, noise, or the path of a GGUF file."""
        path = pathlib.Path(model)
        if not path.suffix:
            path = CACHE / "models" / (model + ".gguf")
        if not SERVER.exists() or not path.exists():
            raise AssertionError("no llama-server or model: run tests/setup")
        self.log = tempfile.NamedTemporaryFile(prefix="llama-", suffix=".log")
        self.process = subprocess.Popen(
            [str(SERVER), "-m", str(path), "-a", "tiny", "--host", "127.0.0.1", "--port", "0", "-t", "1", "--jinja",
             "--reasoning-format", "deepseek", "-c", "16384", "-np", "4", *arguments],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT, env={})
        self.origin = None

    def __enter__(self):
        end = time.monotonic() + 60
        while time.monotonic() < end and self.process.poll() is None:
            text = pathlib.Path(self.log.name).read_text(errors="replace")
            found = re.search(r"http://127\.0\.0\.1:(\d+)", text)
            if found and found.group(1) != "0":
                self.origin = found.group(0)
                try:
                    if urllib.request.urlopen(self.origin + "/health", timeout=2).status == 200:
                        return self
                except OSError:
                    pass
            time.sleep(0.02)
        self.__exit__()
        raise AssertionError("llama-server did not start:\n" + pathlib.Path(self.log.name).read_text(errors="replace")[-2000:])

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
