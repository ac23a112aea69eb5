-- Why the limits of these actors (API keys, or members) do not let them spend `p_amount` credits now; null when they do:
--   new_period    its day or month is over: begin the next one and call again
--   over_limit    refused by a hard limit
-- The caller holds the wallet's lock.
CREATE OR REPLACE FUNCTION credits_limit_refusal(p_account_id uuid, p_actors text[], p_amount bigint, p_now timestamptz)
RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
    spending_limit record;
    outcome text;
BEGIN
    FOR spending_limit IN
        SELECT * FROM credits_spendinglimit l WHERE l.account_id = p_account_id AND p_actors && l.actors::text[]
    LOOP
        IF coalesce(spending_limit.day_ends_at <= p_now, true) OR coalesce(spending_limit.month_ends_at <= p_now, true)
        THEN
            RETURN 'new_period';
        ELSIF spending_limit.is_hard AND (
            spending_limit.day_used + p_amount > spending_limit.per_day
            OR spending_limit.month_used + p_amount > spending_limit.per_month
        ) THEN
            outcome := 'over_limit';
        END IF;
    END LOOP;
    RETURN outcome;
END;
$$;
