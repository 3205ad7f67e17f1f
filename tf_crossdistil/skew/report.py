# SPDX-License-Identifier: Apache-2.0
"""What is shown and written of a skew."""

from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tf_crossdistil.skew.comparison import QUANTILES, FeatureSkew, Sides
from tf_crossdistil.skew.skew import MOST_BROKEN, Skew

_COLOURS = {"drifted": "red", "shifted": "yellow", "stable": "green"}
_NAMED = 10


def show_skew(skew: Skew, console: Console) -> None:
    """Prints all features in a table, then sentences on those that drifted or shifted, and what was left out."""
    console.print(_table(skew))
    for sentence in _sentences(skew):
        console.print(sentence, highlight=False, soft_wrap=True)
    for warning in _warnings(skew):
        console.print(f"[yellow]warning:[/yellow] {escape(warning)}", highlight=False, soft_wrap=True)


def skew_document(skew: Skew) -> dict[str, Any]:
    """All that is known, for programs; features that drifted most come first."""
    reading = skew.reading
    return {
        "verdict": skew.worst,
        "threshold": skew.threshold,
        "training_rows": skew.training_rows,
        "requests": skew.requests,
        "request_rows": skew.request_rows,
        "broken": dict(reading.broken),
        "unfinished_files": reading.unfinished,
        "unknown_features": dict(reading.unknown),
        "features": {feature.name: _feature_document(skew, feature) for feature in skew.features},
    }


def _feature_document(skew: Skew, feature: FeatureSkew) -> dict[str, Any]:
    document: dict[str, Any] = {
        "kind": feature.kind,
        "verdict": skew.verdict(feature),
        "drift": feature.drift,
        "independent_rows": feature.rows,
        "absent": feature.absent,
        "missing": _sides(feature.missing),
    }
    if feature.oov is not None:
        document["oov"] = _sides(feature.oov) | {"unseen": feature.unseen_oov}
    if feature.quantiles:
        document["quantiles"] = {str(at): _sides(sides) for at, sides in feature.quantiles.items()}
    if feature.mean_length is not None:
        document["mean_length"] = _sides(feature.mean_length)
    for what, bins in feature.bins.items():
        columns = zip(bins.labels, bins.expected.tolist(), bins.observed.tolist(), strict=True)
        document[what] = {
            "psi": bins.psi.value,
            "noise": bins.psi.noise,
            "limit": bins.psi.limit,
            "bins": [{"bin": label, "expected": expected, "requests": observed} for label, expected, observed in columns],
        }
    return document


def _sides(sides: Sides) -> dict[str, float | None]:
    return {"training": sides.training, "requests": sides.requests}


def _table(skew: Skew) -> Table:
    has_oov = any(feature.oov for feature in skew.features)
    has_quantiles = any(feature.quantiles for feature in skew.features)
    has_lengths = any(feature.mean_length for feature in skew.features)
    table = Table(title="requests against the training split", title_justify="left")
    table.add_column("feature", no_wrap=True)
    table.add_column("verdict")
    numbers = ["PSI", "by chance"]
    oov = ["oov", "oov unseen"] * has_oov
    quantiles = [f"{at:.0%}" for at in QUANTILES] * has_quantiles
    lengths = ["mean length"] * has_lengths
    for column in numbers:
        table.add_column(column, justify="right")
    table.add_column("")
    for column in ("missing", *oov, *quantiles, *lengths):
        table.add_column(column, justify="right")

    for feature in skew.features:
        verdict, psi = skew.verdict(feature), feature.bins[feature.worst].psi
        heads = [
            [escape(feature.name), f"[{_COLOURS[verdict]}]{verdict}[/]", f"{psi.value:.3f}", f"{psi.noise:.3f}"],
            [f"[dim]{feature.kind}[/]", "", "", ""],
        ]
        for side, head in zip(("training", "requests"), heads, strict=True):
            cells = [_share(getattr(feature.missing, side))]
            if has_oov:
                cells.append(_share(getattr(feature.oov, side, None)))
                cells.append(_share(feature.unseen_oov) if side == "training" else "")
            if has_quantiles:
                cells += [_number(getattr(feature.quantiles.get(at), side, None)) for at in QUANTILES]
            if has_lengths:
                cells.append(_length(getattr(feature.mean_length, side, None)))
            table.add_row(*head, side, *cells, end_section=side == "requests")
    return table


def _sentences(skew: Skew) -> Iterator[str]:
    for verdict in ("drifted", "shifted"):
        for feature in skew.having(verdict):
            yield f"[{_COLOURS[verdict]}]{escape(feature.name)}[/] {verdict}: {escape(_reason(feature))}"
    counts = ", ".join(f"{len(skew.having(verdict))} {verdict}" for verdict in _COLOURS)
    yield (
        f"{skew.request_rows:,} rows in {skew.requests:,} requests against {skew.training_rows:,} training rows; "
        f"features: {counts}"
    )


def _reason(feature: FeatureSkew) -> str:
    if feature.absent:
        return "no request has it"
    bins = feature.bins[feature.worst]
    most = bins.largest_change
    what = f" of {feature.worst}" if len(feature.bins) > 1 else ""
    return (
        f"PSI{what} {bins.psi.value:.3f}, {bins.psi.noise:.3f} of it by chance; the largest change is {bins.labels[most]}: "
        f"{_share(bins.observed[most])} of rows, expected were {_share(bins.expected[most])}"
    )


def _warnings(skew: Skew) -> Iterator[str]:
    reading = skew.reading
    for reason, count in reading.broken.most_common():
        yield f"left out {count:,} of {reading.records:,} requests, since each {reason}"
    for path, reason in reading.unfinished.items():
        yield f"{path} was not read to its end: {reason}"
    if skew.incomplete:
        yield (
            f"too much is missing to call the requests stable: more than {MOST_BROKEN:.0%} of them was left out, or a file was "
            "not read to its end"
        )
    if reading.unknown:
        names = ", ".join(f"'{name}'" for name, _ in reading.unknown.most_common(_NAMED))
        more = f" and {len(reading.unknown) - _NAMED:,} more" if len(reading.unknown) > _NAMED else ""
        yield f"requests have features that the data set does not: {names}{more}; is it the data that the model was trained on?"
    weak = [feature for feature in skew.features if feature.bins[feature.worst].psi.limit > skew.threshold]
    if weak:
        limit = max(feature.bins[feature.worst].psi.limit for feature in weak)
        yield (
            f"too few requests to be sure of {', '.join(feature.name for feature in weak)}: without any drift a PSI of up to "
            f"{limit:.2f} is usual; give more"
        )


def _share(share: float | None) -> str:
    return "" if share is None else f"{share:.2%}"


def _number(number: float | None) -> str:
    return "" if number is None else f"{number:.6g}"


def _length(length: float | None) -> str:
    return "" if length is None else f"{length:.2f}"
