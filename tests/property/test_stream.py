"""A session's stream against the transcript that was really kept: 800 histories of up to 40 steps."""

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.property.stream_machine import StreamMachine

_HISTORIES = settings(max_examples=800, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck))


def test_whoever_reads_whenever_reads_the_transcript_without_gap_or_repeat() -> None:
    run_state_machine_as_test(StreamMachine, settings=_HISTORIES)  # type: ignore[no-untyped-call]
