"""What each store holds of a memory, compared with what was accepted. Pure.

The ledger's digest says which store is right. Where it has none (accepted before there was a ledger), the stores are
compared with one another: what most of them say counts, and where none outnumbers the others, nobody is right.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace

from app.domain.coordinates import DEFAULT_UNIVERSE
from app.domain.memory import Place
from app.domain.proof import Case, Copy, Finding, Kind, Pledge, Store


def judge(case: Case, walked: Collection[Store]) -> list[Finding]:
    """What is wrong with this memory in the stores that were walked."""
    digest = case.pledge.digest or agreed(case.copies)
    return [
        finding
        for store in Store
        if store in walked and store not in case.moving | case.given_up
        for finding in _judge(case, store, digest)
    ]


def agreed(copies: Iterable[Copy]) -> bytes | None:
    """What most stores say a memory says; None where none outnumbers the others."""
    said = Counter(copy.digest for copy in copies if copy.digest is not None and not copy.deleted)
    ranks = said.most_common(2)
    if not ranks or (len(ranks) > 1 and ranks[0][1] == ranks[1][1]):
        return None
    return ranks[0][0]


def newest(copies: Iterable[Copy]) -> list[Copy]:
    """Of each id the newest version, and of one version the first, as the replica takes them."""
    found: dict[str, Copy] = {}
    for copy in copies:
        known = found.get(copy.event_id)
        if known is None or (copy.version or 0) > (known.version or 0):
            found[copy.event_id] = copy
        elif copy.version == known.version and _says(copy) != _says(known):
            found[copy.event_id] = replace(known, contradicted=True)
    return list(found.values())


def judge_stranger(copy: Copy, original: Pledge | None) -> Finding | None:
    """What is wrong with something that was never accepted under its id. `original` is the accepted memory whose id
    its payload gives itself. A tombstone of nothing is nothing.
    """
    if copy.deleted:
        return None
    doubled = original is not None and original.digest is not None and original.digest == copy.digest
    words = (
        f"a copy of {copy.named} under another id"
        if doubled
        else "never accepted here: it comes from another program, or from before the ledger"
    )
    repeats = copy.named if doubled else None
    return _finding(copy, Kind.EXTRA, words, copy.place.tenant, fault=doubled, copy_of=repeats)


def _judge(case: Case, store: Store, digest: bytes | None) -> Iterator[Finding]:
    pledge = case.pledge
    own = [copy for copy in case.copies if copy.store is store]
    if store is Store.BRAIN:
        yield from _judge_brain(pledge, own, digest)
        return
    copy = own[0] if own else None
    if pledge.forgotten:
        yield from _judge_tombstone(pledge, store, copy)
    elif copy is None:
        yield _lacking(pledge, store, "it is not there", digest)
    else:
        yield from _judge_copy(pledge, copy, digest)


def _judge_brain(pledge: Pledge, own: Sequence[Copy], digest: bytes | None) -> Iterator[Finding]:
    if pledge.forgotten:
        for copy in own:
            yield _wrong(pledge, copy, Kind.EXTRA, "forgotten, and still there", None)
        return
    at_home = sorted(own, key=lambda copy: (not same_in_brain(pledge.place, copy.place), copy.digest != digest))
    if not at_home:
        yield _lacking(pledge, Store.BRAIN, "it is not there", digest)
        return
    yield from _judge_copy(pledge, at_home[0], digest)
    for copy in at_home[1:]:
        if copy.digest == digest:
            yield replace(_wrong(pledge, copy, Kind.EXTRA, "a copy in another place", digest), tenant=copy.place.tenant)
        else:
            words = "the same id in another place says something else: it comes from another program"
            yield _finding(copy, Kind.EXTRA, words, copy.place.tenant, fault=False)


def _judge_tombstone(pledge: Pledge, store: Store, copy: Copy | None) -> Iterator[Finding]:
    if copy is None or (not copy.deleted and store is Store.WAL):
        yield _lacking(pledge, store, "forgotten, and nothing there says so", None)
    elif not copy.deleted:
        yield _wrong(pledge, copy, Kind.EXTRA, "forgotten, and still there", None)
    elif wrong := _differences(pledge, copy, None, _TOMBSTONE_FIELDS):
        yield _wrong(pledge, copy, Kind.DIFFERING, _other(wrong), None)


def _judge_copy(pledge: Pledge, copy: Copy, digest: bytes | None) -> Iterator[Finding]:
    if copy.deleted:
        yield _wrong(pledge, copy, Kind.DIFFERING, "it is a tombstone, and nobody asked to forget it", digest)
    elif wrong := _differences(pledge, copy, digest, tuple(_FIELDS)):
        yield _wrong(pledge, copy, Kind.DIFFERING, _other(wrong), digest)


_FIELDS: dict[str, Callable[[Pledge, Copy], bool]] = {
    "tenant": lambda pledge, copy: pledge.place.tenant == copy.place.tenant,
    "namespace": lambda pledge, copy: pledge.place.namespace == copy.place.namespace,
    "universe": lambda pledge, copy: _same_universe(pledge, copy),
    "session": lambda pledge, copy: copy.session_id in (None, pledge.session_id),
    "role": lambda pledge, copy: copy.role in (None, pledge.role),
    # What was adopted from the log has no key of ours.
    "idempotency key": lambda pledge, copy: (
        not pledge.idempotency_key or copy.idempotency_key in (None, pledge.idempotency_key)
    ),
    "version": lambda pledge, copy: copy.version in (None, pledge.version),
    "account of itself": lambda _, copy: not copy.contradicted,
}
_TOMBSTONE_FIELDS = ("tenant", "namespace", "universe", "session", "role", "version")


def _differences(pledge: Pledge, copy: Copy, digest: bytes | None, fields: Sequence[str]) -> list[str]:
    wrong = [name for name in fields if not _FIELDS[name](pledge, copy)]
    says_it = copy.deleted or (digest is not None and copy.digest == digest)
    return wrong if says_it else ["payload", *wrong]


def _same_universe(pledge: Pledge, copy: Copy) -> bool:
    inside = copy.universe_inside in (None, pledge.place.universe)
    return inside and _world(copy.store, copy.place) == _world(copy.store, pledge.place)


def same_in_brain(place: Place, other: Place) -> bool:
    """Whether SomaBrain takes these for one place."""
    same = (place.tenant, place.namespace) == (other.tenant, other.namespace)
    return same and _world(Store.BRAIN, place) == _world(Store.BRAIN, other)


def _world(store: Store, place: Place) -> str:
    """SomaBrain has a name for the universe that has none."""
    return place.universe or (DEFAULT_UNIVERSE if store is Store.BRAIN else "")


def _says(copy: Copy) -> Copy:
    return replace(copy, locator="", contradicted=False)


def _other(wrong: Sequence[str]) -> str:
    return f"another {', '.join(wrong)} than was accepted"


def _lacking(pledge: Pledge, store: Store, words: str, digest: bytes | None) -> Finding:
    where, tenant = pledge.place, pledge.place.tenant
    return Finding(pledge.event_id, store, Kind.MISSING, words, where, tenant, pledge.version, digest)


def _wrong(pledge: Pledge, copy: Copy, kind: Kind, words: str, digest: bytes | None) -> Finding:
    found = _finding(copy, kind, words, pledge.place.tenant, fault=True)
    return replace(found, version=pledge.version, digest=digest)


def _finding(copy: Copy, kind: Kind, words: str, tenant: str, *, fault: bool, copy_of: str | None = None) -> Finding:
    version = copy.version or 1
    return Finding(copy.event_id, copy.store, kind, words, copy.place, tenant, version, None, fault, copy_of)
