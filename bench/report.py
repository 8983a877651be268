"""Judges the numbers against the bars and writes docs/benchmarks.md and the JSON file."""
import json
import os
import platform
import re
import subprocess
from pathlib import Path

import bodies
import servers
from workloads import BIG_PAIRS, CELLS, LOADS, PAIRS, Cell


def best(results, cell, what):
    """The least disturbed round, or None where nothing was measured."""
    values = [r[what] for r in results.get(cell, []) if what in r]
    if not values:
        return None
    return max(values) if what.startswith("per_") else min(values)


def ratio(results, load, client, upstream):
    """CPU of sluice over CPU of nginx for the same upstream answers."""
    ours = best(results, Cell(load, "sluice", client, upstream), "cpu_us")
    peer = best(results, Cell(load, "nginx", upstream, upstream), "cpu_us")
    return ours / peer if ours is not None and peer is not None else None


def worst_ratio(results, load, pairs):
    """The dearest pair decides. None unless every pair was measured: a bar is not held by halves."""
    found = [(ratio(results, load, *pair), pair) for pair in pairs]
    if any(value is None for value, _ in found):
        return None, ""
    value, (client, upstream) = max(found)
    return value, f"dearest: {client}" if client == upstream else f"dearest: {client} to {upstream}"


def p50_added(results, server):
    direct = best_latency(results, "direct", "p50")
    own = best_latency(results, server, "p50")
    return own - direct if direct is not None and own is not None else None


def best_latency(results, server, point):
    rounds = results.get(Cell("latency", server, "chat", "chat"), [])
    return min((r["latency_us"][point] for r in rounds), default=None)


def _of(value, key):
    return value.get(key) if isinstance(value, dict) else None


def request_log():
    """What bench/request-log measured last, if it was run at full size."""
    try:
        found = json.loads((servers.TOOLS / "request-log.json").read_text())
    except (OSError, ValueError):
        return None
    return found if found.get("rows") == 10_000_000 else None


def dashboard():
    """What bench/dashboard measured last."""
    try:
        return json.loads((servers.TOOLS / "dashboard.json").read_text())
    except (OSError, ValueError):
        return None


def bars(results, others):
    """Every bar: (name, measured text, bar text, passed or None, note)."""
    rows = []
    same = [(f, f) for f in bodies.FORMATS]
    big_same = [(f, f) for f in bodies.BIG_THREE]

    def of_nginx(name, load, pairs, limit):
        value, note = worst_ratio(results, load, pairs)
        rows.append((name, None if value is None else f"{value:.2f} × nginx",
                     f"≤ {limit:.1f} × nginx", None if value is None else value <= limit, note))

    def absolute(name, value, text, limit, unit, note=""):
        rows.append((name, None if value is None else text, f"≤ {limit} {unit}",
                     None if value is None else value <= limit, note))

    of_nginx("JSON 1 KB, same format: CPU per request", "json", same, 1.0)
    of_nginx("JSON 1 KB, translated: CPU per request", "json", PAIRS, 1.4)
    of_nginx("SSE same format, sent at once: CPU per stream", "sse", same, 0.5)
    of_nginx("SSE same format, one event a segment: CPU per event", "paced", big_same, 1.0)
    of_nginx("SSE cross format, sent at once: CPU per stream", "sse", PAIRS, 1.2)
    of_nginx("SSE cross format, one event a segment: CPU per event", "paced", BIG_PAIRS, 1.1)
    of_nginx("200 KB request bodies, same format", "json-200k", [("chat", "chat")], 1.5)
    of_nginx("Upstream over TLS", "tls", [("chat", "chat")], 1.0)

    ours, peer = p50_added(results, "sluice"), p50_added(results, "nginx")
    known = ours is not None and peer is not None
    rows.append(("Added latency at 5 000 requests/s, p50",
                 f"{ours:.0f} µs (nginx {peer:.0f} µs)" if known else None,
                 "≤ nginx + 10 µs", ours <= peer + 10 if known else None, ""))

    scaling = others.get("threads")
    value = _of(scaling, "ratio")
    rows.append(("Two cores against one", None if value is None else f"{value:.2f} ×", "≥ 1.8 ×",
                 None if value is None else value >= 1.8,
                 f"by {scaling['method']}" if value is not None else ""))

    value = _of(_of(others.get("idle-streams"), "sluice"), "bytes_each")
    absolute("Idle stream: user memory each", value,
             None if value is None else f"{value / 1024:.1f} KB", 6 * 1024, "bytes")
    name, measured, _, passed, note = rows.pop()
    rows.append((name, measured, "≤ 6 KB", passed, note))
    value = _of(others.get("idle-memory"), "rss_kb")
    absolute("Idle process: resident memory", None if value is None else value / 1024,
             None if value is None else f"{value / 1024:.1f} MB", 15, "MB")
    active = others.get("active-streams") or {}
    found = [_of(v, "rss_kb") for v in active.values()]
    value = max(found) if found and None not in found else None
    absolute("1 000 active streams: resident memory", None if value is None else value / 1024,
             None if value is None else f"{value / 1024:.1f} MB", 32, "MB")
    value = _of(others.get("cold-start"), "best_ms")
    absolute("Start to first answered request, 100 000 keys, warm", value,
             None if value is None else f"{value:.0f} ms", 50, "ms",
             f"keys in the {others['cold-start']['origin']}" if value is not None else "")
    value = _of(request_log(), "worst_ms")  # of bench/request-log, which takes minutes and is run apart
    absolute("Request log at 10 million records: slowest query", value, None if value is None else f"{value:.0f} ms", 100, "ms",
             "bench/request-log" if value is not None else "")
    found = dashboard()  # of bench/dashboard, which needs a browser and is run apart
    for name, member, limit, unit in (("Dashboard: first screen, processor slowed down four times", "first_screen_ms", 1000, "ms"),
                                      ("Dashboard: longest task while 1 000 log rows a second arrive", "longest_task_ms", 200, "ms"),
                                      ("Dashboard: first screen with gzip", "first_screen_bytes", 300_000, "bytes")):
        value = _of(found, member)
        absolute(name, value, None if value is None else f"{value:.0f} {unit}", limit, unit, "bench/dashboard" if value is not None else "")
    value = _of(others.get("size"), "bytes")
    absolute("Stripped program", None if value is None else value / 1048576,
             None if value is None else f"{value / 1048576:.2f} MB", 8, "MB")
    return rows


def _number(value, digits=1):
    return "–" if value is None else f"{value:,.{digits}f}".replace(",", " ")


def _bar_table(rows):
    lines = ["| what | measured | bar | |", "|---|---|---|---|"]
    for name, measured, bar, passed, note in rows:
        verdict = "not measured" if passed is None else "**pass**" if passed else "**miss**"
        lines.append(f"| {name}{f' ({note})' if note else ''} | {measured or '–'} | {bar} | {verdict} |")
    return lines


def _load_table(results, load, unit):
    lines = [f"| client format | upstream format | sluice: {unit}/CPU s | sluice: µs CPU | "
             "nginx: µs CPU | ratio | p50 / p99 µs, sluice | nginx |",
             "|---|---|---|---|---|---|---|---|"]
    pairs = dict.fromkeys((c.client, c.upstream) for c in results
                          if c.load == load and c.server == "sluice")
    for client, upstream in pairs:
        ours = Cell(load, "sluice", client, upstream)
        peer = Cell(load, "nginx", upstream, upstream)
        value = ratio(results, load, client, upstream)
        lines.append(
            f"| {client} | {upstream} | {_number(best(results, ours, 'per_cpu_second'), 0)} | "
            f"{_number(best(results, ours, 'cpu_us'), 2)} | "
            f"{_number(best(results, peer, 'cpu_us'), 2)} | {_number(value, 2)} | "
            f"{_latency_pair(results, ours)} | {_latency_pair(results, peer)} |")
    return lines


def _latency_pair(results, cell):
    rounds = results.get(cell) or []
    if not rounds:
        return "–"
    return " / ".join(_number(min(r["latency_us"][p] for r in rounds), 0) for p in ("p50", "p99"))


def _latency_table(results):
    lines = ["| | p50 µs | p99 µs | added p50 | added p99 | CPU µs/request |", "|---|---|---|---|---|---|"]
    direct = {p: best_latency(results, "direct", p) for p in ("p50", "p99")}
    for server in ("direct", "nginx", "sluice"):
        own = {p: best_latency(results, server, p) for p in ("p50", "p99")}
        added = {p: None if own[p] is None or direct[p] is None or server == "direct"
                 else own[p] - direct[p] for p in own}
        cpu = best(results, Cell("latency", server, "chat", "chat"), "cpu_us")
        lines.append(f"| {server} | {_number(own['p50'])} | {_number(own['p99'])} | "
                     f"{_number(added['p50'])} | {_number(added['p99'])} | {_number(cpu)} |")
    return lines


def _output_of(*command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False,
                              cwd=servers.ROOT)
        return (done.stdout + done.stderr).strip()
    except OSError:
        return ""


def machine(settings):
    """What the figures hold for."""
    cpu = re.search(r"^model name\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text(), re.M)
    memory = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
    system = re.search(r'^PRETTY_NAME="?([^"\n]*)', Path("/etc/os-release").read_text(), re.M)
    nginx = re.search(r"nginx/(\S+)", _output_of("nginx", "-v") or _output_of("/usr/sbin/nginx", "-v"))
    sluice = ""
    if settings.sluice is not None:
        sluice = _output_of(str(settings.sluice), "version").splitlines()[:1]
    return {
        "cpu": cpu.group(1).strip() if cpu else platform.machine(),
        "cores": os.cpu_count(),
        "memory_gb": round(int(memory.group(1)) / 1048576) if memory else None,
        "kernel": platform.release().split("-")[0],
        "system": system.group(1) if system else "",
        "nginx": nginx.group(1) if nginx else "",
        "sluice": " ".join(sluice),
        "commit": _output_of("git", "rev-parse", "--short", "HEAD"),
    }


METHOD = """\
- The server under test is alone on one core; mock upstream and load generator share another. sluice runs
  one loop thread (`--threads 1`); its other threads are on the same core and in its figures.
- sluice does all that it does for a user: key check, limits by request, token and number at once, routing, a budget that holds
  and settles, price and ledger, metrics, usage record ("controls" tells what those that can be left out cost, and the look into
  the response cache beside). nginx 1:1 proxies with upstream keep-alive, one worker, no access log, `proxy_buffering off` for streams.
- nginx translates nothing: where formats differ, it is measured with the *upstream's* format, that is, with
  the same answers.
- CPU is the scheduler's run time of all threads of the process, read by the generator where its window
  begins and ends, divided by what was answered in it. "one event a segment" divides by the upstream's
  writes.
- Rounds are interleaved; the figure is the least disturbed of them. Other load on the machine moves absolute
  figures by a quarter and more; the ratios hold to about a tenth.
- Every answer is checked by the generator (status, marks, number of events, end of stream), and one per row is
  read in full beforehand: same text and same token counts as the upstream's own answer, or the row is left out.
- Request 748 bytes (chat; the same content elsewhere) or 200 KB, answer 1 002 bytes of JSON or 100 events of
  about 290 bytes with preamble, usage and end marker. 64 connections, closed loop; 16 at 200 KB; 500 streams
  of 50 events a second for "one event a segment".
- Latency: open loop, 5 000 requests a second over 64 connections, counted from the scheduled time. p99 is
  dominated by generator and mock sharing a core.
- Idle streams: anonymous memory of a fresh process with 5 000 open streams, less that before. Idle process:
  resident, after one request and one stream. Active: 1 000 streams of 10 events a second.
- Two cores: with four cores or more, requests a second with the server on two of them and the rest on two
  others. With fewer, generator and mock contend for the server's cores and throughput says nothing; then it is
  requests per CPU second of the server times its threads, which shows what the threads cost each other.
- Cold start: from starting the program to the first byte of an answer to the last of the keys, over one new
  connection; best of several starts after a first one."""


def benchmarks_md(settings, command, date, results, faults, others):
    m = machine(settings)
    lines = [
        "# Benchmarks", "",
        f"Written by `{command}` on {date}. Do not edit.", "",
        f"{m['cpu']}, {m['cores']} cores, {m['memory_gb']} GB, Linux {m['kernel']}, {m['system']}; "
        f"nginx {m['nginx']}; {m['sluice'] or 'sluice not measured'} (commit {m['commit']}); "
        f"best of {settings.rounds} interleaved rounds of {settings.seconds:g} s.", "",
        "Absolute figures hold for this machine; carry the ratios.", "",
        "## Bars", "", *_bar_table(bars(results, others)), "",
    ]
    titles = {"json": "JSON, 1 KB", "json-200k": "JSON, 200 KB requests", "tls": "JSON, upstream over TLS",
              "sse": "SSE, sent at once (per stream of 100 events)",
              "paced": "SSE, one event a segment (per event)"}
    units = {"sse": "streams", "paced": "events"}
    for load, title in titles.items():
        if any(c.load == load for c in results):
            lines += [f"## {title}", "", *_load_table(results, load, units.get(load, "requests")), ""]
    if any(c.load == "latency" for c in results):
        lines += ["## Latency at 5 000 requests/s", "", *_latency_table(results), ""]
    if others:
        lines += ["## Memory, start, size", "", *_others_list(others), ""]
    if faults:
        lines += ["## Not measured", ""]
        lines += [f"- {cell}: {' '.join(fault.split())[:300]}" for cell, fault in faults.items()] + [""]
    analysis = (servers.ROOT / "bench" / "analysis.md").read_text().strip()
    return "\n".join([*lines, analysis, "", "## How", "", METHOD, ""])


def _others_list(others):
    lines = []
    for name, value in others.items():
        for row, numbers in (value.items() if all(isinstance(v, dict) for v in value.values())
                             else [("", value)]):
            text = ", ".join(f"{k.replace('_', ' ')} {v:.2f}" if isinstance(v, float)
                             else f"{k.replace('_', ' ')} {v}"
                             for k, v in numbers.items() if not isinstance(v, list))
            lines.append(f"- {name}{f', {row}' if row else ''}: {text}")
    return lines


def results_json(settings, command, date, results, faults, others):
    return {
        "command": command, "date": date, "machine": machine(settings),
        "rounds": settings.rounds, "seconds": settings.seconds,
        "bars": [dict(zip(("what", "measured", "bar", "passed", "note"), row))
                 for row in bars(results, others)],
        "cells": [{"load": c.load, "server": c.server, "client": c.client, "upstream": c.upstream,
                   "fault": faults.get(c), "rounds": rounds} for c, rounds in results.items()],
        "others": others,
    }


def write(folder, page, settings, command, date, results, faults, others):
    """results.json into `folder`; the page to `page` unless that is None. Returns the page's text."""
    data = results_json(settings, command, date, results, faults, others)
    (folder / "results.json").write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n")
    text = benchmarks_md(settings, command, date, results, faults, others)
    (folder / "benchmarks.md").write_text(text)
    if page is not None:
        page.parent.mkdir(exist_ok=True)
        page.write_text(text)
    return data


assert set(LOADS) >= {cell.load for cells in CELLS.values() for cell in cells}
