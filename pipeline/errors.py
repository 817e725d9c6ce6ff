"""The one exception that a user's mistake raises."""

from collections.abc import Iterable
from difflib import get_close_matches


class InputError(Exception):
    """Something in the user's sheet, configuration, audio or NWB that the user can mend.

    `what` says what is wrong; `where` names file, table, row or key; `allowed` the valid values;
    `mend` what to do. The command line prints the message alone and exits with 2.
    """

    def __init__(
        self,
        what: str,
        *,
        where: object = None,
        found: object = None,
        allowed: Iterable | str | None = None,
        mend: str | None = None,
    ):
        lines = [what]
        if where is not None:
            lines.append(f"  where:   {where}")
        if found is not None:
            lines.append(f"  found:   {found}")
        if allowed is not None:
            options = [allowed] if isinstance(allowed, str) else [str(option) for option in allowed]
            lines.append(f"  allowed: {', '.join(options)}")
            close = None if isinstance(allowed, str) or found is None else nearest(str(found), options)
            if close:
                lines.append(f"  nearest: {close}")
        if mend:
            lines.append(f"  mend:    {mend}")
        super().__init__("\n".join(lines))


class InputErrors(InputError):
    """Several problems, found in one go and reported together."""

    def __init__(self, problems: Iterable[InputError | str]):
        self.problems = [str(problem) for problem in problems]
        count = len(self.problems)
        title = f"{count} problem{'s' if count > 1 else ''} found"
        Exception.__init__(self, "\n".join([title, *(f"{i}. {p}" for i, p in enumerate(self.problems, 1))]))


def nearest(name: str, options: Iterable[str]) -> str | None:
    """The option closest in spelling to `name`, or None where nothing is close."""
    close = get_close_matches(name, list(options), n=1, cutoff=0.6)
    return close[0] if close else None
