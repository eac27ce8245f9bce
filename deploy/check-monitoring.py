#!/usr/bin/env python3
"""The parts of check-monitoring.sh that read files and ask. Needs python3-yaml.
check-monitoring.py files                     deploy/compose.yaml and what it mounts
check-monitoring.py ask PROMETHEUS SERVER     addresses, http://..."""
import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import yaml

HERE = os.path.dirname(os.path.abspath(__file__))
DASHBOARD = os.path.join(HERE, "grafana/dashboards/ebm-server.json")
ROW = [0.1, 0.2, 0.3]  # of relu_1d
# with two draws rows are not reliable; the last one is refused
REQUESTS = [("/predict", {"inputs": [ROW] * 3, "num_samples": 2, "estimator": "importance"}),
            ("/predict", {"inputs": [ROW], "num_samples": 256, "estimator": "importance"}), ("/sample", {"inputs": [ROW]}),
            ("/predict", {"inputs": [[1]]})]


def load(path):
    with open(os.path.join(HERE, path), encoding="utf-8") as file:
        return json.load(file) if path.endswith(".json") else yaml.safe_load(file)


def check_files():
    services = load("compose.yaml")["services"]
    for name, service in services.items():
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            if source.startswith("./"):
                assert os.path.exists(os.path.join(HERE, source)), f"{name} mounts {source}, which is not there"
        for port in service["ports"]:
            assert port.startswith("127.0.0.1:"), f"{name} publishes {port} beyond this machine"
        assert "build" in service or ":" in service["image"], f"{name}: an image without a version"
    targets = load("prometheus/prometheus.yml")["scrape_configs"][0]["static_configs"][0]["targets"]
    source = load("grafana/provisioning/datasources/prometheus.yaml")["datasources"][0]
    provider = load("grafana/provisioning/dashboards/ebm-server.yaml")["providers"][0]
    inside = [volume.split(":")[1] for volume in services["grafana"]["volumes"]]
    assert targets == ["ebm-server:8080"] and services["ebm-server"]["ports"] == ["127.0.0.1:8080:8080"], targets
    assert source["url"] == "http://prometheus:9090" and services["prometheus"]["ports"] == ["127.0.0.1:9090:9090"], source
    assert provider["options"]["path"] in inside, (provider, inside)
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert os.path.dirname(home) == provider["options"]["path"] and os.path.basename(home) == os.path.basename(DASHBOARD)
    dashboard = load("grafana/dashboards/ebm-server.json")
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == source["uid"], (panel["title"], target)
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    print(f"{len(services)} services, {len(dashboard['panels'])} panels")


def ask_prometheus(address, path, **words):
    url = f"{address}/api/v1/{path}?{urllib.parse.urlencode(words)}"
    with urllib.request.urlopen(url, timeout=20) as response:
        answer = json.load(response)
    assert answer["status"] == "success", answer
    return answer["data"]


def ask_server(address):
    for path, body in REQUESTS:
        try:
            urllib.request.urlopen(address + path, json.dumps(body).encode(), timeout=20).close()
        except urllib.error.HTTPError as error:
            assert error.code == 400, error


def is_up(address):
    try:
        return [r["value"][1] for r in ask_prometheus(address, "query", query="up")["result"]] == ["1"]
    except OSError:
        return False


def ask(prometheus, server):
    end = time.monotonic() + 60
    while not is_up(prometheus):
        assert time.monotonic() < end, "Prometheus did not scrape the server"
        time.sleep(0.5)
    for _ in range(16):  # rates need some scrapes
        ask_server(server)
        time.sleep(0.5)
    empty = []
    for panel in load("grafana/dashboards/ebm-server.json")["panels"]:
        for target in panel["targets"]:
            expression = target["expr"].replace("$__rate_interval", "1m").replace("$model", ".*")
            result = ask_prometheus(prometheus, "query", query=expression)["result"]
            values = [f"{float(series['value'][1]):.4g}" for series in result]
            print(f"{panel['title']:34.34} {', '.join(values[:6]):28.28}  {target['expr']:.80}")
            if not values or "nan" in values:
                empty.append(target["expr"])
    assert not empty, f"no value for {empty}"
    print("every expression has a value")


if __name__ == "__main__":
    if sys.argv[1:2] == ["files"]:
        check_files()
    else:
        ask(*sys.argv[2:4])
