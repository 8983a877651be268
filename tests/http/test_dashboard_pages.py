"""The dashboard in a real Chromium: one request in full, an upstream that fails, and who may what."""
import pytest
from dashboard import ADMIN, KEY, config, drive


@pytest.mark.timeout(600)
def test_inspector(start_sluice):
    """One request in full, and how cards and lists show who lacks a key, costs nothing or is well."""
    other = start_sluice(config())
    mine = config()
    mine["providers"]["other"] = {"type": "openai-compatible", "base_url": other.origin + "/v1", "api_key": KEY}
    mine["models"]["far"] = {"provider": "other", "upstream_model": "echo"}
    mine["server"]["log_bodies"] = "all"
    drive(start_sluice(mine).origin, ADMIN, "inspect,marks")


@pytest.mark.timeout(600)
def test_a_provider_that_fails(start_sluice):
    mine = config()
    mine["providers"]["nowhere"] = {"type": "openai-compatible", "base_url": "http://127.0.0.1:9/v1"}
    mine["models"]["broken"] = "nowhere"
    drive(start_sluice(mine).origin, ADMIN, "failing")


@pytest.mark.timeout(600)
def test_people(start_sluice):
    """Operators, what a role does not allow, and two who change the same key."""
    drive(start_sluice(config()).origin, ADMIN, "people")
