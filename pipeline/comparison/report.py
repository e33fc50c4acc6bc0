"""A ranking as tables for the screen and as numbers for JSON."""

from collections.abc import Iterator, Mapping, Sequence
from string import ascii_letters
from typing import Any

from rich.console import RenderableType
from rich.table import Table

from pipeline.comparison.evidence import Evidence
from pipeline.comparison.ranking import Pair, Ranking
from pipeline.comparison.words import conclusion, of_probability
from pipeline.dataset import short
from pipeline.scoring import in_words

N_LISTED = 30  # lines of a table
WIDTH = 58  # characters of a configuration's name


def tables(ranking: Ranking, named: Mapping[str, Evidence]) -> Iterator[RenderableType]:
    """Yield the ranking and the pairs as rich tables, and what is left out of them."""
    n_folds = ranking.scores.shape[1]
    way = "lower" if ranking.lower_is_better else "higher"
    yield ""
    yield f"{in_words(ranking.metric)} of {n_folds} folds, {way} is better"
    if ranking.n_undefined:
        n = ranking.n_undefined
        more = "1 more fold is" if n == 1 else f"{n} more folds are"
        yield f"{more} left out, as it is undefined there for one of them"
    yield _ranked(ranking, named)
    if ranking.n_unranked:
        yield f"and {ranking.n_unranked} with worse means, which are left out of all below"
    yield f"Runs that share a letter are not told apart (Holm-adjusted p >= {ranking.alpha:g})"
    yield ""
    if len(pairs := ranking.shown_pairs()) < len(ranking.pairs):
        yield f"The best against the others; p is adjusted for all {ranking.n_pairs:,} pairs"
    yield _pairs(ranking, pairs)
    size = f"{ranking.rope:g}"
    yield f"P(better), P(worse): by more than {size}; P(equivalent): within {size} of each other"
    yield ""


def as_dict(ranking: Ranking, named: Mapping[str, Evidence]) -> dict[str, Any]:
    """Return everything as it goes into JSON: configurations, every pair, groups, conclusion."""
    evidence = [named[name] for name in ranking.names]
    return {
        "metric": ranking.metric,
        "lower_is_better": ranking.lower_is_better,
        "alpha": ranking.alpha,
        "rope": ranking.rope,
        "n_folds": ranking.scores.shape[1],
        "n_undefined_folds": ranking.n_undefined,
        "n_unranked": ranking.n_unranked,
        "data_digest": evidence[0].data_digest,
        "split_digest": evidence[0].split_digest,
        "configurations": [
            {
                "name": run.name,
                "run_ids": list(run.run_ids),
                "mean": float(scores.mean()),
                "std": float(scores.std()),
                "scores": scores.tolist(),
            }
            for run, scores in zip(evidence, ranking.scores, strict=True)
        ],
        "pairs": [_pair_as_dict(ranking, pair) for pair in ranking.pairs],
        "not_told_apart": [[place + 1 for place in group] for group in ranking.groups()],
        "conclusion": conclusion(ranking),
    }


def _pair_as_dict(ranking: Ranking, pair: Pair) -> dict[str, Any]:
    test = pair.test
    return {
        "first": pair.first + 1,
        "second": pair.second + 1,
        "advantage": pair.advantage,
        "interval": list(test.ci) if test else None,
        "p": test.p if test else None,
        "p_holm": pair.p_holm,
        "told_apart": ranking.differ(pair),
        "p_better": test.better if test else None,
        "p_equivalent": test.equivalent if test else None,
        "p_worse": test.worse if test else None,
    }


def _ranked(ranking: Ranking, named: Mapping[str, Evidence]) -> Table:
    letters = dict.fromkeys(range(len(ranking.names)), "")
    for i, group in enumerate(ranking.groups()):
        for place in group:
            letters[place] += ascii_letters[i] if i < len(ascii_letters) else f"({i})"
    table = _table(">", "configuration", "mean >", "std >", "letters", "run")
    for place, name in enumerate(ranking.names[:N_LISTED]):
        scores, (run_id, *more) = ranking.scores[place], named[name].run_ids
        run = f"{run_id[:8]} and {len(more)} more" if more else run_id[:8]
        numbers = (f"{scores.mean():.4f}", f"{scores.std():.4f}")
        table.add_row(f"{place + 1}", short(name, WIDTH), *numbers, letters[place], run)
    return _and_more(table, len(ranking.names) - N_LISTED)


def _pairs(ranking: Ranking, pairs: Sequence[Pair]) -> Table:
    interval = f"{1 - ranking.alpha:.0%} interval"
    columns = ("advantage >", f"{interval} >", "p >", "Holm p >")
    table = _table("", *columns, "P(better) >", "P(equivalent) >", "P(worse) >")
    for pair in pairs[:N_LISTED]:
        row = [f"{pair.first + 1} over {pair.second + 1}", f"{pair.advantage:.4f}"]
        if test := pair.test:
            row += [f"{test.ci[0]:.4f} to {test.ci[1]:.4f}"]
            numbers = (test.p, pair.p_holm, test.better, test.equivalent, test.worse)
            row += [of_probability(number) for number in numbers]
        else:
            row += ["the same in all"]
        table.add_row(*row, style="bold" if ranking.differ(pair) else None)
    return _and_more(table, len(pairs) - N_LISTED)


def _table(*columns: str) -> Table:
    """Return an empty table; the numbers of a column that ends in > are flush right."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        right = name.endswith(">")
        table.add_column(name.rstrip(" >"), justify="right" if right else "left", no_wrap=right)
    return table


def _and_more(table: Table, n: int) -> Table:
    if n > 0:
        table.add_row("...", f"and {n} more")
    return table
