"""Answers, and says so with what it measured."""

import json
import sys

turn = json.loads(sys.stdin.readline())
print(json.dumps({"outcome": "done", "first_pieces": [0.5], "spent": [], "saw": turn["event_id"]}), flush=True)
