#!/usr/bin/env python3
"""client_library.py TEST_CLIENT - runs the C library's test program against the fake server, and looks at what came."""
import subprocess
import sys

from fake_server import serving

with serving() as server:
    status = subprocess.run([sys.argv[1], server.url], check=False, timeout=280).returncode
    connections = {entry["connection"] for entry in server.requests("ok") if entry["path"] == "/predict"}
    models = [entry["path"] for entry in server.requests("ok") if entry["path"].startswith("/v2/models/")]
print(f"{len(connections)} connections for 8 threads; a model's name arrives as {models}")
sys.exit(status or len(connections) > 10 or models != ["/v2/models/a%2Fb%20c"])
