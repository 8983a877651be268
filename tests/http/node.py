"""Runs programs on the Node.js of tests/setup."""
import atexit
import json
import os
import subprocess
import threading

from gateway import CACHE, ROOT

BIN = CACHE / "runtime/bin"
NODE = BIN / "node"


def environment(**more):
    return {"PATH": "%s:/usr/bin:/bin" % BIN, "HOME": os.environ.get("HOME", "/nonexistent"), **more}


class Sdks:
    """One process of tests/node/sdk.mjs, started by its first job and again if it died."""

    def __init__(self):
        self.process = None

    def run(self, sdk, origin, key, model):
        if self.process is None or self.process.poll() is not None:
            self.process = subprocess.Popen([str(NODE), str(ROOT / "tests/node/sdk.mjs")], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                            text=True, env=environment(AI_SDK_LOG_WARNINGS="false"))
            atexit.register(self.process.stdin.close)  # its end
        self.process.stdin.write(json.dumps({"sdk": sdk, "origin": origin, "key": key, "model": model}) + "\n")
        self.process.stdin.flush()
        late = threading.Timer(100, self.process.kill)
        late.start()
        line = self.process.stdout.readline()
        late.cancel()
        assert line, "the SDKs' process ended: %s" % self.process.wait()
        return json.loads(line)


run_sdk = Sdks().run
