"""A metric that nobody counts reads zero whatever happens, and that is a lie."""

import ast

from prometheus_client.metrics import MetricWrapperBase

from app.telemetry import metrics
from tests.architecture.source import product

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
