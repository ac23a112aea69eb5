-- Which limits the credits of an account (held ones included) went below: once for each crossing.
CREATE OR REPLACE FUNCTION credits_crossed(wallet credits_wallet, p_before bigint, p_after bigint)
RETURNS text[] LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    low_at bigint := coalesce(wallet.low_threshold_override, wallet.low_threshold);
BEGIN
    IF p_after > low_at THEN
        RETURN '{}';
    END IF;
    RETURN CASE WHEN p_before > low_at THEN '{low}'::text[] ELSE '{}' END
        || CASE WHEN p_before > 0 AND p_after = 0 THEN '{empty}'::text[] ELSE '{}' END;
END;
$$;
