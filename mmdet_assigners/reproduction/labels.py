"""Names of trainings in a report, each name once."""

from collections.abc import Collection, Iterable, Sequence
from itertools import count
from pathlib import Path

from .results import Result


def by_config(results: Iterable[Result]) -> dict[str, list[Result]]:
    """Trainings by their config, if they differ in their seeds alone.

    Others are named by their folder, see :func:`by_folder`. Trainings of
    another form, dataset or length of schedule are no repetitions.
    """
    results = list(results)
    groups: dict[tuple, list[Result]] = {}
    for one in results:
        key = one.config, one.form, one.data, one.unit, one.epochs
        groups.setdefault(key, []).append(one)
    repeated = [
        run
        for runs in groups.values()
        if len({run.seed for run in runs}) < len(runs)
        for run in runs
    ]
    folders = by_folder(repeated, {one.config for one in results})
    labels = {id(run): label for label, (run,) in folders.items()}
    named: dict[str, list[Result]] = {}
    for one in results:
        named.setdefault(labels.get(id(one), one.config), []).append(one)
    return named


def by_folder(
    results: Sequence[Result], taken: Collection[str] = ()
) -> dict[str, list[Result]]:
    """Each training by the shortest end of its folder that is its own.

    Those of one folder are numbered.

    Args:
        results: All trainings that need a name.
        taken: Names that have another meaning.
    """
    paths = [Path(result.work_dir).resolve() for result in results]
    different = len(set(paths))
    names: list[str] = []
    for length in range(1, max((len(p.parts) for p in paths), default=0) + 1):
        names = [str(Path(*path.parts[-length:])) for path in paths]
        if len(set(names)) == different and not {*names} & {*taken}:
            break
    found: dict[str, list[Result]] = {}
    for name, result in zip(names, results, strict=True):
        numbered = (f'{name} ({number})' for number in count(2))
        while name in found or name in taken:
            name = next(numbered)
        found[name] = [result]
    return found
