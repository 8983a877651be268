"""Fixtures: sluice under test, the scripted upstream, a real llama-server, and the record of calls."""
import os
import pathlib
import resource
import subprocess
import sys
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import llama as llama_server  # noqa: E402
from formats import FORMATS  # noqa: E402
from gateway import BINARY, KEY, ROOT, Calls, Sluice, provider  # noqa: E402
from upstream import Upstream  # noqa: E402

CLIENTS = os.environ.get("SLUICE_TEST_CLIENTS", "some")


def pytest_configure(config):
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))  # for thousands of connections; sluice inherits it
    path = pathlib.Path(os.environ.get("SLUICE_TEST_CALLS", ROOT / "build/test-calls.tsv"))
    path.parent.mkdir(parents=True, exist_ok=True)
    config.calls = Calls(path)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    item.config.calls.test = item.nodeid


@pytest.fixture(autouse=True)
def within_a_day():
    """No test begins shortly before midnight UTC: what it takes for today would be the server's yesterday at its end."""
    left = 86400 - time.time() % 86400
    if left < 60:
        time.sleep(left + 0.1)


@pytest.fixture(scope="session")
def calls(request):
    return request.config.calls


@pytest.fixture(scope="session")
def scripted():
    """The scripted upstream of the whole run; tests take `upstream`."""
    server = Upstream()
    yield server
    server.stop()


@pytest.fixture
def upstream(scripted):
    scripted.reset()
    yield scripted
    broken = scripted.broken
    scripted.reset()
    assert not broken, "the scripted upstream could not follow: %s" % broken


def basic_config(origin):
    """One provider and one model `to-<format>` for each format of the scripted upstream."""
    providers = {name: provider(name, origin) for name in FORMATS}
    models = {"to-" + name: {"provider": name, "upstream_model": name + "-model"} for name in FORMATS}
    providers["plain"] = {"type": "anthropic-compatible", "api_key": "upstream-secret-plain", "base_url": origin}
    models["to-plain"] = {"provider": "plain", "upstream_model": "plain-model"}  # Anthropic's format without its news
    providers["echo"] = {"type": "echo"}
    models["echo"] = "echo"
    return {"providers": providers, "models": models,
            "server": {"api_keys": [{"id": "0a1b2c3d", "key": KEY, "label": "tests"}]}}


class Shared:
    """The sluice that most tests share. One that a test has killed is replaced for the next."""

    def __init__(self, origin, calls, factory):
        self.origin, self.calls, self.factory, self.running = origin, calls, factory, None

    def get(self):
        if not BINARY.exists():
            pytest.fail("no binary at %s: build it, or set SLUICE_BIN" % BINARY)
        if self.running is None:
            self.running = Sluice(self.factory.mktemp("sluice"), basic_config(self.origin), self.calls)
        return self.running

    def check(self):
        """It lives; if not, that is the fault of the test that just ran."""
        if self.running is not None and self.running.process.poll() is not None:
            dead, self.running = self.running, None
            dead.stop()

    def stop(self):
        if self.running is None:
            return
        children = subprocess.run(["pgrep", "-l", "-P", str(self.running.process.pid)], capture_output=True, text=True,
                                  check=False).stdout
        self.running.stop()
        assert not children.strip(), "sluice had child processes: " + children


@pytest.fixture(scope="session")
def shared(scripted, calls, tmp_path_factory):
    s = Shared(scripted.origin, calls, tmp_path_factory)
    yield s
    s.stop()


@pytest.fixture
def sluice(shared):
    yield shared.get()
    shared.check()


@pytest.fixture
def start_sluice(calls, tmp_path):
    """start_sluice(config, …): one of the test's own, stopped and checked at its end."""
    running = []

    def start(config, **options):
        s = Sluice(tmp_path / ("sluice%d" % len(running)), config, calls, **options)
        running.append(s)
        return s

    yield start
    for s in running:
        s.stop()


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    """What lets calls of a sluice fail: see faults.py."""
    out = tmp_path_factory.mktemp("faults") / "faults.so"
    subprocess.run(["gcc", "-D_GNU_SOURCE", "-D_LARGEFILE64_SOURCE", "-O1", "-shared", "-fPIC", "-o", str(out),
                    str(ROOT / "tests/tools/faults.c"), "-ldl"], check=True)
    return out


@pytest.fixture(scope="session")
def llama():
    """llama-server with the programmed model: exact text, reasoning, a call of get_weather."""
    with llama_server.Llama("script") as server:
        yield server


@pytest.fixture(scope="session")
def llama_noise():
    """llama-server with random weights: noise with broken UTF-8, and embeddings."""
    with llama_server.Llama("noise", "--embeddings", "--pooling", "mean") as server:
        yield server


# Files of few tests that take long: first, so that nobody waits for them at the end.
# Browsers want a processor of their own: between two of their files stands one that mostly waits.
LONG = ("test_injection_strings", "test_dashboard_work", "test_faults", "test_dashboard_safe", "test_access", "test_dashboard_pages", "test_export", "test_dashboard_around",
        "test_injection", "test_dashboard_scale", "test_rosetta_tests", "test_dashboard_lists", "test_cli", "test_dashboard_flows", "test_parallel", "test_dashboard_looks")


def pytest_collection_modifyitems(items):
    places = {name: i for i, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path.stem, len(LONG)))  # stable: the others keep their order
