"""The exceptions for problems that a user can solve: one short tree, and what they say about fields of configurations.

    ContractileError (a ValueError)    an argument or a file that cannot be used
    +-- WrongType     (a TypeError)            an argument of the wrong type
    +-- NotFound      (a FileNotFoundError)    a file or folder that does not exist
    +-- AlreadyThere  (a FileExistsError)      a file or run that exists and must not be replaced
    +-- InUse         (a BlockingIOError)      a folder that another process writes into
    +-- NotWritable   (a PermissionError)      a folder without permission to write
    +-- NotFinished   (a RuntimeError)         work that was started and could not be finished
        +-- NotWritten   (an OSError)          ... because a file could not be written
        +-- OutOfMemory  (a MemoryError)       ... because memory ran out

Every other exception is a fault of this package. The command line prints one line for a `ContractileError`, and a
traceback for anything else.
"""

from __future__ import annotations

from contractile.errors.fields import check_progress as check_progress
from contractile.errors.fields import describe_invalid as describe_invalid
from contractile.errors.fields import explain_fault as explain_fault
from contractile.errors.fields import in_one_line as in_one_line
from contractile.errors.fields import nearest as nearest
from contractile.errors.fields import shown as shown
from contractile.errors.tree import AlreadyThere as AlreadyThere
from contractile.errors.tree import ContractileError as ContractileError
from contractile.errors.tree import InUse as InUse
from contractile.errors.tree import NotFinished as NotFinished
from contractile.errors.tree import NotFound as NotFound
from contractile.errors.tree import NotWritable as NotWritable
from contractile.errors.tree import NotWritten as NotWritten
from contractile.errors.tree import OutOfMemory as OutOfMemory
from contractile.errors.tree import WrongType as WrongType
from contractile.errors.tree import printable as printable
