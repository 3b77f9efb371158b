"""Who is to answer a turn: the profile that it names, or those for everyday talk, or stronger ones."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.domain.analysis import analyse
from app.domain.conversation import Turn
from app.domain.escalation import reason_to_escalate
from app.domain.model_ports import Roster
from app.domain.profiles import Profile, ProfileRole, ProfileWish


@dataclass(frozen=True, slots=True)
class Choice:
    """`profiles` are asked in this order. `reason` says why they begin with strong ones; `stronger` are those that the
    first may hand over to.
    """

    profiles: Sequence[Profile]
    stronger: Sequence[Profile] = ()
    reason: str | None = None


def choose_profiles(turn: Turn, question: str, roster: Roster, escalated: str = "") -> Choice:
    """`ModelRefused` where nobody can answer. Where no profile is for escalation, everything is everyday talk.

    `escalated` says why an earlier step of this turn was a stronger model's: who has begun goes on.
    """
    name = str(turn.metadata.get("agent_profile_id") or "")
    if name:
        chosen = roster.candidates(_wish(ProfileRole.DIALOGUE, turn, name))
        return Choice(chosen, reason="a profile for it was chosen" if _strong(chosen) else None)
    everyday = roster.candidates(_wish(ProfileRole.DIALOGUE, turn))
    able = roster.candidates(_wish(ProfileRole.ESCALATION, turn))
    if not _strong(able):
        return Choice(everyday)
    reason = escalated or reason_to_escalate(question, analyse(question).tags, turn.metadata)
    return Choice(able, reason=reason) if reason else Choice(everyday, able)


def _wish(role: ProfileRole, turn: Turn, name: str = "") -> ProfileWish:
    return ProfileWish(role, turn.tenant, name, turn.metadata)


def _strong(profiles: Sequence[Profile]) -> bool:
    return any(profile.role is ProfileRole.ESCALATION for profile in profiles)
