-- What spend, hold and capture share. The caller holds the lock of the wallet's row.

-- Why this wallet may not give `p_amount` credits now; null when it may:
--   due           time has changed it (an expiry, a refill, a hold that lapses): settle it and call again
--   new_day       its day of paid credits is over: begin the next one and call again
--   frozen, in_debt, insufficient, capped   refused
CREATE FUNCTION credits_refusal(wallet credits_wallet, p_amount bigint, p_now timestamptz)
RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
    cap bigint := coalesce(wallet.daily_cap_override, wallet.daily_cap);
    paid bigint;
BEGIN
    IF wallet.next_due_at <= p_now THEN
        RETURN 'due';
    ELSIF wallet.frozen_at IS NOT NULL THEN
        RETURN 'frozen';
    ELSIF wallet.debt > 0 THEN
        RETURN 'in_debt';
    ELSIF wallet.balance < p_amount THEN
        RETURN 'insufficient';
    ELSIF cap IS NULL THEN
        RETURN NULL;
    ELSIF wallet.cap_day_ends_at IS NULL OR wallet.cap_day_ends_at <= p_now THEN
        RETURN 'new_day';
    ELSIF wallet.cap_used + p_amount <= cap THEN
        RETURN NULL;
    END IF;
    -- It depends on how much of it would be drawn on what was paid for.
    SELECT coalesce(sum(greatest(0, least(lot.remaining, p_amount - lot.before))), 0) INTO paid FROM (
        SELECT g.source, g.remaining,
               sum(g.remaining) OVER (ORDER BY g.priority, g.expires_at NULLS LAST, g.effective_at, g.id) - g.remaining
                   AS before
            FROM credits_grant g WHERE g.account_id = wallet.account_id AND g.is_open
    ) lot WHERE lot.source IN ('plan', 'purchase');
    RETURN CASE WHEN wallet.cap_used + paid > cap THEN 'capped' END;
END;
$$;

-- Take `p_amount` credits from the open grants, in their order, and note it: as entries of a transaction, or as lots of
-- a hold, or (both null) nowhere, when the caller does. Answers what came from which, and how much was paid for.
CREATE FUNCTION credits_draw(
    p_account_id uuid, p_amount bigint, p_transaction_id uuid, p_hold_id uuid, OUT lots jsonb, OUT paid bigint
) LANGUAGE plpgsql AS $$
DECLARE
    lot record;
    needed bigint := p_amount;
    taken bigint;
    place integer := 0;
BEGIN
    lots := '[]';
    paid := 0;
    LOOP
        -- The first open grant; most spends end with it, and an emptied one is open no more.
        SELECT g.id, g.remaining, g.source INTO lot FROM credits_grant g
            WHERE g.account_id = p_account_id AND g.is_open
            ORDER BY g.priority, g.expires_at NULLS LAST, g.effective_at, g.id LIMIT 1;
        IF NOT FOUND THEN
            -- The wallet said there was enough and the grants say there is not: never guess, never go on.
            RAISE EXCEPTION 'wallet % and its grants disagree by %', p_account_id, needed
                USING ERRCODE = 'data_corrupted';
        END IF;
        taken := least(needed, lot.remaining);
        place := place + 1;
        UPDATE credits_grant g SET remaining = g.remaining - taken WHERE g.account_id = p_account_id AND g.id = lot.id;
        IF p_transaction_id IS NOT NULL THEN
            INSERT INTO credits_entry (transaction_id, grant_id, account_id, amount)
                VALUES (p_transaction_id, lot.id, p_account_id, -taken);
        ELSIF p_hold_id IS NOT NULL THEN
            INSERT INTO credits_holdlot (hold_id, grant_id, account_id, place, amount, captured)
                VALUES (p_hold_id, lot.id, p_account_id, place, taken, 0);
        END IF;
        IF lot.source IN ('plan', 'purchase') THEN
            paid := paid + taken;
        END IF;
        lots := lots || jsonb_build_object('grant', lot.id, 'source', lot.source, 'amount', taken);
        needed := needed - taken;
        EXIT WHEN needed = 0;
    END LOOP;
END;
$$;

-- What a transaction took from which grant, in the order of drawing.
CREATE FUNCTION credits_lots(p_account_id uuid, p_transaction_id uuid)
RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT coalesce(
        jsonb_agg(jsonb_build_object('grant', e.grant_id, 'source', g.source, 'amount', -e.amount)
                  ORDER BY g.priority, g.expires_at NULLS LAST, g.effective_at, g.id),
        '[]')
    FROM credits_entry e JOIN credits_grant g ON g.id = e.grant_id
    WHERE e.transaction_id = p_transaction_id AND e.account_id = p_account_id
$$;

-- Which limits the credits of an account (held ones included) went below: once for each crossing.
CREATE FUNCTION credits_crossed(wallet credits_wallet, p_before bigint, p_after bigint)
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
