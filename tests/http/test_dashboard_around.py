"""The dashboard in a real Chromium: what stands around the serving of models."""
import pytest
from dashboard import ADMIN, config, drive


@pytest.mark.timeout(600)
def test_flows(start_sluice):
    """Policies, whom keys belong to, ways out and in, what is kept, the advanced parts of forms, the books."""
    drive(start_sluice(config()).origin, ADMIN, "policies,holders,ways,kept,advanced,books")
