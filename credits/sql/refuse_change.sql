-- Facts are added, and never changed or taken away, by anybody: the tables whose triggers call this are append-only.
-- (A superuser's session_replication_role = replica passes by; the production role is no superuser,
-- and a test database that must be emptied uses just that.)
CREATE OR REPLACE FUNCTION credits_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of % is refused: the ledger is append-only', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END;
$$;
