"""Finds Postgres away."""

import json
import sys

sys.stdin.readline()
print(json.dumps({"outcome": "store away", "reason": "Postgres is not answering"}), flush=True)
