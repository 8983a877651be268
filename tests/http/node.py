"""Runs programs on the Node.js of tests/setup."""
import json
import os
import subprocess

from gateway import CACHE, ROOT

BIN = CACHE / "runtime/bin"
NODE = BIN / "node"


def environment(**more):
    return {"PATH": "%s:/usr/bin:/bin" % BIN, "HOME": os.environ.get("HOME", "/nonexistent"), **more}


def run_sdk(sdk, origin, key, model):
    done = subprocess.run([str(NODE), str(ROOT / "tests/node/sdk.mjs"), sdk, origin, key, model],
                          env=environment(AI_SDK_LOG_WARNINGS="false"), capture_output=True, text=True, timeout=100,
                          check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.strip().splitlines()[-1])
