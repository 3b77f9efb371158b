"""Quick actions: things that people ask for again and again, in the words in which the model is asked for them."""

from enum import StrEnum


class Action(StrEnum):
    """What can be asked for with one press. The first four are answered; the last two hold and release the session."""

    SUMMARIZE = "summarize"
    NEXT_STEPS = "next_steps"
    STATUS_REPORT = "status_report"
    NUDGE = "nudge"
    PAUSE = "pause"
    RESUME = "resume"


REQUESTS = {
    Action.SUMMARIZE: "Summarize our conversation so far in a few sentences.",
    Action.NEXT_STEPS: "List the next steps that follow from our conversation, most important first.",
    Action.STATUS_REPORT: "Give a short status report: what is done, what is open, what is in the way.",
    Action.NUDGE: "Go on from where you stopped.",
}
