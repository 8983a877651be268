"""The habits of the administrative surface: envelope, carriers, caching, other origins, sizes."""
import re

import pytest
from conftest import basic_config

ADMIN = "sk-admin-0123456789abcdef"
TOKEN = "/admin/api/internal-token"


@pytest.fixture
def admin(start_sluice, scripted, upstream):
    config = basic_config(scripted.origin)
    config["server"]["api_keys"].append({"id": "ad000001", "key": ADMIN, "label": "operator", "scopes": ["inference", "models", "admin"]})
    config["server"]["admin_cors_origins"] = "https://panel.example, https://other.example"
    return start_sluice(config, key=ADMIN)


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer nonsense"}, {"X-Admin-Token": "nonsense"},
                                     {"Cookie": "rosetta_admin_session=nonsense"}])
def test_refusals_have_its_envelope(sluice, headers):
    r = sluice.get(TOKEN, auth=False, headers=headers)
    assert r.status_code == 401 and r.json() == {"error": "Admin authentication required"}
    assert r.headers["content-type"] == "application/json; charset=utf-8"
    assert r.headers["x-request-id"]


def test_client_keys_open_nothing_administrative(sluice):
    for headers in (sluice.auth(), {"X-Admin-Token": sluice.key}):
        r = sluice.get(TOKEN, auth=False, headers=headers)
        assert r.status_code in (401, 403) and set(r.json()) == {"error"}


@pytest.mark.parametrize("carrier", [{"X-Admin-Token": ADMIN}, {"Authorization": "Bearer " + ADMIN}])
def test_carriers(admin, carrier):
    r = admin.get(TOKEN, auth=False, headers=carrier)
    assert r.status_code == 200, r.text
    assert re.fullmatch("rsk-internal-[0-9a-f]{32}", r.json()["token"])
    assert r.headers["cache-control"] == "no-cache, no-store, must-revalidate"


def test_the_internal_token_opens_the_data_plane_only(admin):
    token = admin.get(TOKEN).json()["token"]
    body = {"model": "echo", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 20}
    for path, headers in (("/v1/chat/completions", {"Authorization": "Bearer " + token}), ("/v1/messages", {"x-api-key": token}),
                          ("/v1/messages", {"Authorization": "Bearer " + token})):
        assert admin.post(path, body, auth=False, headers=headers).status_code == 200
    for headers in ({"Authorization": "Bearer " + token}, {"X-Admin-Token": token}):
        assert admin.get(TOKEN, auth=False, headers=headers).status_code in (401, 403)
    assert token not in admin.get("/sluice/v1/keys").text and "internal" not in admin.get("/sluice/v1/keys").text


def test_unknown_paths_and_methods(admin):
    for path in ("/admin/api/nothing", "/admin/api/", "/admin/nothing/at/all"):
        r = admin.get(path)
        assert r.status_code == 404 and r.json() == {"error": "Not Found"}, path
    r = admin.post(TOKEN, {})
    assert r.status_code == 405 and r.json() == {"error": "Method Not Allowed"} and "GET" in r.headers["allow"]


def test_other_origins_only_where_named(admin):
    r = admin.get(TOKEN, headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in r.headers
    assert admin.get(TOKEN).headers.get("access-control-allow-origin") is None
    for origin in ("https://panel.example", "https://other.example"):
        assert admin.get(TOKEN, headers={"Origin": origin}).headers["access-control-allow-origin"] == origin
    r = admin.call("OPTIONS", TOKEN, headers={"Origin": "https://evil.example"}, auth=False)
    assert r.status_code == 204 and not any(h.startswith("access-control") for h in r.headers)
    r = admin.call("OPTIONS", TOKEN, headers={"Origin": "https://panel.example"}, auth=False)
    assert r.status_code == 204 and r.headers["access-control-allow-origin"] == "https://panel.example"
    # the data plane is open to browsers as before
    assert admin.get("/v1/models", headers={"Origin": "https://evil.example"}).headers["access-control-allow-origin"] == "*"


def test_a_star_names_no_origin(start_sluice, scripted):
    config = basic_config(scripted.origin)
    config["server"]["admin_cors_origins"] = "*"
    s = start_sluice(config)
    assert "access-control-allow-origin" not in s.get(TOKEN, headers={"Origin": "https://evil.example"}).headers
