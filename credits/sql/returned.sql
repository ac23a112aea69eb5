-- How much of a spend was given back.
CREATE OR REPLACE FUNCTION credits_returned(p_account_id uuid, p_transaction_id uuid)
RETURNS bigint LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN (SELECT coalesce(sum(t.amount), 0) FROM credits_transaction t
                WHERE t.account_id = p_account_id AND t.reverses_id = p_transaction_id);
END;
$$;
