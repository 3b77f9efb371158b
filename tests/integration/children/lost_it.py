"""Finds that the turn belongs to somebody else."""

import json
import sys

sys.stdin.readline()
print(json.dumps({"outcome": "lease lost"}), flush=True)
