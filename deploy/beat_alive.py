"""Is the beat of this host at work? Exit code 0 when it asked the ledger something lately.

Beat answers no pings. It asks the ledger several times a second, and Postgres knows when each of
its connections was last used, and from where: so this sees a beat that hangs, not only a dead one.
"""

import os
import sys

import psycopg

QUERY = """
SELECT count(*) FROM pg_stat_activity
WHERE application_name = 'mailer' AND pid <> pg_backend_pid()
  AND client_addr IS NOT DISTINCT FROM inet_client_addr()
  AND state_change > now() - interval '30 seconds'
"""


def main() -> int:
    """0 when it is, 1 when it is not."""
    with psycopg.connect(os.environ["MAILER_DATABASE_URL"], connect_timeout=5) as connection:
        row = connection.execute(QUERY).fetchone()
    return 0 if row and row[0] else 1


if __name__ == "__main__":
    sys.exit(main())
