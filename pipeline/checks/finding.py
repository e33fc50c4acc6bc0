"""Findings of checks: a stable code, a reason with numbers, and a remedy."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipeline.errors import UserError, suggest

CHECKS = {
    "MF001": "no better than the label frequencies, or worse than a logistic regression",
    "MF002": "training loss far below held-out loss",
    "MF003": "held-out loss rises while training goes on",
    "MF004": "a feature gives a label away",
    "MF005": "a feature is an id of the rows",
    "MF006": "equal rows on both sides of a split",
    "MF007": "a column looks like a group",
    "MF008": "dates, but shuffled folds",
    "MF009": "labels that are too rare to judge",
    "MF010": "tuned thresholds at the edge",
    "MF011": "probabilities are badly calibrated",
    "MF012": "best value at the edge of the sweep",
    "MF013": "best configurations hardly differ",
    "MF014": "too few folds for the differences of a sweep",
    "MF015": "labels that are never predicted",
    "MF016": "labels no better than always yes",
    "MF017": "constant features",
    "MF018": "features of very different scales",
    "MF019": "seeds matter more than settings",
    "MF020": "labels whose score hangs on one fold",
}
"""Checks by code; a code is never used again for something else."""
MISLEADING = {"MF001", "MF004", "MF005", "MF006", "MF007", "MF008", "MF016", "MF019", "MF020"}
"""Checks whose findings say that a score may mislead; others say what may be improved."""
MAX_NAMED = 5  # labels or features in a message


@dataclass(frozen=True)
class Finding:
    """Something that a check has to say.

    Attributes:
        code: Code of the check.
        message: A sentence with numbers, without its full stop.
        remedy: What to set, type or look at.
    """

    code: str
    message: str
    remedy: str

    @property
    def severity(self) -> str:
        """`warning` if a score may mislead, else `hint`."""
        return "warning" if self.code in MISLEADING else "hint"

    def __str__(self) -> str:
        """Return code, message and remedy in one line."""
        return f"{self.code} {self.message}. {self.remedy}"


def select(findings: Iterable[Finding], ignore: Sequence[str]) -> list[Finding]:
    """Return the findings whose codes are not ignored.

    Raises:
        UserError: If a code does not exist.
    """
    for code in ignore:
        if code not in CHECKS:
            raise UserError(
                f"checks.ignore: expected codes of checks. Received: {code!r}. "
                f"{suggest(code, CHECKS)}"
            )
    return [finding for finding in findings if finding.code not in ignore]


def to_table(findings: Sequence[Finding]) -> dict[str, list[object]]:
    """Return the findings as a table of MLflow: columns and rows."""
    columns = ["code", "severity", "check", "message", "remedy"]
    rows = [[it.code, it.severity, CHECKS[it.code], it.message, it.remedy] for it in findings]
    return {"columns": [*columns], "data": [*rows]}


def list_names(names: Iterable[str]) -> str:
    """Return the first names and the number of the others."""
    names = list(names)
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more


def count_of(n: int, total: int, noun: str = "feature") -> str:
    """Return a number of things out of all: `2 of 14 labels`."""
    return f"{n} of {total} {noun}{'' if total == 1 else 's'}"
