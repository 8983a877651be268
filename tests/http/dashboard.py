"""Drives the dashboard in a real Chromium: the flows of tests/node/dashboard.mjs against a running sluice."""
import subprocess

from gateway import ROOT
from node import NODE, environment

SCRIPT = ROOT / "tests/node/dashboard.mjs"
KEY = "sk-test-0123456789abcdef0123456789abcdef"
ADMIN = "sk-dash-0123456789abcdef0123456789abcdef"


def config():
    return {"providers": {"echo": {"type": "echo"}}, "models": {"echo": "echo"},
            "server": {"admin_password": "a long enough password", "password_memory_bytes": 65536, "api_keys": [
                {"id": "0a1b2c3f", "key": KEY[::-1], "label": "spare"}, {"id": "0a1b2c3d", "key": KEY, "label": "tests"},
                {"id": "0a1b2c3e", "key": ADMIN, "label": "expiring", "scopes": ["inference", "models", "admin"]}]}}


def drive(origin, key, flow, **env):
    done = subprocess.run([str(NODE), str(SCRIPT), origin, key, flow], env=environment(**env), capture_output=True, text=True,
                          timeout=560, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
