"""The first ledger: campaigns, deliveries, counts, suppressions, workers."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Version 7 of RFC 9562: 48 bits of milliseconds, then random bits.
UUID7 = """
CREATE FUNCTION mailer_uuid7() RETURNS uuid LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
  SELECT encode(
    set_bit(set_bit(
      overlay(uuid_send(gen_random_uuid()) PLACING
        substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3)
        FROM 1 FOR 6),
      52, 1), 53, 1), 'hex')::uuid
$$
"""

TABLES = """
CREATE TABLE messages (
  digest bytea PRIMARY KEY,
  document jsonb NOT NULL
);
CREATE TABLE contents (
  digest text PRIMARY KEY,
  bytes bytea NOT NULL
);
CREATE TABLE campaigns (
  id uuid PRIMARY KEY DEFAULT mailer_uuid7(),
  name text NOT NULL,
  key text UNIQUE,
  request_digest bytea,
  single boolean NOT NULL,
  state text NOT NULL,
  message bytea NOT NULL REFERENCES messages (digest),
  message_id_domain text NOT NULL,
  providers text[] NOT NULL,
  on_doubt text NOT NULL CONSTRAINT campaigns_on_doubt CHECK (on_doubt IN ('hold', 'resend')),
  send_at timestamptz,
  expires_at timestamptz,
  import_report jsonb NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  started_at timestamptz,
  finished_at timestamptz
);
CREATE INDEX campaigns_live ON campaigns (state) WHERE state <> 'finished';
CREATE INDEX campaigns_by_time ON campaigns (created_at);
CREATE INDEX campaigns_by_end ON campaigns (finished_at);
CREATE TABLE deliveries (
  id uuid PRIMARY KEY DEFAULT mailer_uuid7(),
  campaign_id uuid NOT NULL REFERENCES campaigns (id),
  state text NOT NULL,
  due_at timestamptz,
  attempts smallint NOT NULL DEFAULT 0,
  code smallint,
  crashes smallint NOT NULL DEFAULT 0,
  first_attempt_at timestamptz,
  changed_at timestamptz NOT NULL DEFAULT now(),
  worker uuid,
  email text NOT NULL,
  address text COLLATE "C" NOT NULL,
  provider text,
  enhanced_code text,
  reply text,
  variables jsonb NOT NULL,
  attachments jsonb,
  CONSTRAINT deliveries_once UNIQUE (campaign_id, address)
);
CREATE INDEX deliveries_due ON deliveries (campaign_id, due_at) WHERE state = 'pending';
CREATE INDEX deliveries_in_flight ON deliveries (due_at) WHERE state IN ('queued', 'sending');
CREATE TABLE delivery_counts (
  campaign_id uuid NOT NULL,
  state text NOT NULL,
  n bigint NOT NULL,
  at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX delivery_counts_by_campaign ON delivery_counts (campaign_id, state);
CREATE TABLE suppressions (
  address text COLLATE "C" PRIMARY KEY,
  reason text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE workers (
  id uuid PRIMARY KEY,
  name text NOT NULL,
  seen_at timestamptz NOT NULL DEFAULT now()
);
"""

# One row a statement and state that changed, whatever the number of deliveries it touched.
COUNTING = """
CREATE FUNCTION mailer_count_deliveries() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    INSERT INTO delivery_counts (campaign_id, state, n)
    SELECT campaign_id, state, count(*) FROM after GROUP BY campaign_id, state;
  ELSIF TG_OP = 'DELETE' THEN
    INSERT INTO delivery_counts (campaign_id, state, n)
    SELECT campaign_id, state, -count(*) FROM before GROUP BY campaign_id, state;
  ELSE
    INSERT INTO delivery_counts (campaign_id, state, n)
    SELECT campaign_id, state, sum(n)
    FROM (
      SELECT campaign_id, state, 1 AS n FROM after
      UNION ALL
      SELECT campaign_id, state, -1 FROM before
    ) AS changes
    GROUP BY campaign_id, state HAVING sum(n) <> 0;
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER deliveries_inserted AFTER INSERT ON deliveries
  REFERENCING NEW TABLE AS after
  FOR EACH STATEMENT EXECUTE FUNCTION mailer_count_deliveries();
CREATE TRIGGER deliveries_updated AFTER UPDATE ON deliveries
  REFERENCING OLD TABLE AS before NEW TABLE AS after
  FOR EACH STATEMENT EXECUTE FUNCTION mailer_count_deliveries();
CREATE TRIGGER deliveries_deleted AFTER DELETE ON deliveries
  REFERENCING OLD TABLE AS before
  FOR EACH STATEMENT EXECUTE FUNCTION mailer_count_deliveries();
"""


def upgrade() -> None:
    """Make everything."""
    op.execute(UUID7)
    op.execute(TABLES)
    op.execute(COUNTING)
