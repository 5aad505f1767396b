# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Configuration of Sphinx."""

import pkgutil
import re
from importlib.metadata import version as installed_version
from importlib.util import find_spec
from pathlib import Path

from sphinx.application import Sphinx

PACKAGE = 'torchgeo_experts'
API = Path(__file__).parent / 'api'

project = 'torchgeo-experts'
author = 'torchgeo-experts contributors'
copyright = f'2026, {author}'
release = installed_version(project)
version = release

extensions = ['myst_parser', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon']

autoclass_content = 'both'
autodoc_default_options = {'members': True, 'show-inheritance': True}
autodoc_member_order = 'bysource'
autodoc_typehints = 'description'
autodoc_typehints_description_target = 'documented_params'
myst_enable_extensions = ['colon_fence', 'deflist', 'dollarmath']
myst_heading_anchors = 3

html_theme = 'pydata_sphinx_theme'
html_title = project
html_show_sourcelink = False
html_theme_options = {'show_prev_next': False, 'navigation_with_keys': False}


def modules(room: str) -> list[str]:
    """List the public modules of a room: itself, or those in its folder."""
    name = f'{PACKAGE}.{room}'
    spec = find_spec(name)
    if spec is None or spec.submodule_search_locations is None:
        return [name] if spec else []
    found = pkgutil.walk_packages(spec.submodule_search_locations, f'{name}.')
    return [m.name for m in found if not m.name.split('.')[-1].startswith('_')]


#: Modules on each API page. A page is named like its room and begins with its title.
ROOMS = {page.stem: modules(page.stem) for page in API.glob('*.rst')}

exclude_patterns = [
    '_build',
    *(f'api/{room}.rst' for room, found in ROOMS.items() if not found),
]


def add_modules(app: Sphinx, docname: str, source: list[str]) -> None:
    """Append the modules of a room to its API page."""
    found = ROOMS.get(docname.removeprefix('api/'), [])
    for name in found:
        if len(found) > 1:
            title = name.split('.', 2)[-1]
            source[0] += f'\n{title}\n{"-" * len(title)}\n'
        source[0] += f'\n.. automodule:: {name}\n'


def name_footnotes(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Make numbered footnotes of a docstring unique: many share one page."""
    tag = re.sub(r'[\W_]+', '-', name).strip('-')
    for i, line in enumerate(lines):
        line = re.sub(r'\[(\d+)\]_', rf'[#{tag}-\1]_', line)
        lines[i] = re.sub(r'^(\s*\.\. )\[(\d+)\]', rf'\1[#{tag}-\2]', line)


def setup(app: Sphinx) -> None:
    """Connect to Sphinx."""
    app.connect('source-read', add_modules)
    app.connect('autodoc-process-docstring', name_footnotes)
