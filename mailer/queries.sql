-- The statements of the hot path and of the janitor, each with a name and a sentence.
-- Parameters are psycopg's. Legal moves are those of mailer.schema.MOVES; a test reads the
-- sources named here and compares.

-- name: reserve
-- The feeder takes due rows of one running campaign; other feeders skip what it holds. A queued
-- row whose hint gets lost is due again when due_at has passed.
WITH due AS MATERIALIZED (
  SELECT d.id FROM deliveries d
  WHERE d.campaign_id = %(campaign)s AND d.state = 'pending' AND d.due_at <= now()
  ORDER BY d.due_at LIMIT %(limit)s
  FOR UPDATE OF d SKIP LOCKED
)
UPDATE deliveries d
SET state = 'queued', changed_at = now(), due_at = now() + make_interval(secs => %(patience)s)
FROM due WHERE d.id = due.id
RETURNING d.id::text, split_part(d.address, '@', 2), d.crashes > 0

-- name: claim
-- A worker takes the deliveries that its hints name. Only queued rows are taken, so a hint that
-- came twice, or whose row moved on, takes nothing. What must not be sent goes where it belongs in
-- the same statement. SKIP LOCKED: two workers with the same hints never wait for each other.
WITH fate AS MATERIALIZED (
  SELECT d.id,
    CASE
      WHEN c.state = 'cancelled' THEN 'cancelled'
      WHEN c.state <> 'running' THEN 'pending'
      WHEN c.expires_at <= now() THEN 'expired'
      WHEN EXISTS (SELECT FROM suppressions s WHERE s.address = d.address) THEN 'suppressed'
      ELSE 'sending'
    END AS state,
    c.message, c.single, c.message_id_domain, c.on_doubt
  FROM deliveries d JOIN campaigns c ON c.id = d.campaign_id
  WHERE d.id = ANY(%(ids)s::uuid[]) AND d.state = 'queued'
  FOR UPDATE OF d SKIP LOCKED
)
UPDATE deliveries d
SET state = fate.state,
  changed_at = now(),
  due_at = CASE fate.state WHEN 'pending' THEN now() END,
  attempts = d.attempts + (fate.state = 'sending')::int,
  first_attempt_at =
    CASE fate.state WHEN 'sending' THEN coalesce(d.first_attempt_at, now()) END,
  provider = %(provider)s,
  worker = CASE fate.state WHEN 'sending' THEN %(worker)s::uuid END
FROM fate WHERE d.id = fate.id
RETURNING d.id, d.state, d.campaign_id, d.email, d.attempts, d.variables, d.attachments,
  extract(epoch FROM now() - d.first_attempt_at)::float8 AS age, fate.message, fate.single,
  fate.message_id_domain, fate.on_doubt

-- name: record
-- Outcomes of one batch. The attempt number fences off a worker that was given up for dead: its
-- late word counts only while nobody has claimed the row since. A row held in doubt is settled by
-- the true outcome when that comes after all.
UPDATE deliveries d
SET state = r.state, code = r.code, enhanced_code = r.enhanced_code, reply = r.reply,
  changed_at = now(),
  due_at = CASE r.state WHEN 'pending' THEN now() + make_interval(secs => r.wait) END
FROM unnest(
  %(ids)s::uuid[], %(attempts)s::smallint[], %(states)s::text[], %(codes)s::smallint[],
  %(enhanced_codes)s::text[], %(replies)s::text[], %(waits)s::float8[]
) AS r(id, attempt, state, code, enhanced_code, reply, wait)
WHERE d.id = r.id AND d.attempts = r.attempt AND d.state IN ('sending', 'in_doubt')

-- name: unclaim
-- Claims whose commit was not heard of, so that nothing of them is on the wire.
UPDATE deliveries SET state = 'pending', due_at = now(), changed_at = now()
WHERE id = ANY(%(ids)s::uuid[]) AND worker = %(worker)s AND state = 'sending'

-- name: release
-- Claims of a dead worker that never reached the wire: its journal says so, perhaps after they
-- were taken to be in doubt. One of them may have killed it; three deaths are enough.
UPDATE deliveries d
SET state = CASE WHEN d.crashes >= 2 THEN 'failed' ELSE 'pending' END,
  crashes = d.crashes + 1, changed_at = now(),
  due_at = CASE WHEN d.crashes < 2 THEN now() END,
  reply = CASE WHEN d.crashes >= 2 THEN 'its worker broke down three times while sending it' END
FROM unnest(%(ids)s::uuid[], %(attempts)s::smallint[]) AS r(id, attempt)
WHERE d.id = r.id AND d.attempts = r.attempt AND d.worker = %(worker)s
  AND d.state IN ('sending', 'in_doubt')

-- name: release_rest
-- What a dead worker claimed without noting it in its journal, which it does before it renders.
UPDATE deliveries SET state = 'pending', due_at = now(), changed_at = now()
WHERE worker = %(worker)s AND state = 'sending'

-- name: doubt
-- The final dot went out and nobody knows the answer: the campaign's policy decides.
UPDATE deliveries d
SET state = CASE WHEN c.on_doubt = 'hold' THEN 'in_doubt'
    WHEN d.crashes >= 2 THEN 'failed' ELSE 'pending' END,
  crashes = d.crashes + 1, changed_at = now(),
  due_at = CASE WHEN c.on_doubt = 'resend' AND d.crashes < 2 THEN now() END,
  reply = CASE WHEN c.on_doubt = 'resend' AND d.crashes >= 2
    THEN 'its worker broke down three times while sending it'
    ELSE 'its worker died between the message and the answer' END
FROM campaigns c, unnest(%(ids)s::uuid[], %(attempts)s::smallint[]) AS r(id, attempt)
WHERE d.id = r.id AND d.attempts = r.attempt AND d.worker = %(worker)s
  AND d.state = 'sending' AND c.id = d.campaign_id

-- name: give_back
-- Hints that a worker will not use now: their rows are due again after their wait.
UPDATE deliveries d
SET state = 'pending', changed_at = now(), due_at = now() + make_interval(secs => r.wait)
FROM unnest(%(ids)s::uuid[], %(waits)s::float8[]) AS r(id, wait)
WHERE d.id = r.id AND d.state = 'queued'

-- name: hurry
-- Some hints are lost, and nobody knows which: what is queued now and not claimed within the wait
-- is due again. A hint that was not lost after all then comes twice, which does no harm.
UPDATE deliveries SET due_at = now() + make_interval(secs => %(wait)s)
WHERE state = 'queued' AND due_at > now() + make_interval(secs => %(wait)s)

-- name: free_lost_hints
-- Hints that nobody answered in time: due again.
WITH lost AS MATERIALIZED (
  SELECT id FROM deliveries
  WHERE state = 'queued' AND due_at < now()
  LIMIT 10000 FOR UPDATE SKIP LOCKED
)
UPDATE deliveries d SET state = 'pending', due_at = now(), changed_at = now()
FROM lost WHERE d.id = lost.id

-- name: free_silent_workers
-- Claims of workers that have gone silent. Whether the final dot went out is unknown: the
-- campaign's policy decides. A ledger that was away itself heard nobody: all get their time anew.
WITH orphans AS MATERIALIZED (
  SELECT d.id, CASE WHEN c.on_doubt = 'hold' THEN 'in_doubt'
    WHEN d.crashes >= 2 THEN 'failed' ELSE 'pending' END AS state
  FROM deliveries d
  JOIN campaigns c ON c.id = d.campaign_id
  LEFT JOIN workers w ON w.id = d.worker
  WHERE d.state = 'sending'
    AND pg_postmaster_start_time() < now() - make_interval(secs => %(silence)s)
    AND (w.id IS NULL OR w.seen_at < now() - make_interval(secs => %(silence)s))
  LIMIT 10000 FOR UPDATE OF d SKIP LOCKED
)
UPDATE deliveries d
SET state = o.state, crashes = d.crashes + 1, changed_at = now(),
  due_at = CASE o.state WHEN 'pending' THEN now() END,
  reply = CASE o.state WHEN 'failed' THEN 'its worker broke down three times while sending it'
    ELSE 'its worker died or lost the ledger before the outcome was recorded' END
FROM orphans o WHERE d.id = o.id

-- name: drop_cancelled
-- What a cancelled campaign still has waiting, a slice at a time, so that no other statement
-- waits long.
WITH waiting AS MATERIALIZED (
  SELECT id FROM deliveries
  WHERE campaign_id = %(campaign)s AND state IN ('pending', 'queued')
  LIMIT 10000 FOR UPDATE SKIP LOCKED
)
UPDATE deliveries d SET state = 'cancelled', due_at = NULL, changed_at = now()
FROM waiting WHERE d.id = waiting.id

-- name: drop_expired
-- What a campaign still has waiting when its time is over.
WITH waiting AS MATERIALIZED (
  SELECT id FROM deliveries
  WHERE campaign_id = %(campaign)s AND state IN ('pending', 'queued')
  LIMIT 10000 FOR UPDATE SKIP LOCKED
)
UPDATE deliveries d SET state = 'expired', due_at = NULL, changed_at = now()
FROM waiting WHERE d.id = waiting.id

-- name: recall
-- A pause takes back what is in the broker: as many rows as the window, never the campaign.
WITH queued AS MATERIALIZED (
  SELECT id FROM deliveries
  WHERE campaign_id = %(campaign)s AND state = 'queued'
  FOR UPDATE SKIP LOCKED
)
UPDATE deliveries d SET state = 'pending', due_at = now(), changed_at = now()
FROM queued WHERE d.id = queued.id

-- name: retry
-- An operator sends what ended otherwise once more; attempts start anew but keep counting, since
-- the attempt number fences late outcomes off.
UPDATE deliveries
SET state = 'pending', due_at = now(), changed_at = now(), first_attempt_at = NULL, crashes = 0
WHERE campaign_id = %(campaign)s AND state = ANY(%(states)s)

-- name: settle
-- An operator has found out what became of deliveries in doubt, or wants them sent anyhow.
UPDATE deliveries
SET state = %(state)s, changed_at = now(), crashes = 0,
  due_at = CASE %(state)s WHEN 'pending' THEN now() END,
  first_attempt_at = CASE %(state)s WHEN 'pending' THEN NULL ELSE first_attempt_at END,
  reply = CASE %(state)s WHEN 'pending' THEN reply ELSE 'settled by an operator' END
WHERE campaign_id = %(campaign)s AND state = 'in_doubt'
  AND (%(delivery)s::uuid IS NULL OR id = %(delivery)s)

-- name: fold_counts
-- Old differences are added up, so that progress() reads a few rows, whatever was sent. The last
-- minute stays as it is: the rate is read from it. Only campaigns that live or ended lately are
-- looked at: all that ever were would be too many.
WITH lively AS (
  SELECT id FROM campaigns WHERE state <> 'finished'
  UNION SELECT id FROM campaigns WHERE finished_at > now() - interval '10 minutes'
), crowded AS (
  SELECT n.campaign_id, n.state FROM lively JOIN delivery_counts n ON n.campaign_id = lively.id
  WHERE n.at < now() - interval '1 minute'
  GROUP BY n.campaign_id, n.state HAVING count(*) > 50
), old AS (
  DELETE FROM delivery_counts c USING crowded
  WHERE c.campaign_id = crowded.campaign_id AND c.state = crowded.state
    AND c.at < now() - interval '1 minute'
  RETURNING c.campaign_id, c.state, c.n, c.at
)
INSERT INTO delivery_counts (campaign_id, state, n, at)
SELECT campaign_id, state, sum(n), min(at) FROM old GROUP BY campaign_id, state

-- name: progress
-- Counts by state, and how many were sent in the last ten seconds.
SELECT state, sum(n)::bigint,
  coalesce(sum(n) FILTER (WHERE at > clock_timestamp() - interval '10 seconds'), 0)::bigint
FROM delivery_counts WHERE campaign_id = %(campaign)s GROUP BY state

-- name: work
-- Running campaigns that have something waiting or in the broker, with their counts.
SELECT c.id, c.providers, c.single,
  coalesce(sum(n.n) FILTER (WHERE n.state = 'pending'), 0)::bigint,
  coalesce(sum(n.n) FILTER (WHERE n.state = 'queued'), 0)::bigint
FROM campaigns c JOIN delivery_counts n ON n.campaign_id = c.id
WHERE c.state = 'running'
GROUP BY c.id

-- name: finish
-- A running campaign with nothing waiting has come to its end.
UPDATE campaigns c SET state = 'finished', finished_at = now()
WHERE c.state = 'running' AND NOT EXISTS (
  SELECT FROM delivery_counts n
  WHERE n.campaign_id = c.id AND n.state IN ('pending', 'queued', 'sending')
  GROUP BY n.campaign_id HAVING sum(n.n) > 0
)

-- name: reopen
-- A finished campaign goes on when something of it waits again: a delivery in doubt turned out
-- never to have gone out, or a retry met the end. One look into the index for each campaign that
-- has something pending, however many rows those are and however many campaigns have finished.
WITH RECURSIVE waiting (id) AS (
  (SELECT campaign_id FROM deliveries WHERE state = 'pending' ORDER BY campaign_id LIMIT 1)
  UNION ALL
  SELECT (
    SELECT d.campaign_id FROM deliveries d
    WHERE d.state = 'pending' AND d.campaign_id > w.id ORDER BY d.campaign_id LIMIT 1
  )
  FROM waiting w WHERE w.id IS NOT NULL
)
UPDATE campaigns c SET state = 'running', finished_at = NULL
FROM waiting WHERE c.id = waiting.id AND c.state = 'finished'

-- name: leftovers
-- Campaigns that have something waiting though they are cancelled or their time is over.
SELECT c.id, c.state FROM campaigns c
WHERE (c.state = 'cancelled' OR (c.state <> 'finished' AND c.expires_at <= now()))
  AND EXISTS (
    SELECT FROM delivery_counts n
    WHERE n.campaign_id = c.id AND n.state IN ('pending', 'queued')
    GROUP BY n.campaign_id HAVING sum(n.n) > 0
  )

-- name: start_due
-- Scheduled campaigns whose time has come. Two beats: the second finds nothing left to move.
UPDATE campaigns SET state = 'running', started_at = now()
WHERE state = 'scheduled' AND send_at <= now()
RETURNING id

-- name: stage
-- Where recipients land before they become deliveries; gone with the transaction.
CREATE TEMPORARY TABLE staged (
  line integer, email text, address text COLLATE "C", variables jsonb, attachments jsonb
) ON COMMIT DROP

-- name: deliver_staged
-- One delivery for each address; a second row with the same address makes none. In the order of
-- the addresses, so that the unique index only grows at its end: half the cost of the file's order
-- with ON CONFLICT (11 instead of 22 us a row, 200,000 rows).
INSERT INTO deliveries (campaign_id, state, due_at, email, address, variables, attachments)
SELECT %(campaign)s,
  CASE WHEN s.address IS NULL THEN 'pending' ELSE 'suppressed' END,
  CASE WHEN s.address IS NULL THEN now() END,
  r.email, r.address, r.variables, r.attachments
FROM (
  SELECT *, row_number() OVER (PARTITION BY address ORDER BY line) AS nth FROM staged
) AS r LEFT JOIN suppressions s ON s.address = r.address
WHERE r.nth = 1
ORDER BY r.address

-- name: doubled
-- The rows that made no delivery, with the line that did.
SELECT line, email, first FROM (
  SELECT line, email, min(line) OVER (PARTITION BY address) AS first FROM staged
) AS r WHERE line <> first ORDER BY line LIMIT %(limit)s
