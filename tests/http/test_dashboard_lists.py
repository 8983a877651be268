"""The dashboard in a real Chromium: what is changed from lists and put in order."""
import pytest
from dashboard import ADMIN, config, drive


@pytest.mark.timeout(600)
def test_flows(start_sluice):
    """One after the other with one server and one browser: each begins with nothing in the browser."""
    s = start_sluice(config())
    assert "root" in s.get("/dashboard/", auth=False).text
    drive(s.origin, ADMIN, "objectsAsSeen,routing,focus")
