-- Count `p_amount` credits for the limits of these actors. What is spent counts in the running day and month, whenever its
-- clock was read; what is given back (a negative amount) in those that `p_taken_at` is in.
-- Answers what was crossed, as limit:<id>:<day or month>:<percent>. The caller holds the wallet's lock.
CREATE OR REPLACE FUNCTION credits_count_use(
    p_account_id uuid, p_actors text[], p_amount bigint, p_taken_at timestamptz, p_now timestamptz
) RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE
    spending_limit record;
    of_day bigint;
    of_month bigint;
    crossed text[] := '{}';
    percent integer;
BEGIN
    IF p_amount = 0 THEN
        RETURN crossed;
    END IF;
    FOR spending_limit IN
        SELECT * FROM credits_spendinglimit l WHERE l.account_id = p_account_id AND p_actors && l.actors::text[]
    LOOP
        of_day := CASE WHEN (p_amount > 0 OR spending_limit.day_started_at <= p_taken_at) AND p_now < spending_limit.day_ends_at
                       THEN p_amount ELSE 0 END;
        of_month := CASE WHEN (p_amount > 0 OR spending_limit.month_started_at <= p_taken_at) AND p_now < spending_limit.month_ends_at
                         THEN p_amount ELSE 0 END;
        UPDATE credits_spendinglimit l
            SET day_used = greatest(0, l.day_used + of_day), month_used = greatest(0, l.month_used + of_month)
            WHERE l.account_id = p_account_id AND l.id = spending_limit.id;
        -- The highest that was crossed: one spend may cross several.
        SELECT max(p) INTO percent FROM unnest('{warn_at}'::integer[]) p
            WHERE spending_limit.day_used * 100 < spending_limit.per_day * p
                AND (spending_limit.day_used + of_day) * 100 >= spending_limit.per_day * p;
        IF percent IS NOT NULL THEN
            crossed := crossed || format('limit:%s:day:%s', spending_limit.id, percent);
        END IF;
        SELECT max(p) INTO percent FROM unnest('{warn_at}'::integer[]) p
            WHERE spending_limit.month_used * 100 < spending_limit.per_month * p
                AND (spending_limit.month_used + of_month) * 100 >= spending_limit.per_month * p;
        IF percent IS NOT NULL THEN
            crossed := crossed || format('limit:%s:month:%s', spending_limit.id, percent);
        END IF;
    END LOOP;
    RETURN crossed;
END;
$$;
