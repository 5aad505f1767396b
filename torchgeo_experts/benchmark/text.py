# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""The table of a benchmark as Markdown and as LaTeX."""

from collections.abc import Sequence

from .compare import Array
from .progress import duration
from .tables import SCORES, Line, Table

#: Characters that LaTeX reads as something else.
SPECIAL = {
    '\\': r'\textbackslash{}',
    **{c: f'\\{c}' for c in '&%$#_{}'},
    '~': r'\textasciitilde{}',
    '^': r'\textasciicircum{}',
    '±': r'$\pm$',
}


def cells(table: Table, line: Line) -> list[tuple[str, bool]]:
    """Write the cells of a row.

    Args:
        table: The table.
        line: The row.

    Returns:
        Text of each cell, and whether it is the best of its column.
    """
    runs = f'{line.runs}' if line.complete else f'only {line.runs}'
    return [
        (line.row.label, False),
        *((score(line.scores[c], table.scale), c in line.best) for c in SCORES),
        (difference(line, table.scale), False),
        (runs, False),
        (line.selection, False),
        (duration(line.seconds), False),
        (f'{line.memory_mb:.0f}', False),
    ]


def header(table: Table) -> list[str]:
    """Name the columns."""
    return [
        'method',
        *SCORES.values(),
        f'to {table.baseline} [95 %]',
        'runs',
        'checkpoint',
        'training',
        'MB',
    ]


def score(values: Array, scale: float) -> str:
    """Write a mean over seeds, with the standard deviation if there are several."""
    if not len(values):
        return '-'
    digits = 1 if scale > 1 else 3
    text = f'{scale * values.mean():.{digits}f}'
    if len(values) > 1:
        text += f' ± {scale * values.std(ddof=1):.{digits}f}'
    return text


def difference(line: Line, scale: float) -> str:
    """Write the difference to the baseline, and over how many runs if not over all."""
    found = line.difference
    if found is None:
        return '-'
    digits = 1 if scale > 1 else 3
    mean, low, high = (
        f'{scale * x:+.{digits}f}' for x in (found.mean, found.low, found.high)
    )
    pairs = '' if found.runs == line.runs else f' ({found.runs} runs)'
    return f'{mean} [{low}, {high}]{pairs}'


def caption(table: Table, validation: str) -> str:
    """Tell how a table is to be read.

    Args:
        table: The table.
        validation: What the validation split is, '' if nobody said so.

    Returns:
        A paragraph.
    """
    unit = ', in percent' if table.scale > 1 else ''
    compared = [line.difference for line in table.lines if line.difference]
    runs, domains, seeds = (
        counts([getattr(each, what) for each in compared])
        for what in ('runs', 'domains', 'seeds')
    )
    parts = [
        f'{table.metric} on {table.split}{unit}: mean over seeds ± standard deviation.'
    ]
    if compared:
        parts.append(
            f'Differences are paired, over the folds and seeds that both have run{runs},'
            f' with the 95 % interval of a bootstrap over domains{domains} and'
            f' seeds{seeds}.'
        )
    if any(line.selection != 'last' for line in table.lines):
        what = f' ({validation})' if validation else ''
        parts.append(f'Checkpoints are chosen on the validation split{what}.')
    if not all(line.complete for line in table.lines):
        parts.append(
            'Rows with "only" some runs lack folds or seeds that others have: their means'
            ' do not compete for the best.'
        )
    if table.missing:
        parts.append(f'Without values: {", ".join(table.missing)}.')
    return ' '.join(parts)


def counts(numbers: Sequence[int]) -> str:
    """Write one number or the range of several."""
    if not numbers:
        return ''
    low, high = min(numbers), max(numbers)
    return f' ({low})' if low == high else f' ({low} to {high})'


def to_markdown(table: Table, validation: str = '') -> str:
    """Write a table as Markdown.

    Args:
        table: The table.
        validation: What the validation split is.

    Returns:
        The text.
    """
    lines = [header(table), ['---', *['--:'] * (len(header(table)) - 1)]]
    for line in table.lines:
        found = cells(table, line)
        lines.append([f'**{text}**' if best else text for text, best in found])
    body = '\n'.join(f'| {" | ".join(map(no_pipes, each))} |' for each in lines)
    return f'{caption(table, validation)}\n\n{body}'


def no_pipes(text: str) -> str:
    """Keep a label from ending a cell."""
    return text.replace('|', r'\|')


def to_latex(table: Table, validation: str = '') -> str:
    """Write a table as LaTeX, for the package booktabs.

    Args:
        table: The table.
        validation: What the validation split is.

    Returns:
        The text.
    """
    lines = []
    for line in table.lines:
        found = [(escape(text), best) for text, best in cells(table, line)]
        texts = [rf'\textbf{{{text}}}' if best else text for text, best in found]
        # A bracket behind the end of the row before would be an argument of that.
        start = '{}' if texts[0].startswith('[') else ''
        lines.append(start + ' & '.join(texts) + r' \\')
    names = ' & '.join(escape(name) for name in header(table))
    columns = 'l' + 'r' * (len(header(table)) - 1)
    return '\n'.join(
        [
            r'\begin{table}',
            rf'\caption{{{escape(caption(table, validation))}}}',
            rf'\begin{{tabular}}{{{columns}}}',
            r'\toprule',
            rf'{names} \\',
            r'\midrule',
            *lines,
            r'\bottomrule',
            r'\end{tabular}',
            r'\end{table}',
        ]
    )


def escape(text: str) -> str:
    """Write text such that LaTeX shows it as it is."""
    return ''.join(SPECIAL.get(character, character) for character in text)
