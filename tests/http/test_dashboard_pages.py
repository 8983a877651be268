"""The dashboard in a real Chromium: the pages that are used now and then, and what an upstream that fails looks like."""
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
def test_flows(start_sluice):
    """One after the other with one server and one browser: each begins with nothing in the browser, and the last ends the key."""
    s = start_sluice(config())
    assert "root" in s.get("/dashboard/", auth=False).text
    drive(s.origin, ADMIN, "prefix,cost,playground,focus,settings,people,reach")


@pytest.mark.timeout(600)
def test_what_stands_around(start_sluice):
    """Policies, whom keys belong to, ways out and in, what is kept, the advanced parts of forms, the books."""
    drive(start_sluice(config()).origin, ADMIN, "policies,holders,ways,kept,advanced,books")
