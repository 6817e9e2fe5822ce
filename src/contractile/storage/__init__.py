"""Files that are written whole or not at all, replaced only where they are our own, by one process at a time.

A file is written under a random name in its own folder, flushed to the disk, and renamed: whoever looks, and whenever
the power fails, finds the old file or the new one. The manifest of the folder has a line for each file that was
written. What it does not name, or what has changed since, is somebody's work.

    with claimed(files, by="predict", inputs=images) as claim:   # refused, before any work, where a file is not ours
        with claim.together():                                   # these are renamed together
            write_labels(files[0], labels)                       # (by `replacing`)

A result that is a folder (a Zarr) has the same rule: `replacing_folder`. It carries a record of its own in place of the
line in the manifest.
"""

from __future__ import annotations

from contractile.storage.claims import Claim as Claim
from contractile.storage.claims import check_lengths as check_lengths
from contractile.storage.claims import claimed as claimed
from contractile.storage.files import UNFINISHED as UNFINISHED
from contractile.storage.files import replacing as replacing
from contractile.storage.files import sweep as sweep
from contractile.storage.files import telling as telling
from contractile.storage.folders import amend as amend
from contractile.storage.folders import replacing_folder as replacing_folder
from contractile.storage.locks import FULL as FULL
from contractile.storage.locks import sole as sole
from contractile.storage.manifest import MANIFEST as MANIFEST
from contractile.storage.manifest import check_replaceable as check_replaceable
