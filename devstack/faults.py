"""What can stop a start: every such error is one line for a person that says what to do."""


class CannotStart(Exception):
    """The stack, or one part of it, cannot run here and now; the message is one line and names the remedy."""


class Interrupted(CannotStart):
    """The start was called off before it was complete."""
