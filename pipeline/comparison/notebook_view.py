"""A ranking as Python programs see it: table, conclusion, view in a notebook."""

from dataclasses import dataclass, fields
from html import escape

import pandas as pd

from pipeline.comparison.conclusion import describe_conclusion
from pipeline.comparison.ranking import Ranking


@dataclass(frozen=True, eq=False, repr=False)
class Comparison(Ranking):
    """The result of `compare`: configurations ranked by their means, and a test of every pair.

    A notebook shows it as a table and a sentence.
    """

    @classmethod
    def of(cls, ranking: Ranking) -> "Comparison":
        """Convert a ranking."""
        return cls(**{each.name: getattr(ranking, each.name) for each in fields(ranking)})

    @property
    def conclusion(self) -> str:
        """Conclusion of the tests in a sentence."""
        return describe_conclusion(self)

    @property
    def table(self) -> pd.DataFrame:
        """Mean and standard deviation of each configuration, the best first."""
        columns = {"mean": self.scores.mean(axis=1), "std": self.scores.std(axis=1)}
        return pd.DataFrame(columns, index=pd.Index(self.names, name=self.metric))

    def __repr__(self) -> str:
        """Return the conclusion."""
        return f"<Comparison of {len(self.names)} by {self.metric}. {self.conclusion}>"

    def _repr_html_(self) -> str:
        table: str = self.table.round(self.decimals).to_html(border=0)
        return f"{table}<p>{escape(self.conclusion)}</p>"
