DROP TRIGGER entry_is_not_truncated ON credits_entry;
DROP TRIGGER entry_is_append_only ON credits_entry;
DROP TRIGGER transaction_is_not_truncated ON credits_transaction;
DROP TRIGGER transaction_is_append_only ON credits_transaction;
DROP FUNCTION credits_refuse_change();
