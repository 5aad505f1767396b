# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""Names for what was made of files, other ones if the files are others."""

import hashlib
import os
from collections.abc import Sequence


def stamp(files: Sequence[str], made_by: str = '') -> str:
    """Tell files from others of the same names.

    Args:
        files: Paths of the files.
        made_by: What else decides what is made of them.

    Returns:
        16 characters, others if a file was added, removed or replaced: names, sizes and
        times of change are looked at, contents are not.
    """
    facts = [made_by]
    for path in files:
        about = os.stat(path)
        facts.append(f'{os.path.basename(path)} {about.st_size} {about.st_mtime_ns}')
    return hashlib.sha256('\n'.join(facts).encode()).hexdigest()[:16]
