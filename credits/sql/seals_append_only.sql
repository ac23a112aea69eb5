-- Seals are facts as the rows are that they cover.
CREATE TRIGGER seal_is_append_only BEFORE UPDATE OR DELETE ON credits_seal
    FOR EACH ROW EXECUTE FUNCTION credits_refuse_change();
CREATE TRIGGER seal_is_not_truncated BEFORE TRUNCATE ON credits_seal
    FOR EACH STATEMENT EXECUTE FUNCTION credits_refuse_change();
