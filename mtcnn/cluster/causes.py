"""Ray's errors boiled down: the UserError inside, or one line that says what happened."""

import re

from mtcnn.errors import UserError

LONGEST = 400
"""Characters of a cause that are shown."""


def user_error(error: BaseException) -> UserError | None:
    """The UserError that lies at the bottom of one of Ray's exceptions, where there is one."""
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        found = waiting.pop(0)
        if not isinstance(found, BaseException) or id(found) in seen:
            continue
        seen.add(id(found))
        # Ray raises a copy of the class whose text is a traceback; the cause is what was raised.
        if isinstance(found, UserError) and not isinstance(getattr(found, "cause", None), UserError):
            return found
        waiting += [getattr(found, name, None) for name in ("cause", "__cause__", "controller_failure")]
        waiting += getattr(found, "worker_failures", {}).values()
    return None


def one_line(error: BaseException) -> str:
    """What happened, on one line: the cause's own words, without Ray's traceback and advice."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, UserError):
        return str(cause)
    if isinstance(cause, BaseException):
        text = f"{type(cause).__name__}: {cause}"
    else:
        text = str(error)
        # Of the paragraphs about a dead actor, those about its identity and the general advice are left out.
        detail = re.search(
            r"(The actor is dead because.*|Worker exit detail:.*|The node .*)", text, re.DOTALL
        )
        text = detail[1] if detail else text
        text = text.split("There are some potential root causes")[0]
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
