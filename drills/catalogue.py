"""Every fault of the campaign by its number: what can be caused here, and what cannot, with the reason."""

from functools import partial

from drills import (
    brain_faults,
    budget_faults,
    clock_faults,
    crash_faults,
    disk,
    disk_faults,
    gateway_faults,
    kafka_faults,
    link_faults,
    mix_fault,
    model_faults,
    model_manners,
    poison,
    policy_faults,
    postgres_faults,
    redis_faults,
    response_faults,
    tool_faults,
    worker_faults,
)
from drills.trouble import NotHere, Trouble

_beside_posts = partial(Trouble, beside_posts=True)
SWEPT = "work_swept_total"
FAILED_TASKS = "task_failures_total"
SMOKE = ("F1", "F7", "F12", "F19", "F23")

CATALOGUE: tuple[Trouble | NotHere, ...] = (
    _beside_posts("F1", "conversation worker killed, 10 times", worker_faults.kill_tree, 10, (SWEPT,)),
    _beside_posts("F2", "the process that a turn has for itself killed once", worker_faults.one_child, 3, (SWEPT,)),
    _beside_posts(
        "F3",
        "conversation worker stopped past its lease, then let go on",
        worker_faults.zombie,
        2,
        overrides={"LEASE_SECONDS": "5"},
    ),
    _beside_posts("F4", "tools worker asked to end (SIGTERM) while tools of 20 s run", tool_faults.end_during_tools),
    _beside_posts("F5", "a message that kills its worker every time", worker_faults.fatal_message, 5, (SWEPT,)),
    _beside_posts("F7", "Redis killed, 3 times", redis_faults.kill, 3),
    _beside_posts("F8", "Redis emptied and restarted, twice", redis_faults.empty, 2),
    _beside_posts("F9", "Redis stopped for 20 s", redis_faults.freeze, 1, ("redis",)),
    _beside_posts("F10", "Redis half-open for 20 s", link_faults.redis_half_open, 1, ("redis",), linked=True),
    Trouble("F12", "Postgres stopped at once, away for 8 s", postgres_faults.stop_at_once, 1, ("postgres",)),
    # Whoever takes a fresh connection is well again at once, so that health may never see it: the workers count it.
    Trouble("F13", "Postgres backends stopped for 15 s", postgres_faults.stop_backends, 1, ("postgres", FAILED_TASKS)),
    Trouble("F14", "Postgres half-open for 15 s", link_faults.postgres_half_open, 1, ("postgres",), linked=True),
    Trouble("F15", "connections cut exactly at COMMIT", link_faults.cut_at_commit, 20, linked=True),
    Trouble("F16", "every connection of Postgres taken for 15 s", postgres_faults.exhaust, 1, ("postgres",)),
    Trouble(
        "F17",
        "Postgres's disk full for 15 s, then freed",
        disk_faults.fill_up,
        2,
        ("postgres",),
        missing=disk.missing,
        room=disk_faults.on_a_small_disk,
    ),
    _beside_posts("F19", "SomaBrain down for 40 s", brain_faults.down, 1, ("somabrain_http",)),
    _beside_posts("F20", "SomaBrain answers badly", link_faults.bad_answers, 5, ("somabrain_http",), linked=True),
    _beside_posts("F21", "SomaBrain applies and the reply is lost", link_faults.reply_lost, 3, linked=True),
    Trouble(
        "F22",
        "the process ends after each of 7 steps",
        crash_faults.end_after_each_step,
        len(crash_faults.STEPS),
        overrides=crash_faults.OVERRIDES,
    ),
    _beside_posts("F23", "Kafka down for 40 s", kafka_faults.down, 1, ("kafka",)),
    _beside_posts("F24", "Kafka stopped for 30 s", kafka_faults.freeze, 1, ("kafka",)),
    _beside_posts("F25", "a replicator stopped past its session beside a live one", kafka_faults.zombie, 4),
    _beside_posts("F26", "poison in memory.wal, 8 kinds, 5 of each", poison.poison, 40, ("memory_dlq",)),
    _beside_posts("F27", "replicators started and stopped every 3 s, killed", kafka_faults.come_and_go, 11),
    _beside_posts(
        "F28",
        "a worker's clock jumps an hour ahead, then behind",
        clock_faults.jump,
        3 * len(clock_faults.PROCESSES),
        overrides=clock_faults.OVERRIDES,
        missing=clock_faults.missing,
    ),
    Trouble("F29", "stream clients that never read, reset, flood", gateway_faults.bad_clients, 54),
    Trouble("F30", "gateway killed and reloaded, twice", gateway_faults.kill_and_reload, 6),
    _beside_posts(
        "F31", "OPA down, slow, answering nonsense", policy_faults.fail_to_decide, 3, ("policy",), decided=True
    ),
    Trouble("F33", "a seeded random mix", mix_fault.mix, 10),
    _beside_posts("F40", "a worker killed while a budget is reserved", budget_faults.kill_reserved, 3, (SWEPT,)),
    _beside_posts("F41", "the model down for 5 s", model_faults.down, 2, ("model",)),
    # Good answers go on beside the bad ones of these three, and health tells of the last one: it may never see them.
    _beside_posts("F42", "the model slow, in 4 ways", model_faults.slow, 20, overrides=model_manners.PATIENCE),
    _beside_posts("F43", "answers that break off, in 4 ways", model_faults.cut, 20),
    _beside_posts("F44", "the model answers garbage, of 7 kinds", model_faults.garbage, 20),
    Trouble("F45", "gateway killed, and restarted, under responses", response_faults.end_under_followers, 8),
)


def listing() -> str:
    """The faults as people read them."""
    lines = []
    for fault in CATALOGUE:
        reason = f" (not run here: {fault.reason})" if isinstance(fault, NotHere) else ""
        lines.append(f"  {fault.id:<4} {fault.title}{reason}")
    return "\n".join(lines)


def chosen(names: list[str], smoke: bool) -> list[Trouble | NotHere]:
    """The faults with these numbers, or those of a smoke run, or all; `KeyError` for a number that does not exist."""
    known = {fault.id: fault for fault in CATALOGUE}
    wanted = names or (list(SMOKE) if smoke else list(known))
    return [known[name.upper()] for name in wanted]
