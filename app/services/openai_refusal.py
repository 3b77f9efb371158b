"""What the OpenAI door refuses, in the terms of that interface."""

from app.domain.errors import Rejected


class Refused(Rejected):
    """The request is wrong: `param` names the field at fault, `code` is for programs, the message for people."""

    def __init__(self, message: str, param: str | None = None, code: str | None = None, status: int = 400) -> None:
        super().__init__(message)
        self.param = param
        self.code = code
        self.status = status
