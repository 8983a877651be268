"""The dashboard in a real Chromium with very much to show."""
import importlib.machinery
import importlib.util

import pytest
from dashboard import ADMIN, config, drive
from gateway import ROOT


@pytest.mark.timeout(600)
def test_ten_thousand_models(start_sluice):
    mine = config()
    mine["models"].update({"model-%d" % n: {"provider": "echo", "capabilities": ["text"]} for n in range(10001)})
    drive(start_sluice(mine).origin, ADMIN, "many")


@pytest.mark.timeout(600)
def test_a_hundred_thousand_rows(start_sluice):
    first = start_sluice(config())
    first.stop()
    loader = importlib.machinery.SourceFileLoader("request_log", str(ROOT / "bench/request-log"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("request_log", loader))
    loader.exec_module(module)
    module.fill(first.folder / "data/sluice.db", 100_000)
    s = start_sluice(config(), arguments=("--data", str(first.folder / "data")))
    drive(s.origin, ADMIN, "rows")
