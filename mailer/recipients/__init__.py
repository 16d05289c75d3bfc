"""Recipients from a file or from any iterable of mappings, one at a time, in constant memory.

    for row in read("staff.csv"):
        if isinstance(row, Recipient): ...   # row.email, row.address, row.variables
        else: ...                            # a Problem: row.line, row.email, row.reason

What is wrong with one row is a Problem and never stops the next row; what is wrong with the
whole source (no such file, no email column) is a RecipientsError, raised by ``read`` itself.
"""

from mailer.recipients.address import normalise
from mailer.recipients.reader import Reader, read
from mailer.recipients.rows import Problem, Recipient

__all__ = ["Problem", "Reader", "Recipient", "normalise", "read"]
