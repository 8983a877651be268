"""The dashboard in a real Chromium: how the other pages look, in which language, that nothing in it runs, and how a session ends."""
import pytest
from dashboard import ADMIN, config, drive


@pytest.mark.timeout(600)
def test_flows(start_sluice):
    """One after the other with one server and one browser: each begins with nothing in the browser, and the last ends the key."""
    s = start_sluice(config())
    assert "root" in s.get("/dashboard/", auth=False).text
    drive(s.origin, ADMIN, "looksBehind,chinese,inert,expiry")
