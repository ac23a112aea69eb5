-- What staff did is kept as it was: added, and never changed or taken away, by anybody.
-- (The function is the ledger's: credits/sql/append_only.sql.)
CREATE TRIGGER audit_event_is_append_only BEFORE UPDATE OR DELETE ON console_auditevent
    FOR EACH ROW EXECUTE FUNCTION credits_refuse_change();
CREATE TRIGGER audit_event_is_not_truncated BEFORE TRUNCATE ON console_auditevent
    FOR EACH STATEMENT EXECUTE FUNCTION credits_refuse_change();
