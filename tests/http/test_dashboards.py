"""The files for Grafana and Prometheus speak of metrics and labels that there are."""
import json
import re
import subprocess

from gateway import CACHE, ROOT

RULES = ROOT / "dist/prometheus/sluice.rules.yml"
DASHBOARD = ROOT / "dist/grafana/sluice.json"
GRAFANA = {"$__rate_interval": "5m", "$instance": ".*", "$model": ".*", "$upstream": ".*"}
OUTSIDE = {"instance", "job"}  # labels that the scraper adds


def table():
    """{name: labels} out of docs/metrics.md, which a unit test holds against the table of the program."""
    out = {}
    for line in (ROOT / "docs/metrics.md").read_text(encoding="utf-8").splitlines():
        cells = [c.strip() for c in line.split("|")]
        if len(cells) == 7 and cells[2] in ("counter", "gauge", "histogram"):
            name, labels = cells[1].strip("`"), set(filter(None, cells[4].split(", ")))
            out[name] = labels
            if cells[2] == "histogram":
                out.update({name + end: labels | {"le"} for end in ("_bucket", "_sum", "_count")})
    assert len(out) > 50
    return out


def expressions():
    text = RULES.read_text(encoding="utf-8")
    out = re.findall(r"expr: (?!\|)(.*)", text) + ["".join(m) for m in re.findall(r"expr: \|\n((?: {10,}.*\n)+)", text)]
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    for panel in board["panels"]:
        out += [t["expr"] for t in panel.get("targets", [])]
    out += [v["query"]["query"] for v in board["templating"]["list"] if v["type"] == "query"]
    out += [a["expr"] for a in board["annotations"]["list"]]
    assert len(out) > 40
    return out


def test_every_name_is_one_of_ours():
    known = table()
    for expr in expressions():
        names = re.findall(r"\b((?:sluice|gen_ai_server|gen_ai_client|process)_\w+)\b(?=[{\[)\s,]|$)", expr)
        assert names, expr
        used = set(names) - {n for labels in known.values() for n in labels}
        assert used <= set(known), (used - set(known), expr)
        labels = set().union(*(known[n] for n in used)) | OUTSIDE
        for group in re.findall(r"\{([^{}]*)\}", expr):
            assert set(re.findall(r"(\w+)(?==|!)", group)) <= labels, (group, labels, expr)
        for group in re.findall(r"\bby \(([^)]*)\)", expr):
            assert {g.strip() for g in group.split(",")} <= labels, (group, expr)


def test_prometheus_takes_the_rules(tmp_path):
    r = subprocess.run([CACHE / "promtool", "check", "rules", RULES], capture_output=True, text=True, check=False)
    assert r.returncode == 0, r.stdout + r.stderr
    # what Grafana would ask, in the same mill
    lines = ["groups:", "  - name: dashboard", "    rules:"]
    for n, expr in enumerate(e for e in expressions() if not e.startswith("label_values")):
        for name, value in GRAFANA.items():
            expr = expr.replace(name, value)
        lines += ["      - record: dashboard:%d" % n, "        expr: " + json.dumps(expr.strip())]
    path = tmp_path / "dashboard.yml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    r = subprocess.run([CACHE / "promtool", "check", "rules", path], capture_output=True, text=True, check=False)
    assert r.returncode == 0, r.stdout + r.stderr


def test_the_dashboard_is_whole():
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    ids = [p["id"] for p in board["panels"]]
    assert len(ids) == len(set(ids)) and board["uid"] == "sluice"
    assert all(p["type"] == "row" or p["title"] and p["targets"] for p in board["panels"])
