"""A metric that nobody counts reads zero whatever happens, and that is a lie."""

import ast
import os
import subprocess
import sys

import pytest
from prometheus_client.metrics import MetricWrapperBase

from app.telemetry import metrics
from tests.architecture.source import ROOT, product

_DECLARED = {name for name, value in vars(metrics).items() if isinstance(value, MetricWrapperBase)}


def test_every_declared_metric_is_counted_somewhere() -> None:
    used = {
        alias.name
        for module in product()
        for node in module.nodes
        if isinstance(node, ast.ImportFrom) and node.module == "app.telemetry.metrics"
        for alias in node.names
    }

    assert _DECLARED
    assert _DECLARED - used == set()


def test_no_label_can_hold_a_session_a_tenant_or_free_text() -> None:
    labels = {label for name in _DECLARED for label in getattr(metrics, name)._labelnames}

    assert labels
    assert not labels & {"session", "session_id", "tenant", "key", "url", "user", "message", "error"}


@pytest.mark.parametrize("server", ["app.gateway.server", "app.brain.server"])
def test_a_servers_settings_load_no_metrics_before_their_folder_is_known(server: str) -> None:
    script = f"import sys, {server}; sys.exit('prometheus_client' in sys.modules)"
    nowhere = {**os.environ, "PYTHONPATH": str(ROOT), "POSTGRES_DSN": "postgresql://127.0.0.1:1/none"}

    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=nowhere, check=False).returncode == 0
