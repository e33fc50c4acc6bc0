"""Facts about the run of a result, for its page and its model card."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.tracking import RunRecord

DIGESTS = ("config_digest", "data_digest", "split_digest")
FINAL_FIT = "final_fit"  # tags of a run
DEVICE = "device"
COMMIT = "mlflow.source.git.commit"


@dataclass(frozen=True)
class RunInfo:
    """The run of a result.

    Attributes:
        run_id: Id of the run in MLflow; empty without a run.
        run_name: Name of the run.
        experiment: Name of its experiment.
        started: Start time.
        details: Digests, commit and versions, by name.
        final_fit: Sentence about the rows that the final model is trained on; empty without one.
    """

    run_id: str
    run_name: str
    experiment: str
    started: datetime
    details: dict[str, str]
    final_fit: str = ""

    @classmethod
    def of(cls, run: "RunRecord", experiment: str) -> "RunInfo":
        """Take the facts for the page from a logged run.

        Args:
            run: The run.
            experiment: Name of its experiment.
        """
        details = {tag: value for tag, value in run.tags.items() if tag.startswith("version.")}
        details |= {digest: run.tags[digest] for digest in DIGESTS}
        if DEVICE in run.tags:
            details[DEVICE] = run.tags[DEVICE]
        if COMMIT in run.tags:
            details["commit"] = run.tags[COMMIT]
        started = datetime.fromtimestamp(run.started / 1000).astimezone()
        final_fit = run.tags.get(FINAL_FIT, "")
        return cls(run.run_id, run.name, experiment, started, details, final_fit)
